"""What an address says of its place: network, netgroup, netblock, subnet, AS, and whether it can exist at all.

The rules are Bitcoin Core's (`core_constants` cites its functions), for one peer or for
many addresses at once. Arrays of addresses are the network codes of `watchdog.core.address` and
the first 16 packed bytes of each address, which is all that a group depends on.
"""

from __future__ import annotations

import ipaddress
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from watchdog.core import prefix
from watchdog.core.address import (
    CJDNS,
    I2P,
    IPV4,
    IPV6,
    NETWORK_NAMES,
    ONION,
    UNROUTABLE,
    parse_address,
    split_port,
)
from watchdog.core.arrays import Flags, Words
from watchdog.core.asmap import Asmap
from watchdog.core.core_constants import CJDNS_PREFIX
from watchdog.core.errors import SourceError
from watchdog.core.text import printable

Codes = NDArray[np.uint8]  # network codes
Packed = NDArray[np.uint8]  # [n, 16] or wider: packed addresses

MAX_PEERS = 65_536  # cached peer texts; a node sees some 10,000 peers a day
_MAPPED_WORD = 0xFFFF  # the third quarter of ::ffff:a.b.c.d
_HE_NET = 0x20010470  # Core's IsHeNet: 2001:470::/32


def _ranges(texts: Sequence[str], width: int) -> tuple[Words, Words]:
    """Return the first and last value of each network, as the top 64 bits of 128, or as 32 bits."""
    networks = sorted(ipaddress.ip_network(text) for text in texts)
    drop = width - min(width, 64)
    first = [int(network.network_address) >> drop for network in networks]
    last = [int(network.broadcast_address) >> drop for network in networks]
    return np.array(first, np.uint64), np.array(last, np.uint64)


# Core's IsRoutable: IsLocal, IsRFC1918, IsRFC6598, IsRFC3927, IsRFC5737, IsRFC2544; IsValid: INADDR_NONE
_UNROUTABLE_IPV4 = _ranges(
    (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.2.0/24",
        "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "255.255.255.255/32",
    ),
    32,
)  # fmt: skip
# IsRFC4843, IsRFC7343, IsRFC3849, IsRFC4193 (with the embedded internal and Tor v2 forms), IsRFC4862
_UNROUTABLE_IPV6 = _ranges(("2001:10::/28", "2001:20::/28", "2001:db8::/32", "fc00::/7", "fe80::/64"), 128)
_ODD_IPV4 = np.zeros(256, np.bool_)  # first bytes of addresses that may be unroutable: few, so most take no search
for _edge in _UNROUTABLE_IPV4:  # none of the ranges goes beyond one first byte
    _ODD_IPV4[_edge >> np.uint64(24)] = True
_ONE_UNROUTABLE_IPV4, _ONE_UNROUTABLE_IPV6 = (
    (first.tolist(), last.tolist()) for first, last in (_UNROUTABLE_IPV4, _UNROUTABLE_IPV6)
)


def _within(ranges: tuple[Words, Words], values: Words) -> Flags:
    first, last = ranges
    index = np.searchsorted(first, values, side="right") - 1
    return (index >= 0) & (values <= last[np.maximum(index, 0)])


def halves(packed: Packed) -> tuple[Words, Words]:
    """Return the first 16 bytes of each packed address as two big-endian numbers."""
    words = np.ascontiguousarray(packed[:, :16]).view(">u8").astype(np.uint64)
    return words[:, 0], words[:, 1]


def routable(networks: Codes, packed: Packed) -> Flags:
    """Return Bitcoin Core's IsRoutable. Mapped IPv4 inside an IPv6 entry and unknown networks are not routable."""
    return _routable(networks, *halves(packed))


def _routable(networks: Codes, high: Words, low: Words) -> Flags:
    answer: Flags = (networks == ONION) | (networks == I2P)
    answer |= (networks == CJDNS) & (high >> np.uint64(56) == CJDNS_PREFIX)
    four = np.flatnonzero(networks == IPV4)
    if len(four):
        address = low[four] & np.uint64(0xFFFFFFFF)
        answer[four] = True
        some = np.flatnonzero(_ODD_IPV4[address >> np.uint64(24)])
        answer[four[some]] = ~_within(_UNROUTABLE_IPV4, address[some])
    six = np.flatnonzero(networks == IPV6)
    if len(six):
        high, low = high[six], low[six]
        embedded = (high == 0) & ((low <= 1) | (low >> np.uint64(32) == _MAPPED_WORD))
        answer[six] = ~embedded & ~_within(_UNROUTABLE_IPV6, high)
    return answer


