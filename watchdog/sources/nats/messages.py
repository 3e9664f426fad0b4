"""Messages between peers as batches: `net:*_message` of all, and of their content the `p2p:` kinds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from watchdog.core.batch import Batch, Blobs, Column, Strings
from watchdog.core.column_join import joined, taken
from watchdog.core.core_constants import MESSAGE_TYPE_SIZE
from watchdog.core.enrich import Enricher
from watchdog.core.payload_columns import no_payloads
from watchdog.core.peer_columns import PeerTable
from watchdog.core.source import SourceOptions
from watchdog.core.text import decode_text, printable
from watchdog.sources.capture.exchanges import (
    Traffic,
    addr_answers,
    getaddr_repeats,
    headers_answers,
    pong_answers,
)
from watchdog.sources.nats.payloads import payload_of
from watchdog.sources.nats.peers import ConnectionBook, ObservedConnection
from watchdog.sources.wire.decode import KNOWN_TYPES, decode
from watchdog.sources.wire.messages import PADDING, Messages, Spans

FLOWS: Final = ("sent", "received")
STRANGE: Final = "\0"
"""All types that Core does not know, under one name: strangers choose them, so they are decoded together."""
_NONCE_BYTES: Final = 8
_MOST_SIZE: Final = (1 << 32) - 1
_SENDER_MATTERS: Final = frozenset({"addr", "addrv2"})

_RowNumbers = NDArray[np.intp]
_KindParts = list[tuple[_RowNumbers, Mapping[str, Column]]]


class MessageColumns:
    """Messages until `take`, as columns. lost: those without whole content since `take`, by type."""

    def __init__(self, name: str, options: SourceOptions, enricher: Enricher, book: ConnectionBook) -> None:
        self._name, self._options, self._enricher, self._book = name, options, enricher, book
        self._reset()

    def _reset(self) -> None:
        self._times_us: list[int] = []
        self._types: list[str] = []
        self._sizes: list[int] = []
        self._received: list[bool] = []
        self._slots: list[int] = []
        self._payloads: list[bytes | None] = []
        self._connections: dict[ObservedConnection, int] = {}
        self.lost: dict[str, int] = {}

    def add(self, message: Any, time_us: int) -> bool:
        """Take a `PeerMessage`; return whether it has a type that a message can have."""
        head = message.head
        type_ = decode_text(head.type)
        if len(head.type) > MESSAGE_TYPE_SIZE:
            return False
        connection = self._book.seen(head.peer_id, decode_text(head.peer), head.peer_type, time_us)
        payload = payload_of(message, type_)
        if payload is None:
            shown = type_ if type_ in KNOWN_TYPES else "unknown"
            self.lost[shown] = self.lost.get(shown, 0) + 1
        self._times_us.append(time_us)
        self._types.append(type_)
        self._sizes.append(min(head.size, _MOST_SIZE))
        self._received.append(head.received)
        self._slots.append(self._connections.setdefault(connection, len(self._connections)))
        self._payloads.append(payload)
        return True

    def take(self) -> list[Batch]:
        """Return all wanted kinds of the messages since the last call."""
        if not self._times_us:
            self.lost = {}
            return []
        made = _Made(self._name, self._options, self._enricher, list(self._connections), self)
        batches = [*made.messages(), *made.decoded()]
        self._reset()
        return batches

    @property
    def columns(self) -> tuple[list[int], list[str], list[int], list[bool], list[int], list[bytes | None]]:
        """Times, types, sizes, directions, connections and payloads of the messages, by row."""
        return self._times_us, self._types, self._sizes, self._received, self._slots, self._payloads


class _Made:
    """The batches of some messages."""

    def __init__(
        self,
        name: str,
        options: SourceOptions,
        enricher: Enricher,
        connections: list[ObservedConnection],
        collected: MessageColumns,
    ) -> None:
        times, types, sizes, received, slots, payloads = collected.columns
        order = np.argsort(np.array(times, np.int64), kind="stable")
        self._name, self._options, self._enricher = name, options, enricher
        self._time_us = np.array(times, np.int64)[order]
        self._types = [types[row] for row in order.tolist()]
        self._sizes = np.array(sizes, np.uint32)[order]
        self._received = np.array(received, np.bool_)[order]
        self._slots = np.array(slots, np.int32)[order]
        self._payloads = [payloads[row] for row in order.tolist()]
        self._identities = [one.identity(enricher) for one in connections]
        self._table = PeerTable(self._identities)
        self._opened_us = np.array([one.opened_us for one in connections], np.int64)
        self._exchanges = [one.exchange for one in connections]
        self._by_type = self._grouped()

    def _grouped(self) -> dict[str, _RowNumbers]:
        groups: dict[str, list[int]] = {}
        for row, (type_, payload) in enumerate(zip(self._types, self._payloads, strict=True)):
            if payload is not None:
                groups.setdefault(type_ if type_ in KNOWN_TYPES else STRANGE, []).append(row)
        return {type_: np.array(rows, np.intp) for type_, rows in groups.items()}

    def messages(self) -> list[Batch]:
        """Return net:inbound_message and net:outbound_message."""
        made: list[Batch] = []
        for kind, chosen in (("net:inbound_message", self._received), ("net:outbound_message", ~self._received)):
            at = chosen.nonzero()[0]
            if len(at) and self._options.wants(kind):
                types = [self._types[row] for row in at.tolist()]
                columns = self._peer_columns(at)
                columns["type"] = Strings.of([printable(type_) for type_ in types])
                columns["size"] = self._sizes[at]
                columns["known"] = np.array([type_ in KNOWN_TYPES for type_ in types], np.bool_)
                columns |= no_payloads(len(types))
                made.append(self._batch(kind, columns))
        return made

    def decoded(self) -> list[Batch]:
        """Return the p2p kinds."""
        found: dict[str, _KindParts] = {}
        for type_, at in self._by_type.items():
            for kind, rows, columns in self._decode(type_, at):
                found.setdefault(kind, []).append((rows, columns))
        for kind in _CONVERSATIONS:
            if kind not in found and self._options.wants(kind):
                self._answers(kind, np.zeros(0, np.intp), {"entries": np.zeros(0, np.uint32)})  # questions count, too
        return [self._one_kind(kind, parts) for kind, parts in found.items()]

    def _decode(self, type_: str, at: _RowNumbers) -> list[tuple[str, _RowNumbers, Mapping[str, Column]]]:
        """Return the events of messages of one type: kind, rows, own columns."""
        messages = Messages(
            type_, self._time_us[at] * 1_000, self._spans(at), self._received[at], self._sender(at, type_)
        )
        wanted = [one for one in decode(messages, self._enricher, self._wants) if len(one.rows)]
        made: list[tuple[str, _RowNumbers, Mapping[str, Column]]] = []
        for one in wanted:
            rows, columns = at[one.rows], dict(one.columns)
            if type_ == STRANGE and "type" in columns:
                columns["type"] = Strings.of([printable(self._types[row]) for row in rows.tolist()])
            made.append((one.kind, rows, columns))
        return made

    def _wants(self, kind: str) -> bool:
        # the extractor publishes no message that it cannot parse, so what is malformed is not seen here
        return kind != "p2p:malformed" and self._options.wants(kind)

    def _spans(self, at: _RowNumbers) -> Spans:
        pieces = [payload for row in at.tolist() if (payload := self._payloads[row]) is not None]
        ends = np.cumsum([len(piece) for piece in pieces], dtype=np.int64)
        starts = np.concatenate((np.zeros(1, np.int64), ends[:-1]))
        return Spans(starts, ends, np.frombuffer(b"".join([*pieces, bytes(PADDING)]), np.uint8))

    def _sender(self, at: _RowNumbers, type_: str) -> Blobs:
        if type_ not in _SENDER_MATTERS:
            return Blobs(np.zeros(len(at) + 1, np.int64), np.zeros(0, np.uint8))
        # the last: this node, whose address is not known
        senders = Blobs.of([*(identity.facts.packed for identity in self._identities), b""])
        return senders.take(np.where(self._received[at], self._slots[at], len(self._identities)))

    def _one_kind(self, kind: str, parts: _KindParts) -> Batch:
        at, own = parts[0]
        if len(parts) > 1:
            at, own = np.concatenate([part[0] for part in parts]), joined([part[1] for part in parts])
            order = np.argsort(at, kind="stable")
            at, own = at[order], {name: taken(column, order) for name, column in own.items()}
        columns = self._peer_columns(at)
        columns["flow"] = Strings(self._received[at].astype(np.int32), FLOWS)
        columns["size"] = self._sizes[at]
        columns.update(own)
        if kind in _CONVERSATIONS:
            columns.update(self._answers(kind, at, own))
        return self._batch(kind, columns)

    def _answers(self, kind: str, at: _RowNumbers, own: Mapping[str, Column]) -> Mapping[str, NDArray[np.generic]]:
        """Return the columns that only the conversation of a connection knows."""
        traffic = Traffic(self._time_us, self._received, self._slots, self._exchanges)
        if kind == "p2p:addr":
            entries = own["entries"]
            assert isinstance(entries, np.ndarray)
            return addr_answers(traffic, self._of("getaddr"), at, entries.astype(np.int64))
        if kind == "p2p:headers":
            return headers_answers(traffic, self._of("getheaders"), at)
        if kind == "p2p:getaddr":
            return getaddr_repeats(traffic, at)
        pings = self._of("ping")
        nonces = [len(self._payloads[row] or b"") >= _NONCE_BYTES for row in pings.tolist()]
        pings = pings[np.array(nonces, np.bool_)]
        return pong_answers(traffic, pings, self._words(pings), at, self._words(at))

    def _of(self, type_: str) -> _RowNumbers:
        return self._by_type.get(type_, np.zeros(0, np.intp))

    def _words(self, at: _RowNumbers) -> NDArray[np.uint64]:
        """Return the first eight bytes of payloads that have at least eight."""
        words = [(self._payloads[row] or b"")[:_NONCE_BYTES] for row in at.tolist()]
        return np.frombuffer(b"".join(words), "<u8")

    def _peer_columns(self, at: _RowNumbers) -> dict[str, Column]:
        slots, time_us = self._slots[at], self._time_us[at]
        age_s = np.maximum(time_us - self._opened_us[slots], 0) // 1_000_000
        return {"time_ns": time_us * 1_000, **self._table.rows(slots, age_s)}

    def _batch(self, kind: str, columns: Mapping[str, Column]) -> Batch:
        return Batch(kind, self._options.node, self._name, columns)


_CONVERSATIONS: Final = frozenset({"p2p:addr", "p2p:headers", "p2p:getaddr", "p2p:pong"})
