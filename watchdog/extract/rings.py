"""From drained records to batches of the catalogue's kinds.

A value that could not be read is never given as a real one: texts and hashes are empty, payloads have the size -1, and
rows with a number that could not be read are left out and counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from watchdog.core.arrays import Ints
from watchdog.core.batch import Batch, Blobs, Column, Strings
from watchdog.core.core_constants import NET_MESSAGE_TYPES
from watchdog.core.declared import COLUMN_OF
from watchdog.core.enrich import Enricher
from watchdog.core.kinds import KINDS, dtype_of
from watchdog.core.peer_columns import PeerTable
from watchdog.core.text import decode_text, printable
from watchdog.extract.connections import TracedConnections
from watchdog.extract.reader import DrainedRecords, EventRecords, MessageRecords, TextCodes
from watchdog.extract.releases import Input
from watchdog.extract.slots import MESSAGES, Slot

SOURCE: Final = "tracepoints"
KNOWN_TYPES: Final = frozenset(NET_MESSAGE_TYPES) | {"reject"}  # as captures count them
LONGEST_TEXT: Final = 256
CUT: Final = "…"
SECOND_NS: Final = 10**9
_OPENS: Final = frozenset({"net:inbound_connection", "net:outbound_connection"})
_ENDS: Final = frozenset({"net:closed_connection", "net:evicted_inbound_connection"})
_WITH_PEER: Final = _OPENS | _ENDS | {"net:misbehaving_connection"}

TakenRows = NDArray[np.intp]


def with_peer(kind: str) -> bool:
    """Return whether events of this kind have the columns of a connection."""
    return kind in _WITH_PEER or kind in MESSAGES


def shown(raw: bytes, cut: bool) -> str:
    """Return a string of the node as people may see it; one that was longer ends in "…"."""
    text = printable(decode_text(raw), LONGEST_TEXT)
    return f"{text[: LONGEST_TEXT - 1]}{CUT}" if cut and not text.endswith(CUT) else text


def texts_of(codes: TextCodes, texts: tuple[str, ...]) -> Strings:
    """Return a column over a dictionary of its own. codes: -1 for what could not be read: empty."""
    used = np.bincount(codes.astype(np.intp) + 1, minlength=len(texts) + 1) > 0
    places = np.cumsum(used, dtype=np.int32) - np.int32(1)
    values = ("", *texts)
    kept = tuple(values[at] for at in np.flatnonzero(used).tolist())
    column = Strings(places[codes.astype(np.intp) + 1], kept)
    if len(set(kept)) == len(kept):
        return column
    return Strings.of(column.tolist())  # two strings that look the same once they are printable


def distinct(values: NDArray[np.int64]) -> tuple[TakenRows, TakenRows]:
    """Return a row of each distinct value, and for each row which of them it has.

    NumPy's own `unique` loads modules when it is first called, which may be after they can be read.
    """
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    begins = np.ones(len(values), np.bool_)
    begins[1:] = ordered[1:] != ordered[:-1]
    groups = np.empty(len(values), np.intp)
    groups[order] = np.cumsum(begins) - 1
    return order[begins], groups


def number_column(values: NDArray[np.int64], one: Input, typ: str) -> NDArray[np.generic]:
    """Return an argument as a column of the catalogue's type; what does not fit in becomes the nearest that does."""
    dtype: np.dtype[Any] | None = dtype_of(typ)
    assert dtype is not None
    if dtype == np.bool_:
        return np.asarray(values != 0)
    raw: NDArray[Any] = values.view(np.uint64) if one.form.startswith("u") else values
    if one.factor != 1:
        raw = raw * raw.dtype.type(one.factor)
    limits, own = np.iinfo(dtype), np.iinfo(raw.dtype)
    low, high = max(int(limits.min), int(own.min)), min(int(limits.max), int(own.max))
    return np.asarray(np.clip(raw, raw.dtype.type(low), raw.dtype.type(high)).astype(dtype))


@dataclass(frozen=True, slots=True)
class DrainedTexts:
    """The strings of a drain, as they came and whether each was cut, and as people may see them."""

    raw: tuple[tuple[bytes, bool], ...]
    texts: tuple[str, ...]


