"""Parts of the extractor that need no kernel: places of arguments, filters of calls, losses, plans, /proc."""

from __future__ import annotations

import errno
import os
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.parts import lacking
from watchdog.extract import seccomp
from watchdog.extract.build import READER, build_program, build_reader
from watchdog.extract.descriptors import Argument
from watchdog.extract.libbpf import ExtractError, Libbpf
from watchdog.extract.losses import SHARE_NS, TOO_MUCH, LossShare, LossWatch, gaps
from watchdog.extract.places import AARCH64, CONSTANT, MEMORY, REGISTER, X86_64, ArgumentPlace, place_of
from watchdog.extract.probes import RingCounts
from watchdog.extract.process import Finder, TracedProcess, process_of, written_pid
from watchdog.extract.program import RING_NAMES, Program
from watchdog.extract.reader import RingReader, _library
from watchdog.extract.releases import Input, Tracepoint
from watchdog.extract.rings import number_column, shown, texts_of
from watchdog.extract.slots import TEXT_ROOM, ProbeSlots, plan_of
from watchdog.extract.traced import ending

SECOND_NS = 10**9


@pytest.mark.parametrize(
    ("machine", "text", "size", "signed", "place"),
    [
        (X86_64, "%rax", 8, False, ArgumentPlace(REGISTER, base=80)),
        (X86_64, "%eax", 4, True, ArgumentPlace(REGISTER, base=80, shift=32, signed=True)),
        (X86_64, "%r15d", 4, False, ArgumentPlace(REGISTER, base=0, shift=32)),
        (X86_64, "%sil", 1, False, ArgumentPlace(REGISTER, base=104, shift=56)),
        (X86_64, "$-9", 4, True, ArgumentPlace(CONSTANT, offset=-9, shift=32, signed=True)),
        (X86_64, "$0x10", 8, False, ArgumentPlace(CONSTANT, offset=16)),
        (X86_64, "-1064(%rbp)", 8, True, ArgumentPlace(MEMORY, offset=-1064, base=32, signed=True)),
        (X86_64, "(%rsp)", 8, False, ArgumentPlace(MEMORY, base=152)),
        (X86_64, "8(%rax,%rbx,4)", 8, False, ArgumentPlace(MEMORY, offset=8, base=80, index=40, scale=3)),
        (X86_64, "(%rax,%rbx)", 8, False, ArgumentPlace(MEMORY, base=80, index=40, scale=1)),
        (X86_64, "-8+16(%rbp)", 8, False, ArgumentPlace(MEMORY, offset=8, base=32)),
        (X86_64, "counter(%rip)", 8, False, None),
        (X86_64, "8(%rip)", 8, False, None),
        (X86_64, "8(,%rbx,4)", 8, False, None),
        (X86_64, "%xmm0", 8, False, None),
        (X86_64, "%rax", 16, False, None),
        (AARCH64, "x19", 8, False, ArgumentPlace(REGISTER, base=152)),
        (AARCH64, "w0", 4, True, ArgumentPlace(REGISTER, base=0, shift=32, signed=True)),
        (AARCH64, "[sp, 16]", 8, False, ArgumentPlace(MEMORY, offset=16, base=248)),
        (AARCH64, "[x0, x1, lsl 3]", 8, False, ArgumentPlace(MEMORY, base=0, index=8, scale=4)),
        (AARCH64, "5", 4, False, ArgumentPlace(CONSTANT, offset=5, shift=32)),
        (AARCH64, "%rax", 8, False, None),
        ("EM_RISCV", "%rax", 8, False, None),
    ],
)
def test_places_are_read_as_the_notes_describe_them(
    machine: str, text: str, size: int, signed: bool, place: ArgumentPlace | None
) -> None:
    assert place_of(Argument(size, signed, text), machine) == place


@given(st.text(max_size=60), st.integers(-8, 64), st.booleans(), st.sampled_from([X86_64, AARCH64, "EM_NONE"]))
def test_any_descriptor_gives_a_place_or_none(text: str, size: int, signed: bool, machine: str) -> None:
    found = place_of(Argument(size, signed, text), machine)
    assert found is None or (-(1 << 63) <= found.offset < 1 << 63 and 0 <= found.shift < 64 and found.scale <= 4)


def verdict(machine: str, audit: int, number: int, argument: int = 0) -> int:
    """What the kernel would answer: the filter, run step by step."""
    filtered = seccomp.rules(machine)
    data = struct.pack("=iIQQ", number, audit, 0, argument)
    at = value = 0
    while True:
        code, yes, no, operand = struct.unpack_from("=HBBI", filtered, 8 * at)
        at += 1
        if code == seccomp.RETURN:
            return int(operand)
        if code == seccomp.LOAD:
            value = int.from_bytes(data[operand : operand + 4], "little")
        else:
            met = {
                seccomp.EQUAL: value == operand,
                seccomp.AT_LEAST: value >= operand,
                seccomp.SET: bool(value & operand),
            }[code]
            at += yes if met else no


