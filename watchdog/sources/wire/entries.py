"""The places of entries in addr and addrv2 messages, and their fields as columns over all messages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from watchdog.core.address import CJDNS, I2P, IPV4, IPV6, MAPPED, ONION, OTHER
from watchdog.core.arrays import Flags, Words
from watchdog.core.batch import Blobs
from watchdog.core.core_constants import (
    ADDR_CJDNS_SIZE,
    ADDR_I2P_SIZE,
    ADDR_IPV4_SIZE,
    ADDR_IPV6_SIZE,
    ADDR_TORV3_SIZE,
    BIP155_CJDNS,
    BIP155_I2P,
    BIP155_IPV4,
    BIP155_IPV6,
    BIP155_TORV3,
    MAX_ADDR_TO_SEND,
    MAX_ADDRV2_SIZE,
    TORV2_IN_IPV6_PREFIX,
)
from watchdog.sources.wire.part import (
    BAD_COUNT,
    BAD_LENGTH,
    OVER_LIMIT,
    TRUNCATED,
    MessageBlock,
    Offsets,
    ragged,
)

_V1_BYTES = 30
# such entries become invalid in Core, like those of unknown networks
_TORV2_WORD = int.from_bytes(TORV2_IN_IPV6_PREFIX, "little")
_MAPPED_WORDS = (int.from_bytes(MAPPED[:8], "little"), int.from_bytes(MAPPED[8:], "little"))
# Core's BIP155Network and the size of each network's addresses (id 3, Tor v2, is unknown today)
_BIP155 = [BIP155_IPV4, BIP155_IPV6, BIP155_TORV3, BIP155_I2P, BIP155_CJDNS]
_NETWORK_OF_ID = np.full(256, OTHER, np.uint8)
_NETWORK_OF_ID[_BIP155] = [IPV4, IPV6, ONION, I2P, CJDNS]
_SIZE_OF_ID = np.zeros(256, np.uint8)  # 0: any
_SIZE_OF_ID[_BIP155] = [ADDR_IPV4_SIZE, ADDR_IPV6_SIZE, ADDR_TORV3_SIZE, ADDR_I2P_SIZE, ADDR_CJDNS_SIZE]
_LEAST_V2_BYTES = 9  # stamp, one byte each of services, network and length, port
# From an entry's start to its network, by the first byte of its services (a CompactSize number behind 4 bytes of stamp)
_TO_NETWORK = bytes([5] * 0xFD + [7, 9, 13])


@dataclass(frozen=True, slots=True, eq=False)
class Entries:
    """m addresses of many messages, in order.

    owner: the message in the part. stamp: unix seconds. networks: codes of `watchdog.core.address`.
    packed: uint8[m, 32], packed addresses with zeros behind (and only zeros for unknown networks).
    place, size: offset and length of the address bytes.
    """

    owner: NDArray[np.intp]
    stamp: NDArray[np.uint32]
    services: Words
    networks: NDArray[np.uint8]
    packed: NDArray[np.uint8]
    port: NDArray[np.uint16]
    place: Offsets
    size: NDArray[np.int64]

    def addresses(self, part: MessageBlock) -> Blobs:
        """Return the packed addresses of known networks, the raw bytes of others."""
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
        """Return the same without unknown networks: the first half of each packed address, and of keys the second."""
        chosen = np.ones((len(self.size), 2), np.bool_)
        chosen[:, 1] = self.size == 32
        offsets = np.zeros(len(self.size) + 1, np.int64)
        np.cumsum(chosen.sum(axis=1) * 16, out=offsets[1:])
        return Blobs(offsets, self.packed.view("V16")[chosen].view(np.uint8))


def entries_v1(part: MessageBlock) -> Entries:
    """Decode the entries of addr messages: 30 bytes each."""
    count, after = part.count(part.starts, MAX_ADDR_TO_SEND)
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


def entries_v2(part: MessageBlock) -> Entries:
    """Decode the entries of addrv2 messages (BIP155): their size depends on their content."""
    count, after = part.count(part.starts, MAX_ADDR_TO_SEND)
    part.need(after + count * _LEAST_V2_BYTES)
    count = np.where(part.good, count, 0)
    owner, _ = ragged(count)
    at = _chains(part, after, count)
    found = _lengths(part, at)
    required = _SIZE_OF_ID[part.u8(found.network)]
    fits = found.shortest & (found.size <= MAX_ADDRV2_SIZE) & ((required == 0) | (found.size == required))
    width = np.minimum(found.size, MAX_ADDRV2_SIZE).astype(np.int64)
    bad = np.flatnonzero(~fits | (found.place + width + 2 > part.ends[owner]))
    if not len(bad):
        return _fields_v2(part, owner, at, found)
    rows, first = np.unique(owner[bad], return_index=True)
    part.reason[rows] = _reasons(part, at[bad[first]], part.ends[rows])
    keep = part.good[owner]
    services, network, size, place, shortest = found
    found = _Lengths(services[keep], network[keep], size[keep], place[keep], shortest[keep])
    return _fields_v2(part, owner[keep], at[keep], found)


class _Lengths(NamedTuple):
    """Of entries: services; places of network and address; the address's size; whether both numbers are shortest."""

    services: Words
    network: Offsets
    size: Words
    place: Offsets
    shortest: Flags


