"""Tables of a tap as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from watchdog.core.text import printable
from watchdog.tap.events import moment
from watchdog.tap.measures import bounds_of
from watchdog.tap.query import TablePlan
from watchdog.tap.table import MeasureTable, is_histogram

MOST_SHOWN: Final = 100  # rows of a table for people, and histograms of one; JSON has all
LONGEST_KEY: Final = 60
BAR: Final = 40
_UNITS: Final = ("", "K", "M", "G", "T", "P", "E")  # powers of 1,024, as bpftrace labels its bins
_ENCODER: Final = msgspec.json.Encoder()


def json_tables(table: MeasureTable, plan: TablePlan) -> Iterator[str]:
    """Yield a line for each key: `{"from", "to", "by", "measures"}`; times in seconds since the epoch.

    A histogram is a list of `[low, high, count]`: rows from `low` to below `high`, bins without rows left out.
    """
    for row, texts in enumerate(table.keys):
        line = {
            "from": table.from_ns / 1e9,
            "to": table.to_ns / 1e9,
            "by": {name: printable(text) for name, text in zip(plan.by, texts, strict=True)},
            "measures": {name: _plain(values, row) for name, values in table.columns.items()},
        }
        yield _ENCODER.encode(line).decode() + "\n"


def text_table(table: MeasureTable, plan: TablePlan) -> Iterator[str]:
    """Yield the lines of a table: the largest first measure on top, then histograms."""
    yield f"{moment(table.from_ns)} to {moment(table.to_ns)}\n"
    numbers = {name: values for name, values in table.columns.items() if not is_histogram(values)}
    order = _order(table, numbers)
    shown = order[:MOST_SHOWN]
    if numbers:
        keys = [[printable(text, LONGEST_KEY) for text in table.keys[row]] for row in shown]
        cells = [_numbers(values[shown]) for values in numbers.values()]
        rows = [[*key, *texts] for key, *texts in zip(keys, *cells, strict=True)]
        yield from _aligned([*plan.by, *numbers], rows, len(plan.by))
    for name, values in table.columns.items():
        if is_histogram(values):
            for row in shown:
                yield from _bars(name, plan, table.keys[row], values[row])
    if len(order) > len(shown):
        yield f"  and {len(order) - len(shown):,} more; --format json has all\n"
    yield "\n"


def warnings_of(table: MeasureTable) -> list[str]:
    """Return what a table lacks, a line each."""
    lines = []
    if table.refused:
        lines.append(f"{table.refused:,} events not measured: {len(table.keys):,} keys are the most in one table")
    lines += [f"{name}: {count:,} events not counted, too many values" for name, count in table.unmeasured.items()]
    return lines


def _plain(values: NDArray[Any], row: int) -> object:
    if is_histogram(values):
        return [[*bounds_of(bin_), int(values[row, bin_])] for bin_ in np.flatnonzero(values[row]).tolist()]
    value = values[row].item()
    return value if not isinstance(value, float) or np.isfinite(value) else None


def _order(table: MeasureTable, numbers: dict[str, NDArray[Any]]) -> list[int]:
    first = next(iter((numbers or table.columns).values()))
    by_size = first if numbers else first.sum(axis=1)
    return sorted(range(len(table.keys)), key=lambda row: (-by_size[row], table.keys[row]))


def _numbers(values: NDArray[Any]) -> list[str]:
    """Return the numbers of a column; those with a fraction have the same number of decimals."""
    if values.dtype == np.bool_:
        return ["yes" if value else "no" for value in values.tolist()]
    if values.dtype.kind != "f":
        return [f"{value:,}" for value in values.tolist()]
    largest = float(np.abs(values).max(initial=0.0))
    decimals = 3 if largest < 10 else 2 if largest < 100 else 1
    return [f"{value:,.{decimals}f}" for value in values.tolist()]


def _aligned(head: list[str], rows: list[list[str]], texts: int) -> Iterator[str]:
    """Yield lines with the first `texts` columns to the left and the others to the right."""
    widths = [max(len(line[column]) for line in [head, *rows]) for column in range(len(head))]
    for line in [head, *rows]:
        cells = [
            cell.ljust(width) if column < texts else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        yield f"  {'  '.join(cells).rstrip()}\n"


def _bars(name: str, plan: TablePlan, key: tuple[str, ...], counts: NDArray[Any]) -> Iterator[str]:
    """Yield a histogram as bpftrace prints one: bins, counts, bars."""
    of = " ".join(f"{field}={printable(text, LONGEST_KEY)}" for field, text in zip(plan.by, key, strict=True))
    yield f"  {name}{f' of {of}' if of else ''}\n"
    used = np.flatnonzero(counts)
    if not len(used):
        return
    bins = range(int(used[0]), int(used[-1]) + 1)
    labels = [_label(bin_) for bin_ in bins]
    width, most = max(map(len, labels)), int(counts.max())
    digits = max(len(f"{count:,}") for count in counts[used].tolist())
    for bin_, label in zip(bins, labels, strict=True):
        count = int(counts[bin_])
        bar = "#" * round(count / most * BAR)
        yield f"    {label:<{width}}  {count:>{digits},}  |{bar:<{BAR}}|\n"


def _label(bin_: int) -> str:
    low, high = bounds_of(bin_)
    if high - low == 1:
        return f"[{low}]"
    return f"[{_scaled(low)}, {_scaled(high)})"


def _scaled(value: int) -> str:
    size, unit = abs(value), 0
    while size >= 1024 and not size % 1024 and unit < len(_UNITS) - 1:
        size, unit = size // 1024, unit + 1
    return f"{'-' if value < 0 else ''}{size}{_UNITS[unit]}"