@pytest.mark.parametrize(("machine", "column"), [("x86_64", 0), ("aarch64", 1)])
def test_the_filter_allows_its_list_and_nothing_else(machine: str, column: int) -> None:
    audit = seccomp.MACHINES[machine]
    allowed = {numbers[column] for numbers in seccomp.CALLS.values()} - {None}
    refused = seccomp.REFUSE | errno.EPERM
    for number in range(600):
        expected = {seccomp.CLONE[column]: refused, seccomp.CLONE3[column]: seccomp.REFUSE | errno.ENOSYS}
        wanted = seccomp.ALLOW if number in allowed else expected.get(number, refused)
        assert verdict(machine, audit, number) == wanted, number
    assert verdict(machine, audit, seccomp.CLONE[column], seccomp.CLONE_THREAD) == seccomp.ALLOW
    assert verdict(machine, audit, seccomp.X32_BIT | 1) == refused
    assert verdict(machine, audit ^ 1, 0) == seccomp.KILL
    forbidden = {"execve", "execveat", "ptrace", "socket", "connect", "kill", "fork", "vfork", "setuid", "mount"}
    assert not forbidden & seccomp.CALLS.keys()


def counts(received: int = 0, lost: dict[str, int] | None = None, payloads: int = 0) -> RingCounts:
    rings = dict.fromkeys(RING_NAMES, 0)
    return RingCounts(rings | {"message": received}, rings | {"4k": payloads}, lost or {}, {}, 0)


def test_losses_are_gaps_between_two_looks() -> None:
    watch = LossWatch(counts(), 1_000)
    assert watch.look(counts(10), 2_000, {}) == []
    found = watch.look(counts(20, {"mempool:added": 3}, payloads=2), 3_000, {"utxocache:add": 1})
    batch = gaps(found, "node", 7)
    rows = {name: column.tolist() for name, column in batch.columns.items()}
    assert rows == {
        "time_ns": [3_000] * 3,
        "from_ns": [2_000] * 3,
        "to_ns": [3_000] * 3,
        "lost": [3, 2, 1],
        "reason": ["ring full", "ring of payloads full", "unreadable"],
        "kinds": ["mempool:added", "p2p", "utxocache:add"],
    }
    assert watch.look(counts(20, {"mempool:added": 3}, payloads=2), 4_000, {}) == []


@pytest.mark.parametrize(("lost", "reported"), [(10, False), (11, True)])
def test_more_than_one_in_a_hundred_for_five_minutes_is_a_gap_of_all_kinds(lost: int, reported: bool) -> None:
    share = LossShare(0)
    assert share.add(990, lost, SHARE_NS - 1) == []
    found = share.add(0, 0, SHARE_NS)
    assert [(one.reason, one.kinds, one.events) for one in found] == ([(TOO_MUCH, "", lost)] if reported else [])
    assert share.add(1_000, 0, 2 * SHARE_NS) == []


def test_plans_place_every_text_and_hash_apart() -> None:
    inputs = (Input("bytes32"), Input("str"), Input("i64"), Input("str"), Input("bytes32"))
    plan = plan_of(Tracepoint("a:b", inputs))
    assert not isinstance(plan, str)
    assert (plan.count, plan.large) == (5, 1)
    assert [8 * plan.place[at] for at in (0, 1, 3, 4)] == [0, 32, 32 + TEXT_ROOM, 32 + 2 * TEXT_ROOM]
    assert isinstance(plan_of(Tracepoint("a:b", (Input("str"),) * 5)), str)
    assert isinstance(plan_of(Tracepoint("a:b", (Input("bytes32"),) * 3)), str)
    assert isinstance(plan_of(Tracepoint("a:b", (Input("i32"),) * 13)), str)


def test_a_tracepoint_keeps_its_slot_and_there_are_not_more_than_the_program_has() -> None:
    slots = ProbeSlots()
    many = {f"a:b{number}": Tracepoint(f"a:b{number}", (Input("i32"),)) for number in range(70)}
    changed, refused = slots.offer(many)
    assert (len(changed), len(refused)) == (64, 6)
    again, _ = slots.offer({"a:b3": Tracepoint("a:b3", (Input("i64"),))})
    assert [slot.number for slot in again] == [3]


def test_a_tracepoint_that_means_something_else_gets_another_slot() -> None:
    slots = ProbeSlots()
    first, _ = slots.offer({"a:b": Tracepoint("a:b", (Input("i32", "x"),)), "a:c": Tracepoint("a:c", ())})
    assert slots.offer({"a:b": Tracepoint("a:b", (Input("i32", "x"),))}) == ([], {})
    again, _ = slots.offer({"a:b": Tracepoint("a:b", (Input("str", "x"),))})
    assert [slot.number for slot in first] == [0, 1]
    assert [slot.number for slot in again] == [2]
    assert sorted(slots.numbered()) == [1, 2]