def impossible(networks: Codes, packed: Packed) -> Flags:
    """Find IPv4 in 224.0.0.0/3 (multicast, class E): no host has one, yet IsRoutable passes all but the last."""
    answer: Flags = (networks == IPV4) & (packed[:, 12] >= 224)
    return answer


def _linked(networks: Codes, high: Words, low: Words) -> tuple[Flags, Words]:
    """Return HasLinkedIPv4 (but for IsRoutable) and GetLinkedIPv4: tunnels and translations count as their IPv4."""
    linked: Flags = networks == IPV4
    value = low & np.uint64(0xFFFFFFFF)
    six = np.flatnonzero(networks == IPV6)
    if len(six):
        high, low, last = high[six], low[six], value[six]
        translated = (low >> np.uint64(32) == 0) & (high == 0x0064FF9B << 32)  # RFC 6052
        translated |= (high == 0) & (low >> np.uint64(32) == _MAPPED_WORD << 16)  # RFC 6145
        sixtofour = high >> np.uint64(48) == 0x2002  # RFC 3964
        teredo = high >> np.uint64(32) == 0x20010000  # RFC 4380
        last = np.where(sixtofour, (high >> np.uint64(16)) & np.uint64(0xFFFFFFFF), last)
        value[six] = np.where(teredo, last ^ np.uint64(0xFFFFFFFF), last)
        linked[six] = translated | sixtofour | teredo
    return linked, value


class CidrSet:
    """A set of IPv4 and IPv6 networks; membership of many addresses at once."""

    def __init__(self, texts: Sequence[str]) -> None:
        """`texts` are CIDRs or single addresses; ValueError names the first that is neither."""
        by_length: dict[int, list[bytes]] = {}
        for text in texts:
            network = ipaddress.ip_network(text, strict=False)
            raw, length = network.network_address.packed, network.prefixlen
            if network.version == 4:
                raw, length = bytes(10) + b"\xff\xff" + raw, length + 96
            by_length.setdefault(length, []).append(raw)
        self._members = {
            length: np.unique(np.frombuffer(b"".join(members), "S16")) for length, members in by_length.items()
        }

    def __contains__(self, text: object) -> bool:
        """Return whether the address (with or without port) is in one of the networks."""
        address = parse_address(text) if isinstance(text, str) else None
        if address is None or len(address.packed) != 16:
            return False
        return bool(self.contains(np.array([address.network], np.uint8), _row(address.packed))[0])

    def contains(self, networks: Codes, packed: Packed) -> Flags:
        """Return which of the addresses are in one of the networks; overlay addresses never are."""
        answer = np.zeros(len(networks), np.bool_)
        rows = np.flatnonzero((networks == IPV4) | (networks == IPV6))
        addresses = packed[rows, :16]
        for length, members in self._members.items():
            mask = np.packbits(np.arange(128) < length)
            masked = np.ascontiguousarray(addresses & mask).view("S16")[:, 0]
            answer[rows] |= np.isin(masked, members)
        return answer


@dataclass(frozen=True, slots=True)
class PeerFacts:
    """What a peer's address says: `addr` without port and brackets, harmless; `asn` 0 when unknown.

    netgroup: Core's GetGroup, the AS where the asmap knows it. netblock: GetGroup without an asmap.
    subnet: /24 of IPv4, /48 of IPv6.
    packed: as in `watchdog.core.address`, b"" when it is no address.
    """

    addr: str
    network: str
    netgroup: int
    netblock: int
    subnet: int
    asn: int
    packed: bytes = field(default=b"", compare=False)


class Places(NamedTuple):
    """What `Enricher.place` finds, one entry for each address; without a map `netblocks` is `netgroups` itself."""

    netgroups: Words
    netblocks: Words
    asns: NDArray[np.uint32]
    reachable: Flags


