"""Argument descriptors of SystemTap notes (`-4@%eax`, `8@-16(%rbp)`, `1@$1`, `8@[sp, 16]`), as sys/sdt.h writes them.

Grammar: https://sourceware.org/systemtap/wiki/UserSpaceProbeImplementation. The text comes from an untrusted binary.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

PlaceSort = Literal["register", "memory", "constant", "unknown"]

MOST: Final = 12  # arguments of a probe: STAP_PROBE12 is the last macro of sys/sdt.h, and libbpf's limit
LONGEST: Final = 4_096  # characters of all descriptors of a probe; twelve long ones have about 500
SIZES: Final = frozenset({1, 2, 4, 8})  # bytes of an argument that a tracer can read

_ONE: Final = re.compile(r"\s*(?:(?P<size>-?[0-9]{1,2})(?P<float>f?)@)?(?P<place>\[[^\]]*\]|\S+)")
_NUMBER: Final = r"[+-]?(?:0x[0-9a-fA-F]+|[0-9]+)"
_SYMBOL: Final = r"[A-Za-z_.$][\w.$@]*"
_OFFSET: Final = rf"(?:{_NUMBER}|{_SYMBOL})(?:[+-](?:{_NUMBER}|{_SYMBOL}))*"
_X86: Final = r"%[a-z][a-z0-9]{1,4}"
_ARM: Final = r"(?:[xwrv][0-9]{1,2}|sp|wsp|xzr|wzr|fp|lr|ip)"
_PLACES: Final[tuple[tuple[PlaceSort, re.Pattern[str]], ...]] = (
    ("register", re.compile(rf"{_X86}|{_ARM}")),
    ("constant", re.compile(rf"[$#]?{_NUMBER}|\$(?:{_OFFSET})")),
    ("memory", re.compile(rf"(?:{_OFFSET})?\((?:{_X86})?(?:,{_X86}(?:,[1248])?)?\)")),
    ("memory", re.compile(rf"\[{_ARM}(?:, ?(?:[#]?{_NUMBER}|{_ARM}))?(?:, ?(?:lsl|uxtw|sxtw)(?: ?#?[0-9])?)?\]!?")),
    ("memory", re.compile(_OFFSET)),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a probe. size: bytes, 0 where the descriptor does not say. place: the text after `@`.

    floating: a floating-point number, which the extractor does not read.
    """

    size: int
    signed: bool
    place: str
    floating: bool = False

    @property
    def where(self) -> PlaceSort:
        """Where a tracer finds the value; `unknown` for a text that is no descriptor."""
        return next((where for where, form in _PLACES if form.fullmatch(self.place)), "unknown")

    @property
    def type(self) -> str:
        """The type as a declaration has it (`i32`, `u64`); a pointer looks like a `u64`. Empty: not readable."""
        if self.floating or self.size not in SIZES:
            return ""
        return f"{'i' if self.signed else 'u'}{8 * self.size}"


def arguments_of(text: str) -> tuple[Argument, ...]:
    """Return the arguments that a note lists. ValueError: more than twelve, or the text is too long. Total."""
    if len(text) > LONGEST:
        raise ValueError(f"argument list of {len(text)} characters")
    found: list[Argument] = []
    at = 0
    text = text.rstrip()
    while at < len(text) and (one := _ONE.match(text, at)):
        if len(found) == MOST:
            raise ValueError(f"more than {MOST} arguments")
        size = int(one["size"] or 0)
        found.append(Argument(abs(size), size < 0, one["place"], bool(one["float"])))
        at = one.end()
    return tuple(found)
