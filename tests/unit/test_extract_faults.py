"""`watchdog extract` as a process: what it refuses and cannot read, declared tracepoints, a clock that is set back."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.extraction import ROOT, Extraction, Reading, public_folder, refusal
from tests.support.parts import lacking, program
from tests.support.traced_node import TracedNode
from tests.support.waiting import wait_until
from watchdog.core.declared import declaration_of

INBOUND = "net:inbound_message"
ADDED = "mempool:added"
LIFE = ("node:started", "node:stopped", "source:gap")
HASH = bytes(range(32))


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that every user may read: the extractor becomes another one."""
    with public_folder() as folder:
        yield folder


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ((), "which node? give one of --pid N, --pidfile FILE, --binary PATH"),
        (("--pid", "4194304"), "there is no process 4194304"),
        (("--pid", "x"), "argument --pid: expected the number of a process, found 'x'"),
        (("--pid", "1", "--pidfile", "x"), "argument --pidfile: not allowed with argument --pid"),
        (("--binary", "/nowhere/bitcoind"), "'/nowhere/bitcoind': no such file or directory"),
        (("--binary", "/bin/true"), "'/bin/true' offers no tracepoint that is known or wanted"),
        (("--binary", "/etc/passwd"), "not an ELF binary"),
        (("--binary", "/bin/true", "--group", "no-such-group"), "there is no group 'no-such-group'"),
        (("--binary", "/bin/true", "--kinds", "mempoll:added"), "unknown kind 'mempoll:added'; did you mean"),
    ],
)
def test_what_cannot_be_is_one_line(public: Path, arguments: tuple[str, ...], line: str) -> None:
    with Extraction(public, *arguments) as extraction:
        assert extraction.process.wait(300) == 2
        last = extraction.text().splitlines()[-1]
    assert last.startswith("watchdog: ")
    assert line in last
    assert "Traceback" not in extraction.text()


def test_a_path_that_is_taken_is_refused(public: Path) -> None:
    with TracedNode() as node, Extraction(public, "--pid", node.pid) as extraction:
        extraction.wait_for("serving at")
        with Extraction(public, "--pid", node.pid) as second:
            assert second.process.wait(300) == 2
            assert "another process serves this socket" in second.text()
        assert extraction.socket.exists()
    extraction.socket.unlink(missing_ok=True)
    extraction.socket.write_text("precious", encoding="ascii")
    with Extraction(public, "--pid", os.getpid()) as third:
        assert third.process.wait(300) == 2
    assert "no socket" in third.text()
    assert extraction.socket.read_text(encoding="ascii") == "precious"


def test_without_the_capabilities_it_names_them() -> None:
    code = """
import watchdog.extract.privileges as privileges
privileges.KEPT = (privileges.CAP_PERFMON,)
privileges.drop(None)
privileges.check_rights()
"""
    if reason := refusal():
        lacking(f"eBPF: {reason}")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert "CAP_BPF missing: run it as root" in done.stderr


DECLARED = (
    declaration_of("udp:block_race_time", [
        ("hash", "bytes32"), ("height", "i32"), ("took_us", "i64"), ("winner", "str"), ("loser_us", "i64"),
        ("loser", "str"),
    ]),
    declaration_of("udp:block_tail", [
        ("change", "i8"), ("port", "u16"), ("part", "u8"), ("size", "u32"), ("data", "bytes(size)"),
    ]),
)  # fmt: skip


