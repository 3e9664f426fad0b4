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

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("watchdog", "rules", "detectors", "alerts")
ENTRY = "watchdog"  # the modules directly in it: the launcher and `python -m`
MAY_IMPORT_OF_ENTRY = {ENTRY, "watchdog.cli"}

MAX_FUNCTION_LINES = 60
MAX_FILE_LINES = 450
# What is over a limit today, with its size: it may shrink, never grow, and must leave the list when it fits.
LONG_FUNCTIONS: dict[str, int] = {}
LONG_FILES: dict[str, int] = {}
GENERATED = {"watchdog/core/kinds_table.py"}  # written by the generator below; nobody reads it as prose
BUILD_TOOLS = {"watchdog.core.schema.generate", "detectors.kernel_build"}  # run when building, imported by nothing


@dataclass(frozen=True)
class Module:
    """One file of ours: its dotted name, its path and its syntax tree."""

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
    """The modules of ours that a module imports, with the line."""
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


def functions(module: Module) -> Iterator[tuple[str, int]]:
    """Each function as `path:name` with its length in lines."""
    where = module.path.relative_to(ROOT).as_posix()
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{where}:{node.name}", (node.end_lineno or node.lineno) - node.lineno + 1


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
    assert allowed - used == set(), "in the table of docs/ARCHITECTURE.md, imported by nobody"


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
    assert drawn - real == set(), "drawn in docs/ARCHITECTURE.md, imported by nobody"
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


def test_packages_that_promise_numpy_only_load_nothing_else() -> None:
    promised = {name for name, cell in table_rows() if "NumPy" in cell}
    assert promised, "the table promises NumPy only for no package"
    wrong = [
        f"{module.path.relative_to(ROOT)}:{line}: {module.package} imports {name}"
        for module in modules().values()
        if module.package in promised and module.name not in BUILD_TOOLS
        for name, line in imported_names(module)
        if (top := name.split(".")[0]) not in sys.stdlib_module_names and top not in {"numpy", *PACKAGES}
    ]
    assert not wrong, "\n".join(wrong)


def test_build_tools_are_imported_by_nothing() -> None:
    users = [m.name for m in modules().values() for target, _ in own_imports(m) if target.name in BUILD_TOOLS]
    assert not users, f"build tools imported by: {users}"


def test_imports_in_functions_and_for_type_checking_are_seen() -> None:
    text = """
    import numpy as np
    if TYPE_CHECKING:
        from rules.reader import Node
    def late():
        from ..engine import panes
        import watchdog.core.batch
    """
    path = ROOT / "watchdog" / "service" / "sample.py"
    sample = Module("watchdog.service.sample", path, ast.parse(textwrap.dedent(text)))
    names = {"numpy", "rules.reader.Node", "watchdog.engine.panes", "watchdog.core.batch"}
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
    sizes = {}
    for path in python_files():
        module = Module("", path, ast.parse(path.read_text(encoding="utf-8")))
        sizes.update({name: size for name, size in functions(module) if size > MAX_FUNCTION_LINES})
    assert_ratchet(sizes, LONG_FUNCTIONS, MAX_FUNCTION_LINES)


def test_files_are_short() -> None:
    names = {path.relative_to(ROOT).as_posix(): path for path in python_files()}
    lengths = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in names.items()}
    assert not GENERATED - set(names), "GENERATED names a file that does not exist"
    assert_ratchet(
        {name: size for name, size in lengths.items() if size > MAX_FILE_LINES and name not in GENERATED},
        LONG_FILES,
        MAX_FILE_LINES,
    )


def assert_ratchet(over: dict[str, int], listed: dict[str, int], limit: int) -> None:
    """Fail on what is over the limit and not listed, on what grew, and on entries that are not needed any more."""
    wrong = [f"{name}: {size} lines, at most {limit}" for name, size in over.items() if size > listed.get(name, limit)]
    wrong += [f"{name}: fits now, take it off the list" for name in listed if name not in over]
    assert not wrong, "\n".join(wrong)


def test_the_ratchet_refuses_growth_and_stale_entries() -> None:
    assert_ratchet({"a": 70}, {"a": 70}, 60)
    for over, listed in (({"a": 71}, {"a": 70}), ({"b": 61}, {}), ({}, {"a": 70})):
        with pytest.raises(AssertionError):
            assert_ratchet(over, listed, 60)
