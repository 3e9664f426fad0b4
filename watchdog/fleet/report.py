"""What a node tells the fleet, and rows of the kinds `fleet:*`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from watchdog.core.batch import Batch, Column, Strings
from watchdog.core.kinds import KINDS, dtype_of

SOURCE: Final = "fleet"
"""The only source of the fleet engine: the nodes in one order."""


@dataclass(frozen=True, slots=True)
class NodeReport:
    """What one step of a node's engine gives to the fleet.

    mark_ns: no earlier event or finding of the node will follow. batches: its events of wanted kinds and its findings;
    each stream of them (a source, or a rule) is in its own order. counts: rows of each stream given before this report.
    origin: when the counts began, ns of the wall clock; 0 in a replay.
    """

    node: str
    mark_ns: int
    batches: Sequence[tuple[str, Batch]] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    origin: int = 0


@dataclass(frozen=True, slots=True)
class FleetRow:
    """One event of a kind `fleet:*` about a node, or about no single one."""

    kind: str
    node: str
    time_ns: int
    fields: Mapping[str, int | str | bool]


def batches_of(rows: Sequence[FleetRow]) -> list[Batch]:
    """Return rows as batches, one for each kind and node, in the order of their first rows."""
    parts: dict[tuple[str, str], list[FleetRow]] = {}
    for row in rows:
        parts.setdefault((row.kind, row.node), []).append(row)
    return [Batch(kind, node, SOURCE, _columns(kind, own)) for (kind, node), own in parts.items()]


def _columns(kind: str, rows: Sequence[FleetRow]) -> dict[str, Column]:
    columns: dict[str, Column] = {"time_ns": np.array([row.time_ns for row in rows], np.int64)}
    for name, known in KINDS[kind].fields.items():
        if name == "time_ns":
            continue
        values = [row.fields[name] for row in rows]
        dtype = dtype_of(known.type)
        columns[name] = Strings.of([str(value) for value in values]) if dtype is None else np.array(values, dtype)
    return columns
