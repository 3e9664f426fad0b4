"""A part of the messages of one type: their bytes, read at many places at once, and what is wrong with each."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from watchdog.core.arrays import Flags, Words
from watchdog.core.batch import Strings
from watchdog.core.core_constants import MAX_PROTOCOL_MESSAGE_LENGTH, MAX_SIZE
from watchdog.core.text import printable
from watchdog.sources.wire.messages import PADDING, Decoded, Messages, Spans

Offsets = NDArray[np.int64]  # byte positions in a part

# Reasons of p2p:malformed; a message has the first that applies.
REASONS = ("", "truncated", "over-limit", "bad-count", "bad-length", "bad-value", "bad-transaction")
OK, TRUNCATED, OVER_LIMIT, BAD_COUNT, BAD_LENGTH, BAD_VALUE, BAD_TRANSACTION = range(len(REASONS))

MAX_PART_BYTES = 16 << 20  # payload that is decoded together: bounds what the decoders allocate
MAX_PART_ROWS = 1 << 20


class RefusedError(Exception):
    """Raised by decoders that take messages one by one; `reason` is one of the codes above."""

    def __init__(self, reason: int) -> None:
        super().__init__(REASONS[reason])
        self.reason = reason


def compact_at(raw: bytes, at: int, limit: int = MAX_SIZE) -> tuple[int, int]:
    """Return the CompactSize number at a place, and the place after it; RefusedError where ReadCompactSize throws.

    `limit` is the largest value that may pass.
    """
    if at >= len(raw):
        raise RefusedError(TRUNCATED)
    value, after = raw[at], at + 1
    if value >= 0xFD:
        width = 2 << (value - 0xFD)
        after += width
        if after > len(raw):
            raise RefusedError(TRUNCATED)
        value = int.from_bytes(raw[at + 1 : after], "little")
        if value < (0xFD, 1 << 16, 1 << 32)[width.bit_length() - 2]:
            raise RefusedError(BAD_COUNT)
    if value > limit:
        raise RefusedError(BAD_COUNT if limit == MAX_SIZE else OVER_LIMIT)
    return value, after


class MessageBlock:
    """Messages `first` to `first + n` in one padded array; verdicts are kept here.

    `data[starts[i]:ends[i]]` is message i; spans may be in any order in the data of more than this part.
    Readers take any place and give zeros or a neighbour's bytes beyond a message: the caller refuses such
    messages, and only then uses the values.
    """

    def __init__(self, messages: Messages, first: int, stop: int) -> None:
        payload = messages.payload
        self.data: NDArray[np.uint8]
        self.starts: Offsets
        self.ends: Offsets
        if isinstance(payload, Spans):
            self.data, self.starts, self.ends = payload.data, payload.starts[first:stop], payload.ends[first:stop]
        else:
            offsets = payload.offsets[first : stop + 1].astype(np.int64, copy=False)
            base = int(offsets[0])
            data = payload.data[base : int(offsets[-1])]
            self.data = np.concatenate((data, np.zeros(PADDING, np.uint8)))
            self.starts, self.ends = offsets[:-1] - base, offsets[1:] - base
        self.type = messages.type
        self.first = first
        self.time_s: NDArray[np.int64] = messages.time_ns[first:stop] // 1_000_000_000
        self.sender = messages.sender
        self.reason: NDArray[np.uint8] = np.zeros(stop - first, np.uint8)
        self.declared: Words = np.zeros(stop - first, np.uint64)
        self._last = len(self.data) - PADDING
        self.refuse(self.ends - self.starts > MAX_PROTOCOL_MESSAGE_LENGTH, OVER_LIMIT)

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def good(self) -> Flags:
        """Messages that nothing is wrong with so far."""
        answer: Flags = self.reason == OK
        return answer

    def rows(self, chosen: NDArray[np.intp]) -> NDArray[np.intp]:
        """Return numbers of messages of this part as numbers among all messages."""
        return chosen + self.first

    def refuse(self, bad: Flags, reason: int) -> None:
        """Mark messages as malformed; the first reason stays."""
        self.reason[bad & (self.reason == OK)] = reason

    def need(self, stops: Offsets) -> None:
        """Refuse messages that end before `stops`."""
        self.refuse(stops > self.ends, TRUNCATED)

    def _read(self, at: Offsets, form: str, width: int) -> NDArray[np.generic]:
        # every byte as the start of a number: overlapping views, nothing is copied
        view = np.ndarray((len(self.data) - width + 1,), form, self.data, strides=(1,))
        return view[np.minimum(at, self._last)]

    def u8(self, at: Offsets) -> NDArray[np.uint8]:
        """Return bytes at the places."""
        return self.data[np.minimum(at, self._last)]

    def u16(self, at: Offsets, *, big: bool = False) -> NDArray[np.uint16]:
        """Read two-byte numbers, little-endian unless `big`."""
        return self._read(at, ">u2" if big else "<u2", 2).astype(np.uint16)

    def u32(self, at: Offsets) -> NDArray[np.uint32]:
        """Read four-byte numbers, little-endian."""
        return self._read(at, "<u4", 4).astype(np.uint32)

    def u64(self, at: Offsets) -> Words:
        """Read eight-byte numbers, little-endian."""
        return self._read(at, "<u8", 8).astype(np.uint64)

    def block(self, at: Offsets, width: int) -> NDArray[np.uint8]:
        """Read `width` bytes at each place: uint8[n, width]; places beyond the data give its last bytes."""
        view = np.ndarray((len(self.data) - width + 1, width), np.uint8, self.data, strides=(1, 1))
        return view[np.minimum(at, len(view) - 1)]

    def compact(self, at: Offsets) -> tuple[Words, Offsets, Flags]:
        """Read CompactSize numbers: value, place after it, and whether it has its shortest form (ReadCompactSize)."""
        first = self.u8(at)
        value, after = first.astype(np.uint64), at + 1
        canonical = np.ones(len(at), np.bool_)
        wide = np.flatnonzero(first >= 0xFD)
        if len(wide):
            form = first[wide].astype(np.int64) - 0xFD
            width = np.array([16, 32, 64], np.uint64)[form]
            least = np.array([0xFD, 1 << 16, 1 << 32], np.uint64)[form]
            value[wide] = self.u64(at[wide] + 1) & (np.uint64(0xFFFFFFFFFFFFFFFF) >> (np.uint64(64) - width))
            after[wide] += (width >> np.uint64(3)).astype(np.int64)
            canonical[wide] = value[wide] >= least
        return value, after, canonical

    def count(self, at: Offsets, limit: int | None = None) -> tuple[NDArray[np.int64], Offsets]:
        """Return the count that starts a list, and the place after it; 0 for refused messages.

        Refuses counts that are cut off, that ReadCompactSize throws on, and those above `limit`.
        """
        value, after, canonical = self.compact(at)
        self.need(after)
        self.declared = np.where(self.good, value, self.declared)
        self.refuse(~canonical | (value > MAX_SIZE), BAD_COUNT)
        if limit is not None:
            self.refuse(value > limit, OVER_LIMIT)
        return np.where(self.good, value, 0).astype(np.int64), after

    def raw(self) -> bytes:
        """Return all data as bytes, for decoders that take one byte after the other: a view has a slower subscript."""
        whole: object = self.data.base
        return whole if isinstance(whole, bytes) and len(whole) == len(self.data) else self.data.tobytes()

    def message(self, row: int) -> bytes:
        """Return the bytes of one message, for the few decoders that take them one by one."""
        return self.data[self.starts[row] : self.ends[row]].tobytes()

    def malformed(self) -> list[Decoded]:
        """Return p2p:malformed for the refused messages."""
        bad = self.reason.nonzero()[0]
        if not len(bad):
            return []
        return [
            Decoded(
                "p2p:malformed",
                self.rows(bad),
                {
                    "type": Strings.constant(printable(self.type), len(bad)),
                    "reason": Strings(self.reason[bad].astype(np.int32), REASONS),
                    "entries": self.declared[bad],
                },
            )
        ]


def parts(messages: Messages) -> Iterator[MessageBlock]:
    """Yield the messages in parts of at most 16 MiB and 2**20 rows; a longer message is a part of its own."""
    payload = messages.payload
    if isinstance(payload, Spans):
        offsets = np.zeros(len(payload) + 1, np.int64)
        np.cumsum(payload.ends - payload.starts, out=offsets[1:])
    else:
        offsets = payload.offsets
    first, total = 0, len(messages)
    while first < total:
        stop = int(np.searchsorted(offsets, offsets[first] + MAX_PART_BYTES, side="right")) - 1
        stop = min(max(stop, first + 1), first + MAX_PART_ROWS, total)
        yield MessageBlock(messages, first, stop)
        first = stop


def ragged(counts: NDArray[np.int64]) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
    """Return the list and the place in it of each item, for lists of these lengths laid end to end."""
    owner = np.repeat(np.arange(len(counts)), counts)
    before = np.cumsum(counts) - counts
    return owner, np.arange(len(owner), dtype=np.int64) - before[owner]
