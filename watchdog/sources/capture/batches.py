"""From the messages of one cut to batches: decoded payloads, connection columns, what conversations tell."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from watchdog.core.batch import Batch, Blobs, Column, Strings
from watchdog.core.column_join import joined, taken
from watchdog.core.enrich import Enricher, PeerFacts
from watchdog.core.source import SourceOptions
from watchdog.sources.capture.connection_table import ConnectionTable
from watchdog.sources.capture.connections import ConnectionChange
from watchdog.sources.capture.cut import Damage
from watchdog.sources.capture.exchanges import (
    Traffic,
    addr_answers,
    getaddr_repeats,
    headers_answers,
    pong_answers,
)
from watchdog.sources.capture.new_blocks import BLOCK_AGE, NEW_BLOCK, NewBlocks
from watchdog.sources.capture.rows import KNOWN_TYPES, MessageRows
from watchdog.sources.wire.decode import decode
from watchdog.sources.wire.messages import Messages

NONCE_BYTES: Final = 8  # a ping or pong without that much has no nonce
FLOW: Final = ("sent", "received")
# Strangers choose unknown types, and each type is a call: they are decoded together, under a name no message has
OTHER_TYPES: Final = "\0"
_SENDER_MATTERS: Final = frozenset({"addr", "addrv2"})
_SIDE_BY_SIDE: Final = frozenset({"addrv2"})  # its decoder makes tables over all bytes; others read here and there


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
        made += self._decoded(rows, table, facts)
        if self.options.wants(NEW_BLOCK) or self.options.wants(BLOCK_AGE):
            made += self._new_blocks(rows, table)
        return made

    def damage(self, damage: list[Damage]) -> Batch:
        """source:gap rows for files that lost records."""
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
        """net:inbound_message and net:outbound_message."""
        made: list[Batch] = []
        for kind, chosen in (("net:inbound_message", rows.received), ("net:outbound_message", ~rows.received)):
            at = chosen.nonzero()[0]
            if len(at) and self.options.wants(kind):
                columns = table.columns(rows.slot[at], rows.time_us[at])
                columns["type"] = rows.type.take(at)
                columns["size"] = rows.size[at]
                columns["known"] = rows.type.codes[at] < len(KNOWN_TYPES)
                made.append(self._batch(kind, columns))
        return made

    def _changes(self, changes: list[ConnectionChange], rows: MessageRows, table: ConnectionTable) -> list[Batch]:
        """net:inbound_connection, net:outbound_connection and net:closed_connection."""
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

    def _decoded(self, rows: MessageRows, table: ConnectionTable, facts: Sequence[PeerFacts]) -> list[Batch]:
        """Return the p2p kinds."""
        found: dict[str, list[tuple[NDArray[np.intp], Mapping[str, Column]]]] = {}
        senders: Blobs | None = None
        for type_, at in _by_type(rows):
            received = rows.received[at]
            sender = _nothing(len(at))
            if type_ in _SENDER_MATTERS:
                # the last: this node, whose address is not known
                senders = senders or Blobs.of([*(fact.packed for fact in facts), b""])
                sender = senders.take(np.where(received, rows.slot[at], len(facts)))
            payload = rows.gathered(at) if type_ in _SIDE_BY_SIDE else rows.spans(at)
            messages = Messages(type_, rows.time_us[at] * 1000, payload, received, sender)
            for decoded in decode(messages, self.enricher, self.options.wants):
                columns: dict[str, Column] = dict(decoded.columns)
                own = at[decoded.rows]
                if type_ == OTHER_TYPES and "type" in columns:
                    columns["type"] = rows.type.take(own)
                found.setdefault(decoded.kind, []).append((own, columns))
        some = {kind: [part for part in parts if len(part[0])] for kind, parts in found.items()}
        for kind, answers in _ANSWERS.items():
            if kind not in some and self.options.wants(kind):
                answers(rows, np.zeros(0, np.intp), _NO_ROWS)  # questions without an answer yet are remembered, too
        return [self._one_kind(kind, parts, rows, table) for kind, parts in some.items() if parts]

    def _new_blocks(self, rows: MessageRows, table: ConnectionTable) -> list[Batch]:
        """p2p:new_block and chain:block_age."""
        found = self.blocks.find(rows)
        times_us, ages_s = self.blocks.ages(rows.time_us, [int(rows.time_us[one.row]) for one in found])
        at = np.array([one.row for one in found], np.intp)
        made: list[Batch] = []
        if len(at) and self.options.wants(NEW_BLOCK):
            columns = table.columns(rows.slot[at], rows.time_us[at])
            columns["flow"] = Strings(rows.received[at].astype(np.int32), FLOW)
            columns["size"] = rows.size[at]
            columns["type"] = rows.type.take(at)
            columns["hash"] = Blobs.of([one.hash for one in found])
            columns["stamp_age_s"] = np.array([one.stamp_age_s for one in found], np.int64)
            made.append(self._batch(NEW_BLOCK, columns))
        if len(times_us) and self.options.wants(BLOCK_AGE):
            made.append(self._batch(BLOCK_AGE, {"time_ns": times_us * 1000, "block_age_s": ages_s}))
        return made

    def _one_kind(
        self,
        kind: str,
        parts: list[tuple[NDArray[np.intp], Mapping[str, Column]]],
        rows: MessageRows,
        table: ConnectionTable,
    ) -> Batch:
        """Join what several types gave for one kind, and add what the decoder cannot know."""
        at, decoded = parts[0]
        if len(parts) > 1:
            at, decoded = np.concatenate([part[0] for part in parts]), joined([part[1] for part in parts])
            order = np.argsort(at, kind="stable")
            at, decoded = at[order], {name: taken(column, order) for name, column in decoded.items()}
        columns = table.columns(rows.slot[at], rows.time_us[at])
        columns["flow"] = Strings(rows.received[at].astype(np.int32), FLOW)
        columns["size"] = rows.size[at]
        columns.update(decoded)
        answers = _ANSWERS.get(kind)
        if answers:
            columns.update(answers(rows, at, decoded))
        return self._batch(kind, columns)


def _by_type(rows: MessageRows) -> Iterator[tuple[str, NDArray[np.intp]]]:
    """Messages of each known type, and last, together, those of all others."""
    codes = np.minimum(rows.type.codes, len(KNOWN_TYPES)).astype(np.uint8)  # numbers of a byte are sorted by counting
    order = np.argsort(codes, kind="stable")
    marks = np.searchsorted(codes[order], np.arange(len(KNOWN_TYPES) + 2))
    for code, (start, stop) in enumerate(zip(marks.tolist(), marks.tolist()[1:], strict=False)):
        if stop > start:
            yield KNOWN_TYPES[code] if code < len(KNOWN_TYPES) else OTHER_TYPES, order[start:stop]


def _nothing(rows: int) -> Blobs:
    return Blobs(np.zeros(rows + 1, np.int64), np.zeros(0, np.uint8))


def _traffic(rows: MessageRows) -> Traffic:
    return Traffic(rows.time_us, rows.received, rows.slot, [one.exchange for one in rows.connections])


AnswerColumns = Mapping[str, NDArray[np.generic]]
Answers = Callable[[MessageRows, NDArray[np.intp], Mapping[str, Column]], AnswerColumns]


def _addr(rows: MessageRows, at: NDArray[np.intp], columns: Mapping[str, Column]) -> AnswerColumns:
    return addr_answers(_traffic(rows), rows.of_type("getaddr"), at, _numbers(columns, "entries"))


def _headers(rows: MessageRows, at: NDArray[np.intp], _columns: Mapping[str, Column]) -> AnswerColumns:
    return headers_answers(_traffic(rows), rows.of_type("getheaders"), at)


def _getaddr(rows: MessageRows, at: NDArray[np.intp], _columns: Mapping[str, Column]) -> AnswerColumns:
    return getaddr_repeats(_traffic(rows), at)


def _pong(rows: MessageRows, at: NDArray[np.intp], _columns: Mapping[str, Column]) -> AnswerColumns:
    pings = rows.of_type("ping")
    pings = pings[rows.size[pings] >= NONCE_BYTES]
    return pong_answers(_traffic(rows), pings, rows.leading_words(pings), at, rows.leading_words(at))


_ANSWERS: Mapping[str, Answers] = {
    "p2p:addr": _addr,
    "p2p:headers": _headers,
    "p2p:getaddr": _getaddr,
    "p2p:pong": _pong,
}


_NO_ROWS: Final[Mapping[str, Column]] = {"entries": np.zeros(0, np.uint32)}


def _numbers(columns: Mapping[str, Column], name: str) -> NDArray[np.int64]:
    column = columns[name]
    assert isinstance(column, np.ndarray)
    return column.astype(np.int64)
