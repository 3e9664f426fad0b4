"""The optional C kernel: the inner loops of keyed state, compiled when a C compiler was there at installation.

Each function here stands beside NumPy code that gives the same, row for row; that code is the reference, and runs
where `native` is None. WATCHDOG_KERNEL=off asks for that. C takes arrays of checked type and length and
returns arrays, so that no caller sees which of the two ran.
"""

from __future__ import annotations

import os
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Words = NDArray[np.uint64]
Flags = NDArray[np.bool_]

INTERFACE = 3  # as in kernel.c: a library that was built from other source is not used
SWITCH = "WATCHDOG_KERNEL"
MOST_PANES = 1 << 31  # closed at once, as in kernel.c
NUMPY, C = "numpy", "c"


def _load() -> ModuleType | None:
    if os.environ.get(SWITCH) == "off":
        return None
    try:
        from detectors import _kernel  # noqa: PLC0415 - it may be missing
    except ImportError:
        return None
    return _kernel if _kernel.INTERFACE == INTERFACE else None


native: Any = _load()
"""The compiled module, None without. Tests set it to None to run the reference."""


def name() -> str:
    """Return which of the two runs: "c" or "numpy"."""
    return NUMPY if native is None else C


class KernelRun(NamedTuple):
    """Decided rows of a bank, sorted by (cell, pane); sums are columns x rows, the last one is `live`."""

    cells: Ints
    panes: Ints
    sums: Ints
    first: Flags
    emptied: Ints


def combine(left: Words, right: Words) -> Words:
    """Return one word for each ordered pair: `mixing.combine`."""
    out = np.empty(len(left), np.uint64)
    native.combine(np.ascontiguousarray(left), np.ascontiguousarray(right), out)
    return out


def spread(words: Words) -> tuple[Words, NDArray[np.uint8]]:
    """Return each word mixed, and how many low zero bits that has: `distinct.spread`."""
    mixed, zeros = np.empty(len(words), np.uint64), np.empty(len(words), np.uint8)
    native.spread(np.ascontiguousarray(words), mixed, zeros)
    return mixed, zeros


def part(codes: Ints, count: int) -> tuple[Ints, Ints]:
    """Return rows by code, and where each of the `count` codes begins, and the last ends: `ordering.parted`."""
    order, bounds = np.empty(len(codes), np.int64), np.empty(count + 1, np.int64)
    native.part(codes, order, bounds)
    return order, bounds


def find(keys: Words, table_keys: Words, table_slots: NDArray[np.int32], secret: int) -> NDArray[np.int32]:
    """Return the slot of each key, -1 for unknown ones: `SlotTable.find`."""
    out = np.empty(len(keys), np.int32)
    native.find(np.ascontiguousarray(keys), table_keys, table_slots, secret, out)
    return out


def fold(rows_in: tuple[Ints, Ints, Ints], end: int, start: int, span: int) -> tuple[Ints, Ints, Ints]:
    """Return each (cell, pane) of rows once and in order, with the sums: `window_banks.folded`."""
    cells, panes, added = rows_in
    rows = len(cells)
    out_cells, out_panes, out_added = (
        np.empty(rows, np.int64),
        np.empty(rows, np.int64),
        np.empty(added.shape, np.int64),
    )
    count = native.fold(cells, panes, np.ascontiguousarray(added), end, start, span, out_cells, out_panes, out_added)
    if count == rows:
        return out_cells, out_panes, out_added
    return out_cells[:count].copy(), out_panes[:count].copy(), out_added[:, :count].copy()


def run(
    changes: tuple[Ints, Ints, Ints], start: int, span: int, state: tuple[Any, ...], floors: tuple[Any, ...]
) -> KernelRun:
    """Return the running values of a bank's cells: `WindowBank._run`.

    state: member, values, live; floors: column, floor, watched members and cells.
    """
    cells, panes, deltas = changes
    rows, width = len(cells), len(deltas)
    out_cells, out_panes, emptied = np.empty(rows, np.int64), np.empty(rows, np.int64), np.empty(rows, np.int64)
    sums, first = np.empty((rows, width), np.int64), np.empty(rows, np.bool_)
    count, empty = native.run(
        cells, panes, deltas, start, span, *state, *floors, out_cells, out_panes, sums, first, emptied
    )
    return KernelRun(out_cells[:count], out_panes[:count], sums[:count].T, first[:count], emptied[:empty].copy())


def touch(
    pairs: Ints, panes: Ints, start: int, span: int, state: tuple[Ints, Ints, NDArray[np.int32]]
) -> tuple[Ints, Ints, Flags]:
    """Return touches of pairs, each (pair, pane) once, and whether they begin a run. state: last, began, width."""
    rows = len(pairs)
    out_pairs, out_panes, begins = np.empty(rows, np.int64), np.empty(rows, np.int64), np.empty(rows, np.bool_)
    count = native.touch(pairs, panes, start, span, *state, out_pairs, out_panes, begins)
    return out_pairs[:count], out_panes[:count], begins[:count]


def leave(left: tuple[Ints, Ints, Ints], state: tuple[NDArray[np.int32], Ints, Ints]) -> tuple[Ints, Ints, Ints]:
    """Return the runs (pair, pane) that end with these touches (pair, pane of leaving, begun), and the pairs to forget.

    state: width, last, began of pairs. The panes span at most MOST_PANES.
    """
    pairs, panes, begun = left
    rows, start = len(pairs), int(panes.min())
    ended, ended_panes, gone = np.empty(rows, np.int64), np.empty(rows, np.int64), np.empty(rows, np.int64)
    span = int(panes.max()) - start + 1
    ends, away = native.leave(pairs, panes, begun, start, span, *state, ended, ended_panes, gone)
    return ended[:ends], ended_panes[:ends], gone[:away]
