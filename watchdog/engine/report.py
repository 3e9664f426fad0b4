"""From a verdict to a finding: who is involved, what was seen, in words."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from watchdog.core.batch import Batch, Strings
from watchdog.core.finding import Evidence
from watchdog.core.kinds import KINDS
from watchdog.core.text import printable
from watchdog.engine.grouping import field_texts
from watchdog.engine.lookback import Found

FEW_ROWS = 64  # are counted one by one
ENTITIES = 20  # named in a finding at most, for each field
_PLACEHOLDER = re.compile(r"\{([a-z_][a-z0-9_.]*)\}")
NOT_EVIDENCE = frozenset({"time_ns", "conn"})


def involved(found: list[Found], field: str) -> list[str]:
    """The texts of a field, most rows first (then by text), at most ENTITIES."""
    counts: dict[str, int] = {}
    for part in found:
        for text, count in _tally(part.batch, field, part.rows):
            counts[text] = counts.get(text, 0) + count
    counts.pop("", None)
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [printable(text) for text, _ in ranked[:ENTITIES]]


def _tally(batch: Batch, field: str, rows: NDArray[np.intp]) -> list[tuple[str, int]]:
    column = batch.columns.get(field)
    if column is None:
        return []
    if isinstance(column, Strings) and len(rows) <= FEW_ROWS:
        return list(Counter(column.values[code] for code in column.codes[rows].tolist()).items())
    if isinstance(column, Strings):
        counts = np.bincount(column.codes[rows], minlength=len(column.values))
        return [(column.values[code], int(counts[code])) for code in np.flatnonzero(counts).tolist()]
    if not isinstance(column, np.ndarray):
        return []
    _, first, counts = np.unique(column[rows], return_index=True, return_counts=True)
    texts = field_texts(batch, field, rows[first])
    if field.endswith("asn"):
        texts = [as_text(text) for text in texts]
    return list(zip(texts, counts.tolist(), strict=True))


def as_text(number: str) -> str:
    """An AS number as an entity, empty for none."""
    return "" if number in ("", "0") else f"AS{number.removeprefix('AS')}"


def evidence_of(found: list[Found], limit: int) -> tuple[Evidence, ...]:
    """The latest `limit` rows as evidence, in order of time."""
    rows: list[tuple[int, str, str, int, Batch, int]] = []
    for order, part in enumerate(found):
        times = part.batch.time_ns[part.rows]
        latest = np.argsort(times, kind="stable")[-limit:] if limit else np.zeros(0, np.intp)
        for at in latest.tolist():
            row = int(part.rows[at])
            rows.append((int(times[at]), part.batch.kind, part.batch.source, order, part.batch, row))
    rows.sort(key=lambda item: item[:4])
    return tuple(evidence(batch, row) for _, _, _, _, batch, row in rows[-limit:]) if limit else ()


def evidence(batch: Batch, row: int) -> Evidence:
    """One event as people read it; peer strings made harmless."""
    fields: dict[str, str | int | float | bool] = {}
    for name, prefix in _shown_fields(batch.kind, tuple(batch.columns)):
        column = batch.columns[name]
        if isinstance(column, Strings):
            fields[name] = printable(column.values[column.codes[row]])
        elif isinstance(column, np.ndarray) and not prefix:
            fields[name] = column[row].item()
        else:
            fields[name] = printable(field_texts(batch, name, np.array([row]))[0])
    return Evidence(int(batch.time_ns[row]), batch.kind, fields)


@lru_cache(1_024)
def _shown_fields(kind_name: str, columns: tuple[str, ...]) -> list[tuple[str, bool]]:
    """What people are shown of such a batch, and which fields are prefixes."""
    kind = KINDS.get(kind_name)
    fields = kind.fields if kind else {}
    # In the catalogue's order, since sources lay their columns out as they like.
    names = [*(name for name in fields if name in columns), *(name for name in columns if name not in fields)]
    return [(name, name in fields and fields[name].type == "prefix") for name in names if name not in NOT_EVIDENCE]


def summary_text(template: str, names: Mapping[str, str]) -> str:
    """The template with each `{name}` replaced once; what peers wrote is never a template."""
    return _PLACEHOLDER.sub(lambda match: printable(names.get(match[1], "?")), template)


def plain(value: Any) -> int | float:  # a NumPy or Python number
    """A measure as a Python number; floats rounded to what people read."""
    number = value.item() if isinstance(value, np.generic) else value
    if isinstance(number, bool | int):
        return int(number)
    return round(float(number), 6) if np.isfinite(number) else 0.0


def number_text(value: float) -> str:
    """A measure in a sentence."""
    if isinstance(value, int) or value.is_integer():
        return f"{int(value):,}".replace(",", " ") if abs(value) >= 10_000 else str(int(value))
    return f"{value:.3g}"
