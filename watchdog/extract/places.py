"""Where the arguments of a tracepoint are when it is hit: the descriptors as the BPF program reads them."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Mapping, Sequence
from ctypes import c_longlong, c_ubyte, c_uint, c_ushort
from dataclasses import dataclass, replace
from typing import Final

from watchdog.extract.descriptors import MOST, Argument
from watchdog.extract.elf import Probe, TracedBinary

CONSTANT, REGISTER, MEMORY = 0, 1, 2  # as in bpf/record.h
X86_64, AARCH64 = "EM_X86_64", "EM_AARCH64"

# struct pt_regs, arch/x86/include/asm/ptrace.h: bytes from its start
_X86_WHOLE: Final = (
    "r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx", "rsi", "rdi", "", "rip",
    "", "", "rsp",
)  # fmt: skip


def _x86_registers() -> dict[str, int]:
    """Return each register, under all names that it has for its lower parts."""
    found = {name: 8 * at for at, name in enumerate(_X86_WHOLE) if name}
    for letter in "abcd":
        for name in (f"e{letter}x", f"{letter}x", f"{letter}l"):
            found[name] = found[f"r{letter}x"]
    for pair in ("si", "di", "bp", "sp"):
        for name in (f"e{pair}", pair, f"{pair}l"):
            found[name] = found[f"r{pair}"]
    for number in range(8, 16):
        for suffix in "dwb":
            found[f"r{number}{suffix}"] = found[f"r{number}"]
    return found


def _arm_registers() -> dict[str, int]:
    """Return each register of struct user_pt_regs, arch/arm64/include/uapi/asm/ptrace.h."""
    found = {f"{letter}{number}": 8 * number for letter in "xw" for number in range(31)}
    return found | {"fp": 8 * 29, "lr": 8 * 30, "sp": 8 * 31, "wsp": 8 * 31}


_REGISTERS: Final[Mapping[str, Mapping[str, int]]] = {X86_64: _x86_registers(), AARCH64: _arm_registers()}
_NUMBER: Final = r"[+-]?(?:0x[0-9a-fA-F]+|[0-9]+)"
_X86_MEMORY: Final = re.compile(rf"({_NUMBER}(?:[+-][0-9]+)*)?\((%\w+)?(?:,(%\w+)(?:,([1248]))?)?\)")
_ARM_MEMORY: Final = re.compile(rf"\[(\w+)(?:, ?#?({_NUMBER}))?(?:, ?(x\w+)(?:, ?lsl ?#?([0-3]))?)?\]")
_CONSTANT: Final = re.compile(rf"[$#]?({_NUMBER})")


@dataclass(frozen=True, slots=True)
class ArgumentPlace:
    """One argument. base, index: of registers in struct pt_regs, in bytes. scale: shift of the index plus one, 0: none.

    shift: bits of 64 that do not belong to it.
    """

    what: int
    offset: int = 0
    base: int = 0
    index: int = 0
    scale: int = 0
    shift: int = 0
    signed: bool = False


@dataclass(frozen=True, slots=True)
class Site:
    """One place of a tracepoint. offset, semaphore: in the file, bytes; semaphore 0 for none."""

    offset: int
    semaphore: int
    arguments: tuple[ArgumentPlace, ...]


class PlaceStruct(ctypes.Structure):
    """struct place of record.h."""

    _fields_ = (
        ("offset", c_longlong),
        ("base", c_ushort),
        ("index", c_ushort),
        ("what", c_ubyte),
        ("shift", c_ubyte),
        ("scale", c_ubyte),
        ("is_signed", c_ubyte),
    )


class SiteStruct(ctypes.Structure):
    """struct site of record.h."""

    _fields_ = (("arguments", PlaceStruct * MOST), ("slot", c_uint), ("count", c_uint))


def site_struct(site: Site, slot: int) -> SiteStruct:
    """Return a site as the program's map holds it."""
    made = SiteStruct(slot=slot, count=len(site.arguments))
    for at, one in enumerate(site.arguments):
        made.arguments[at] = PlaceStruct(
            one.offset, one.base, one.index, one.what, one.shift, one.scale, int(one.signed)
        )
    return made


def sites_of(binary: TracedBinary, probes: Sequence[Probe]) -> tuple[Site, ...] | str:
    """Return where a tracepoint is attached, or why it cannot be."""
    found = []
    for probe in probes:
        offset = binary.file_offset(probe.location)
        semaphore = binary.file_offset(probe.semaphore) if probe.semaphore else 0
        if offset is None or semaphore is None:
            return "its place is not in the file"
        places = []
        for number, argument in enumerate(probe.arguments, 1):
            place = place_of(argument, binary.machine)
            if place is None:
                return f"argument {number} is at '{argument.place}', which cannot be read"
            places.append(place)
        found.append(Site(offset, semaphore, tuple(places)))
    return tuple(found)


def place_of(argument: Argument, machine: str) -> ArgumentPlace | None:
    """Return how to read an argument; None for a form that is not known, such as a symbol's address. Total."""
    registers = _REGISTERS.get(machine)
    if registers is None or argument.size not in (1, 2, 4, 8):
        return None
    text, name = argument.place, argument.place.removeprefix("%")
    if constant := _CONSTANT.fullmatch(text):
        found: ArgumentPlace | None = ArgumentPlace(CONSTANT, offset=_wrapped(int(constant[1], 0)))
    elif name in registers:
        found = ArgumentPlace(REGISTER, base=registers[name])
    else:
        found = _memory(text, registers, machine)
    return replace(found, shift=64 - 8 * argument.size, signed=argument.signed) if found is not None else None


def _memory(text: str, registers: Mapping[str, int], machine: str) -> ArgumentPlace | None:
    found = (_X86_MEMORY if machine == X86_64 else _ARM_MEMORY).fullmatch(text)
    if found is None:
        return None
    if machine == X86_64:
        numbers, base, index, factor = found[1] or "0", found[2], found[3], int(found[4] or 1)
        offset = sum(int(one, 0) for one in re.findall(_NUMBER, numbers))
        scale = factor.bit_length() if index else 0
    else:
        base, index = found[1], found[3]
        offset, scale = int(found[2] or "0", 0), int(found[4] or 0) + 1 if index else 0
    names = [name.removeprefix("%") for name in (base, index) if name]
    if base is None or any(name not in registers for name in names):
        return None  # rip and nothing: an address that only the loader knows
    if "rip" in names:
        return None
    return ArgumentPlace(
        MEMORY,
        offset=_wrapped(offset),
        base=registers[names[0]],
        index=registers[names[1]] if index else 0,
        scale=scale,
    )


def _wrapped(value: int) -> int:
    """Return a number as the 64 bits of a signed one."""
    return (value + (1 << 63)) % (1 << 64) - (1 << 63)