def test_numbers_that_do_not_fit_become_the_nearest() -> None:
    values = np.array([-1, 0, 5, 1 << 40], np.int64)
    assert number_column(values, Input("u64"), "u32").tolist() == [0xFFFFFFFF, 0, 5, 0xFFFFFFFF]
    assert number_column(values, Input("i64"), "i32").tolist() == [-1, 0, 5, 0x7FFFFFFF]
    assert number_column(values, Input("bool"), "bool").tolist() == [True, False, True, True]
    assert number_column(values[2:3], Input("u64", factor=1_000), "u64").tolist() == [5_000]


def test_texts_that_look_the_same_share_a_code_and_missing_ones_are_empty() -> None:
    raw = (b"\x1b", rb"\x1b", b"plain")
    column = texts_of(np.array([0, 1, -1, 2, 0], np.int32), tuple(shown(one, False) for one in raw))
    assert column.tolist() == ["\\x1b", "\\x1b", "", "plain", "\\x1b"]
    assert len(set(column.values)) == len(column.values)


def test_a_pid_file_is_read_with_care(tmp_path: Path) -> None:
    path = tmp_path / "bitcoind.pid"
    assert written_pid(path) is None
    path.write_bytes(b"")
    assert written_pid(path) is None
    path.write_bytes(b"4711\n")
    assert written_pid(path) == 4711
    for content in (b"-1", b"0", b"x" * 1_000, b"99999999999", "²".encode()):
        path.write_bytes(content)
        with pytest.raises(ExtractError, match="no process number"):
            written_pid(path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ExtractError, match="not an ordinary file"):
        written_pid(path)


def test_this_process_is_found_with_its_start_and_program() -> None:
    own = process_of(os.getpid())
    assert own is not None
    assert own.user == os.geteuid()
    assert own.program == str(Path("/proc/self/exe").readlink())
    assert process_of(1 << 22) is None
    assert Finder(os.getpid(), None, None).find() == own


def test_a_successor_began_after_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    finder = Finder(1, None, None)
    last = TracedProcess(1, 100, 1, 5, "/usr/bin/bitcoind", "bitcoind")
    finder.note(last)
    monkeypatch.setattr(
        Finder, "_alike", lambda _: iter([replace(last, pid=2, ticks=150), replace(last, pid=3, ticks=260)])
    )
    monkeypatch.setattr("watchdog.extract.process.process_of", lambda _: None)
    finder.ended(2 * SECOND_NS)
    found = finder.find()
    assert found is not None
    assert found.pid == 3


def test_how_a_process_ended_is_said_in_words() -> None:
    assert [ending(code) for code in (0, 1 << 8, 9, 0x80 | 6)] == [
        "shutdown", "exit code 1", "killed by signal 9", "killed by signal 6",
    ]  # fmt: skip


def test_what_is_missing_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    nowhere = tmp_path / "nothing"
    with monkeypatch.context() as patch:
        patch.setattr("watchdog.extract.program.PROGRAM", nowhere)
        with pytest.raises(ExtractError, match="install clang and libbpf-dev"):
            Program()
    with monkeypatch.context() as patch:
        patch.setattr("watchdog.extract.program.PROGRAM", Path(__file__))
        patch.setattr("watchdog.extract.program.BTF", nowhere)
        with pytest.raises(ExtractError, match=r"this kernel has no BTF .*CONFIG_DEBUG_INFO_BTF"):
            Program()
    with monkeypatch.context() as patch:
        patch.setattr("watchdog.extract.libbpf.LIBRARY", "libbpf.so.99")
        with pytest.raises(ExtractError, match=r"libbpf.so.99 cannot be used .*install libbpf1"):
            Libbpf(str, 0)
    with monkeypatch.context() as patch:
        patch.setattr("watchdog.extract.reader.READER", nowhere)
        _library.cache_clear()
        with pytest.raises(ExtractError, match="install a C compiler"):
            RingReader.log()
    _library.cache_clear()


def test_a_program_of_other_source_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "broken.bpf.o"
    broken.write_bytes(b"\x7fELF" + bytes(200))
    monkeypatch.setattr("watchdog.extract.program.PROGRAM", broken)
    if not READER.exists():
        lacking("the reader was not built")
    with pytest.raises(ExtractError, match=r"the BPF program cannot be loaded|libbpf.so.1 cannot be used|no BTF"):
        Program()


def test_a_compiler_that_fails_leaves_no_old_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made = tmp_path / "old.o"
    made.write_bytes(b"old")
    assert build_program(made, clang="/nonexistent/clang").startswith("/nonexistent/clang: ")
    assert not made.exists()
    made.write_bytes(b"old")
    source = tmp_path / "wrong.bpf.c"
    source.write_text("int main(void) { return nothing; }", encoding="ascii")
    if "No such file" in (problem := build_program(made, source=source)):
        lacking(problem)
    assert "error" in problem
    assert not made.exists()
    monkeypatch.setenv("CC", "false")
    assert build_reader(made) == "false failed"
