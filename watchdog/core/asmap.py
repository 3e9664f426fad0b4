"""Bitcoin Core's asmap format: which AS announces an address.

The file is a program over the bits of an address (Bitcoin Core src/util/asmap.cpp): RETURN an
AS, JUMP if the next bit is set, MATCH bits or return the default, set the DEFAULT. It is
unfolded once, all branches of one depth together, into the sorted list of addresses where the
AS changes; a look-up of many addresses is then one binary search.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from watchdog.core.errors import SourceError

Words = NDArray[np.uint64]
Positions = NDArray[np.int64]

# src/util/asmap.cpp: TYPE_BIT_SIZES, ASN_BIT_SIZES, MATCH_BIT_SIZES, JUMP_BIT_SIZES and the least values
_TYPE_SIZES = (0, 0, 1)
_AS_SIZES = tuple(range(15, 25))
_MATCH_SIZES = tuple(range(1, 9))
_JUMP_SIZES = tuple(range(5, 31))
_RETURN, _JUMP, _MATCH, _DEFAULT = range(4)
_IP_BITS = 128
_MAX_BYTES = 1 << 26  # 64 MiB; the map of the whole internet has 1.5 MB
_MAX_STEPS = 2 * _IP_BITS + 2  # every JUMP and MATCH takes a bit, with at most one DEFAULT before it
_MAX_PADDING = 7


class _CorruptError(Exception):
    """What is wrong with the program."""


@dataclass(slots=True)
class _Branches:
    """Branches of equal step count: bit position in the file, address prefix, its length, default AS."""

    position: Positions
    high: Words
    low: Words
    depth: Positions
    default: Words

    def take(self, chosen: NDArray[np.bool_]) -> _Branches:
        position, high, low, depth, default = self.columns()
        return _Branches(position[chosen], high[chosen], low[chosen], depth[chosen], default[chosen])

    def columns(self) -> tuple[Positions, Words, Words, Positions, Words]:
        return self.position, self.high, self.low, self.depth, self.default


class _Program:
    """The bits of the file, read at many positions at once."""

    def __init__(self, raw: bytes) -> None:
        self.size = len(raw) * 8
        bits = np.unpackbits(np.frombuffer(raw, np.uint8), bitorder="little")
        self._packed = np.concatenate((np.packbits(bits), np.zeros(16, np.uint8)))
        # every byte position as the start of a big-endian word: overlapping views, nothing is copied
        self._words = np.ndarray((len(raw) + 8,), ">u8", self._packed, strides=(1,))

    def numbers(self, position: Positions, least: int, sizes: tuple[int, ...]) -> tuple[Words, Positions]:
        """The variable-length number at each position, and the position after it.

        Ones choose the class (`sizes` are its mantissa bits), a zero ends them except in the last class.
        """
        word = self._words[np.minimum(position >> 3, len(self._words) - 1)].astype(np.uint64)
        word <<= (position & 7).astype(np.uint64)
        # leading ones: the exponent of the inverse, exact in 53 bits
        ones = 53 - np.frexp((~word >> np.uint64(11)).astype(np.float64))[1]
        last = len(sizes) - 1
        ones = np.minimum(ones, last)
        table = np.array(sizes, np.int64)
        base = np.concatenate(([0], np.cumsum(1 << table)[:-1])) + least
        skip = ones + (ones < last)
        mantissa = table[ones]
        value = (word << skip.astype(np.uint64)) >> np.uint64(1) >> (63 - mantissa).astype(np.uint64)
        end = position + skip + mantissa
        if np.any(end > self.size):
            raise _CorruptError("an instruction runs past the end")
        return value + base[ones].astype(np.uint64), end

    def padded_from(self, position: int) -> bool:
        """Whether only a few zero bits follow."""
        rest = np.unpackbits(self._packed[position >> 3 :])[position & 7 : self.size - (position & ~7)]
        return len(rest) <= _MAX_PADDING and not rest.any()


def _placed(branches: _Branches, value: Words, length: Positions) -> tuple[Words, Words]:
    """Prefixes with `length` bits of `value` appended: high and low halves of the address."""
    shift = _IP_BITS - branches.depth - length
    into_low = np.where(shift < 64, value << np.minimum(shift, 63).astype(np.uint64), np.uint64(0))
    up, down = np.clip(shift - 64, 0, 63).astype(np.uint64), np.clip(64 - shift, 0, 63).astype(np.uint64)
    into_high = np.where(shift >= 64, value << up, np.where(shift > 0, value >> down, np.uint64(0)))
    return branches.high | into_high, branches.low | into_low


class _Unfolding:
    """Runs all branches at once; collects where the AS changes and which bits were instructions."""

    def __init__(self, program: _Program) -> None:
        self.program = program
        self.changes: list[tuple[Words, Words, Words]] = []
        self.instructions: list[tuple[Positions, Positions]] = []
        self.seen = 0

    def run(self) -> None:
        zero, word = np.zeros(1, np.int64), np.zeros(1, np.uint64)
        branches = _Branches(zero, word, word, zero, word)
        for _ in range(_MAX_STEPS):
            if not len(branches.position):
                return
            branches = self._step(branches)
        raise _CorruptError("it does not end")

    def _step(self, branches: _Branches) -> _Branches:
        self.seen += len(branches.position)
        if self.seen > self.program.size:  # a sane file visits an instruction once
            raise _CorruptError("jumps cross")
        starts = branches.position
        opcode, branches.position = self.program.numbers(starts, 0, _TYPE_SIZES)
        actions = ((_RETURN, self._return), (_JUMP, self._jump), (_MATCH, self._match), (_DEFAULT, self._set))
        following = [
            act(branches.take(opcode == code), starts[opcode == code])
            for code, act in actions
            if np.any(opcode == code)
        ]
        joined = [np.concatenate(parts) for parts in zip(*(part.columns() for part in following), strict=True)]
        return _Branches(*joined)

    def _return(self, branches: _Branches, starts: Positions) -> _Branches:
        number, end = self.program.numbers(branches.position, 1, _AS_SIZES)
        self.instructions.append((starts, end))
        self.changes.append((branches.high, branches.low, number))
        return branches.take(np.zeros(len(end), np.bool_))

    def _set(self, branches: _Branches, starts: Positions) -> _Branches:
        number, end = self.program.numbers(branches.position, 1, _AS_SIZES)
        self.instructions.append((starts, end))
        return _Branches(end, branches.high, branches.low, branches.depth, number)

    def _jump(self, branches: _Branches, starts: Positions) -> _Branches:
        offset, end = self.program.numbers(branches.position, 17, _JUMP_SIZES)
        self.instructions.append((starts, end))
        target = end + offset.astype(np.int64)
        if np.any(branches.depth >= _IP_BITS) or np.any(target >= self.program.size):
            raise _CorruptError("a jump leads out of the file or past the last bit of an address")
        one = np.ones(len(end), np.int64)
        high, low = _placed(branches, one.astype(np.uint64), one)
        return _Branches(
            np.concatenate((end, target)),
            np.concatenate((branches.high, high)),
            np.concatenate((branches.low, low)),
            np.concatenate((branches.depth, branches.depth)) + 1,
            np.concatenate((branches.default, branches.default)),
        )

    def _match(self, branches: _Branches, starts: Positions) -> _Branches:
        number, end = self.program.numbers(branches.position, 2, _MATCH_SIZES)
        self.instructions.append((starts, end))
        length = np.frexp(number.astype(np.float64))[1].astype(np.int64) - 1
        if np.any(branches.depth + length > _IP_BITS):
            raise _CorruptError("a match runs past the last bit of an address")
        top = np.uint64(1) << length.astype(np.uint64)
        bits = number ^ top
        below, above = bits > 0, bits + np.uint64(1) < top
        self.changes.append((branches.high[below], branches.low[below], branches.default[below]))
        high, low = _placed(branches, bits + np.uint64(1), length)
        self.changes.append((high[above], low[above], branches.default[above]))
        high, low = _placed(branches, bits, length)
        return _Branches(end, high, low, branches.depth + length, branches.default)

    def check_tiling(self) -> None:
        """Instructions must cover the file without overlap, up to a few zero bits (as SanityCheckASMap asks)."""
        starts = np.concatenate([start for start, _ in self.instructions])
        ends = np.concatenate([end for _, end in self.instructions])
        order = np.argsort(starts)
        if np.any(starts[order][1:] != ends[order][:-1]):
            raise _CorruptError("it has code that is never reached, or reached twice")
        if not self.program.padded_from(int(ends.max())):
            raise _CorruptError("something follows its end")


class Asmap:
    """An unfolded map. Memory: about 20 bytes for each change of AS, some 15 MB for the whole internet."""

    def __init__(self, raw: bytes) -> None:
        """`raw` is the file; ValueError when it is not a sane map."""
        unfolding = _Unfolding(_Program(raw))
        try:
            unfolding.run()
            unfolding.check_tiling()
        except _CorruptError as error:
            raise ValueError(str(error)) from None
        high, low, number = (np.concatenate(parts) for parts in zip(*unfolding.changes, strict=True))
        order = np.lexsort((low, high))
        self._high, self._low, self._number = high[order], low[order], number[order].astype(np.uint32)
        self._within = self._low != 0  # the AS changes within the 2**64 addresses of one high half

    @classmethod
    def load(cls, path: str) -> Asmap:
        """Read a file; SourceError when it is missing, empty, too large or not a sane map."""
        try:
            size = Path(path).stat().st_size
            raw = Path(path).read_bytes() if 0 < size <= _MAX_BYTES else b""
        except OSError as error:
            raise SourceError(f"asmap {path!r}: {(error.strerror or str(error)).lower()}") from None
        if not raw:
            raise SourceError(f"asmap {path!r}: size {size} bytes, should be 1 to {_MAX_BYTES}")
        try:
            return cls(raw)
        except ValueError as error:
            raise SourceError(f"asmap {path!r}: not a map in Bitcoin Core's format: {error}") from None

    def lookup(self, high: Words, low: Words) -> NDArray[np.uint32]:
        """AS numbers of addresses given as halves (uint64[n], big-endian; IPv4 as ::ffff:a.b.c.d); 0 = none.

        Any address is looked up as it is; Core asks for routable ones only, see `Enricher.asns`.
        """
        found = np.searchsorted(self._high, high, side="right") - 1
        inner = (self._high[found] == high) & self._within[found]
        for half in np.unique(high[inner]).tolist():
            chosen = inner & (high == half)
            first = int(np.searchsorted(self._high, np.uint64(half), side="left"))
            stop = int(np.searchsorted(self._high, np.uint64(half), side="right"))
            found[chosen] = first + np.searchsorted(self._low[first:stop], low[chosen], side="right") - 1
        return self._number[found]
