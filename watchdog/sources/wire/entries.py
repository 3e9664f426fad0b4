"""Where the entries of addr and addrv2 messages lie, and their fields as columns over all messages."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from watchdog.core.address import CJDNS, I2P, IPV4, IPV6, MAPPED, ONION, OTHER
from watchdog.core.batch import Blobs
from watchdog.sources.wire.part import BAD_COUNT, BAD_LENGTH, OVER_LIMIT, TRUNCATED, Part, Places, Words, ragged

MAX_ADDR = 1_000  # Bitcoin Core src/net_processing.cpp: MAX_ADDR_TO_SEND
_V1_BYTES = 30
# src/netaddress.h: TORV2_IN_IPV6_PREFIX; such entries become invalid in Core, like those of unknown networks
_TORV2_WORD = int.from_bytes(bytes.fromhex("fd87d87eeb43"), "little")
_MAPPED_WORDS = (int.from_bytes(MAPPED[:8], "little"), int.from_bytes(MAPPED[8:], "little"))
# src/netaddress.h: MAX_ADDRV2_SIZE; BIP155Network with the ADDR_*_SIZE of each network (id 3, Tor v2, is unknown today)
_MAX_ADDRESS = 512
_NETWORK_OF_ID = np.full(256, OTHER, np.uint8)
_NETWORK_OF_ID[[1, 2, 4, 5, 6]] = [IPV4, IPV6, ONION, I2P, CJDNS]
_SIZE_OF_ID = np.zeros(256, np.uint8)  # 0: any
_SIZE_OF_ID[[1, 2, 4, 5, 6]] = [4, 16, 32, 32, 16]
_LEAST_V2_BYTES = 9  # stamp, one byte each of services, network and length, port
_LEAP = 5  # entries are found in leaps of 2**5 when there are few messages
_MANY_WIDE = 100_000  # bytes of 0xFD and above, for which a table of all places costs more than steps one by one
_USUAL_WIDE = 12  # in honest messages one byte in 20 is such: services take three bytes
_FEW_BYTES = 1 << 19  # below this size leaps are cheaper than one step for each entry of the longest message


@dataclass(frozen=True, slots=True, eq=False)
class Entries:
    """m addresses of many messages, in order.

    owner: the message in the part. stamp: unix seconds. networks: codes of `watchdog.core.address`.
    packed: uint8[m, 32], packed addresses with zeros behind (and only zeros for unknown networks).
    place, size: where the address bytes lie on the wire.
    """

    owner: NDArray[np.intp]
    stamp: NDArray[np.uint32]
    services: Words
    networks: NDArray[np.uint8]
    packed: NDArray[np.uint8]
    port: NDArray[np.uint16]
    place: Places
    size: NDArray[np.int64]

    def addresses(self, part: Part) -> Blobs:
        """Packed addresses of known networks, the raw bytes of others."""
        known = self.networks != OTHER
        if known.all():
            return self._known_addresses()
        width = np.where(known, np.where(self.size == 32, 32, 16), self.size)
        offsets = np.zeros(len(width) + 1, np.int64)
        np.cumsum(width, out=offsets[1:])
        data = np.zeros(int(offsets[-1]), np.uint8)
        for size in (16, 32):
            rows = np.flatnonzero(known & (width == size))
            data[offsets[rows][:, None] + np.arange(size)] = self.packed[rows, :size]
        rows = np.flatnonzero(~known)
        owner, within = ragged(self.size[rows])
        data[offsets[rows][owner] + within] = part.data[self.place[rows][owner] + within]
        return Blobs(offsets, data)

    def _known_addresses(self) -> Blobs:
        """The same without unknown networks: the first half of each packed address, and of keys the second."""
        chosen = np.ones((len(self.size), 2), np.bool_)
        chosen[:, 1] = self.size == 32
        offsets = np.zeros(len(self.size) + 1, np.int64)
        np.cumsum(chosen.sum(axis=1) * 16, out=offsets[1:])
        return Blobs(offsets, self.packed.view("V16")[chosen].view(np.uint8))


def entries_v1(part: Part) -> Entries:
    """Entries of addr messages: 30 bytes each."""
    count, after = part.count(part.starts, MAX_ADDR)
    part.need(after + count * _V1_BYTES)
    owner, within = ragged(np.where(part.good, count, 0))
    at = after[owner] + within * _V1_BYTES
    packed = np.zeros((len(at), 32), np.uint8)
    packed[:, :16] = part.block(at + 12, 16)
    networks = np.full(len(at), IPV6, np.uint8)
    words = packed.view("<u8")
    networks[(words[:, 0] == _MAPPED_WORDS[0]) & (words[:, 1] & np.uint64(0xFFFFFFFF) == _MAPPED_WORDS[1])] = IPV4
    networks[words[:, 0] & np.uint64((1 << 48) - 1) == _TORV2_WORD] = OTHER
    size = np.full(len(at), 16, np.int64)
    return Entries(owner, part.u32(at), part.u64(at + 4), networks, packed, part.u16(at + 28, big=True), at + 12, size)


def entries_v2(part: Part) -> Entries:
    """Entries of addrv2 messages (BIP155): their size depends on their content."""
    count, after = part.count(part.starts, MAX_ADDR)
    part.need(after + count * _LEAST_V2_BYTES)
    count = np.where(part.good, count, 0)
    owner, _ = ragged(count)
    wide = np.count_nonzero(part.data >= 0xFD)
    table = _steps(part) if wide <= max(_MANY_WIDE, len(part.data) // _USUAL_WIDE) else None
    at = _chains(part, table, after, count)
    step = _steps_at(part, at)
    wrong = (step == 0) | (at + step > part.ends[owner])
    bad = np.flatnonzero(wrong)
    rows, first = np.unique(owner[bad], return_index=True)
    part.reason[rows] = _reasons(part, at[bad[first]], part.ends[rows])
    keep = part.good[owner]
    return _fields_v2(part, owner[keep], at[keep])


def _steps(part: Part) -> NDArray[np.uint16]:
    """For each byte: the size of an entry that starts there, 0 if none can.

    The bytes behind the last message count as zeros; an entry that reaches there is too long anyway.
    """
    data, size = part.data, len(part.data)
    length = np.concatenate((data[1:], np.zeros(1, np.uint8)))
    required = _SIZE_OF_ID[data]
    fits = ((required == 0) | (required == length)) & (length < 0xFD)
    tails = np.where(fits, length + np.uint16(4), np.uint16(0))  # network, length, address, port
    wide = np.flatnonzero((length == 0xFD) & (required == 0))
    long = part.u16(wide + 2)
    tails[wide] = np.where((long >= 0xFD) & (long <= _MAX_ADDRESS), long + np.uint16(6), 0)
    steps = np.zeros(size, np.uint16)
    steps[:-5] = np.where(tails[5:] > 0, tails[5:] + np.uint16(5), np.uint16(0))
    odd = np.flatnonzero(data[4:] >= 0xFD)
    _, behind, canonical = part.compact(odd + 4)
    tail = np.where(canonical & (behind < size), tails[np.minimum(behind, size - 1)], 0)
    steps[odd] = np.where(tail > 0, tail + (behind - odd), 0)
    return steps


def _steps_at(part: Part, at: Places) -> Places:
    """The same for some places only."""
    _, behind, shortest = part.compact(at + 4)
    size, place, short = part.compact(behind + 1)
    required = _SIZE_OF_ID[part.u8(behind)]
    fits = shortest & short & (size <= _MAX_ADDRESS) & ((required == 0) | (size == required))
    return np.where(fits, place + np.minimum(size, _MAX_ADDRESS).astype(np.int64) + 2 - at, 0)


def _chains(part: Part, table: NDArray[np.uint16] | None, first: Places, count: NDArray[np.int64]) -> Places:
    """The place of every entry: from `first[i]`, `count[i]` of them, each a step behind the one before.

    A chain stays where no entry can start, and on the last byte. All messages go on together, so the
    number of NumPy calls is that of entries in the longest one; for few messages leaps of 32 make it 64.
    """
    last = len(part.data) - 1
    longest = int(count.max(initial=0))
    if table is not None and len(table) <= _FEW_BYTES and longest > 1 << _LEAP:
        return _leaping_chains(table, first, count)
    before = np.cumsum(count) - count
    answer = np.zeros(int(count.sum()), np.int64)
    rows, at = np.flatnonzero(count), first[count > 0]
    for done in range(longest):
        alive = count[rows] > done
        rows, at = rows[alive], at[alive]
        answer[before[rows] + done] = at
        at = np.minimum(at + (_steps_at(part, at) if table is None else table[at]), last)
    return answer


def _leaping_chains(table: NDArray[np.uint16], first: Places, count: NDArray[np.int64]) -> Places:
    """The same with a second table, of 32 steps at once: every 32nd entry first, then those between."""
    last, leap = len(table) - 1, 1 << _LEAP
    before = np.cumsum(count) - count
    answer = np.zeros(int(count.sum()), np.int64)
    far = np.minimum(np.arange(len(table), dtype=np.int32) + table, last)
    for _ in range(_LEAP):
        far = far[far]
    rows, at = np.flatnonzero(count), first[count > 0]
    for done in range(0, int(count.max()), leap):
        alive = count[rows] > done
        rows, at = rows[alive], at[alive]
        answer[before[rows] + done] = at
        at = far[at].astype(np.int64)
    _, within = ragged(count)
    place = np.flatnonzero(within % leap == 0)
    for _ in range(leap - 1):
        place = place[place < len(answer) - 1] + 1
        place = place[within[place] > 0]
        answer[place] = np.minimum(answer[place - 1] + table[answer[place - 1]], last)
    return answer


def _fields_v2(part: Part, owner: NDArray[np.intp], at: Places) -> Entries:
    services, behind, _ = part.compact(at + 4)
    networks = _NETWORK_OF_ID[part.u8(behind)]
    size, place, _ = part.compact(behind + 1)
    width = size.astype(np.int64)
    packed = np.zeros((len(at), 32), np.uint8)
    for network, bytes_ in ((IPV4, 4), (IPV6, 16), (CJDNS, 16), (ONION, 32), (I2P, 32)):
        rows = np.flatnonzero(networks == network)
        if not len(rows):
            continue
        if network == IPV4:
            packed[rows, 10:12] = 0xFF
            packed[rows, 12:16] = part.block(place[rows], bytes_)
        else:
            packed[rows, :bytes_] = part.block(place[rows], bytes_)
    port = part.u16(place + width, big=True)
    return Entries(owner, part.u32(at), services, networks, packed, port, place, width)


def _reasons(part: Part, at: Places, ends: Places) -> NDArray[np.uint8]:
    """What is wrong with entries that start at `at`, in messages that end at `ends`."""
    _, behind, shortest = part.compact(at + 4)
    size, place, short = part.compact(behind + 1)
    required = _SIZE_OF_ID[part.u8(behind)]
    checks = [
        (behind + 2 > ends, TRUNCATED),
        (~shortest, BAD_COUNT),
        (place > ends, TRUNCATED),
        (~short, BAD_COUNT),
        (size > _MAX_ADDRESS, OVER_LIMIT),
        ((required > 0) & (size != required), BAD_LENGTH),
    ]
    return np.select([check for check, _ in checks], [np.uint8(reason) for _, reason in checks], np.uint8(TRUNCATED))
