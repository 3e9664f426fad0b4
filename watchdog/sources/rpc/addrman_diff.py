"""What changed in the address manager between two getrawaddrman polls.

A slot is (table, bucket, position), an address is (address, port). In `new` one address
may hold up to 8 slots (ADDRMAN_NEW_BUCKETS_PER_ADDRESS), so an entry
that appears is not always a new address. Entries are refreshed in place all the time;
that is no event. What came and went between two polls is not seen.

An answer has up to 81,920 entries. Each stays the piece of text that the node sent, and is compared as text; only
pieces that differ are read. Besides the text of the last answer, a count for each address is held: in how many slots
it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from itertools import compress
from operator import ne
from typing import Literal

import msgspec

from watchdog.core.core_constants import ADDRMAN_BUCKET_SIZE, ADDRMAN_NEW_BUCKET_COUNT, ADDRMAN_TRIED_BUCKET_COUNT
from watchdog.sources.rpc.address_facts import AddressFacts
from watchdog.sources.rpc.answers import AddrmanEntry, Holder, Tables, addrman_entry, holders
from watchdog.sources.rpc.columns import RpcRows, Values, one_row
from watchdog.sources.rpc.exposure import ExposureFollower
from watchdog.sources.rpc.salvage import Loss

TableName = Literal["new", "tried"]
TABLES: tuple[TableName, TableName] = ("new", "tried")
BUCKETS: Mapping[TableName, int] = {"new": ADDRMAN_NEW_BUCKET_COUNT, "tried": ADDRMAN_TRIED_BUCKET_COUNT}

SlotTexts = dict[str, msgspec.Raw]  # by key "bucket/position"

REBUCKETED_SHARE = 0.3  # threats.md#address-table-diff: more than 30 % of keys moved: another asmap or secret key
KINDS = ("addrman:insert", "addrman:evict", "addrman:replace", "addrman:move", "addrman:rebucketed")


@dataclass(slots=True)
class _Table:
    """One table of a poll. counts: slots by the hash of an address, which is keyed and so cannot be made to collide."""

    slots: SlotTexts = field(default_factory=dict)
    counts: dict[int, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Change:
    """What is not the same in one table. keys: whose holder changed, in the poll's order, those that are free last."""

    slots: SlotTexts
    keys: list[str]
    before: dict[str, AddrmanEntry]
    after: dict[str, AddrmanEntry]
    delta: Counter[Holder] = field(init=False)  # by how many slots each address gained or lost

    def __post_init__(self) -> None:
        self.delta = Counter(map(_holder, self.after.values()))
        self.delta.subtract(map(_holder, self.before.values()))


@dataclass(slots=True)
class _Changes:
    """SlotTexts that changed hands, by what happened; each is (table, key, entry, other)."""

    inserted: list[tuple[TableName, str, AddrmanEntry]]
    replaced: list[tuple[TableName, str, AddrmanEntry, AddrmanEntry]]
    moved: list[tuple[TableName, str, AddrmanEntry, TableName]]
    evicted: list[tuple[TableName, str, AddrmanEntry]]


