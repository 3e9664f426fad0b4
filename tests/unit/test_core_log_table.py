"""The table of line forms: each test line gives its fact, behind every prefix, and Core's source has its text."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.test_log_shapes import Row, read, read_text
from watchdog.core.errors import WatchdogError
from watchdog.sources.core_log.check import missing
from watchdog.sources.core_log.form import Form, Wording, form
from watchdog.sources.core_log.source_tree import FILES, CoreSource, strings_of
from watchdog.sources.core_log.table import FORMS, select

CASES = Path(__file__).parents[1] / "data" / "core_log"
WORDINGS = [(one, wording) for one in FORMS for wording in one.wordings]
NAMES = [f"{one.name}-{number}" for number, (one, _) in enumerate(WORDINGS)]
STAMP = "2026-01-21T12:53:55Z"
SOURCE = os.environ.get("WATCHDOG_CORE_SOURCE", "")
_NOT_KEPT = {"boot_ns", "netgroup", "netblock", "subnet", "asn", "entry_netgroup", "peer_addr"}


def told(rows: list[Row]) -> list[Row]:
    """Rows as the expected files have them, in an order that does not depend on batches."""
    left_out = _NOT_KEPT | {"source_netgroup", "source_netblock", "source_asn"}
    plain = [
        {
            name: value.hex() if isinstance(value, bytes) else value
            for name, value in row.items()
            if name not in left_out
        }
        for row in rows
    ]
    return sorted(plain, key=lambda row: (row["time_ns"], row["kind"], json.dumps(row)))


@pytest.mark.parametrize("case", sorted(path.stem for path in CASES.glob("*.log")))
def test_a_public_case_gives_the_expected_events(case: str) -> None:
    rows, counters = read(CASES / f"{case}.log")
    expected = [json.loads(line) for line in (CASES / f"{case}.jsonl").read_text().splitlines()]
    assert told(rows) == expected
    assert counters["unmatched_lines"] == 0


@pytest.mark.parametrize(("one", "wording"), WORDINGS, ids=NAMES)
def test_a_test_line_is_of_its_form_and_of_no_form_before_it(one: Form, wording: Wording) -> None:
    line = wording.line.encode()
    selection = select(None)
    at = max(number for number, head in enumerate(selection.heads) if line.startswith(head))
    assert one.begin.match(line)
    assert next(other.name for other in selection.forms[at] if other.pattern.fullmatch(line)) == one.name


@pytest.mark.parametrize(("one", "wording"), WORDINGS, ids=NAMES)
def test_a_changed_test_line_is_unread_and_never_read(tmp_path: Path, one: Form, wording: Wording) -> None:
    """Everything behind the beginning is another text: whatever a later Core makes of it, it does not vanish."""
    begun = one.begin.match(wording.line.encode())
    assert begun
    path = tmp_path / "debug.log"
    path.write_text(f"{STAMP} hello\n{STAMP} {begun[0].decode()} <another wording>\n")
    rows, counters = read(path)
    assert rows == []
    whole = re.search(rb"peer[= ]\d", begun[0])  # an ending needs no more than its peer
    assert counters["unmatched_lines"] == (not whole)


@pytest.mark.parametrize("mark", ["", "[*] ", "\ufeff"])
@pytest.mark.parametrize("micros", ["", ".000061"])
@pytest.mark.parametrize("thread", ["", "[msghand] ", "[unknown] ", "[b-httpworker.0] "])
@pytest.mark.parametrize(
    "location",
    [
        "",
        "[net_processing.cpp:4067] [ProcessMessage] ",
        "[./src/net_processing.cpp:4067] [virtual void {anonymous}::PeerManagerImpl::ProcessMessage(CNode&, string&)] ",
        "[net.h:7] [void f(Span<T>) [with T = unsigned char; U = int]] ",
    ],
)
@pytest.mark.parametrize("category", ["", "[net] ", "[net:debug] ", "[all:info] ", "[warning] "])
def test_prefixes_stand_in_any_combination(
    tmp_path: Path, mark: str, micros: str, thread: str, location: str, category: str
) -> None:
    stamp = f"2026-01-21T12:53:55{micros}Z "
    tip = f"UpdateTip: new best={'ab' * 32} height=7 version=0x2 log2_work=9.1 tx=5 date='x'"
    lines = ["Misbehaving: peer=5: spam", tip, f"[background validation] {tip}", "[net] Misbehaving: peer=6: spam"]
    text = "".join(f"{mark}{stamp}{thread}{location}{category}{line}\n" for line in lines[: 3 if category else 4])
    kinds = sorted(str(row["kind"]) for row in read_text(tmp_path, text))
    assert kinds == ["log:misbehaving", *([] if category else ["log:misbehaving"]), "log:tip"]


def test_a_byte_order_mark_hides_no_line(tmp_path: Path) -> None:
    path = tmp_path / "debug.log"
    path.write_bytes(b"\xef\xbb\xbf" + f"{STAMP} Bitcoin Core version v31.0.0 (release build)\n".encode())
    assert [row["kind"] for row in read(path)[0]] == ["node:started"]


def _write(folder: Path, version: tuple[int, int], text: str) -> Path:
    for name in FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    (folder / "src/net.cpp").write_text(text)
    major, minor = version
    (folder / "CMakeLists.txt").write_text(f"set(CLIENT_VERSION_MAJOR {major})\nset(CLIENT_VERSION_MINOR {minor})\n")
    return folder


CHANGE = "a" * 12
MADE_UP = (
    form(
        "old", b"old", b"old", "tip", ("log:tip",), "net.cpp", Wording("old % line", "old 1 line", "", f"26 {CHANGE}")
    ),
    form("new", b"new", b"new", "tip", ("log:tip",), "net.cpp", Wording("new % line", "new 1 line", f"26 {CHANGE}")),
)


@pytest.mark.parametrize(
    ("version", "text", "names"),
    [
        ((25, 0), 'LogPrint("old %s line\\n", x);', []),
        ((26, 1), 'LogDebug(BCLog::NET, "new " /* Continued */ "%i line", x);', []),
        ((26, 1), 'LogDebug(BCLog::NET, "new other %i line", x); // "new %d line"', ["new"]),
        ((24, 99), "", ["old"]),
        ((25, 99), "", []),  # the release that it changed in: a plain copy cannot tell
        ((31, 99), "", ["new"]),
    ],
)
def test_the_check_names_rows_that_a_tree_lacks(
    tmp_path: Path, version: tuple[int, int], text: str, names: list[str]
) -> None:
    rows = missing(MADE_UP, CoreSource(_write(tmp_path, version, text)))
    assert [row.split()[1] for row in rows] == names


def test_the_check_reads_a_bare_repository_and_trusts_its_history(tmp_path: Path) -> None:
    tree = _write(tmp_path / "tree", (25, 99), 'LogDebug(BCLog::NET, "new %i line", x);')
    git = ["git", "-C", str(tree), "-c", "user.name=x", "-c", "user.email=x@example.org"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "x"]):
        subprocess.run([*git, *command], check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout[:12]
    bare = tmp_path / "bare"
    subprocess.run(["git", "clone", "-q", "--bare", str(tree), str(bare)], check=True)
    begun = [one.wordings[0]._replace(since=f"26 {commit}") for one in MADE_UP]
    forms = [
        form(w.line[:3], b"x", b"x", "tip", ("log:tip",), "net.cpp", w) for w in (begun[1], begun[0]._replace(until=""))
    ]
    assert [row.split()[1] for row in missing(forms, CoreSource(bare))] == ["old"]


def test_a_folder_without_source_is_named(tmp_path: Path) -> None:
    with pytest.raises(WatchdogError, match="holds no source of Bitcoin Core"):
        CoreSource(tmp_path)


def test_strings_are_joined_and_comments_are_none() -> None:
    source = """f("a %s" /* "b" */ " c\\n", 'x'); // "d"\nstrprintf("%.1fMiB(%utxo) \\"%s\\"", 1)"""
    assert strings_of(source) == {"a % c", '%MiB(%txo) \\"%\\"'}


@pytest.mark.skipif(not SOURCE, reason="WATCHDOG_CORE_SOURCE names no copy of Bitcoin Core's source")
def test_core_s_source_has_every_row_of_the_table() -> None:
    command = [sys.executable, "-m", "watchdog.sources.core_log"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