@dataclass(slots=True, eq=False)
class Made:
    """Batches of one drain. unreadable: rows left out because a number could not be read, by kind."""

    batches: list[Batch] = field(default_factory=list)
    unreadable: dict[str, int] = field(default_factory=dict)


class TraceBatches:
    """Makes the batches of one process of the node; remembers its connections, a bounded number of them.

    boot_ns: its start, 0 while it is not known.
    """

    def __init__(self, node: str, boot_ns: int) -> None:
        self.node, self.boot_ns = node, boot_ns
        self._connections = TracedConnections(Enricher())

    def make(self, drained: DrainedRecords, slots: Mapping[int, Slot]) -> Made:
        """Return the rows of these slots, by kind, each in the order of time."""
        made = Made()
        texts = tuple(shown(raw, cut) for raw, cut in drained.strings)
        words = DrainedTexts(drained.strings, texts)
        for number in np.flatnonzero(np.bincount(drained.events.slot)).tolist():
            slot = slots.get(number)
            if slot is not None:
                self._events(slot, drained.events, words, made)
        messages = drained.messages
        for number in np.flatnonzero(np.bincount(messages.slot)).tolist():
            slot = slots.get(number)
            if slot is not None:
                rows = _sound(np.flatnonzero(messages.slot == number), messages.unreadable, slot, made)
                if len(rows):
                    made.batches.append(self._batch(slot.kind, self._messages(rows, messages, texts)))
        self._connections.forget_ended()
        return made

    def _batch(self, kind: str, columns: Mapping[str, Column]) -> Batch:
        return Batch(kind, self.node, SOURCE, columns, self.boot_ns)

    def _messages(self, rows: TakenRows, messages: MessageRecords, texts: tuple[str, ...]) -> dict[str, Column]:
        time_ns = messages.time_ns[rows]
        types = texts_of(messages.type[rows], texts)
        known = np.array([value in KNOWN_TYPES for value in types.values] or [False])
        return {
            "time_ns": time_ns,
            **self._message_peers(rows, messages, texts),
            "type": types,
            "size": np.minimum(messages.size[rows].view(np.uint64), np.uint64(0xFFFFFFFF)).astype(np.uint32),
            "known": known[types.codes],
            "payload_size": messages.payload_size[rows],
            "payload": _payloads(rows, messages),
        }

    def _message_peers(self, rows: TakenRows, messages: MessageRecords, texts: tuple[str, ...]) -> dict[str, Column]:
        first, groups = distinct(messages.peer[rows])
        values = ("", *texts)
        time_ns = messages.time_ns[rows]
        numbers = messages.peer[rows[first]].tolist()
        seen = [
            self._connections.seen(conn, values[address + 1], values[kind + 1], at)
            for conn, address, kind, at in zip(
                numbers,
                messages.address[rows[first]].tolist(),
                messages.connection[rows[first]].tolist(),
                time_ns[first].tolist(),
                strict=True,
            )
        ]
        since_ns = np.array([one.since_ns for one in seen], np.int64)
        table, places = self._connections.table()
        if any(number not in places for number in numbers):  # more than are remembered, all in one drain
            table, places = PeerTable([one.identity for one in seen]), {conn: at for at, conn in enumerate(numbers)}
        entries = np.array([places[number] for number in numbers], np.intp)
        return table.rows(entries[groups], _age_s(time_ns, since_ns[groups]))

    def _events(self, slot: Slot, events: EventRecords, words: DrainedTexts, made: Made) -> None:
        inputs = slot.tracepoint.inputs
        rows = _sound(np.flatnonzero(events.slot == slot.number), events.unreadable, slot, made)
        if not len(rows):
            return
        columns: dict[str, Column] = {"time_ns": events.time_ns[rows]}
        types = {name: one.type for name, one in KINDS[slot.kind].fields.items()} if slot.kind in KINDS else {}
        for at, one in enumerate(inputs):
            if one.field:
                typ = types.get(one.field) or COLUMN_OF.get(one.form, "bytes")
                columns[one.field] = _column(events.values[rows, at], one, typ, words, events.hashes)
        if slot.kind in _WITH_PEER:
            columns = self._with_peer(slot.kind, columns)
        made.batches.append(self._batch(slot.kind, columns))

    def _with_peer(self, kind: str, columns: dict[str, Column]) -> dict[str, Column]:
        """Add the columns of the connection to an event that has its number, and perhaps its address and type."""
        conns, time_ns = columns.pop("conn"), columns.pop("time_ns")
        assert isinstance(conns, np.ndarray)
        assert isinstance(time_ns, np.ndarray)
        address, typ, network = (
            _popped(columns, name, len(time_ns)) for name in ("peer", "connection_type", "network")
        )
        ended = kind in _ENDS
        seen = [
            self._connections.seen(*one, network=net, opened=kind in _OPENS, ended=ended)
            for *one, net in zip(conns.tolist(), address, typ, time_ns.tolist(), network, strict=True)
        ]
        since_ns = np.array([one.since_ns for one in seen], np.int64)
        established = columns.get("established_s")
        if isinstance(established, np.ndarray):
            since_ns = established.astype(np.int64) * SECOND_NS
        age_s = _age_s(time_ns.astype(np.int64), since_ns)
        entries = np.arange(len(seen))
        peers = PeerTable([one.identity for one in seen]).rows(entries, age_s)
        lived = {"lived_s": age_s} if kind == "net:closed_connection" else {}
        return {"time_ns": time_ns, **peers, **columns, **lived}


