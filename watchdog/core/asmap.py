"""Bitcoin Core's asmap format: which AS announces an address.

The file is a program over the bits of an address: RETURN an
AS, JUMP if the next bit is set, MATCH bits or return the default, set the DEFAULT. It is
unfolded once, many branches at a time, into the sorted list of addresses where the AS changes; a
look-up of many addresses is then one binary search.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from watchdog.core.arrays import Words
from watchdog.core.core_constants import ASN_BIT_SIZES, JUMP_BIT_SIZES, MATCH_BIT_SIZES, TYPE_BIT_SIZES
from watchdog.core.errors import SourceError

Positions = NDArray[np.int64]

_RETURN, _JUMP, _MATCH, _DEFAULT = range(4)
_IP_BITS = 128
_MAX_BYTES = 1 << 23  # 8 MiB; the map of the whole internet has 1.5 MB
_MOST_TIMES, _SMALL = 12, 1 << 16  # memory while parsing: at most this multiple of the file, or of 64 kB
_LOW_BYTES, _ANY_BYTES = 12, 20  # for a change of AS: below 2**64, and at any other address
_SORT_BYTES = 16  # more for each while they are sorted
_AT_ONCE = 4_096  # branches in one step; at most this number waits for each bit of an address
_REVERSED = np.packbits(np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little")).tobytes()
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
        self._packed = np.frombuffer(raw.translate(_REVERSED) + bytes(16), np.uint8)
        # every byte position as the start of a big-endian word: overlapping views, nothing is copied
        self._words = np.ndarray((len(raw) + 8,), ">u8", self._packed, strides=(1,))

    def numbers(self, position: Positions, least: int, sizes: tuple[int, ...]) -> tuple[Words, Positions]:
        """Return the variable-length number at each position, and the position after it.

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
        """Return whether only a few zero bits follow."""
        if self.size - position > _MAX_PADDING:
            return False
        rest = np.unpackbits(self._packed[position >> 3 :])[position & 7 : self.size - (position & ~7)]
        return not rest.any()


def _placed(branches: _Branches, value: Words, length: Positions) -> tuple[Words, Words]:
    """Append `length` bits of `value` to the prefixes; return the high and low halves of the addresses."""
    shift = _IP_BITS - branches.depth - length
    into_low = np.where(shift < 64, value << np.minimum(shift, 63).astype(np.uint64), np.uint64(0))
    up, down = np.clip(shift - 64, 0, 63).astype(np.uint64), np.clip(64 - shift, 0, 63).astype(np.uint64)
    into_high = np.where(shift >= 64, value << up, np.where(shift > 0, value >> down, np.uint64(0)))
    return branches.high | into_high, branches.low | into_low


class _Bits:
    """A set of bit positions, an eighth of a byte each."""

    def __init__(self, size: int) -> None:
        self._bytes = np.zeros((size >> 3) + 2, np.uint8)

    def add(self, positions: Positions) -> bool:
        """Add them; False when one is there already."""
        byte, bit = positions >> 3, (1 << (positions & 7)).astype(np.uint8)
        if np.any(self._bytes[byte] & bit) or len(np.unique(positions)) != len(positions):
            return False
        np.bitwise_or.at(self._bytes, byte, bit)
        return True

    def equals(self, other: _Bits) -> bool:
        return bool(np.array_equal(self._bytes, other._bytes))


class _Boundaries:
    """Where the AS changes: address halves and AS number, in parts as they were found.

    IPv4 addresses are below 2**64 and a good half of every map: they need no high half.
    """

    def __init__(self, size: int) -> None:
        self._left = _MOST_TIMES * max(size, _SMALL) - size
        self._many = [0, 0]
        self.below: list[tuple[Words, NDArray[np.uint32]]] = []
        self.above: list[tuple[Words, Words, NDArray[np.uint32]]] = []

    def add(self, high: Words, low: Words, number: Words) -> None:
        """Take them over; a map that has far more of them than bytes is none of the internet."""
        if not len(high):
            return
        first = high == 0
        small = number.astype(np.uint32)
        self.below.append((low[first], small[first]))
        self.above.append((high[~first], low[~first], small[~first]))
        self._many[0] += int(np.count_nonzero(first))
        self._many[1] += len(first) - int(np.count_nonzero(first))
        needed = _LOW_BYTES * self._many[0] + _ANY_BYTES * self._many[1] + _SORT_BYTES * max(self._many)
        if needed > self._left:
            raise _CorruptError("it has too many changes of AS for its size")


