"""What changed in the address manager between two getrawaddrman polls.

A slot is (table, bucket, position), an address is (address, port). In `new` one address
may hold up to 8 slots (Core src/addrman.h: ADDRMAN_NEW_BUCKETS_PER_ADDRESS), so an entry
that appears is not always a new address. Entries are refreshed in place all the time;
that is no event. What came and went between two polls is not seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Literal

from watchdog.sources.rpc.address_facts import AddressFacts
from watchdog.sources.rpc.answers import BUCKET_SIZE, NEW_BUCKETS, TRIED_BUCKETS, AddrmanEntry, Loss, Tables
from watchdog.sources.rpc.columns import RpcRows, Values, one_row

TableName = Literal["new", "tried"]
TABLES: tuple[TableName, TableName] = ("new", "tried")
BUCKETS: Mapping[TableName, int] = {"new": NEW_BUCKETS, "tried": TRIED_BUCKETS}

TableAddress = tuple[str, int]  # without port, port

REBUCKETED_SHARE = 0.3  # threats.md#address-table-diff: more than 30 % of keys moved: another asmap or secret key
KINDS = ("addrman:insert", "addrman:evict", "addrman:replace", "addrman:move", "addrman:rebucketed")


@dataclass(frozen=True, slots=True)
class AddrmanTable:
    """One table of a poll: its entries by key "bucket/position", who holds each key, and who holds any."""

    entries: dict[str, AddrmanEntry]
    holders: dict[str, TableAddress]
    addresses: frozenset[TableAddress]

    @classmethod
    def of(cls, entries: dict[str, AddrmanEntry]) -> AddrmanTable:
        """Return the table of these entries."""
        pairs = [(entry.address, entry.port) for entry in entries.values()]
        return cls(entries, dict(zip(entries, pairs, strict=True)), frozenset(pairs))


@dataclass(frozen=True, slots=True)
class AddrmanPoll:
    """One getrawaddrman answer."""

    time_ns: int
    tables: Mapping[TableName, AddrmanTable]

    def __len__(self) -> int:
        return sum(len(table.entries) for table in self.tables.values())


@dataclass(slots=True)
class _Changes:
    """Slots that changed hands, by what happened; each is (table, key, entry, other)."""

    inserted: list[tuple[TableName, str, AddrmanEntry]]
    replaced: list[tuple[TableName, str, AddrmanEntry, AddrmanEntry]]
    moved: list[tuple[TableName, str, AddrmanEntry, TableName]]
    evicted: list[tuple[TableName, str, AddrmanEntry]]


def addrman_poll(answer: Tables, time_ns: int, previous: AddrmanPoll | None, loss: Loss) -> AddrmanPoll:
    """A poll without slots that Core's tables do not have; keys that `previous` has are not checked again."""
    for table in TABLES:
        entries = answer.new if table == "new" else answer.tried
        unchecked = entries.keys() - previous.tables[table].entries.keys() if previous else entries.keys()
        bad = [key for key in unchecked if slot_of(key, BUCKETS[table]) is None]
        for key in bad:
            del entries[key]
        if bad:
            loss("address manager slots that Core does not have", len(bad))
    return AddrmanPoll(time_ns, {"new": AddrmanTable.of(answer.new), "tried": AddrmanTable.of(answer.tried)})


def slot_of(key: str, buckets: int) -> tuple[int, int] | None:
    """(bucket, position) of a key "bucket/position" as Core prints it; None outside of the table."""
    first, slash, second = key.partition("/")
    if not slash or not (first.isdecimal() and second.isdecimal() and key.isascii()) or len(key) > 7:
        return None
    bucket, position = int(first), int(second)
    if bucket >= buckets or position >= BUCKET_SIZE or key != f"{bucket}/{position}":
        return None
    return bucket, position


def report_changes(old: AddrmanPoll, new: AddrmanPoll, rows: RpcRows, known: AddressFacts) -> None:
    """Add the addrman:* events between two polls of one node; only addrman:rebucketed if the keys were shuffled."""
    taken = {table: _changed_keys(old.tables[table], new.tables[table]) for table in TABLES}
    share = sum(_shuffled(old.tables[table], new.tables[table], taken[table]) for table in TABLES) / max(1, len(old))
    if share > REBUCKETED_SHARE:
        rows.add("addrman:rebucketed", new.time_ns, one_row({"moved_share": share, "entries": len(new)}))
        return
    changes = _classify(old, new, taken)
    interval_s = (new.time_ns - old.time_ns) // 10**9
    held = old.tables["new"].addresses | old.tables["tried"].addresses

    def add(kind: str, slots: Sequence[tuple[TableName, str, AddrmanEntry]], **more: Values) -> None:
        if not slots or not rows.wants(kind):
            return
        columns = slot_columns(slots, new.time_ns, known)
        columns["interval_s"] = [interval_s] * len(slots)
        columns["first"] = [(entry.address, entry.port) not in held for _, _, entry in slots]
        columns["table_total"] = [len(new.tables[table].entries) for table, _, _ in slots]
        rows.add(kind, new.time_ns, {**columns, **more})

    add("addrman:insert", changes.inserted)
    add("addrman:evict", changes.evicted)
    add("addrman:move", [item[:3] for item in changes.moved], from_table=[item[3] for item in changes.moved])
    before = [item[3].address for item in changes.replaced]
    groups = [fact.netgroup for fact in known.of(before)]
    add("addrman:replace", [item[:3] for item in changes.replaced], old_address=before, old_netgroup=groups)