def _sound(rows: TakenRows, unreadable: NDArray[np.uint16], slot: Slot, made: Made) -> TakenRows:
    """Return the rows all of whose numbers could be read, and count the others."""
    inputs = slot.tracepoint.inputs
    numbers = sum(1 << at for at, one in enumerate(inputs) if one.form not in {"str", "bytes32", "bytes"})
    sound = unreadable[rows] & np.uint16(numbers) == 0
    if not sound.all():
        made.unreadable[slot.kind] = int(len(rows) - sound.sum())
    kept: TakenRows = rows[sound]
    return kept


def _popped(columns: dict[str, Column], name: str, rows: int) -> list[str]:
    column = columns.pop(name, None)
    return column.tolist() if isinstance(column, Strings) else [""] * rows


def _age_s(time_ns: Ints, since_ns: Ints) -> Ints:
    return np.asarray(np.maximum(time_ns - since_ns, 0) // SECOND_NS)


def _column(values: NDArray[np.int64], one: Input, typ: str, words: DrainedTexts, hashes: NDArray[np.uint8]) -> Column:
    if one.form == "str":
        return texts_of(values.astype(np.int32), words.texts)
    if one.form == "bytes32":
        return _hashes(values, hashes)
    if one.form == "bytes":
        return Blobs.of([words.raw[code][0] if code >= 0 else b"" for code in values.tolist()])
    if one.words:
        names = {code: one.words.get(code, str(code)) for code in set(values.tolist())}
        return Strings.of([names[code] for code in values.tolist()])
    return number_column(values, one, typ)


def _hashes(rows: NDArray[np.int64], hashes: NDArray[np.uint8]) -> Blobs:
    """Return 32 bytes for each row; none where they could not be read."""
    readable = rows >= 0
    offsets = np.zeros(len(rows) + 1, np.int64)
    np.cumsum(np.where(readable, hashes.shape[1], 0), out=offsets[1:])
    return Blobs(offsets, hashes[rows[readable]].reshape(-1))


def _payloads(rows: TakenRows, messages: MessageRecords) -> Blobs:
    """Return the payload of each row, empty for messages without one."""
    sizes = np.maximum(messages.payload_size, 0).astype(np.int64)
    offsets = np.zeros(len(rows) + 1, np.int64)
    np.cumsum(sizes[rows], out=offsets[1:])
    if len(rows) == len(sizes) or not len(messages.payload):
        return Blobs(offsets, messages.payload)
    chosen = np.zeros(len(sizes), np.bool_)
    chosen[rows] = True
    return Blobs(offsets, messages.payload[np.repeat(chosen, sizes)])