def test_tracepoints_of_ones_own_arrive_as_declared(public: Path) -> None:
    with TracedNode(fibre=True) as node, Extraction(public, "--pid", node.pid) as extraction:
        extraction.wait_for("serving at")
        names = [one.kind_name for one in DECLARED]
        with Reading(extraction.socket, *names, ADDED, declared=DECLARED) as reading:
            assert node.probe("udp:block_race_time", HASH, 840_000, 5_000_000, "1.2.3.4:8333", -1, "n/a")
            assert node.probe("udp:block_tail", -3, 65_535, 255, b"\x01\x02")
            assert node.probe(ADDED, HASH, 1, 1)
            raced, tail = reading.rows(names[0]), reading.rows(names[1])
            reading.rows(ADDED)
    assert {name: column.tolist() for name, column in raced.columns.items() if name != "time_ns"} == {
        "hash": [HASH], "height": [840_000], "took_us": [5_000_000], "winner": ["1.2.3.4:8333"], "loser_us": [-1],
        "loser": ["n/a"],
    }  # fmt: skip
    assert {name: column.tolist() for name, column in tail.columns.items() if name != "time_ns"} == {
        "change": [-3], "port": [65_535], "part": [255], "size": [2], "data": [b"\x01\x02"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ([("height", "i32")], "the declaration 1"),
        ([("hash", "bytes32"), ("height", "str"), ("winner", "str"), ("loser", "str")], "not the address of a str"),
        ([("hash", "bytes32"), ("height", "u64"), ("winner", "str"), ("loser", "str")], "the declaration says u64"),
    ],
)
def test_a_declaration_that_does_not_fit_the_probe_refuses_its_reader(
    public: Path, fields: list[tuple[str, str]], line: str
) -> None:
    wrong = declaration_of("udp:block_race_winner", fields)
    missing = declaration_of("udp:never", [("height", "i32")])
    with TracedNode(fibre=True) as node, Extraction(public, "--pid", node.pid) as extraction:
        extraction.wait_for("serving at")
        for declared, why in ((wrong, line), (missing, "the node has no such tracepoint")):
            with pytest.raises(AssertionError, match=why):
                Reading(extraction.socket, declared.kind_name, declared=[declared])
        with Reading(extraction.socket, ADDED) as reading:
            assert node.probe(ADDED, HASH, 1, 1)
            reading.rows(ADDED)


def test_a_clock_that_is_set_back_makes_readers_come_again_with_the_new_time(public: Path) -> None:
    library, offset = public / "set_clock.so", public / "offset"
    source = ROOT / "tests" / "support" / "set_clock.c"
    subprocess.run([program("cc"), "-shared", "-fPIC", "-O1", str(source), "-o", str(library), "-ldl"], check=True)
    offset.write_bytes((0).to_bytes(8, "little", signed=True))
    environment = {"LD_PRELOAD": str(library), "SET_CLOCK": str(offset)}
    with TracedNode() as node, Extraction(public, "--pid", node.pid, environment=environment) as extraction:
        extraction.wait_for("serving at")
        with Reading(extraction.socket, ADDED) as before:
            node.probe(ADDED, HASH, 1, 1)
            earlier_ns = int(before.rows(ADDED).time_ns[0])
            with offset.open("r+b") as file:
                file.write((-3_600 * 10**9).to_bytes(8, "little", signed=True))
            wait_until(lambda: before.reason is not None)
            assert before.reason == "the clock was set back by 3600 s"
        with Reading(extraction.socket, ADDED) as after:
            node.probe(ADDED, HASH, 2, 2)
            later_ns = int(after.rows(ADDED).time_ns[0])
            wait_until(lambda: 0 < after.kept.until_ns < earlier_ns)
            assert 0 < after.kept.until_ns < earlier_ns
    assert abs(later_ns - earlier_ns + 3_600 * 10**9) < 60 * 10**9


def test_what_cannot_be_attached_is_named_and_a_gap_while_it_is_wanted(public: Path) -> None:
    code = (
        "import sys, watchdog.extract.program as program, watchdog.cli.main as main\n"
        "program.is_supported = lambda _: False\n"
        "sys.exit(main.main(sys.argv[1:]))"
    )
    with TracedNode() as node, Extraction(public, "--pid", node.pid, python=("-c", code)) as extraction:
        extraction.wait_for("serving at")
        with Reading(extraction.socket, ADDED, *LIFE) as reading:
            if node.semaphores()[ADDED]:
                pytest.skip("this kernel lets CAP_PERFMON attach place by place")
            extraction.wait_for("mempool:added is not read: attaching: permission denied")
            assert "this kernel asks for CAP_SYS_ADMIN to attach, Linux 6.6 and later do not" in extraction.text()
            gap = reading.rows("source:gap")
            wait_until(lambda: reading.kept.health.get("probes_refused") == 1)
            assert (reading.kept.health["probes_refused"], reading.kept.health["probes"]) == (1, 0)
    assert gap.strings("kinds").tolist()[:1] == [ADDED]
    assert gap.strings("reason").tolist()[:1] == ["not attached"]
    assert 0 < int(gap.numbers("to_ns")[0]) - int(gap.numbers("from_ns")[0]) < 20 * 10**9
