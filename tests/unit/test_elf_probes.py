"""Reads the tracepoints of binaries: real ones, those of other machines, and hostile ones."""

from __future__ import annotations

import os
import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.elf_files import AARCH64, FILE_BASE, Note, elf, note, written
from tests.support.parts import program
from tests.support.traced_node import TracedNode, traced_binary
from watchdog.core.errors import SourceError
from watchdog.extract.descriptors import Argument, PlaceSort, arguments_of
from watchdog.extract.elf import constant_strings, program_of, read_binary
from watchdog.extract.releases import CORE_KINDS

WHOLE = elf(
    [Note("net", "inbound_message", "-8@%rax 8@-16(%rbp) 8@$0 8@%rdi 8@8(%rsp) 8@%r12")], strings=b"\0v30.1.0\0"
)


@pytest.mark.parametrize(
    ("text", "typ", "where"),
    [
        ("-4@%eax", "i32", "register"),
        ("8@-16(%rbp)", "u64", "memory"),
        ("1@$1", "u8", "constant"),
        ("-8@$-1", "i64", "constant"),
        ("2@%ax", "u16", "register"),
        ("8@(%rdi)", "u64", "memory"),
        ("8@16(%rax,%rbx,8)", "u64", "memory"),
        ("4@counter(%rip)", "u32", "memory"),
        ("-8@counter+8(%rip)", "i64", "memory"),
        ("8@x0", "u64", "register"),
        ("-4@w21", "i32", "register"),
        ("8@[sp, 16]", "u64", "memory"),
        ("-4@[x29, -4]", "i32", "memory"),
        ("8@[x0]", "u64", "memory"),
        ("1@5", "u8", "constant"),
        ("8f@%xmm0", "", "register"),
        ("16@%xmm0", "", "register"),
        ("%eax", "", "register"),
        ("8@((((", "u64", "unknown"),
    ],
)
def test_each_form_of_an_argument_has_its_type_and_place(text: str, typ: str, where: PlaceSort) -> None:
    (one,) = arguments_of(text)
    assert (one.type, one.where) == (typ, where)
    assert one.place == text.partition("@")[2] or "@" not in text


def test_a_list_of_arguments_is_split_at_its_spaces_but_not_within_brackets() -> None:
    assert arguments_of("8@[sp, 16] -4@w1  1@0 ") == (
        Argument(8, False, "[sp, 16]"), Argument(4, True, "w1"), Argument(1, False, "0"),
    )  # fmt: skip
    assert arguments_of("") == arguments_of("  ") == ()


def test_more_than_twelve_arguments_and_endless_lists_are_refused() -> None:
    assert len(arguments_of("8@%rax " * 12)) == 12
    with pytest.raises(ValueError, match="more than 12 arguments"):
        arguments_of("8@%rax " * 13)
    with pytest.raises(ValueError, match="argument list of 70000 characters"):
        arguments_of("8@%rax " * 10_000)


@given(st.text(max_size=300))
def test_any_text_is_read_as_some_arguments_or_refused(text: str) -> None:
    try:
        found = arguments_of(text)
    except ValueError:
        return
    assert all(one.where in {"register", "memory", "constant", "unknown"} for one in found)


def test_a_compiled_program_has_all_tracepoints_of_core() -> None:
    binary = read_binary(traced_binary())
    sites = binary.sites()
    assert set(sites) == set(CORE_KINDS)
    assert not binary.faults
    message = sites["net:inbound_message"]
    assert len(message) == 2, "it has a place for single messages and one for floods"
    for probe in message:
        assert [one.type for one in probe.arguments] == ["i64", "u64", "u64", "u64", "u64", "u64"]
        assert binary.file_offset(probe.location) is not None
    assert [one.type for one in sites["utxocache:flush"][0].arguments] == ["i64", "u32", "u64", "u64", "u8"]
    assert len({probe.semaphore for probe in binary.probes}) == len(CORE_KINDS)


def test_locations_and_semaphores_are_those_of_readelf() -> None:
    path = traced_binary()
    listing = subprocess.run([program("readelf"), "-nW", path], capture_output=True, text=True, check=True).stdout
    numbers = [
        int(line.split("Location: ")[1].split(",")[0], 16) for line in listing.splitlines() if "Location" in line
    ]
    signs = [int(line.split("Semaphore: ")[1], 16) for line in listing.splitlines() if "Semaphore" in line]
    binary = read_binary(path)
    assert [probe.location for probe in binary.probes] == numbers
    assert [probe.semaphore for probe in binary.probes] == signs
    raw = path.read_bytes()
    for probe in binary.probes:
        offset = binary.file_offset(probe.location)
        assert offset is not None
        assert raw[offset] == 0x90, "sys/sdt.h puts a nop there"


def test_a_stripped_program_keeps_its_tracepoints(tmp_path: Path) -> None:
    stripped = tmp_path / "bitcoind"
    subprocess.run([program("strip"), "-o", stripped, traced_binary()], check=True)
    assert read_binary(stripped).probes == read_binary(traced_binary()).probes


def test_a_process_is_read_after_its_file_was_removed(tmp_path: Path) -> None:
    copy = written(tmp_path / "bitcoind", traced_binary().read_bytes())
    copy.chmod(0o755)
    with TracedNode(copy) as node:
        copy.unlink()
        assert set(read_binary(program_of(node.pid)).sites()) == set(CORE_KINDS)