def _lengths(part: MessageBlock, at: Offsets) -> _Lengths:
    """Read the lengths of the entries that start at these places."""
    services, network, shortest = part.compact(at + 4)
    size, place, short = part.compact(network + 1)
    return _Lengths(services, network, size, place, shortest & short)


def _chains(part: MessageBlock, first: Offsets, count: NDArray[np.int64]) -> Offsets:
    """Return the place of every entry: from `first[i]`, `count[i]` of them, each behind the one before.

    A plain loop over a table of usual steps, since each place hangs on the one before. Nothing is checked here: behind
    an entry that cannot be, and at the end of the data, places are arbitrary, but within the data.
    """
    raw = part.raw()
    table = _usual_steps(part.data).tobytes() + bytes(256)  # a step leads no further behind the data
    answer: list[int] = []
    append = answer.append
    for start, entries in zip(first.tolist(), count.tolist(), strict=True):
        at = start
        for _ in range(entries):
            append(at)
            step = table[at]
            at = at + step if step else _behind_unusual(raw, at)
    return np.minimum(np.fromiter(answer, np.int64, len(answer)), len(raw) - 1)


def _usual_steps(data: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return for each byte the size of an entry that starts there, 0 where its lengths do not say.

    Usual are services of one or three bytes, and addresses so short that the size is below 256.
    """
    short, size = data < 0xF0, data + np.uint8(9)  # stamp 4, services 1, network 1, length 1, port 2
    services, steps = data[4:-4], np.zeros(len(data), np.uint8)
    steps[:-8] = size[6:-2] * (short[6:-2] & (services < 0xFD))
    steps[:-8] += (size[8:] + np.uint8(2)) * (short[8:] & (services == 0xFD))
    return steps


def _behind_unusual(raw: bytes, at: int) -> int:
    """Return the place behind an entry with long services or a long address; at the end of the data the same place."""
    try:
        network = at + _TO_NETWORK[raw[at + 4]]
        size = raw[network + 1]
        if size >= 0xFD:  # longer forms than this one are refused
            network, size = network + 2, raw[network + 2] | raw[network + 3] << 8
    except IndexError:
        return at
    return min(network + size + 4, len(raw))


def _fields_v2(part: MessageBlock, owner: NDArray[np.intp], at: Offsets, found: _Lengths) -> Entries:
    place, width = found.place, found.size.astype(np.int64)
    networks = _NETWORK_OF_ID[part.u8(found.network)]
    packed = np.zeros((len(at), 32), np.uint8)
    for code, bytes_ in ((IPV4, 4), (IPV6, 16), (CJDNS, 16), (ONION, 32), (I2P, 32)):
        rows = np.flatnonzero(networks == code)
        if not len(rows):
            continue
        if code == IPV4:
            packed[rows, 10:12] = 0xFF
            packed[rows, 12:16] = part.block(place[rows], bytes_)
        else:
            packed[rows, :bytes_] = part.block(place[rows], bytes_)
    port = part.u16(place + width, big=True)
    return Entries(owner, part.u32(at), found.services, networks, packed, port, place, width)


def _reasons(part: MessageBlock, at: Offsets, ends: Offsets) -> NDArray[np.uint8]:
    """Return the flaws of entries that start at `at`, in messages that end at `ends`."""
    _, behind, shortest = part.compact(at + 4)
    size, place, short = part.compact(behind + 1)
    required = _SIZE_OF_ID[part.u8(behind)]
    checks = [
        (behind + 2 > ends, TRUNCATED),
        (~shortest, BAD_COUNT),
        (place > ends, TRUNCATED),
        (~short, BAD_COUNT),
        (size > MAX_ADDRV2_SIZE, OVER_LIMIT),
        ((required > 0) & (size != required), BAD_LENGTH),
    ]
    return np.select([check for check, _ in checks], [np.uint8(reason) for _, reason in checks], np.uint8(TRUNCATED))