class Enricher:
    """Looks addresses up: alone with a bounded cache, or many at once."""

    def __init__(self, asmap_path: str | None = None, lists: Mapping[str, Sequence[str]] | None = None) -> None:
        """SourceError when the asmap cannot be used. `lists` are named lists of CIDRs, built when first asked for."""
        self._asmap = Asmap.load(asmap_path) if asmap_path is not None else None
        self._lists = dict(lists or {})
        self._sets: dict[str, CidrSet] = {}
        self._peers: dict[str, PeerFacts] = {}

    def listed(self, name: str, networks: Codes, packed: Packed) -> Flags:
        """Return which addresses are in the CIDR list `name`; SourceError when it is missing or no CIDR list."""
        if name not in self._sets:
            if name not in self._lists:
                raise SourceError(f"no list named {name!r}; there are: {', '.join(sorted(self._lists)) or 'none'}")
            try:
                self._sets[name] = CidrSet(self._lists[name])
            except ValueError as error:
                raise SourceError(f"list {name!r}: {error}") from None
        return self._sets[name].contains(networks, packed)

    def asns(self, networks: Codes, packed: Packed) -> NDArray[np.uint32]:
        """Return GetMappedAS: the AS of each routable IPv4 or IPv6 address, 0 for others or without a map."""
        return self.place(networks, packed).asns

    def netgroups(self, networks: Codes, packed: Packed) -> Words:
        """Return GetGroup as packed prefixes. Loopback reads "local"; Core counts it among the unroutable."""
        return self.place(networks, packed).netgroups

    def place(self, networks: Codes, packed: Packed) -> Places:
        """Return netgroup, netblock, AS and routable of each address: the work of all four in one pass."""
        high, low = halves(packed)
        reachable = _routable(networks, high, low)
        has_four, four = _linked(networks, high, low)
        has_four &= reachable
        numbers = np.zeros(len(networks), np.uint32)
        if self._asmap is not None:
            ip = np.flatnonzero(has_four | (reachable & (networks == IPV6)))
            linked = has_four[ip]
            numbers[ip] = self._asmap.lookup(
                np.where(linked, np.uint64(0), high[ip]),
                np.where(linked, four[ip] | np.uint64(_MAPPED_WORD << 32), low[ip]),
            )
        blocks = _address_groups(networks, high)
        blocks[has_four] = prefix.pack_prefixes(prefix.IPV4_16, four[has_four] >> np.uint64(16))
        blocks[~reachable] = prefix.UNROUTABLE_PREFIX
        blocks[_local(networks, high, low)] = prefix.LOCAL_PREFIX
        if self._asmap is None:
            return Places(blocks, blocks, numbers, reachable)
        groups = np.where(numbers > 0, prefix.pack_prefixes(prefix.AS, numbers), blocks)
        return Places(groups, blocks, numbers, reachable)

    def subnets(self, networks: Codes, packed: Packed) -> Words:
        """Return /24 of routable IPv4, /48 of routable IPv6, else the netgroup."""
        high, low = halves(packed)
        reachable = _routable(networks, high, low)
        answer = self.netgroups(networks, packed)
        four, six = reachable & (networks == IPV4), reachable & (networks == IPV6)
        answer[four] = prefix.pack_prefixes(prefix.IPV4_24, (low[four] & np.uint64(0xFFFFFFFF)) >> np.uint64(8))
        answer[six] = prefix.pack_prefixes(prefix.IPV6_48, high[six] >> np.uint64(16))
        return answer

    def peer(self, address_text: str) -> PeerFacts:
        """Return the facts of one address as Core prints it, with or without port. Total; the last 65,536 are kept."""
        facts = self._peers.get(address_text)
        if facts is None:
            facts = self._look_up(address_text)
            if len(self._peers) >= MAX_PEERS:
                del self._peers[next(iter(self._peers))]
            self._peers[address_text] = facts
        return facts

    def _look_up(self, text: str) -> PeerFacts:
        name = printable(split_port(text)[0])
        address = parse_address(text)
        if address is None:
            return _nowhere(name, prefix.UNROUTABLE_PREFIX)
        return replace(self._facts(name, address.network, *_one_halves(address.packed)), packed=address.packed)

    def _facts(self, name: str, network: int, high: int, low: int) -> PeerFacts:
        """Return what `place` and `subnets` give for one address, without arrays: new peers come one by one."""
        tunnelled = None if network == IPV4 else _one_tunnelled(network, high, low)
        if not _one_routable(network, high, low):
            group = prefix.LOCAL_PREFIX if _one_local(network, high, low) else prefix.UNROUTABLE_PREFIX
            return _nowhere(name, group)
        four = low & 0xFFFFFFFF if network == IPV4 else tunnelled
        asn = self._one_asn(high, low, four) if network in (IPV4, IPV6) else 0
        block = _one_group(network, high) if four is None else prefix.IPV4_16 << prefix.PAYLOAD_BITS | four >> 16
        group = prefix.AS << prefix.PAYLOAD_BITS | asn if asn else block
        subnet = group
        if network == IPV4:
            subnet = prefix.IPV4_24 << prefix.PAYLOAD_BITS | (low & 0xFFFFFFFF) >> 8
        elif network == IPV6:
            subnet = prefix.IPV6_48 << prefix.PAYLOAD_BITS | high >> 16
        # Core reports GetNetClass: tunnelled IPv4 is ipv4, what cannot be reached is unroutable
        return PeerFacts(name, NETWORK_NAMES[network if tunnelled is None else IPV4], group, block, subnet, asn)

    def _one_asn(self, high: int, low: int, four: int | None) -> int:
        if self._asmap is None:
            return 0
        first, second = (high, low) if four is None else (0, four | _MAPPED_WORD << 32)
        return int(self._asmap.lookup(np.array([first], np.uint64), np.array([second], np.uint64))[0])