def test_addresses_move_with_the_base(tmp_path: Path) -> None:
    moved = [
        Note("a", "b", "", base=0x1F000),
        Note("a", "b", "", base=0x1F000, semaphore=0),
        Note("a", "b", "", base=0),
    ]
    first, second, third = read_binary(written(tmp_path / "x", elf(moved))).probes
    assert (first.location, first.semaphore) == (0x11010, 0x31000)
    assert (second.location, second.semaphore) == (0x11010, 0)
    assert (third.location, third.semaphore) == (0x10010, 0x30000)


def test_another_machine_is_read_as_well(tmp_path: Path) -> None:
    binary = read_binary(written(tmp_path / "x", elf([Note("net", "x", "8@x0 -4@[sp, 12]")], machine=AARCH64)))
    assert binary.machine == "EM_AARCH64"
    assert [one.place for one in binary.probes[0].arguments] == ["x0", "[sp, 12]"]
    assert binary.file_offset(FILE_BASE + 7) == 7
    assert binary.file_offset(FILE_BASE - 1) is None


def test_notes_of_others_are_passed_over_and_broken_ones_named(tmp_path: Path) -> None:
    short, endless = note(b"\0" * 10), note(b"\0" * 24 + b"no zero byte follows")
    nameless, many = Note("", "x", ""), Note("a", "many", "8@%rax " * 13)
    others = [note(b"x", b"GNU\0"), note(b"x" * 60, kind=9)]
    binary = read_binary(written(tmp_path / "x", elf([*others, short, endless, nameless, many, Note("a", "b", "")])))
    assert [probe.full_name for probe in binary.probes] == ["a:b"]
    assert binary.faults == (
        "a note is not readable: 10 bytes",
        "a note is not readable: its texts do not end",
        "a note is not readable: its name is empty or too long",
        "a note is not readable: more than 12 arguments",
    )


def pipe(path: Path) -> None:
    os.mkfifo(path)


def script(path: Path) -> None:
    path.write_text("#!/bin/sh\n")


def ten_gigabytes(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(10 << 30)


def huge_elf(path: Path) -> None:
    """A file of 10 GB whose section names, notes and tables are claimed to be as large as it."""
    raw = bytearray(WHOLE)
    at = struct.unpack_from("<Q", raw, 40)[0]
    struct.pack_into("<Q", raw, at + 64 + 32, 9 << 30)
    with path.open("wb") as file:
        file.write(raw)
        file.truncate(10 << 30)


def many_sections(path: Path) -> None:
    raw = bytearray(WHOLE)
    struct.pack_into("<H", raw, 60, 0)
    struct.pack_into("<Q", raw, struct.unpack_from("<Q", raw, 40)[0] + 32, 1 << 63)
    path.write_bytes(raw)


def many_segments(path: Path) -> None:
    raw = bytearray(WHOLE)
    struct.pack_into("<H", raw, 56, 0xFFFE)
    path.write_bytes(raw)


def many_probes(path: Path) -> None:
    path.write_bytes(elf([Note("a", "b", "")] * 16_385))


def cut(path: Path) -> None:
    path.write_bytes(WHOLE[:100])


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (Path.mkdir, "not an ordinary file"),
        (pipe, "not an ordinary file"),
        (script, "not an ELF binary"),
        (Path.touch, "not an ELF binary"),
        (ten_gigabytes, "not an ELF binary"),
        (huge_elf, "its ELF tables are damaged: notes of"),
        (many_sections, "its ELF tables are damaged: 9223372036854775808 sections"),
        (many_segments, "its ELF tables are damaged: 65534 segments"),
        (many_probes, "its ELF tables are damaged: more than 16384 probes"),
        (cut, "its ELF tables are damaged"),
        (lambda path: None, "no such file"),
    ],
)  # fmt: skip
def test_what_is_no_binary_is_one_line(make: Callable[[Path], object], reason: str, tmp_path: Path) -> None:
    path = tmp_path / "x"
    make(path)
    start = time.monotonic()
    with pytest.raises(SourceError, match=reason) as caught:
        read_binary(path)
    assert time.monotonic() - start < 60
    assert str(caught.value).startswith(f"'{path}': ")
    assert "\n" not in str(caught.value)


def test_a_name_that_no_file_can_have_is_one_line() -> None:
    with pytest.raises(SourceError, match="no file can have this name"):
        read_binary("a\0b")


def test_a_process_that_does_not_exist_is_one_line() -> None:
    with pytest.raises(SourceError, match="process 4194304: there is no such process"):
        program_of(4_194_304)


def refusal(read: Callable[[Path], object], path: Path) -> str:
    """Why a file is refused; empty when it is read."""
    try:
        read(path)
    except SourceError as error:
        return str(error)
    return ""


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), max_size=12), st.integers(0, len(WHOLE))
)
def test_any_damage_ends_with_probes_or_one_line(tmp_path: Path, changes: list[tuple[int, int]], length: int) -> None:
    raw = bytearray(WHOLE)
    for at, value in changes:
        raw[at] = value
    path = written(tmp_path / "x", bytes(raw[: length or len(raw)]))
    for read in (read_binary, constant_strings):
        assert "\n" not in refusal(read, path)
