"""From messages to the events `p2p:`: decoded payloads, connection columns, what conversations tell."""

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
from watchdog.sources.capture.exchanges import (
    Traffic,
    addr_answers,
    getaddr_repeats,
    headers_answers,
    pong_answers,
)
from watchdog.sources.capture.new_blocks import BLOCK_AGE, NEW_BLOCK, NewBlocks
from watchdog.sources.messages.rows import KNOWN_TYPES, MessageRows
from watchdog.sources.wire.decode import decode
from watchdog.sources.wire.messages import Messages

NONCE_BYTES: Final = 8  # a ping or pong without that much has no nonce
FLOW: Final = ("sent", "received")
# Strangers choose unknown types, and each type is a call: they are decoded together, under a name no message has
OTHER_TYPES: Final = "\0"
_SENDER_MATTERS: Final = frozenset({"addr", "addrv2"})
_SIDE_BY_SIDE: Final = frozenset({"addrv2"})  # its decoder makes tables over all bytes; others read here and there
PeerColumns = Callable[[NDArray[np.intp]], dict[str, Column]]
"""Returns time_ns and the connection columns of some messages."""


@dataclass(slots=True, eq=False)
class PayloadDecoder:
    """Makes the batches of payloads of one source; remembers the blocks that were named."""

    source: str
    options: SourceOptions
    enricher: Enricher
    blocks: NewBlocks

    def batches(self, rows: MessageRows, facts: Sequence[PeerFacts], peers: PeerColumns) -> list[Batch]:
        """Return all wanted kinds. facts: of the address of each connection; peers: see `PeerColumns`."""
        made = self._decoded(rows, facts, peers)
        if self.options.wants(NEW_BLOCK) or self.options.wants(BLOCK_AGE):
            made += self._new_blocks(rows, peers)
        return made

    def _decoded(self, rows: MessageRows, facts: Sequence[PeerFacts], peers: PeerColumns) -> list[Batch]:
        """Return the p2p kinds."""
        found: dict[str, list[tuple[NDArray[np.intp], Mapping[str, Column]]]] = {}
        senders: Blobs | None = None
        for type_, every in _by_type(rows):
            at = rows.can_read(every)
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
        return [self._one_kind(kind, parts, rows, peers) for kind, parts in some.items() if parts]

    def _new_blocks(self, rows: MessageRows, peers: PeerColumns) -> list[Batch]:
        """Return p2p:new_block and chain:block_age."""
        found = self.blocks.find(rows)
        times_us, ages_s = self.blocks.ages(rows.time_us, [int(rows.time_us[one.row]) for one in found])
        at = np.array([one.row for one in found], np.intp)
        made: list[Batch] = []
        if len(at) and self.options.wants(NEW_BLOCK):
            columns = peers(at)
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
        peers: PeerColumns,
    ) -> Batch:
        """Join what several types gave for one kind, and add what the decoder cannot know."""
        at, decoded = parts[0]
        if len(parts) > 1:
            at, decoded = np.concatenate([part[0] for part in parts]), joined([part[1] for part in parts])
            order = np.argsort(at, kind="stable")
            at, decoded = at[order], {name: taken(column, order) for name, column in decoded.items()}
        columns = peers(at)
        columns["flow"] = Strings(rows.received[at].astype(np.int32), FLOW)
        columns["size"] = rows.size[at]
        columns.update(decoded)
        answers = _ANSWERS.get(kind)
        if answers:
            columns.update(answers(rows, at, decoded))
        return self._batch(kind, columns)

    def _batch(self, kind: str, columns: Mapping[str, Column]) -> Batch:
        return Batch(kind, self.options.node, self.source, columns)


def _by_type(rows: MessageRows) -> Iterator[tuple[str, NDArray[np.intp]]]:
    """Yield the messages of each known type, and last, together, those of all others."""
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
    pings = rows.can_read(pings[rows.size[pings] >= NONCE_BYTES])
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
