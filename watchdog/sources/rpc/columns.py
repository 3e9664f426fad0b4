"""Rows of snapshots on their way to batches: lists by column, cut into batches by kind and node process."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import cast

import numpy as np
from numpy.typing import NDArray

from watchdog.core.batch import Batch, Column, Strings
from watchdog.core.kinds import KINDS as CATALOGUE
from watchdog.core.kinds import dtype_of
from watchdog.core.text import printable

RpcValue = int | float | str
Values = Sequence[RpcValue]

MAX_TEXT = 512  # characters of any text; Core's own limit for a user agent is 256

KINDS = frozenset(
    {
        "rpc:peer",
        "rpc:peers",
        "rpc:addrman",
        "rpc:addrman_entry",
        "rpc:chain",
        "rpc:chain_tip",
        "rpc:block_hash",
        "rpc:orphan_peer",
        "rpc:mempool",
        "rpc:network",
        "rpc:nettotals",
        "rpc:uptime",
        "peer:connected",
        "peer:disconnected",
        "peer:outbound_replaced",
        "peer:outbound_lost",
        "addrman:insert",
        "addrman:evict",
        "addrman:replace",
        "addrman:move",
        "addrman:rebucketed",
        "addrman:exposure",
        "chain:tip",
        "node:started",
        "node:warning",
        "source:gap",
    }
)


def column(values: Values, typ: str) -> Column:
    """Return a column of a catalogue type; numbers are clamped to its range, texts made harmless."""
    dtype = dtype_of(typ)
    if dtype is None:
        texts = Strings.of(cast(Sequence[str], values))
        harmless = tuple(printable(text, MAX_TEXT) for text in texts.values)
        return texts if harmless == texts.values else Strings.of([harmless[code] for code in texts.codes.tolist()])
    if dtype.kind in "bf":
        return np.array(values, dtype)
    return _integers(cast(Sequence[int], values), dtype)


def _integers(values: Sequence[int], dtype: np.dtype[np.generic]) -> NDArray[np.generic]:
    wide = np.uint64 if dtype == np.uint64 else np.int64
    limits = np.iinfo(dtype.str)
    try:
        return np.clip(np.array(values, wide), limits.min, limits.max).astype(dtype)
    except OverflowError:
        return np.array([min(max(value, int(limits.min)), int(limits.max)) for value in values], dtype)


class RpcRows:
    """Collects rows and cuts them into batches: one for each kind and node process, in order of first row."""

    def __init__(self, node: str, source: str, wants: Callable[[str], bool]) -> None:
        self._node = node
        self._source = source
        self._wanted = frozenset(kind for kind in KINDS if wants(kind))
        self._parts: dict[tuple[str, int], dict[str, list[Values]]] = {}
        self.boot_ns = 0
        self.count = 0

    def wants(self, *kinds: str) -> bool:
        """Return whether one of these kinds is wanted."""
        return not self._wanted.isdisjoint(kinds)

    def add(self, kind: str, time_ns: int, columns: Mapping[str, Values]) -> None:
        """Add rows of one kind at one time, as lists of equal length by column name; drop an unwanted kind."""
        rows = len(next(iter(columns.values())))
        if kind not in self._wanted or not rows:
            return
        parts = self._parts.get((kind, self.boot_ns))
        if parts is None:
            parts = self._parts[kind, self.boot_ns] = {name: [] for name in CATALOGUE[kind].fields}
        for name, values in parts.items():
            values.append([time_ns] * rows if name == "time_ns" else columns[name])
        self.count += rows

    def take(self) -> tuple[Batch, ...]:
        """Return the batches of all rows since the last call."""
        batches = tuple(self._batch(kind, boot_ns, parts) for (kind, boot_ns), parts in self._parts.items())
        self._parts = {}
        self.count = 0
        return batches

    def _batch(self, kind: str, boot_ns: int, parts: Mapping[str, list[Values]]) -> Batch:
        fields = CATALOGUE[kind].fields
        columns = {name: column(_joined(values), fields[name].type) for name, values in parts.items()}
        return Batch(kind, self._node, self._source, columns, boot_ns)


def _joined(parts: list[Values]) -> list[RpcValue]:
    return [value for part in parts for value in part]


def one_row(values: Mapping[str, RpcValue]) -> dict[str, Values]:
    """Return columns of a single row."""
    return {name: [value] for name, value in values.items()}
