"""How large an answer may be, by method: a node that is hostile must not fill the memory that all nodes share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from watchdog.core.text import counted


class AnswerBounds(NamedTuple):
    """The most that an answer may have. size: bytes. values: commas, of which each value but the first has one.

    objects: opening braces. A value of two bytes becomes an object of hundreds, so bytes alone bound no memory.
    """

    size: int
    values: int
    objects: int


LARGEST: Final = AnswerBounds(64 << 20, 2_000_000, 200_000)  # a full getrawaddrman: 16 MB, 700,000 and 82,000
OTHERS: Final = AnswerBounds(1 << 20, 100_000, 10_000)  # real ones have a few kB
BOUNDS: Final[Mapping[str, AnswerBounds]] = {
    "getrawaddrman": LARGEST,
    "getpeerinfo": AnswerBounds(32 << 20, 1_000_000, 50_000),  # 5,000 peers: 17 MB, 500,000 and 15,000
    "getchaintips": AnswerBounds(4 << 20, 100_000, 20_000),  # 1,000 tips: 200 kB
    "getorphantxs": AnswerBounds(8 << 20, 500_000, 20_000),  # 3,000 orphans, each from 100 peers: 2 MB and 320,000
}


def bounds_of(method: str) -> AnswerBounds:
    """Return the bounds of a method's answer; those of a small answer for a method without its own."""
    return BOUNDS.get(method, OTHERS)


def excess(body: bytes, bounds: AnswerBounds) -> str:
    """Return how an answer exceeds its bounds, for people; empty when it does not. Nothing is decoded."""
    for count, most, what in (
        (len(body), bounds.size, "byte"),
        (body.count(b","), bounds.values, "value"),
        (body.count(b"{"), bounds.objects, "object"),
    ):
        if count > most:
            return f"an answer of {counted(count, what)}; {most:,} are the limit"
    return ""
