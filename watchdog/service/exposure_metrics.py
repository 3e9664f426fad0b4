"""The eclipse model in `/metrics`: the latest addrman:exposure of each grouping. The group itself is no label."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from watchdog.core.batch import Batch
from watchdog.core.kinds import KINDS
from watchdog.service.exposition import Exposition, Labels

KIND: Final = "addrman:exposure"
_GROUPINGS: Final = frozenset(KINDS[KIND].fields["grouping"].values)
_CHANCES: Final = (
    ("next", "low", "chance_next_low"),
    ("next", "high", "chance_next_high"),
    ("restart", "low", "chance_restart_low"),
    ("restart", "high", "chance_restart_high"),
)
_MILLION: Final = 1_000_000

ExposureRows = Mapping[str, Mapping[str, int]]
"""By grouping: the numbers of its latest row."""


def latest_rows(batch: Batch, before: ExposureRows) -> ExposureRows:
    """Return the rows with those of a batch, of which the latest of each grouping counts."""
    groupings = batch.strings("grouping").tolist()
    found = dict(before)
    for row in np.argsort(batch.time_ns, kind="stable").tolist():
        if groupings[row] in _GROUPINGS:
            numbers = {name: column for name, column in batch.columns.items() if isinstance(column, np.ndarray)}
            found[groupings[row]] = {name: int(column[row]) for name, column in numbers.items()}
    return found


def exposure_metrics(out: Exposition, rows: ExposureRows, labels: Labels) -> None:
    """Add chances and stage by grouping, and the readiness of the node; nothing before the first row."""
    chances = [
        ({**labels, "grouping": grouping, "of": of, "bound": bound}, row[column] / _MILLION)
        for grouping, row in sorted(rows.items())
        for of, bound, column in _CHANCES
    ]
    about = "Chance that the next outbound connection, or all after a restart, fall to the nearest group."
    out.add("watchdog_node_eclipse_chance_ratio", "gauge", about, chances)
    stages = [({**labels, "grouping": grouping}, float(row["stage"])) for grouping, row in sorted(rows.items())]
    about = "Progress of an eclipse by the nearest group: 0 none, 1 tables, 2 inbound, 3 outbound, 4 view."
    out.add("watchdog_node_eclipse_stage", "gauge", about, stages)
    if rows:
        latest = max(rows.values(), key=lambda row: row["time_ns"])
        about = "How well the node is prepared against an eclipse, 0 to 1."
        out.add("watchdog_node_eclipse_readiness_ratio", "gauge", about, [(labels, latest["readiness"] / _MILLION)])