def _nowhere(name: str, group: int) -> PeerFacts:
    """Return the facts of an unroutable address."""
    return PeerFacts(name, NETWORK_NAMES[UNROUTABLE], group, group, group, 0)


def _one_halves(packed: bytes) -> tuple[int, int]:
    return int.from_bytes(packed[:8], "big"), int.from_bytes(packed[8:16], "big")


def _one_within(ranges: tuple[list[int], list[int]], value: int) -> bool:
    first, last = ranges
    index = bisect_right(first, value) - 1
    return index >= 0 and value <= last[index]


def _one_routable(network: int, high: int, low: int) -> bool:
    """Return `routable` for one address."""
    if network == IPV4:
        return not _one_within(_ONE_UNROUTABLE_IPV4, low & 0xFFFFFFFF)
    if network == IPV6:
        embedded = high == 0 and (low <= 1 or low >> 32 == _MAPPED_WORD)
        return not embedded and not _one_within(_ONE_UNROUTABLE_IPV6, high)
    return network in (ONION, I2P) or (network == CJDNS and high >> 56 == CJDNS_PREFIX)


def _one_tunnelled(network: int, high: int, low: int) -> int | None:
    """Return `_linked` for one address that is not IPv4: the IPv4 address inside, if any."""
    if network != IPV6:
        return None
    if high >> 32 == 0x20010000:
        return ~low & 0xFFFFFFFF
    if high >> 48 == 0x2002:
        return high >> 16 & 0xFFFFFFFF
    translated = high == 0x0064FF9B << 32 and low >> 32 == 0
    return low & 0xFFFFFFFF if translated or (high == 0 and low >> 32 == _MAPPED_WORD << 16) else None


def _one_local(network: int, high: int, low: int) -> bool:
    """Return `_local` for one address."""
    if network == IPV4:
        return low >> 24 & 0xFF in (0, 127)
    return network == IPV6 and high == 0 and low == 1


def _one_group(network: int, high: int) -> int:
    """Return `_address_groups` for one routable address that is neither IPv4 nor a tunnel."""
    if network == IPV6:
        henet = high >> 32 == _HE_NET
        code, payload = (prefix.IPV6_36, high >> 28) if henet else (prefix.IPV6_32, high >> 32)
    elif network == CJDNS:
        code, payload = prefix.CJDNS, high >> 52 & 15
    else:
        code, payload = (prefix.ONION if network == ONION else prefix.I2P), high >> 60
    return code << prefix.PAYLOAD_BITS | payload


def _row(packed: bytes) -> Packed:
    return np.frombuffer(packed, np.uint8)[None, :]


def _local(networks: Codes, high: Words, low: Words) -> Flags:
    """Return IsLocal: 127.0.0.0/8, 0.0.0.0/8 and ::1."""
    first = (low >> np.uint64(24)) & np.uint64(0xFF)
    answer: Flags = (networks == IPV4) & ((first == 127) | (first == 0))
    answer |= (networks == IPV6) & (high == 0) & (low == 1)
    return answer


def _address_groups(networks: Codes, high: Words) -> Words:
    """Return the groups by network, as if all addresses were routable and none a tunnel."""
    answer = np.full(len(high), prefix.UNROUTABLE_PREFIX, np.uint64)
    six = networks == IPV6
    if six.any():
        henet = six & (high >> np.uint64(32) == _HE_NET)
        answer[six] = prefix.pack_prefixes(prefix.IPV6_32, high[six] >> np.uint64(32))
        answer[henet] = prefix.pack_prefixes(prefix.IPV6_36, high[henet] >> np.uint64(28))
    for code, network, shift in ((prefix.ONION, ONION, 60), (prefix.I2P, I2P, 60), (prefix.CJDNS, CJDNS, 52)):
        chosen = networks == network
        if chosen.any():
            answer[chosen] = prefix.pack_prefixes(code, (high[chosen] >> np.uint64(shift)) & np.uint64(15))
    return answer