def report_entries(poll: AddrmanPoll, rows: RpcRows, known: AddressFacts) -> None:
    """Add rpc:addrman_entry: a row for each entry of a poll."""
    slots = [(table, key, entry) for table in TABLES for key, entry in poll.tables[table].entries.items()]
    if slots:
        columns = slot_columns(slots, poll.time_ns, known)
        columns["services"] = [entry.services for _, _, entry in slots]
        rows.add("rpc:addrman_entry", poll.time_ns, columns)


def slot_columns(
    slots: Sequence[tuple[TableName, str, AddrmanEntry]], time_ns: int, known: AddressFacts
) -> dict[str, Values]:
    """Return the columns that all events of a slot share; stamp_age_s is negative for stamps in the future."""
    now_s = time_ns // 10**9
    places = [slot_of(key, NEW_BUCKETS) or (0, 0) for _, key, _ in slots]
    entries = [entry for _, _, entry in slots]
    facts = known.of([entry.address for entry in entries])
    sources = known.of([entry.source for entry in entries])
    return {
        "table": [table for table, _, _ in slots],
        "bucket": [bucket for bucket, _ in places],
        "position": [position for _, position in places],
        "address": [entry.address for entry in entries],
        "entry_network": [fact.network for fact in facts],
        "entry_netgroup": [fact.netgroup for fact in facts],
        "entry_netblock": [fact.netblock for fact in facts],
        "entry_asn": [fact.asn or entry.mapped_as for fact, entry in zip(facts, entries, strict=True)],
        "port": [entry.port for entry in entries],
        "source_addr": [entry.source for entry in entries],
        "source_netgroup": [fact.netgroup for fact in sources],
        "source_netblock": [fact.netblock for fact in sources],
        "source_asn": [fact.asn or entry.source_mapped_as for fact, entry in zip(sources, entries, strict=True)],
        "stamp_age_s": [now_s - entry.time for entry in entries],
    }


def _changed_keys(old: AddrmanTable, new: AddrmanTable) -> list[str]:
    """Keys whose holder is not the same: in the new poll's order, those that became free last."""
    before = old.holders.get
    changed = [key for key, holder in new.holders.items() if before(key) != holder]
    return changed + sorted(old.holders.keys() - new.holders.keys())


def _shuffled(old: AddrmanTable, new: AddrmanTable, keys: Sequence[str]) -> int:
    """Return how many entries left a key and took another one of the same table."""
    gained = {new.holders.get(key) for key in keys}
    return sum(holder in gained for key in keys if (holder := old.holders.get(key)) is not None)


def _classify(old: AddrmanPoll, new: AddrmanPoll, taken: Mapping[TableName, Sequence[str]]) -> _Changes:
    changes = _Changes([], [], [], [])
    old_new, old_tried = (old.tables[table].addresses for table in TABLES)
    new_new, new_tried = (new.tables[table].addresses for table in TABLES)
    promoted = (old_new & new_tried) - old_tried
    demoted = (old_tried & new_new) - new_tried
    crossings: tuple[tuple[TableName, TableName, AbstractSet[TableAddress], AbstractSet[TableAddress]], ...] = (
        ("new", "tried", demoted, promoted),
        ("tried", "new", promoted, demoted),
    )
    for table, other, arrived, departed in crossings:
        before, after = old.tables[table], new.tables[table]
        for key in taken[table]:
            was = before.entries.get(key) if before.holders.get(key) not in departed else None
            now = after.entries.get(key)
            if now is not None and after.holders[key] in arrived:
                changes.moved.append((table, key, now, other))
                now = None
            if now is not None and was is not None:
                changes.replaced.append((table, key, now, was))
            elif now is not None:
                changes.inserted.append((table, key, now))
            elif was is not None:
                changes.evicted.append((table, key, was))
    return changes
