"""The usual way to compare two getrawaddrman answers: json.loads, dict against dict; it gives the same events."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from watchdog.core.batch import Batch
from watchdog.core.enrich import Enricher
from watchdog.sources.rpc.address_facts import AddressFacts
from watchdog.sources.rpc.addrman_diff import KINDS, slot_columns
from watchdog.sources.rpc.answers import AddrmanEntry
from watchdog.sources.rpc.columns import RpcRows, Values

Table = dict[str, dict[str, Any]]
Slot = tuple[str, str, dict[str, Any]]  # table, key, entry
TABLES = ("new", "tried")
FIELDS = ("address", "port", "services", "time", "source", "mapped_as", "source_mapped_as")


def _who(entry: dict[str, Any]) -> tuple[str, int]:
    return entry["address"], entry["port"]


class DictAddrman:
    """Holds the last answer as dicts, and the addresses of each table as a set."""

    def __init__(self, first: bytes, time_s: int) -> None:
        self._tables: dict[str, Table] = json.loads(first)["result"]
        self._addresses = {name: set(map(_who, table.values())) for name, table in self._tables.items()}
        self._rows = RpcRows("node", "rpc:node", frozenset(KINDS).__contains__)
        self._known = AddressFacts(Enricher(None, {}), 200_000)
        self._time_s = time_s

    def changes(self, body: bytes, time_s: int) -> tuple[Batch, ...]:
        """Return the events between the last answer and this one, and take it as the last one."""
        tables: dict[str, Table] = json.loads(body)["result"]
        addresses = {name: set(map(_who, table.values())) for name, table in tables.items()}
        promoted = (self._addresses["new"] & addresses["tried"]) - self._addresses["tried"]
        demoted = (self._addresses["tried"] & addresses["new"]) - addresses["tried"]
        inserted: list[Slot] = []
        evicted: list[Slot] = []
        moved: list[tuple[Slot, str]] = []
        replaced: list[tuple[Slot, dict[str, Any]]] = []
        for name, other, arrived, departed in zip(
            TABLES, reversed(TABLES), (demoted, promoted), (promoted, demoted), strict=True
        ):
            before, after = self._tables[name], tables[name]
            for key in [*after, *sorted(before.keys() - after.keys())]:
                was, now = before.get(key), after.get(key)
                if was is not None and now is not None and _who(was) == _who(now):
                    continue
                was = None if was is not None and _who(was) in departed else was
                if now is not None and _who(now) in arrived:
                    moved.append(((name, key, now), other))
                elif now is not None and was is not None:
                    replaced.append(((name, key, now), was))
                elif now is not None:
                    inserted.append((name, key, now))
                elif was is not None:
                    evicted.append((name, key, was))
        self._add("addrman:insert", inserted, tables, time_s)
        self._add("addrman:evict", evicted, tables, time_s)
        self._add("addrman:move", [slot for slot, _ in moved], tables, time_s, from_table=[other for _, other in moved])
        old = [was["address"] for _, was in replaced]
        groups = [fact.netgroup for fact in self._known.of(old)]
        slots = [slot for slot, _ in replaced]
        self._add("addrman:replace", slots, tables, time_s, old_address=old, old_netgroup=groups)
        self._tables, self._addresses, self._time_s = tables, addresses, time_s
        return self._rows.take()

    def _add(self, kind: str, slots: Sequence[Slot], tables: dict[str, Table], time_s: int, **more: Values) -> None:
        if not slots:
            return
        entries: Any = [
            (name, key, AddrmanEntry(**{field: entry[field] for field in FIELDS})) for name, key, entry in slots
        ]
        columns = slot_columns(entries, time_s * 10**9, self._known)
        columns["interval_s"] = [time_s - self._time_s] * len(slots)
        held = self._addresses["new"] | self._addresses["tried"]
        columns["first"] = [_who(entry) not in held for _, _, entry in slots]
        columns["table_total"] = [len(tables[name]) for name, _, _ in slots]
        self._rows.add(kind, time_s * 10**9, {**columns, **more})
