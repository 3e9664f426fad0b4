"""From a verdict to a finding: who is involved, what was seen, in words."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from watchdog.core.batch import Batch, Strings
from watchdog.core.finding import Evidence
from watchdog.core.kinds import KINDS
from watchdog.core.payload_columns import PAYLOAD, PAYLOAD_SIZE
from watchdog.core.resolved import RESOLVED, hidden
from watchdog.core.text import printable
from watchdog.engine.grouping import field_texts
from watchdog.engine.lookback import FoundRows

FEW_ROWS = 64  # are counted one by one
ENTITIES = 20  # named in a finding at most, for each field
_PLACEHOLDER = re.compile(r"\{([a-z_][a-z0-9_.]*)\}")
NOT_EVIDENCE = frozenset({"time_ns", "conn", PAYLOAD, PAYLOAD_SIZE, *map(hidden, RESOLVED)})


def involved(evidence: list[FoundRows], field: str) -> list[str]:
    """Return the texts of a field, most rows first (then by text), at most ENTITIES."""
    counts: dict[str, int] = {}
    for part in evidence:
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
    """Return an AS number as an entity, empty for none."""
    return "" if number in ("", "0") else f"AS{number.removeprefix('AS')}"


def evidence_of(evidence: Sequence[Sequence[FoundRows]], limit: int) -> list[tuple[Evidence, ...]]:
    """Return, for each finding, its latest `limit` rows as evidence, by time. All are read together, by batch."""
    chosen = [_latest(parts, limit) if limit else [] for parts in evidence]
    wanted: dict[int, tuple[Batch, dict[int, Evidence | None]]] = {}
    for batch, row in chain.from_iterable(chosen):
        wanted.setdefault(id(batch), (batch, {}))[1][row] = None
    for batch, rows in wanted.values():
        rows.update(zip(rows, _as_evidence(batch, np.fromiter(rows, np.intp, len(rows))), strict=True))
    ready = {name: rows for name, (_, rows) in wanted.items()}
    return [tuple(event for batch, row in rows if (event := ready[id(batch)][row]) is not None) for rows in chosen]


def _latest(evidence: Sequence[FoundRows], limit: int) -> list[tuple[Batch, int]]:
    """Return the latest rows in order of time; equal times in an order that does not depend on batches."""
    if len(evidence) == 1 and len(evidence[0].rows) == 1:
        return [(evidence[0].batch, int(evidence[0].rows[0]))]
    rows: list[tuple[int, str, str, int, Batch, int]] = []
    for order, part in enumerate(evidence):
        times = part.batch.time_ns[part.rows]
        latest = np.argsort(times, kind="stable")[-limit:]
        for index in latest.tolist():
            row = int(part.rows[index])
            rows.append((int(times[index]), part.batch.kind, part.batch.source, order, part.batch, row))
    rows.sort(key=lambda item: item[:4])
    return [(batch, row) for _, _, _, _, batch, row in rows[-limit:]]


def _as_evidence(batch: Batch, rows: NDArray[np.intp]) -> list[Evidence]:
    """Return events as people read them, with peer strings made harmless."""
    names, columns = [], []
    for name, prefix in _shown_fields(batch.kind, tuple(batch.columns)):
        column = batch.columns[name]
        names.append(name)
        if isinstance(column, np.ndarray) and not prefix:
            columns.append(column[rows].tolist())
        else:
            columns.append([printable(text) for text in field_texts(batch, name, rows)])
    times, kind = batch.time_ns[rows].tolist(), batch.kind
    if not names:
        return [Evidence(time_ns, kind, {}) for time_ns in times]
    values = zip(*columns, strict=True)
    return [
        Evidence(time_ns, kind, dict(zip(names, own, strict=True))) for time_ns, own in zip(times, values, strict=True)
    ]


@lru_cache(1_024)
def _shown_fields(kind_name: str, columns: tuple[str, ...]) -> list[tuple[str, bool]]:
    """Return the fields of such a batch that people see, and which of them are prefixes."""
    kind = KINDS.get(kind_name)
    fields = kind.fields if kind else {}
    # In the catalogue's order, since sources lay their columns out as they like.
    names = [*(name for name in fields if name in columns), *(name for name in columns if name not in fields)]
    return [(name, name in fields and fields[name].type == "prefix") for name in names if name not in NOT_EVIDENCE]


class Template:
    """A summary in which each `{name}` is replaced once; what peers wrote is never a template."""

    def __init__(self, text: str) -> None:
        pieces = _PLACEHOLDER.split(text)
        self._literals, self.names = pieces[::2], tuple(pieces[1::2])

    def filled(self, words: Sequence[str]) -> str:
        """Return the summary with these words in the places of `names`; they are safe to show."""
        parts = [self._literals[0]]
        for word, literal in zip(words, self._literals[1:], strict=True):
            parts += (word, literal)
        return "".join(parts)


def plain(values: NDArray[Any]) -> list[int | float]:
    """Return measures as Python numbers; floats rounded to what people read."""
    numbers = values.tolist()
    if values.dtype.kind != "f":
        return [int(number) for number in numbers]
    return [round(number, 6) if math.isfinite(number) else 0.0 for number in numbers]


def number_text(value: float) -> str:
    """Return a measure in a sentence."""
    if isinstance(value, int) or value.is_integer():
        return f"{int(value):,}".replace(",", " ") if abs(value) >= 10_000 else str(int(value))
    return f"{value:.3g}"
