"""What is known of many addresses at once: netgroups of address tables without a lookup for each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from watchdog.core.address import IPV4, IPV6, NETWORK_NAMES, UNROUTABLE, Address, parse_address
from watchdog.core.enrich import Enricher, PeerFacts
from watchdog.core.text import printable

# IPv6 forms that stand for an IPv4 address (Bitcoin Core's HasLinkedIPv4): 6to4, Teredo, NAT64, mapped
_TUNNELS = (b"\x20\x02", b"\x20\x01\x00\x00", b"\x00\x64\xff\x9b", bytes(8))


class AddressFacts:
    """Facts of addresses without port, kept for up to `limit` of them; all are forgotten when it is full.

    The answers are those of `Enricher.peer`. Addresses that are new are looked up together.
    """

    def __init__(self, enricher: Enricher, limit: int) -> None:
        self._enricher = enricher
        self._limit = limit
        self._known: dict[str, PeerFacts] = {}

    def apart(self, limit: int) -> AddressFacts:
        """Return an empty one of another limit, for addresses that are asked for once."""
        return AddressFacts(self._enricher, limit)

    def of(self, texts: Sequence[str]) -> list[PeerFacts]:
        """Return the facts of each address, in order; a text that is not an address is unroutable."""
        known = self._known
        new = {text for text in texts if text not in known}
        if new:
            if len(known) + len(new) > self._limit:
                known.clear()
                new = set(texts)
            self._look_up(sorted(new))
        return [known[text] for text in texts]

    def _look_up(self, texts: Sequence[str]) -> None:
        plain: list[tuple[str, Address]] = []
        for text in texts:
            address = parse_address(text) if ":" in text or text[-1:].isdigit() else None
            if address is None or address.port or _is_odd(address):
                self._known[text] = self._enricher.peer(text)
            else:
                plain.append((text, address))
        if plain:
            self._look_up_plain(plain)

    def _look_up_plain(self, plain: Sequence[tuple[str, Address]]) -> None:
        networks = np.array([address.network for _, address in plain], np.uint8)
        packed = np.frombuffer(b"".join(address.packed for _, address in plain), np.uint8).reshape(-1, 16)
        places = self._enricher.place(networks, packed)
        codes = np.where(places.reachable, networks, UNROUTABLE).tolist()
        subnets = self._enricher.subnets(networks, packed).tolist()
        groups, blocks, numbers = places.netgroups.tolist(), places.netblocks.tolist(), places.asns.tolist()
        rows = zip(plain, codes, groups, blocks, subnets, numbers, strict=True)
        for (text, _), code, *numbers_of_one in rows:
            name = printable(text[1:-1] if text.startswith("[") else text)
            self._known[text] = PeerFacts(name, NETWORK_NAMES[code], *numbers_of_one)


def _is_odd(address: Address) -> bool:
    """Return whether an address is not simply IPv4 or native IPv6."""
    if address.network == IPV4:
        return False
    return address.network != IPV6 or address.packed.startswith(_TUNNELS)
