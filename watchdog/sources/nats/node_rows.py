"""What the tracepoints give beside messages, as rows of the catalogue's kinds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from watchdog.core.batch import Batch, Blobs, Column
from watchdog.core.enrich import Enricher
from watchdog.core.kinds import KINDS
from watchdog.core.peer_columns import PeerTable
from watchdog.core.source import SourceOptions
from watchdog.core.text import decode_text
from watchdog.sources.nats.peers import ConnectionBook, ObservedConnection
from watchdog.sources.rpc.columns import RpcValue, column

HASH: Final = 32
CellValue = RpcValue | bytes
KindValues = Mapping[str, CellValue]

KINDS_GIVEN: Final = frozenset(
    {
        "net:inbound_connection",
        "net:outbound_connection",
        "net:evicted_inbound_connection",
        "net:closed_connection",
        "net:misbehaving_connection",
        "mempool:added",
        "mempool:replaced",
        "mempool:removed",
        "mempool:rejected",
        "validation:block_connected",
        "addrman:attempt_add",
        "addrman:move_to_good",
    }
)


class NodeRows:
    """Rows of these kinds until `take`."""

    def __init__(self, name: str, options: SourceOptions, enricher: Enricher, book: ConnectionBook) -> None:
        self._name, self._options, self._enricher, self._book = name, options, enricher, book
        self._rows: dict[str, list[tuple[int, ObservedConnection | None, KindValues]]] = {}

    def add(self, branch: str, body: Any, time_us: int) -> bool:
        """Take the body of a branch; return whether it says all that its kind needs."""
        change = body.WhichOneof("change")
        if change is None:
            return False
        part = getattr(body, change)
        if branch == "connection":
            return self._connection(change, part, time_us)
        kind, row = _ROWS[branch, change](part)
        hashes = [value for value in row.values() if isinstance(value, bytes)]
        if any(len(value) != HASH for value in hashes) or (
            change == "replaced" and not part.HasField("by_transaction")
        ):
            return False
        self._add(kind, time_us, row)
        return True

    def take(self) -> list[Batch]:
        """Return the batches of all rows since the last call, rows by time."""
        batches = [self._batch(kind, rows) for kind, rows in self._rows.items()]
        self._rows = {}
        return batches

    def _add(self, kind: str, time_us: int, row: KindValues, connection: ObservedConnection | None = None) -> None:
        if self._options.wants(kind):
            self._rows.setdefault(kind, []).append((time_us, connection, row))

    def _connection(self, change: str, part: Any, time_us: int) -> bool:
        if change == "misbehaving":
            reason = decode_text(part.reason if part.HasField("reason") else part.old_reason)
            one = self._book.seen(part.peer_id, "", 0, time_us)
            self._add("net:misbehaving_connection", time_us, {"reason": reason}, one)
        elif change in ("inbound", "outbound"):
            one = self._book.opened(part.peer, "in" if change == "inbound" else "out", time_us)
            self._add(f"net:{change}_connection", time_us, {"connections": part.existing + 1}, one)
        else:
            one = self._book.noted(part.peer, time_us)
            if 0 < part.established <= time_us // 1_000_000:
                one.opened_us = min(one.opened_us, part.established * 1_000_000)
            row: dict[str, RpcValue] = {"established_s": part.established}
            if change == "closed":
                row["lived_s"] = max(0, time_us // 1_000_000 - part.established)
                self._book.closed(part.peer.peer_id)
            self._add(
                "net:closed_connection" if change == "closed" else "net:evicted_inbound_connection", time_us, row, one
            )
        return True

    def _batch(self, kind: str, rows: list[tuple[int, ObservedConnection | None, KindValues]]) -> Batch:
        rows = sorted(rows, key=lambda row: row[0])
        time_us = np.array([row[0] for row in rows], np.int64)
        columns: dict[str, Column] = {"time_ns": time_us * 1_000}
        connections = [one for _, one, _ in rows if one is not None]
        if connections:
            opened_us = np.array([one.opened_us for one in connections], np.int64)
            table = PeerTable([one.identity(self._enricher) for one in connections])
            age_s = np.maximum(time_us - opened_us, 0) // 1_000_000
            columns.update(table.rows(np.arange(len(rows)), age_s))
        for name in rows[0][2]:
            columns[name] = _column(kind, name, [row[2][name] for row in rows])
        return Batch(kind, self._options.node, self._name, columns)


def _column(kind: str, name: str, values: list[CellValue]) -> Column:
    hashes = [value for value in values if isinstance(value, bytes)]
    if hashes:
        return Blobs.of(hashes)
    return column([value for value in values if not isinstance(value, bytes)], KINDS[kind].fields[name].type)


def _added(part: Any) -> tuple[str, KindValues]:
    return "mempool:added", {"txid": part.txid, "vsize_vb": part.vsize, "fee_sat": part.fee}


def _removed(part: Any) -> tuple[str, KindValues]:
    return "mempool:removed", {
        "txid": part.txid,
        "reason": decode_text(part.reason),
        "vsize_vb": part.vsize,
        "fee_sat": part.fee,
        "entry_time_s": part.entry_time,
    }


def _replaced(part: Any) -> tuple[str, KindValues]:
    return "mempool:replaced", {
        "txid": part.txid,
        "vsize_vb": part.vsize,
        "fee_sat": part.fee,
        "entry_time_s": part.entry_time,
        "replacement_txid": part.replacement,
        "replacement_vsize_vb": part.replacement_vsize,
        "replacement_fee_sat": part.replacement_fee,
        "by_transaction": part.by_transaction,
    }


def _rejected(part: Any) -> tuple[str, KindValues]:
    return "mempool:rejected", {"txid": part.txid, "reason": decode_text(part.reason)}


def _block(part: Any) -> tuple[str, KindValues]:
    return "validation:block_connected", {
        "hash": part.hash,
        "height": part.height,
        "transactions": part.transactions,
        "inputs": part.inputs,
        "sigops": part.sigops,
        "duration_ns": part.duration,
    }


def _slot(part: Any) -> dict[str, CellValue]:
    return {
        "bucket": part.bucket,
        "position": part.position,
        "address": decode_text(part.address),
        "address_asn": part.address_as,
        "source_addr": decode_text(part.source),
        "source_asn": part.source_as,
    }


def _new(part: Any) -> tuple[str, KindValues]:
    return "addrman:attempt_add", {"inserted": part.inserted, **_slot(part)}


def _tried(part: Any) -> tuple[str, KindValues]:
    return "addrman:move_to_good", _slot(part)


_ROWS: Final[Mapping[tuple[str, str], Callable[[Any], tuple[str, KindValues]]]] = {
    ("mempool", "added"): _added,
    ("mempool", "replaced"): _replaced,
    ("mempool", "removed"): _removed,
    ("mempool", "rejected"): _rejected,
    ("validation", "block_connected"): _block,
    ("addrman", "new"): _new,
    ("addrman", "tried"): _tried,
}
"""Kind and values by branch and change."""