class _Unfolding:
    """Follows branches, the newest first and many at a time; collects where the AS changes and which bits it used."""

    def __init__(self, program: _Program) -> None:
        self.program = program
        self.changes = _Boundaries(program.size >> 3)
        self._starts, self._ends = _Bits(program.size), _Bits(program.size)
        self._last = 0

    def run(self) -> None:
        """Run all branches to their ends: every jump leads forward and no bit is read twice."""
        zero, word = np.zeros(1, np.int64), np.zeros(1, np.uint64)
        waiting = [_Branches(zero, word, word, zero, word)]
        while waiting:
            chosen = [waiting.pop()]
            while waiting and sum(len(each.position) for each in chosen) < _AT_ONCE:
                chosen.append(waiting.pop())
            branches = _joined(chosen)
            if len(branches.position) > _AT_ONCE:
                kept = np.arange(len(branches.position)) < len(branches.position) - _AT_ONCE
                waiting.append(branches.take(kept))
                branches = branches.take(~kept)
            following = self._step(branches)
            if len(following.position):
                waiting.append(following)

    def _step(self, branches: _Branches) -> _Branches:
        starts = branches.position
        if not self._starts.add(starts):
            raise _CorruptError("jumps cross")
        opcode, branches.position = self.program.numbers(starts, 0, TYPE_BIT_SIZES)
        actions = ((_RETURN, self._return), (_JUMP, self._jump), (_MATCH, self._match), (_DEFAULT, self._set))
        return _joined([act(branches.take(opcode == code)) for code, act in actions if np.any(opcode == code)])

    def _used(self, end: Positions) -> None:
        """Note where instructions end."""
        self._last = max(self._last, int(end.max()))
        if not self._ends.add(end):
            raise _CorruptError("jumps cross")

    def _return(self, branches: _Branches) -> _Branches:
        number, end = self.program.numbers(branches.position, 1, ASN_BIT_SIZES)
        self._used(end)
        self.changes.add(branches.high, branches.low, number)
        return branches.take(np.zeros(len(end), np.bool_))

    def _set(self, branches: _Branches) -> _Branches:
        number, end = self.program.numbers(branches.position, 1, ASN_BIT_SIZES)
        self._used(end)
        following, _ = self.program.numbers(end, 0, TYPE_BIT_SIZES)
        if np.any(following == _DEFAULT):  # each branch would be as long as the file
            raise _CorruptError("a default is set twice")
        return _Branches(end, branches.high, branches.low, branches.depth, number)

    def _jump(self, branches: _Branches) -> _Branches:
        offset, end = self.program.numbers(branches.position, 17, JUMP_BIT_SIZES)
        self._used(end)
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

    def _match(self, branches: _Branches) -> _Branches:
        number, end = self.program.numbers(branches.position, 2, MATCH_BIT_SIZES)
        self._used(end)
        length = np.frexp(number.astype(np.float64))[1].astype(np.int64) - 1
        if np.any(branches.depth + length > _IP_BITS):
            raise _CorruptError("a match runs past the last bit of an address")
        top = np.uint64(1) << length.astype(np.uint64)
        bits = number ^ top
        below, above = bits > 0, bits + np.uint64(1) < top
        self.changes.add(branches.high[below], branches.low[below], branches.default[below])
        high, low = _placed(branches, bits + np.uint64(1), length)
        self.changes.add(high[above], low[above], branches.default[above])
        high, low = _placed(branches, bits, length)
        return _Branches(end, high, low, branches.depth + length, branches.default)

    def check_tiling(self) -> None:
        """Require that instructions cover the file without overlap, up to a few zero bits (SanityCheckASMap)."""
        self._ends.add(np.zeros(1, np.int64))  # the first instruction begins where nothing ends,
        self._starts.add(np.full(1, self._last, np.int64))  # and the last one ends where nothing begins
        if not self._starts.equals(self._ends):
            raise _CorruptError("it has code that is never reached, or reached twice")
        if not self.program.padded_from(self._last):
            raise _CorruptError("something follows its end")


