"""From the messages of one cut to batches: decoded payloads, connection columns, what conversations tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from watchdog.core.batch import Batch, Column, Strings
from watchdog.core.enrich import Enricher
from watchdog.core.payload_columns import asked_payloads, no_payloads
from watchdog.core.source import SourceOptions
from watchdog.sources.capture.connection_table import ConnectionTable
from watchdog.sources.capture.connections import ConnectionChange
from watchdog.sources.capture.cut import Damage
from watchdog.sources.capture.new_blocks import NewBlocks
from watchdog.sources.messages.decoder import PayloadDecoder
from watchdog.sources.messages.rows import KNOWN_TYPES, MessageRows


@dataclass(slots=True, eq=False)
class BatchMaker:
    """Makes the batches of one source; remembers looked-up addresses, and the blocks that were named."""

    source: str
    options: SourceOptions
    enricher: Enricher
    blocks: NewBlocks

    def batches(self, rows: MessageRows) -> list[Batch]:
        """Return all wanted kinds, rows by time."""
        facts = [self.enricher.peer(one.peer) for one in rows.connections]
        table = ConnectionTable(rows.connections, facts)
        made = self._messages(rows, table)
        made += self._changes(rows.changes, rows, table)
        decoder = PayloadDecoder(self.source, self.options, self.enricher, self.blocks)
        return made + decoder.batches(rows, facts, lambda at: table.columns(rows.slot[at], rows.time_us[at]))

    def damage(self, damage: list[Damage]) -> Batch:
        """Return source:gap rows for files that lost records."""
        damage = sorted(damage, key=lambda one: one.time_us)
        time_ns = np.array([one.time_us * 1000 for one in damage], np.int64)
        columns: dict[str, Column] = {
            "time_ns": time_ns,
            "from_ns": np.array([one.from_us * 1000 for one in damage], np.int64),
            "to_ns": time_ns,
            "lost": np.array([one.lost for one in damage], np.uint64),
            "reason": Strings.of([one.reason for one in damage]),
            "kinds": Strings.constant("", len(damage)),
        }
        return self._batch("source:gap", columns)

    def _batch(self, kind: str, columns: Mapping[str, Column]) -> Batch:
        return Batch(kind, self.options.node, self.source, columns)

    def _messages(self, rows: MessageRows, table: ConnectionTable) -> list[Batch]:
        """Return net:inbound_message and net:outbound_message."""
        made: list[Batch] = []
        for kind, chosen in (("net:inbound_message", rows.received), ("net:outbound_message", ~rows.received)):
            at = chosen.nonzero()[0]
            if len(at) and self.options.wants(kind):
                columns = table.columns(rows.slot[at], rows.time_us[at])
                columns["type"] = rows.type.take(at)
                columns["size"] = rows.size[at]
                columns["known"] = rows.type.codes[at] < len(KNOWN_TYPES)
                columns.update(self._payloads(rows, at))
                made.append(self._batch(kind, columns))
        return made

    def _payloads(self, rows: MessageRows, at: NDArray[np.intp]) -> Mapping[str, Column]:
        """Return the columns of payloads, which are empty unless asked for."""
        if not self.options.payloads:
            return no_payloads(len(at))
        data, starts = np.frombuffer(rows.data, np.uint8), rows.starts[at]
        return asked_payloads(self.options.payloads, rows.type.take(at), data, starts, rows.size[at].astype(np.int64))

    def _changes(self, changes: list[ConnectionChange], rows: MessageRows, table: ConnectionTable) -> list[Batch]:
        """Return net:inbound_connection, net:outbound_connection and net:closed_connection."""
        slots = {one: slot for slot, one in enumerate(rows.connections)}
        made: list[Batch] = []
        for kind, opened, directions in (
            ("net:inbound_connection", True, ("in",)),
            ("net:outbound_connection", True, ("out",)),
            ("net:closed_connection", False, ("in", "out", "unknown")),
        ):
            some = [one for one in changes if one.opened == opened and one.connection.direction in directions]
            if not some or not self.options.wants(kind):
                continue
            at = np.array([slots[one.connection] for one in some], np.int32)
            columns = table.columns(at, np.array([one.time_us for one in some], np.int64))
            if opened:
                columns["connections"] = np.array([one.open_count for one in some], np.uint32)
            else:
                lived = [(one.connection.last_us - one.connection.first_us) // 1_000_000 for one in some]
                columns["established_s"] = np.array([one.connection.first_us // 1_000_000 for one in some], np.int64)
                columns["lived_s"] = np.array(lived, np.int64)
            made.append(self._batch(kind, columns))
        return made
