"""From messages with payloads, as a stream gives them, to rows for the decoders: connections, types, what is there."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from watchdog.core.batch import Batch, Blobs, Column, Strings
from watchdog.core.column_join import joined, taken
from watchdog.core.enrich import Enricher
from watchdog.core.kinds import PEER_FIELDS
from watchdog.core.payload_columns import PAYLOAD, PAYLOAD_SIZE, UNREADABLE, most_payload
from watchdog.core.source import SourceOptions
from watchdog.sources.capture.connections import DIRECTIONS, OPEN_LIMIT, Connection, PeerDirection
from watchdog.sources.capture.exchanges import Exchange
from watchdog.sources.capture.new_blocks import NewBlocks
from watchdog.sources.messages.decoder import PayloadDecoder
from watchdog.sources.messages.rows import CODES, KNOWN_TYPES, MessageRows, stable_order
from watchdog.sources.wire.decode import ENOUGH
from watchdog.sources.wire.messages import PADDING

INBOUND: Final = "net:inbound_message"


@dataclass(slots=True, eq=False)
class MessageDecoder:
    """Decodes messages of one source; remembers the conversations of open connections, the latest OPEN_LIMIT.

    sizes: what was asked for, by message type. cut, unreadable: payloads that were asked for and are not all there, or
    could not be read by the server: they give no events, and are no fault of the peer.
    """

    source: str
    options: SourceOptions
    enricher: Enricher
    blocks: NewBlocks
    sizes: Mapping[str, int]
    cut: int = 0
    unreadable: int = 0
    _open: OrderedDict[tuple[int, int], Connection] = field(default_factory=OrderedDict)  # by boot and conn

    def decoded(self, messages: Sequence[Batch]) -> list[Batch]:
        """Return the wanted events of payloads. messages: inbound and outbound ones of one span of time."""
        by_boot: dict[int, list[Batch]] = {}
        for batch in messages:
            by_boot.setdefault(batch.boot_ns, []).append(batch)
        return [made for boot_ns, batches in by_boot.items() for made in self._of_boot(boot_ns, batches)]

    def closed(self, changes: Batch) -> None:
        """Forget connections that have ended."""
        for conn in changes.numbers("conn").tolist():
            self._open.pop((changes.boot_ns, conn), None)

    def _of_boot(self, boot_ns: int, batches: Sequence[Batch]) -> list[Batch]:
        received = np.concatenate([np.full(batch.rows, batch.kind == INBOUND) for batch in batches])
        columns = joined([batch.columns for batch in batches])
        times = columns["time_ns"]
        assert isinstance(times, np.ndarray)
        order = stable_order(times.astype(np.int64))
        ordered = {name: taken(column, order) for name, column in columns.items() if name != PAYLOAD}
        rows = self._rows(boot_ns, ordered, columns[PAYLOAD], order, received[order])

        def peers(at: NDArray[np.intp]) -> dict[str, Column]:
            return {name: taken(ordered[name], at) for name in ("time_ns", *PEER_FIELDS)}

        facts = [self.enricher.peer(one.peer) for one in rows.connections]
        decoder = PayloadDecoder(self.source, self.options, self.enricher, self.blocks)
        made = decoder.batches(rows, facts, peers)
        return [Batch(one.kind, one.node, one.source, one.columns, boot_ns) for one in made]

    def _rows(
        self,
        boot_ns: int,
        columns: Mapping[str, Column],
        payloads: Column,
        order: NDArray[np.intp],
        received: NDArray[np.bool_],
    ) -> MessageRows:
        """Return the rows in order; `payloads` is not ordered, as rows refer to places in it."""
        assert isinstance(payloads, Blobs)
        types, size = columns["type"], columns["size"]
        assert isinstance(types, Strings)
        assert isinstance(size, np.ndarray)
        time_us = _numbers(columns["time_ns"]) // 1_000
        slots, connections = self._connections(boot_ns, columns, time_us)
        starts = payloads.offsets[:-1][order]
        present = np.diff(payloads.offsets)[order]
        data = payloads.data[: payloads.offsets[-1]].tobytes() + bytes(PADDING)
        readable = self._readable(types, _numbers(size), present, _numbers(columns[PAYLOAD_SIZE]))
        known = _known_types(types)
        return MessageRows(
            time_us, known, size.astype(np.uint32), received, slots, data, starts, connections, [], readable
        )

    def _readable(
        self, types: Strings, size: NDArray[np.int64], present: NDArray[np.int64], said: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Return which payloads their decoders can read; count the others that were asked for."""
        enough = np.array([ENOUGH.get(type_, 1 << 62) for type_ in types.values] or [0], np.int64)[types.codes]
        asked = np.array([most_payload(self.sizes, type_) > 0 for type_ in types.values] or [False])[types.codes]
        readable: NDArray[np.bool_] = present >= np.minimum(size, enough)
        missing = asked & ~readable
        unreadable = int((missing & (said == UNREADABLE)).sum())
        self.unreadable += unreadable
        self.cut += int(missing.sum()) - unreadable
        return readable

    def _connections(
        self, boot_ns: int, columns: Mapping[str, Column], time_us: NDArray[np.int64]
    ) -> tuple[NDArray[np.int32], list[Connection]]:
        """Return the slot of each row, and the connections by slot."""
        numbers, first, slots = np.unique(_numbers(columns["conn"]), return_index=True, return_inverse=True)
        peers, directions = columns["peer"], columns["direction"]
        assert isinstance(peers, Strings)
        assert isinstance(directions, Strings)
        began_us = (time_us[first] - _numbers(columns["age_s"])[first] * 1_000_000).tolist()
        found: list[Connection] = []
        for number, row, first_us in zip(numbers.tolist(), first.tolist(), began_us, strict=True):
            peer = peers.values[peers.codes[row]]
            direction = directions.values[directions.codes[row]]
            found.append(self._connection((boot_ns, number), peer, direction, first_us))
        while len(self._open) > OPEN_LIMIT:
            self._open.popitem(last=False)
        return slots.astype(np.int32), found

    def _connection(self, key: tuple[int, int], peer: str, direction: str, first_us: int) -> Connection:
        """Return a known connection, or a new one where another peer has its number."""
        known = self._open.get(key)
        if known is not None and known.peer == peer:
            self._open.move_to_end(key)
            return known
        side: PeerDirection = next((one for one in DIRECTIONS if one == direction), "unknown")
        folder = peer.replace(":", "_")
        exchange = Exchange(first_us)
        self._open[key] = Connection(folder, side, first_us, first_us, True, True, exchange, key[1], peer_text=peer)
        return self._open[key]


def _known_types(types: Strings) -> Strings:
    """Return types with the codes that the decoders know first."""
    names = list(KNOWN_TYPES)
    codes = []
    for value in types.values:
        code = CODES.get(value, len(names))
        if code == len(names):
            names.append(value)
        codes.append(code)
    return Strings(np.array(codes or [0], np.int32)[types.codes], tuple(names))


def _numbers(column: Column) -> NDArray[np.int64]:
    assert isinstance(column, np.ndarray)
    return column.astype(np.int64)
