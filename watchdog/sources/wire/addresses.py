"""p2p:addr and p2p:addr_entry: other nodes that addr and addrv2 messages announce."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from watchdog.core.address import CJDNS, I2P, IPV4, IPV6, NETWORK_NAMES, ONION, OTHER
from watchdog.core.arrays import Flags, Words
from watchdog.core.batch import Column, Strings
from watchdog.core.core_constants import ADDR_AHEAD_S, ADDRMAN_HORIZON_S, DEFAULT_PORTS
from watchdog.core.enrich import Enricher, impossible
from watchdog.core.prefix import PAYLOAD_BITS
from watchdog.sources.wire.entries import Entries, entries_v1, entries_v2
from watchdog.sources.wire.messages import Decoded
from watchdog.sources.wire.part import MessageBlock, Offsets, ragged

DEFAULT_PORT = DEFAULT_PORTS[0]

_COUNTED = ((IPV4, "ipv4"), (IPV6, "ipv6"), (ONION, "onion"), (I2P, "i2p"), (CJDNS, "cjdns"), (OTHER, "other"))
_GROUP_BITS = 36  # the longest payload of a netgroup prefix: he.net's /36


def addr(part: MessageBlock, enricher: Enricher, wanted: Callable[[str], bool]) -> list[Decoded]:
    """Decode p2p:addr, one a message, and if wanted p2p:addr_entry, one an address."""
    version = 2 if part.type == "addrv2" else 1
    entries = entries_v1(part) if version == 1 else entries_v2(part)
    groups, blocks, asns, reachable = enricher.place(entries.networks, entries.packed)
    age = part.time_s[entries.owner] - entries.stamp
    decoded = []
    if wanted("p2p:addr"):
        rows = part.good.nonzero()[0]
        columns = _summary(part, entries, groups, reachable, age)
        summary: dict[str, Column] = {"version": np.full(len(rows), version, np.uint8)}
        summary.update({name: column[rows] for name, column in columns.items()})
        decoded.append(Decoded("p2p:addr", part.rows(rows), summary))
    if wanted("p2p:addr_entry"):
        details: dict[str, Column] = {
            "version": np.full(len(age), version, np.uint8),
            "address": entries.addresses(part),
            "address_id": _identities(part, entries),
            "entry_network": Strings(entries.networks.astype(np.int32), NETWORK_NAMES),
            "entry_netgroup": groups,
            "entry_netblock": blocks,
            "entry_asn": asns,
            "port": entries.port,
            "services": entries.services,
            "stamp_age_s": age,
            "routable": reachable,
            "impossible": impossible(entries.networks, entries.packed),
        }
        decoded.append(Decoded("p2p:addr_entry", part.rows(entries.owner), details))
    return decoded


def _summary(
    part: MessageBlock, entries: Entries, groups: Words, reachable: Flags, age: NDArray[np.int64]
) -> dict[str, NDArray[np.generic]]:
    """Count for every message of the part, also for refused ones (zeros)."""
    owner, total = entries.owner, len(part)

    def tally(chosen: Flags) -> NDArray[np.uint32]:
        return np.bincount(owner[chosen], minlength=total).astype(np.uint32)

    networks = np.bincount(owner * len(NETWORK_NAMES) + entries.networks, minlength=total * len(NETWORK_NAMES))
    by_network = networks.reshape(total, len(NETWORK_NAMES)).astype(np.uint32)
    columns: dict[str, NDArray[np.generic]] = {"entries": by_network.sum(axis=1, dtype=np.uint32)}
    columns.update({name: by_network[:, code] for code, name in _COUNTED})
    columns["netgroups"] = _distinct(owner, groups, total)
    columns["unroutable"] = tally(~reachable & (entries.networks != OTHER))  # others may be networks of tomorrow
    columns["impossible"] = tally(impossible(entries.networks, entries.packed))
    columns["future"] = tally(age < -ADDR_AHEAD_S)
    columns["ahead"] = tally((age < 0) & (age >= -ADDR_AHEAD_S))
    columns["stale"] = tally(age > ADDRMAN_HORIZON_S)
    columns["default_port"] = tally(entries.port == DEFAULT_PORT)
    columns["self_announced"] = _self_announced(part, entries)
    return columns


def _distinct(owner: NDArray[np.intp], groups: Words, total: int) -> NDArray[np.uint32]:
    """Count distinct groups of each message: message, type and payload of the group fit into one number."""
    # at most 2**20 messages in a part, 4 bits of type, 36 of payload
    keys = owner.astype(np.uint64) << np.uint64(4) | groups >> np.uint64(PAYLOAD_BITS)
    keys = np.sort(keys << np.uint64(_GROUP_BITS) | groups & np.uint64((1 << _GROUP_BITS) - 1))
    new = np.ones(len(keys), np.bool_)
    new[1:] = keys[1:] != keys[:-1]
    rows = (keys[new] >> np.uint64(_GROUP_BITS + 4)).astype(np.intp)
    return np.bincount(rows, minlength=total).astype(np.uint32)


def _self_announced(part: MessageBlock, entries: Entries) -> Flags:
    """Return the messages in which an entry has the sender's own address, whatever its port."""
    offsets = part.sender.offsets[part.first : part.first + len(part) + 1]
    size = np.diff(offsets)
    known = (size == 16) | (size == 32)
    raw = np.zeros((len(part), 32), np.uint8)
    for width in (16, 32):
        rows = np.flatnonzero(size == width)
        raw[rows, :width] = part.sender.data[offsets[rows][:, None] + np.arange(width)]
    words = raw.view(np.uint64)
    claimed = entries.packed.view(np.uint64)
    same = known[entries.owner] & (entries.networks != OTHER)
    for word in range(4):
        same &= claimed[:, word] == words[entries.owner, word]
    answer = np.zeros(len(part), np.bool_)
    answer[entries.owner[same]] = True
    return answer


def _identities(part: MessageBlock, entries: Entries) -> Words:
    """Return a 64-bit number for network, address and port; of unknown networks it takes a digest of the bytes."""
    words = entries.packed.view("<u8").astype(np.uint64)
    rows = np.flatnonzero(entries.networks == OTHER)
    words[rows, 0] = _digests(part, entries.place[rows], entries.size[rows])
    answer = entries.networks.astype(np.uint64) << np.uint64(16) | entries.port
    for word in range(4):
        answer = _mixed(answer ^ words[:, word])
    return answer


def _digests(part: MessageBlock, places: Offsets, sizes: NDArray[np.int64]) -> Words:
    """Return the weighted sum of the bytes at each place, modulo 2**64; the weights are mixed positions."""
    owner, within = ragged(sizes)
    weights = _mixed(within.astype(np.uint64))
    sums = np.zeros(len(within) + 1, np.uint64)
    np.cumsum((part.data[places[owner] + within] + np.uint64(1)) * weights, out=sums[1:])
    stops = np.cumsum(sizes)
    answer: Words = sums[stops] - sums[stops - sizes]
    return answer


def _mixed(values: Words) -> Words:
    """Return the finaliser of SplitMix64 (Steele, Lea, Flood 2014): every bit depends on every other."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ values >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ values >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    mixed: Words = values ^ values >> np.uint64(31)
    return mixed