class AddrmanDiff:
    """Follows the address tables of one node from poll to poll; they outlive a restart of the node."""

    def __init__(self, rows: RpcRows, known: AddressFacts, exposure: ExposureFollower | None = None) -> None:
        self._rows, self._known = rows, known
        self._exposure = exposure  # what else follows the slots, if a reader wants it
        self._tables: dict[TableName, _Table] = {}
        self._time_ns = 0

    def report(self, answer: Tables, time_ns: int, loss: Loss, *, silent: bool = False) -> None:
        """Add the changes since the last poll, and every entry where a reader wants it; the first poll is a baseline.

        silent: take the poll as the last one without adding anything.
        """
        if not self._tables or silent:
            self._learn(answer, loss)
        else:
            self._compare(answer, time_ns, loss)
        self._time_ns = time_ns
        if self._rows.wants("rpc:addrman_entry") and not silent:
            self._report_entries(loss)

    def _learn(self, answer: Tables, loss: Loss) -> None:
        for name in TABLES:
            slots = answer.new if name == "new" else answer.tried
            _drop_odd(slots, list(slots), BUCKETS[name], loss)
            held = _held(slots, list(slots), loss)
            counts = Counter(map(hash, held.values()))
            self._tables[name] = _Table(slots, dict(counts))
            if self._exposure is not None:
                self._exposure.slots.replace(name, _entries(slots, list(slots), _ignore))

    def _compare(self, answer: Tables, time_ns: int, loss: Loss) -> None:
        changes: dict[TableName, _Change] = {}
        for name in TABLES:
            slots = answer.new if name == "new" else answer.tried
            changes[name] = _changed(self._tables[name].slots, slots, BUCKETS[name], loss)
        total = sum(len(table.slots) for table in self._tables.values())
        share = sum(_shuffled(change) for change in changes.values()) / max(1, total)
        if share > REBUCKETED_SHARE:
            entries = sum(len(change.slots) for change in changes.values())
            self._rows.add("addrman:rebucketed", time_ns, one_row({"moved_share": share, "entries": entries}))
        else:
            self._report_changes(changes, time_ns)
        for name, change in changes.items():
            counts = self._tables[name].counts
            for holder, number in change.delta.items():
                _add(counts, hash(holder), number)
            self._tables[name] = _Table(change.slots, counts)
            if self._exposure is not None:
                self._exposure.slots.change(name, change.keys, change.after)

    def _report_changes(self, changes: Mapping[TableName, _Change], time_ns: int) -> None:
        """Add the events of slots that changed hands."""
        found = self._classify(changes)
        before = [entry.address for change in changes.values() for entry in change.before.values()]
        after = [text for change in changes.values() for entry in change.after.values() for text in _texts(entry)]
        self._known.of(before + after)  # all at once
        interval_s = (time_ns - self._time_ns) // 10**9
        rows, known = self._rows, self._known
        if self._exposure is not None:
            met = sum(table == "tried" for table, _, _, _ in found.moved)
            self._exposure.note_met(met, time_ns, interval_s, rows.boot_ns)

        def add(kind: str, slots: Sequence[tuple[TableName, str, AddrmanEntry]], **more: Values) -> None:
            if not slots or not rows.wants(kind):
                return
            columns = slot_columns(slots, time_ns, known)
            columns["interval_s"] = [interval_s] * len(slots)
            columns["first"] = [not self._held(_holder(entry)) for _, _, entry in slots]
            columns["table_total"] = [len(changes[table].slots) for table, _, _ in slots]
            rows.add(kind, time_ns, {**columns, **more})

        add("addrman:insert", found.inserted)
        add("addrman:evict", found.evicted)
        add("addrman:move", [item[:3] for item in found.moved], from_table=[item[3] for item in found.moved])
        replaced = [item[3].address for item in found.replaced]
        groups = [fact.netgroup for fact in known.of(replaced)]
        add("addrman:replace", [item[:3] for item in found.replaced], old_address=replaced, old_netgroup=groups)

    def _held(self, holder: Holder) -> bool:
        return any(hash(holder) in table.counts for table in self._tables.values())

    def _crossed(self, changes: Mapping[TableName, _Change]) -> tuple[AbstractSet[Holder], ...]:
        """Return the addresses that went from new to tried, and from tried to new: these are in slots that changed."""
        deltas = {name: change.delta for name, change in changes.items()}
        holders = deltas["new"].keys() | deltas["tried"].keys()
        was = {name: {one for one in holders if hash(one) in self._tables[name].counts} for name in TABLES}
        now = {
            name: {one for one in holders if self._tables[name].counts.get(hash(one), 0) + deltas[name][one] > 0}
            for name in TABLES
        }
        promoted = (was["new"] & now["tried"]) - was["tried"]
        demoted = (was["tried"] & now["new"]) - now["tried"]
        return promoted, demoted

    def _classify(self, changes: Mapping[TableName, _Change]) -> _Changes:
        found = _Changes([], [], [], [])
        promoted, demoted = self._crossed(changes)
        crossings: tuple[tuple[TableName, TableName, AbstractSet[Holder], AbstractSet[Holder]], ...] = (
            ("new", "tried", demoted, promoted),
            ("tried", "new", promoted, demoted),
        )
        for table, other, arrived, departed in crossings:
            change = changes[table]
            for key in change.keys:
                was, now = change.before.get(key), change.after.get(key)
                if was is not None and _holder(was) in departed:
                    was = None
                if now is not None and _holder(now) in arrived:
                    found.moved.append((table, key, now, other))
                    now = None
                if now is not None and was is not None:
                    found.replaced.append((table, key, now, was))
                elif now is not None:
                    found.inserted.append((table, key, now))
                elif was is not None:
                    found.evicted.append((table, key, was))
        return found

    def _report_entries(self, loss: Loss) -> None:
        """Add rpc:addrman_entry: a row for each entry of the last poll."""
        slots: list[tuple[TableName, str, AddrmanEntry]] = [
            (name, key, entry)
            for name in TABLES
            for key, entry in _entries(self._tables[name].slots, list(self._tables[name].slots), loss).items()
        ]
        if slots:
            columns = slot_columns(slots, self._time_ns, self._known)
            columns["services"] = [entry.services for _, _, entry in slots]
            self._rows.add("rpc:addrman_entry", self._time_ns, columns)


