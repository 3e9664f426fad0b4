"""Holds docs/ARCHITECTURE.md against the code: who imports whom, no cycles, small rooms."""

from __future__ import annotations

import ast
import re
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.support.large_classes import MANY_METHODS, SHARED_NAMES

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("watchdog", "rules", "detectors", "alerts")
ENTRY = "watchdog"  # the modules directly in it: the launcher, `python -m` and the public module
MAY_IMPORT_OF_ENTRY = {ENTRY, "watchdog.cli", "watchdog.embedding", "watchdog.core"}

MAX_FUNCTION_LINES, MAX_TEST_FUNCTION_LINES = 40, 50  # without the docstring
MAX_FILE_LINES, MAX_TEST_FILE_LINES = 400, 450
KERNEL = "detectors/kernel.c"
CHECKS_ARGUMENTS = "takes arrays from Python and proves their lengths before the one loop that it is there for"
# What is over a limit, with its size and the reason. It may shrink, never grow, and must leave the list when it fits.
LONG_FUNCTIONS: dict[str, tuple[int, str]] = {
    "alerts/store/migrations/versions/r0001_first.py:_outbox": (42, "a migration that was shipped is not edited"),
    f"{KERNEL}:claim": (59, CHECKS_ARGUMENTS),
    f"{KERNEL}:fold": (49, CHECKS_ARGUMENTS),
    f"{KERNEL}:run": (70, CHECKS_ARGUMENTS),
    f"{KERNEL}:touch": (44, CHECKS_ARGUMENTS),
    f"{KERNEL}:leave": (42, CHECKS_ARGUMENTS),
}
LONG_FILES: dict[str, tuple[int, str]] = {
    "watchdog/core/kinds_table.py": (1594, "written by schema/generate.py; not prose"),
    KERNEL: (805, "one translation unit, so that building it is one call of the compiler, with nothing to link"),
}
# Which of our modules may know a package of others, by the start of their names. What is not here is everybody's.
ONLY_IN = {
    "sqlalchemy": ("alerts.store",),
    "alembic": ("alerts.store.migrations", "alerts.store.revision"),
    "psycopg": ("alerts.store.server",),
    "aiohttp": ("alerts.delivery.client", "alerts.delivery.inbox", "watchdog.web"),
    "prometheus_client": ("watchdog.service.exposition",),
    "capnp": (
        "watchdog.archive.codec",
        "watchdog.core.schema.generate",
        "watchdog.extract.command",
        "watchdog.sources.ipc.child",
        "watchdog.stream",
    ),
    "zstandard": ("watchdog.archive", "watchdog.sources.nats.framing"),
    "yaml": ("watchdog.located_yaml.reader",),
    "zmq": ("watchdog.sources.zmq",),
    "elftools": ("watchdog.extract.elf",),
    "textual": ("watchdog.top.app", "watchdog.top.peer_screen"),
    "rich": ("watchdog.top.app", "watchdog.top.peer_screen"),
    "nats": ("watchdog.sources.nats.client",),
    "jinja2": ("alerts.delivery.template_engine",),
    "apprise": ("alerts.delivery.by_apprise",),
    "google": ("watchdog.sources.nats.descriptors",),
    "river": ("watchdog.core.river_classes",),
}
MAX_PUBLIC_METHODS = 8  # of a class, properties included, methods of its bases not
MAX_SHARED_NAMES = 8
LATE = {"watchdog.core.river_classes"}  # imports a package of others inside functions only, when a rule asks for it
BUILD_TOOLS = {"watchdog.core.schema.generate", "detectors.kernel_build"}  # run when building, imported by nothing


@dataclass(frozen=True)
class Module:
    """One of our files: its dotted name, its path and its syntax tree."""

    name: str
    path: Path
    tree: ast.Module

    @property
    def package(self) -> str:
        """The row of the import table that it belongs to."""
        folders = self.path.relative_to(ROOT).parts[:-1]
        return ".".join(folders[:2]) if folders[0] == "watchdog" else folders[0]


@cache
def modules() -> dict[str, Module]:
    """All modules of the four packages, by dotted name."""
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            found[name] = Module(name, path, ast.parse(path.read_text(encoding="utf-8")))
    return found


