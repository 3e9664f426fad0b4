"""The constants cited from Bitcoin Core: values, spans, and every other place that cites them."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from watchdog.core.core_constants import CITATIONS, MAX_ADDR_TO_SEND, Citation, Value
from watchdog.sources.core_log.check import missing_citations
from watchdog.sources.core_log.source_tree import CoreSource
from watchdog.sources.wire.decode import KNOWN_TYPES

ROOT = Path(__file__).resolve().parents[2]
BY_NAME = {citation.name: citation for citation in CITATIONS}
WITH_VALUE = [citation for citation in CITATIONS if citation.value is not None]
UNITS = {"ms": "*0.001", "s": "*1", "min": "*60", "h": "*3600", "_MiB": "*1048576"}
CORE_PATH = re.compile(r"src/[a-z_/0-9]+\.(?:cpp|h)\b")
CONSTANT = re.compile(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b(?: ([\d.,]*\d))?")


def evaluated(citation: Citation) -> Value:
    """What Core's spelling of a value means."""
    written = citation.written
    if written in BY_NAME:
        return BY_NAME[written].value
    if re.fullmatch("[A-Z]+( [A-Z]+)+", written):  # the names of an enumeration
        return tuple(written.lower().split())
    if "NetMsgType::" in written:
        return tuple(name.lower() for name in re.findall(r"NetMsgType::(\w+)", written))
    number: int | float | tuple[int, ...] = eval(re.sub(r"(?<=\d)(ms|s|min|h|_MiB)\b", lambda m: UNITS[m[1]], written))
    if isinstance(number, tuple):
        return bytes(number) if isinstance(citation.value, bytes) else number
    return number * 60 if "minutes" in citation.pattern.pattern else number


@pytest.mark.parametrize("citation", WITH_VALUE, ids=lambda citation: citation.name)
def test_a_value_is_what_core_writes(citation: Citation) -> None:
    assert evaluated(citation) == citation.value
    assert type(evaluated(citation)) is type(citation.value)


def test_rows_are_unique_and_spans_name_a_release_and_a_merge() -> None:
    assert len(BY_NAME) == len(CITATIONS) > 90
    for citation in CITATIONS:
        assert CORE_PATH.fullmatch(citation.path)
        for mark in (citation.since, citation.until):
            assert not mark or re.fullmatch(r"\d\d [0-9a-f]{12}", mark), citation.name


def test_the_decoder_knows_the_types_that_core_knows() -> None:
    types = BY_NAME["ALL_NET_MESSAGE_TYPES"].value
    assert isinstance(types, tuple)
    assert {*types, "reject"} == KNOWN_TYPES


def test_no_other_module_names_a_file_of_core() -> None:
    """But for the table of log lines, which names the file of each line."""
    names = "|".join({Path(citation.path).stem for citation in CITATIONS})
    named = re.compile(rf"src/[a-z_/0-9]+\.(?:cpp|h)\b|(?<![\w/])(?:{names})\.(?:cpp|h)\b")
    for package in ("watchdog", "rules", "detectors", "alerts"):
        for path in (ROOT / package).rglob("*.py"):
            where = path.relative_to(ROOT).as_posix()
            if where != "watchdog/core/core_constants.py" and not where.startswith("watchdog/sources/core_log/"):
                assert not named.search(path.read_text(encoding="utf-8")), where


def test_core_constants_are_imported_or_quoted() -> None:
    """Every row is used by a module or cited by a document."""
    texts = [*(ROOT / "rules" / "packs").glob("*.yaml"), ROOT / "docs" / "threats.md"]
    for package in ("watchdog", "detectors"):
        texts += [path for path in (ROOT / package).rglob("*.py") if path.name != "core_constants.py"]
    text = "\n".join(path.read_text(encoding="utf-8") for path in texts)
    tree = ast.parse((ROOT / "watchdog/core/core_constants.py").read_text(encoding="utf-8"))
    names = [
        node.target.id for node in tree.body if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    ]
    public = [name for name in names if not name.startswith("_") and name != "CITATIONS"]
    unused = [name for name in public if not re.search(rf"\b{name.removesuffix('_S')}(_S)?\b", text)]
    assert not unused


