"""The address tables as arrays: of each taken slot its group by each grouping, and what Core connects to once at most.

They follow the slots that changed hands, so a poll costs no reading of entries that stayed: 41 bytes a slot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Final, NamedTuple

import numpy as np

from watchdog.core.arrays import Flags, Words
from watchdog.core.core_constants import ADDRMAN_BUCKET_SIZE, ADDRMAN_NEW_BUCKET_COUNT, ADDRMAN_TRIED_BUCKET_COUNT
from watchdog.core.eclipse_model import Chances, Side, place_chances
from watchdog.core.enrich import PeerFacts
from watchdog.core.prefix import AS, PAYLOAD_BITS
from watchdog.sources.rpc.address_facts import AddressFacts
from watchdog.sources.rpc.answers import AddrmanEntry

GROUPINGS: Final = ("netblock", "as", "source")
NUMBERS: Final = ("address", "limit", *GROUPINGS)
"""Of a slot: hash of the address, what Core connects to once at most, and the groups; a group of 0 is none."""
BUCKETS: Final = {"new": ADDRMAN_NEW_BUCKET_COUNT, "tried": ADDRMAN_TRIED_BUCKET_COUNT}
_IP: Final = ("ipv4", "ipv6")
_ONE_ADDRESS: Final = 0xFF << PAYLOAD_BITS  # kind of a limit that is one address; no prefix has it
_HASH_BITS: Final = (1 << PAYLOAD_BITS) - 1
_CHUNK: Final = 8_192  # entries whose groups are looked up together


class SlotNumbers(NamedTuple):
    """What is held of an address, in the order of NUMBERS."""

    address: int
    limit: int
    netblock: int
    asn: int
    source: int


def numbers_of(facts: PeerFacts, mapped_as: int, source: PeerFacts | None = None) -> SlotNumbers:
    """Return the numbers of an address. mapped_as: the node's word, 0 without an asmap of its own.

    Tor, I2P and CJDNS have no groups that cost anything, so their addresses are in none.
    """
    address = int.from_bytes(blake2b(facts.addr.encode(), digest_size=8).digest(), "big")
    if facts.network not in _IP:
        return SlotNumbers(address, _ONE_ADDRESS | address & _HASH_BITS, 0, 0, _source(source))
    own = AS << PAYLOAD_BITS | mapped_as if 0 < mapped_as < 1 << 32 else facts.netblock
    asn = facts.asn or (mapped_as if 0 < mapped_as < 1 << 32 else 0)
    return SlotNumbers(address, own, facts.netblock, asn, _source(source))


def _source(source: PeerFacts | None) -> int:
    return source.netblock if source is not None and source.network in _IP else 0


class PlaceTable:
    """One table of the address manager."""

    def __init__(self, buckets: int) -> None:
        self.taken: Flags = np.zeros((buckets, ADDRMAN_BUCKET_SIZE), np.bool_)
        self._numbers: dict[str, Words] = {name: np.zeros(self.taken.size, np.uint64) for name in NUMBERS}
        self.chances: Chances = np.zeros(0)
        self.numbers: Mapping[str, Words] = {}

    def put(self, places: Sequence[int], rows: Sequence[SlotNumbers]) -> None:
        """Take places."""
        if places:
            at = np.array(places, np.intp)
            self.taken.ravel()[at] = True
            for name, column in zip(NUMBERS, np.array(rows, np.uint64).T, strict=True):
                self._numbers[name][at] = column

    def free(self, places: Sequence[int]) -> None:
        """Free places."""
        self.taken.ravel()[np.array(places, np.intp)] = False

    def settle(self) -> None:
        """Set `chances` and `numbers` of the taken places, for what reads them until the next change."""
        taken = self.taken.ravel()
        self.chances = place_chances(self.taken).ravel()[taken]
        self.numbers = {name: column[taken] for name, column in self._numbers.items()}

    def side(self, grouping: str) -> Side:
        """Return what the model reads, after `settle`."""
        return Side(self.chances, self.numbers["limit"], self.numbers[grouping])


class SlotFollower:
    """Both tables of one node, kept up to date by the comparison of two polls."""

    def __init__(self, known: AddressFacts) -> None:
        self._known = known
        self.tables = {name: PlaceTable(buckets) for name, buckets in BUCKETS.items()}

    def replace(self, name: str, entries: Mapping[str, AddrmanEntry]) -> None:
        """Take all entries of a table, by key "bucket/position"; forget those before."""
        table = self.tables[name] = PlaceTable(BUCKETS[name])
        once = self._known.apart(2 * _CHUNK)  # a whole table would take the place of all other addresses
        keys = list(entries)
        for start in range(0, len(keys), _CHUNK):
            part = keys[start : start + _CHUNK]
            table.put([_place(key) for key in part], _rows([entries[key] for key in part], once))

    def change(self, name: str, keys: Sequence[str], after: Mapping[str, AddrmanEntry]) -> None:
        """Take the slots that changed hands; those without an entry now are free."""
        table = self.tables[name]
        table.free([_place(key) for key in keys])
        held = [key for key in keys if key in after]
        table.put([_place(key) for key in held], _rows([after[key] for key in held], self._known))

    def sources(self, addresses: Sequence[int]) -> list[int]:
        """Return the group of the source that announced each address (by its hash), 0 for one that no table has."""
        found = []
        for address in addresses:
            group = 0
            for table in self.tables.values():
                rows = np.flatnonzero(table.numbers["address"] == np.uint64(address))
                group = group or (int(table.numbers["source"][rows[0]]) if len(rows) else 0)
            found.append(group)
        return found


def _rows(entries: Sequence[AddrmanEntry], known: AddressFacts) -> list[SlotNumbers]:
    facts = known.of([text for entry in entries for text in (entry.address, entry.source)])
    pairs = zip(facts[::2], facts[1::2], entries, strict=True)
    return [numbers_of(fact, entry.mapped_as, source) for fact, source, entry in pairs]


def _place(key: str) -> int:
    bucket, _, position = key.partition("/")
    return int(bucket) * ADDRMAN_BUCKET_SIZE + int(position)
