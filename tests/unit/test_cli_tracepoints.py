"""`watchdog tracepoints`: what it prints for nodes, foreign programs and nonsense."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import pytest

from tests.support.declared import only_here
from tests.support.elf_files import Note, elf, written
from tests.support.parts import lacking
from tests.support.traced_node import TracedNode, traced_binary
from tests.unit.test_source_paths import as_nobody
from watchdog.cli.main import main
from watchdog.extract.releases import CORE_KINDS


def test_a_node_is_listed_with_types_places_and_kinds(capsys: pytest.CaptureFixture[str]) -> None:
    path = traced_binary()
    assert main(["tracepoints", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{path}: ")
    assert lines[0].endswith("release v30.0.0, 22 tracepoints at 24 places")
    at = next(number for number, line in enumerate(lines) if line.startswith("net:inbound_message  (semaphore 0x"))
    assert lines[at].endswith(", 2 places)")
    words = [line.split() for line in lines[at + 1 : at + 7]]
    assert [(word[0], word[1]) for word in words] == [
        ("1", "i64"), ("2", "u64"), ("3", "u64"), ("4", "u64"), ("5", "u64"), ("6", "u64"),
    ]  # fmt: skip
    assert [word[-2:] for word in words][1] == ["str", "peer"]
    assert "lacks: none" in lines
    assert f"gives: {', '.join(CORE_KINDS)}" in lines


def test_an_unknown_tracepoint_comes_with_the_declaration_to_paste(capsys: pytest.CaptureFixture[str]) -> None:
    with TracedNode(fibre=True) as node:
        assert main(["tracepoints", "--pid", str(node.pid)]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"process {node.pid}, {node.binary}: ")
    assert (
        "\ntracepoints:\n  udp:block_race_time: [arg1: u64, arg2: i32, arg3: i64, arg4: u64, arg5: i64, arg6: u64]\n"
        in text
    )


def test_json_says_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    probes = [
        Note("mempool", "rejected", "8@%rax 8@-16(%rbp)"),
        Note("net", "inbound_message", "8@%rax"),
        Note("a", "b", "4@$7"),
    ]
    path = written(tmp_path / "bitcoind", elf(probes, strings=b"\0v25.0\0"))
    assert main(["tracepoints", "--json", str(path)]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["release"] == {"text": "v25.0", "low": 25, "high": 25}
    assert data["gives"] == ["mempool:rejected"]
    assert "mempool:added" in data["lacks"]
    message, rejected, unknown = data["probes"]
    assert message["fault"] == "it has 1 arguments, releases v25.0 have 6 arguments"
    assert rejected["fields"] == ["txid", "reason"]
    assert rejected["places"][0]["arguments"][1] == {
        "type": "u64", "size": 8, "signed": False, "where": "memory", "place": "-16(%rbp)",
    }  # fmt: skip
    assert unknown["declaration"] == "a:b: [arg1: u32]"


def test_hostile_names_do_not_reach_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path / "x", elf([Note("a\x1b[2J", "b\n\u202e", "8@%\x1b]0;x")]))
    for more in ([], ["--json"]):
        assert main(["tracepoints", str(path), *more]) == 0
        text = capsys.readouterr().out
        assert "\x1b" not in text
        assert "\u202e" not in text


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["/bin/true"], "'/bin/true': no tracepoints: it was built without USDT (sys/sdt.h)"),
        (["/dev/null"], "'/dev/null': not an ordinary file"),
        (["/etc/hostname"], "'/etc/hostname': not an ELF binary"),
        (["/no/such"], "'/no/such': no such file or directory"),
        (["--pid", "4194304"], "process 4194304: there is no such process, or it has no program"),
        (["--pid", "-1"], "argument --pid: '-1' is no process id; see 'watchdog tracepoints --help'"),
        (["--pid", "1" * 40], f"argument --pid: '{'1' * 40}' is no process id; see 'watchdog tracepoints --help'"),
    ],
)
def test_anything_else_is_one_line_and_exit_code_2(
    arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tracepoints", *arguments]) == 2
    assert capsys.readouterr().err == f"watchdog: {line}\n"


def test_what_is_declared_is_compared_with_the_binary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fields = "hash: bytes32, height: i32, udp_ns: i64, udp_peer: str, cmpct_ns: i64, cmpct_peer: str"
    tail = "level: i8, x: u32, y: u8, n: u32, z: bytes(n)"
    (tmp_path / "watchdog.yaml").write_text(
        f"tracepoints:\n  udp:block_race_time: [{fields}]\n  udp:block_tail: [{tail}]\n"
    )
    monkeypatch.chdir(tmp_path)
    with only_here():
        assert main(["tracepoints", str(traced_binary(fibre=True))]) == 0
    text = capsys.readouterr().out
    assert "  not read: argument 2 is u16, the declaration says u32\n" in text
    assert ", addrman:move_to_good, udp:block_race_time\n" in text
    assert text.endswith("tracepoints:\n  udp:block_race_winner: [arg1: u64, arg2: i32, arg3: u64, arg4: u64]\n")


def test_a_file_that_this_user_may_not_read_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    if os.geteuid():
        lacking("only root can become another user")
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        path = written(Path(name) / "bitcoind", b"x")
        path.chmod(0o600)
        with TracedNode() as node, as_nobody():
            assert main(["tracepoints", str(path)]) == 2
            assert main(["tracepoints", "--pid", str(node.pid)]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first == f"watchdog: '{path}': permission denied"
    assert second.endswith("this user may not see its program: give the path of the binary instead")