def imported_names(module: Module) -> Iterator[tuple[str, int]]:
    """Each imported dotted name with its line, wherever in the file it stands."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.name.split(".")
                kept = len(parts) - node.level + (module.path.name == "__init__.py")
                base = ".".join([*parts[:kept], *([base] if base else [])])
            yield from ((f"{base}.{alias.name}", node.lineno) for alias in node.names)


def own_imports(module: Module) -> Iterator[tuple[Module, int]]:
    """Yield our own modules that a module imports, with the line."""
    for name, line in imported_names(module):
        target = modules().get(name) or modules().get(name.rpartition(".")[0])
        if target is not None:
            yield target, line


@cache
def table() -> dict[str, set[str]]:
    """The import table of docs/ARCHITECTURE.md: package -> packages that it may import, itself included."""
    allowed: dict[str, set[str]] = {}
    for name, cell in table_rows():
        own = cell.partition(";")[0]
        allowed[name] = {name} | {row for row, _ in table_rows() if re.search(rf"(?<![\w.]){row}(?![\w.])", own)}
    return allowed


@cache
def table_rows() -> tuple[tuple[str, str], ...]:
    """The rows below `| package | may import |`, as written."""
    text = (ROOT / "docs" / "ARCHITECTURE.md").read_text(encoding="utf-8")
    body = text.split("| package | may import |")[1].split("\n\n")[0]
    rows = [re.fullmatch(r"\| ([\w.]+) \| (.+) \|", line) for line in body.splitlines()]
    return tuple((row[1], row[2].replace("`", "")) for row in rows if row)


def functions(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Each function's name, and its length in lines without the docstring."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            told = node.body[0] if ast.get_docstring(node, clean=False) is not None else None
            docstring = 0 if told is None else (told.end_lineno or told.lineno) - told.lineno + 1
            yield node.name, (node.end_lineno or node.lineno) - node.lineno + 1 - docstring


def c_functions(text: str) -> Iterator[tuple[str, int]]:
    """Each function of a C file in our style, its name at the start of a line, and its length in lines."""
    for found in re.finditer(r"^(\w+)\([^;]*?\)\n\{\n.*?^\}$", text, re.MULTILINE | re.DOTALL):
        yield found[1], found[0].count("\n") + 1


def is_test(path: str) -> bool:
    """Whether a file of the project is part of its tests."""
    return path.startswith("tests/")


def python_files() -> Iterator[Path]:
    """All Python files of the project, tests and scripts too."""
    for folder in (*PACKAGES, "tests", "benchmarks", "demo", "docs"):
        yield from sorted((ROOT / folder).rglob("*.py"))


def test_every_import_of_ours_is_an_arrow_of_the_table() -> None:
    wrong = [
        f"{module.path.relative_to(ROOT)}:{line}: {module.package} imports {target.name}: no such arrow in the table"
        for module in modules().values()
        for target, line in own_imports(module)
        if target.package not in (MAY_IMPORT_OF_ENTRY if module.package == ENTRY else table()[module.package])
    ]
    assert not wrong, "\n".join(wrong)


def test_every_arrow_of_the_table_is_used() -> None:
    used = {(module.package, target.package) for module in modules().values() for target, _ in own_imports(module)}
    allowed = {(name, target) for name, targets in table().items() for target in targets if target != name}
    assert allowed - used == set(), "in the table of docs/ARCHITECTURE.md, never imported"


def test_every_package_is_in_the_table_and_every_row_is_a_package_or_to_come() -> None:
    packages = {module.package for module in modules().values()} - {ENTRY}
    assert packages <= set(table()), f"not in the table: {sorted(packages - set(table()))}"
    assert {row.split(".")[0] for row in table()} == set(PACKAGES)


def test_every_top_level_package_is_in_the_picture() -> None:
    text = (ROOT / "docs" / "ARCHITECTURE.md").read_text(encoding="utf-8")
    picture = text.split("## One picture")[1].split("\n## ")[0]
    names = [*PACKAGES, *(name.rpartition(".")[2] for name in table() if "." in name and name != "watchdog.core")]
    missing = [name for name in names if not re.search(rf"\b{name}\b", picture)]
    assert not missing, f"not in the picture: {missing}"


def test_the_arrows_of_the_picture_are_the_imports() -> None:
    text = (ROOT / "docs" / "ARCHITECTURE.md").read_text(encoding="utf-8")
    drawn = {
        (left, right)
        for left, rights in re.findall(r"^ {4}(\w+) +--> +(\w+(?:  \w+)*)$", text, re.MULTILINE)
        for right in rights.split()
    }
    short = {name: name.rpartition(".")[2] for name in table()}
    real = {
        (short[module.package], short[target.package])
        for module in modules().values()
        for target, _ in own_imports(module)
        if {module.package, target.package} <= short.keys() and module.package != target.package
    }
    assert drawn - real == set(), "drawn in docs/ARCHITECTURE.md, never imported"
    assert real - drawn == set(), "imported, not drawn in docs/ARCHITECTURE.md"


def test_no_two_modules_import_each_other_even_through_others() -> None:
    graph = {
        module.name: {target.name for target, _ in own_imports(module) if target.name != module.name}
        for module in modules().values()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail("import cycle: " + " -> ".join(error.args[1]))


def test_packages_that_promise_few_libraries_load_no_others() -> None:
    promised = {name for name, cell in table_rows() if "NumPy" in cell}
    assert {"watchdog.core", "detectors", "rules", "watchdog.engine", "watchdog.embedding"} == promised
    wrong = [
        f"{module.path.relative_to(ROOT)}:{line}: {module.package} imports {name}"
        for module in modules().values()
        if module.package in promised and module.name not in BUILD_TOOLS | LATE
        for name, line in imported_names(module)
        if (top := name.split(".")[0]) not in sys.stdlib_module_names and top not in {"numpy", *PACKAGES}
    ]
    assert not wrong, "\n".join(wrong)


def test_packages_of_others_are_known_only_where_they_belong() -> None:
    found = [
        (name.split(".")[0], module, line) for module in modules().values() for name, line in imported_names(module)
    ]
    wrong = [
        f"{module.path.relative_to(ROOT)}:{line}: imports {top}"
        for top, module, line in found
        if not any(f"{module.name}.".startswith(f"{one}.") for one in ONLY_IN.get(top, (module.name,)))
    ]
    assert not wrong, "\n".join(wrong)
    used = {(top, one) for top, module, _ in found for one in ONLY_IN.get(top, ()) if module.name.startswith(one)}
    unused = {(top, one) for top, places in ONLY_IN.items() for one in places} - used
    assert not unused, f"allowed and not used: {sorted(unused)}"


def test_build_tools_are_imported_by_nothing() -> None:
    users = [m.name for m in modules().values() for target, _ in own_imports(m) if target.name in BUILD_TOOLS]
    assert not users, f"build tools imported by: {users}"


def test_imports_in_functions_and_for_type_checking_are_seen() -> None:
    text = """
    import numpy as np
    if TYPE_CHECKING:
        from watchdog.located_yaml.reader import Node
    def late():
        from ..engine import panes
        import watchdog.core.batch
    """
    path = ROOT / "watchdog" / "service" / "sample.py"
    sample = Module("watchdog.service.sample", path, ast.parse(textwrap.dedent(text)))
    names = {"numpy", "watchdog.located_yaml.reader.Node", "watchdog.engine.panes", "watchdog.core.batch"}
    assert {name for name, _ in imported_names(sample)} == names
    assert sample.package == "watchdog.service"
    assert Module("watchdog._launcher", ROOT / "watchdog" / "_launcher.py", sample.tree).package == ENTRY


def test_an_init_holds_a_docstring_and_nothing_else() -> None:
    for path in (path for path in python_files() if path.name == "__init__.py"):
        body = ast.parse(path.read_text(encoding="utf-8")).body
        where = path.relative_to(ROOT)
        assert len(body) == 1, f"{where}: must hold one docstring and nothing else"
        assert ast.get_docstring(ast.Module(body, [])), f"{where}: has no docstring"


def test_every_folder_with_code_is_a_package() -> None:
    without = {module.path.parent for module in modules().values() if not (module.path.parent / "__init__.py").exists()}
    assert not without, f"no __init__.py: {sorted(str(path.relative_to(ROOT)) for path in without)}"


def test_functions_are_short() -> None:
    sizes = {f"{KERNEL}:{name}": size for name, size in c_functions((ROOT / KERNEL).read_text(encoding="utf-8"))}
    assert len(sizes) > 20
    for path in python_files():
        where = path.relative_to(ROOT).as_posix()
        for name, size in functions(ast.parse(path.read_text(encoding="utf-8"))):
            sizes[f"{where}:{name}"] = max(size, sizes.get(f"{where}:{name}", 0))
    for tests, limit in ((False, MAX_FUNCTION_LINES), (True, MAX_TEST_FUNCTION_LINES)):
        assert_ratchet({name: size for name, size in sizes.items() if is_test(name) == tests}, LONG_FUNCTIONS, limit)


def test_files_are_short() -> None:
    names = {path.relative_to(ROOT).as_posix(): path for path in (*python_files(), ROOT / KERNEL)}
    sizes = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in names.items()}
    for tests, limit in ((False, MAX_FILE_LINES), (True, MAX_TEST_FILE_LINES)):
        assert_ratchet({name: size for name, size in sizes.items() if is_test(name) == tests}, LONG_FILES, limit)


def test_a_class_has_few_public_methods() -> None:
    sizes = {
        f"{module.name}.{node.name}": len(public_methods(node))
        for module in modules().values()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef)
    }
    assert len(sizes) > 300
    assert_ratchet(sizes, MANY_METHODS, MAX_PUBLIC_METHODS, "public methods")


def public_methods(node: ast.ClassDef) -> set[str]:
    """Return the names of the methods and properties that a class itself defines, without underscored ones."""
    defined = (item.name for item in node.body if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef))
    return {name for name in defined if not name.startswith("_")}


def test_a_property_with_a_setter_is_one_public_method() -> None:
    text = """
    class Sample:
        def __init__(self): ...
        @property
        def size(self): ...
        @size.setter
        def size(self, value): ...
        async def wait(self): ...
        def _own(self): ...
    """
    (sample,) = ast.parse(textwrap.dedent(text)).body
    assert isinstance(sample, ast.ClassDef)
    assert public_methods(sample) == {"size", "wait"}


def test_a_class_or_alias_name_means_one_thing() -> None:
    defining: dict[str, set[str]] = {}
    for module in modules().values():
        for name in type_names(module.tree):
            defining.setdefault(name, set()).add(module.name)
    shared = {name: places for name, places in defining.items() if len(places) > 1}
    wrong = [f"{name}: {', '.join(sorted(places))}" for name, places in shared.items() if name not in SHARED_NAMES]
    assert not wrong, "\n".join(wrong)
    assert SHARED_NAMES.keys() <= shared.keys(), f"not shared: {SHARED_NAMES.keys() - shared.keys()}"
    assert len(SHARED_NAMES) <= MAX_SHARED_NAMES
    assert all(SHARED_NAMES.values())


def type_names(tree: ast.Module) -> Iterator[str]:
    """Each class that a module defines, and each alias: a name in mixed case, `Ints = NDArray[...]`."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [target.id for target in targets if isinstance(target, ast.Name)]
            yield from (name for name in names if re.fullmatch(r"_?[A-Z]\w*[a-z]\w*", name) and "_" not in name[1:])