def _joined(parts: list[_Branches]) -> _Branches:
    return _Branches(*(np.concatenate(columns) for columns in zip(*(part.columns() for part in parts), strict=True)))


class Asmap:
    """An unfolded map. Memory: 12 bytes for a change of AS below 2**64 (IPv4), 21 for others; 8 MB for the internet."""

    def __init__(self, raw: bytes) -> None:
        """`raw` is the file; ValueError when it is not a sane map."""
        unfolding = _Unfolding(_Program(raw))
        try:
            unfolding.run()
            unfolding.check_tiling()
        except _CorruptError as error:
            raise ValueError(str(error)) from None
        changes = unfolding.changes
        del unfolding  # the program is not needed while its changes are sorted
        low, number = _drained(changes.below)
        order = np.argsort(low)
        self._first_low = low[order]
        del low
        self._first_number = number[order]
        del number, order
        # the last AS below 2**64 holds until another change
        one = np.ones(1, np.uint64)
        changes.above.append((one, one - one, self._first_number[-1:]))
        self._sort_above(changes)

    def _sort_above(self, changes: _Boundaries) -> None:
        high, low, number = _drained(changes.above)
        order = np.lexsort((low, high))
        if len(order) > 1 and high[order[1]] == 1 and low[order[1]] == 0:  # a change of the map's own is there
            order = np.delete(order, 0 if order[0] == len(order) - 1 else 1)
        self._high = high[order]
        del high
        self._low, self._number = low[order], number[order]
        self._within = self._low != 0  # the AS changes within the 2**64 addresses of one high half

    @classmethod
    def load(cls, path: str) -> Asmap:
        """Read a file; SourceError when it is missing, empty, too large or not a sane map."""
        try:
            raw = _read(path)
        except OSError as error:
            raise SourceError(f"asmap {path!r}: {(error.strerror or str(error)).lower()}") from None
        try:
            return cls(raw)
        except ValueError as error:
            raise SourceError(f"asmap {path!r}: not a map in Bitcoin Core's format: {error}") from None

    def lookup(self, high: Words, low: Words) -> NDArray[np.uint32]:
        """Return the AS of addresses given as halves (uint64[n], big-endian; IPv4 as ::ffff:a.b.c.d); 0 = none.

        Any address is looked up as it is; Core asks for routable ones only, see `Enricher.asns`.
        """
        first = high == 0
        answer = np.zeros(len(high), np.uint32)
        answer[first] = self._first_number[np.searchsorted(self._first_low, low[first], side="right") - 1]
        answer[~first] = self._above(high[~first], low[~first])
        return answer

    def _above(self, high: Words, low: Words) -> NDArray[np.uint32]:
        index = np.searchsorted(self._high, high, side="right") - 1
        inner = (self._high[index] == high) & self._within[index]
        for half in np.unique(high[inner]).tolist():
            chosen = inner & (high == half)
            first = int(np.searchsorted(self._high, np.uint64(half), side="left"))
            stop = int(np.searchsorted(self._high, np.uint64(half), side="right"))
            index[chosen] = first + np.searchsorted(self._low[first:stop], low[chosen], side="right") - 1
        return self._number[index]


def _read(path: str) -> bytes:
    """Read an ordinary file of a map's size. A pipe or a device has no size and may never end."""
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise SourceError(f"asmap {path!r}: not an ordinary file")
        if not 0 < status.st_size <= _MAX_BYTES:
            raise SourceError(f"asmap {path!r}: size {status.st_size} bytes, should be 1 to {_MAX_BYTES}")
        raw = file.read(_MAX_BYTES + 1)
    if not 0 < len(raw) <= _MAX_BYTES:  # it changes while it is read
        raise SourceError(f"asmap {path!r}: size {len(raw)} bytes or more, should be 1 to {_MAX_BYTES}")
    return raw


def _drained(parts: list[Any]) -> list[NDArray[Any]]:  # columns of several types
    """Return the columns of all parts; each part's column is dropped once it is copied."""
    columns: list[NDArray[Any]] = []
    for _ in parts[0]:
        columns.append(np.concatenate([part[0] for part in parts]))
        parts[:] = [part[1:] for part in parts]
    return columns