def _holder(entry: AddrmanEntry) -> Holder:
    return Holder(entry.address, entry.port)


def _texts(entry: AddrmanEntry) -> tuple[str, str]:
    return entry.address, entry.source


def _add(counts: dict[int, int], number: int, delta: int) -> None:
    left = counts.get(number, 0) + delta
    if left > 0:
        counts[number] = left
    else:
        counts.pop(number, None)


def _drop_odd(slots: SlotTexts, keys: Iterable[str], buckets: int, loss: Loss) -> None:
    """Remove keys of slots that Core's table does not have."""
    odd = [key for key in keys if slot_of(key, buckets) is None]
    for key in odd:
        del slots[key]
    if odd:
        loss("address manager slots that Core does not have", len(odd))


def _entries(slots: SlotTexts, keys: Sequence[str], loss: Loss) -> dict[str, AddrmanEntry]:
    """Read the entries of some slots; what is no entry is left out."""
    read = ((key, addrman_entry(slots[key], loss)) for key in keys)
    return {key: entry for key, entry in read if entry is not None}


def _held(slots: SlotTexts, keys: Sequence[str], loss: Loss) -> dict[str, Holder]:
    """Read who holds some slots. Removes slots from the poll that hold no entry."""
    held = zip(keys, holders([slots[key] for key in keys], loss), strict=True)
    found = {key: holder for key, holder in held if holder is not None}
    for key in keys if len(found) < len(keys) else ():
        if key not in found:
            del slots[key]
    return found


def _changed(old: SlotTexts, new: SlotTexts, buckets: int, loss: Loss) -> _Change:
    """Compare two polls of a table. Removes from `new` what Core's table cannot hold."""
    other = list(compress(new, map(ne, map(old.get, new), new.values())))  # 80,000 comparisons without a bytecode
    added = [key for key in other if key not in old]
    _drop_odd(new, added, buckets, loss)
    after = _held(new, [key for key in other if key in new], loss)
    kept = len(new) - sum(key in new for key in added)
    freed = sorted(old.keys() - new.keys()) if kept < len(old) else []
    before = _held(old, [key for key in after if key in old] + freed, _ignore)
    keys = [key for key, holder in after.items() if before.get(key) != holder] + freed
    return _Change(
        new,
        keys,
        _entries(old, [key for key in keys if key in before], _ignore),
        _entries(new, [key for key in keys if key in after], loss),
    )


def _shuffled(change: _Change) -> int:
    """Return how many entries left a key and took another one of the same table."""
    gained = {_holder(entry) for entry in change.after.values()}
    return sum(_holder(entry) in gained for entry in change.before.values())


def _ignore(_reason: str, _count: int) -> None:
    """Count nothing: what was left out of the earlier poll was counted then."""


def slot_of(key: str, buckets: int) -> tuple[int, int] | None:
    """(bucket, position) of a key "bucket/position" as Core prints it; None outside of the table."""
    first, slash, second = key.partition("/")
    if not slash or not (first.isdecimal() and second.isdecimal() and key.isascii()) or len(key) > 7:
        return None
    bucket, position = int(first), int(second)
    if bucket >= buckets or position >= ADDRMAN_BUCKET_SIZE or key != f"{bucket}/{position}":
        return None
    return bucket, position


def slot_columns(
    slots: Sequence[tuple[TableName, str, AddrmanEntry]], time_ns: int, known: AddressFacts
) -> dict[str, Values]:
    """Return the columns that all events of a slot share; stamp_age_s is negative for stamps in the future."""
    now_s = time_ns // 10**9
    places = [slot_of(key, ADDRMAN_NEW_BUCKET_COUNT) or (0, 0) for _, key, _ in slots]
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