@pytest.mark.parametrize("path", [*sorted((ROOT / "rules" / "packs").glob("*.yaml")), ROOT / "docs" / "threats.md"])
def test_packs_and_threats_cite_rows_of_the_table(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert set(CORE_PATH.findall(text)) <= {citation.path for citation in CITATIONS}
    for cited in CONSTANT.finditer(text):
        name = cited[0].split()[0]
        assert name in BY_NAME, name
        if cited[1]:
            assert cited[1].replace(",", "") in {str(BY_NAME[name].value), BY_NAME[name].written}, cited[0]
    for place, names in re.findall(r"(src/[a-z_/]+\.(?:cpp|h)): ((?:[A-Z_]{6,}[ \d.,]*)+)", text):
        for name in re.findall(r"[A-Z_]{6,}", names):
            assert BY_NAME[name].path == place, name


def tree(folder: Path, line: str, version: int = 31) -> CoreSource:
    """A source tree with a version and one line in src/net_processing.cpp."""
    (folder / "src").mkdir(parents=True)
    (folder / "src/net_processing.cpp").write_text(f"// a comment\n{line}\n")
    (folder / "CMakeLists.txt").write_text(f"set(CLIENT_VERSION_MAJOR {version})\nset(CLIENT_VERSION_MINOR 0)\n")
    return CoreSource(folder)


@pytest.mark.parametrize(
    ("line", "lacks"),
    [
        ("static constexpr size_t MAX_ADDR_TO_SEND{1000};", False),
        ("inline constexpr size_t MAX_ADDR_TO_SEND = 1'000;", False),
        ("static constexpr size_t MAX_ADDR_TO_SEND{ 1000 };", False),
        ("static constexpr size_t MAX_ADDR_TO_SEND{2000};", True),
        ("static constexpr size_t MAX_ADDR_TO_SEND{10000};", True),
        ("static constexpr size_t OTHER_MAX_ADDR_TO_SEND{1000};", True),
        ("", True),
    ],
)
def test_the_check_names_a_constant_that_a_tree_lacks(tmp_path: Path, line: str, lacks: bool) -> None:
    row = BY_NAME["MAX_ADDR_TO_SEND"]
    expected = [f"src/net_processing.cpp: MAX_ADDR_TO_SEND (from before v22 to master): {MAX_ADDR_TO_SEND}"]
    assert missing_citations([row], tree(tmp_path, line)) == (expected if lacks else [])


def test_the_script_lists_what_a_tree_lacks_and_exits_with_1(tmp_path: Path) -> None:
    tree(tmp_path, "static constexpr size_t MAX_ADDR_TO_SEND{1000};", version=31)
    command = [sys.executable, "-m", "watchdog.sources.core_log"]
    environment = {**os.environ, "WATCHDOG_CORE_SOURCE": str(tmp_path)}
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    lines = done.stdout.splitlines()
    assert "src/net_processing.h: MAX_HEADERS_RESULTS (from 29 2bf721e76a57 to master): 2000" in lines
    assert not any(line.startswith("src/net_processing.cpp: MAX_ADDR_TO_SEND ") for line in lines)
    assert re.fullmatch(r"v31\.0: \d+ log lines and \d+ of \d+ citations not found", lines[-1])


def test_the_check_skips_a_span_that_excludes_the_tree(tmp_path: Path) -> None:
    rows = [BY_NAME["MAX_ADDR_TO_SEND"]._replace(since="32 " + "a" * 12), BY_NAME["DISCOURAGEMENT_THRESHOLD"]]
    assert missing_citations(rows, tree(tmp_path, "")) == []
    assert len(missing_citations([rows[0]._replace(since="31 " + "a" * 12)], tree(tmp_path / "next", ""))) == 1