def test_aliases_and_classes_are_told_from_constants() -> None:
    text = "class A: ...\nInts = NDArray[int]\n_Rows: TypeAlias = list\nLIMIT = 3\nT = TypeVar('T')\nDone: int\nx = 1\n"
    assert list(type_names(ast.parse(text))) == ["A", "Ints", "_Rows"]


def assert_ratchet(sizes: dict[str, int], listed: dict[str, tuple[int, str]], limit: int, unit: str = "lines") -> None:
    """Fail on what is over the limit and not listed, on what grew, and on entries that are no longer needed."""
    most = {name: listed[name][0] if name in listed else limit for name in sizes}
    wrong = [f"{name}: {size} {unit}, at most {most[name]}" for name, size in sizes.items() if size > most[name]]
    wrong += [f"{name}: fits now, take it off the list" for name in listed if sizes.get(name, limit + 1) <= limit]
    assert not wrong, "\n".join(wrong)


def test_what_is_listed_as_long_exists_and_has_a_reason() -> None:
    for name, (_, reason) in (LONG_FUNCTIONS | LONG_FILES).items():
        path, _, function = name.partition(":")
        text = (ROOT / path).read_text(encoding="utf-8")
        assert not function or re.search(rf"^(def )?{function}\(", text, re.MULTILINE), f"{name} is gone"
        assert reason
    assert all(reason for _, reason in MANY_METHODS.values())


def test_the_ratchet_refuses_growth_and_stale_entries() -> None:
    assert_ratchet({"a": 70, "b": 60}, {"a": (70, "old")}, 60)
    for sizes, listed in (({"a": 71}, {"a": (70, "old")}), ({"b": 61}, {}), ({"a": 60}, {"a": (70, "old")})):
        with pytest.raises(AssertionError):
            assert_ratchet(sizes, listed, 60)


def test_a_docstring_is_not_counted() -> None:
    (told,) = functions(ast.parse('def told():\n    """Two\n    lines."""\n    return 1\n'))
    (bare,) = functions(ast.parse("def bare():\n    return (\n        1\n    )\n"))
    assert (told, bare) == (("told", 2), ("bare", 4))
    assert list(c_functions("static int\none(int a,\n    int b)\n{\n    if (a) {\n    }\n}\n")) == [("one", 6)]
