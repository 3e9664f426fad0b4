"""Many sliding windows side by side, closed together: one sort for all windows and keys.

A *member* is one window (its width, in panes); a *cell* is one key of one member. Cells are
handed out when a key first enters a member and taken back when it has left, so memory
follows what is active. See `windows` for how arrivals and expiries become values.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors import kernel
from detectors.kernel import KernelRun
from detectors.ordering import by_log, parted, sorted_with_order
from detectors.state import State, checked
from detectors.windows import SMALLEST, Changes, Ints, PaneLog

NO_CELL = np.int32(-1)


@dataclass(frozen=True, slots=True, eq=False)
class BankChanges:
    """Rows (cell, pane, one integer for each column); deltas are columns x rows."""

    cells: Ints
    panes: Ints
    deltas: Ints


@dataclass(frozen=True, slots=True, eq=False)
class BankDecided:
    """One member's decided rows, sorted by (cell, pane); values are columns x rows."""

    slots: Ints
    panes: Ints
    values: Ints
    live: Ints
    first: NDArray[np.bool_]
    cells: Ints


def folded(codes: Ints, deltas: Ints, *, runs: bool = False) -> tuple[Ints, Ints]:
    """Return distinct codes in order, and the sum of the columns of each; deltas are columns x rows.

    runs: the codes are a few sorted runs behind each other.
    """
    if len(codes) < 2 or (codes[1:] > codes[:-1]).all():
        return codes, deltas
    codes, order = sorted_with_order(codes, runs=runs)
    deltas = deltas[:, order]
    starts = np.flatnonzero(np.concatenate(([True], codes[1:] != codes[:-1])))
    if len(starts) == len(codes):
        return codes, deltas
    return codes[starts], np.add.reduceat(deltas, starts, axis=1)


class WindowBank:
    """Windows with the same pane and the same number of columns.

    The caller gives cells in the order of `cell_of`; `widths[m]` is the width of member m in panes.
    """

    def __init__(self, columns: int, widths: list[int]) -> None:
        self.columns, self.widths = columns, list(widths)
        self._room = SMALLEST  # slots of each member in the table below
        self._cell_of: NDArray[np.int32] = np.full(SMALLEST * len(widths), NO_CELL)  # by member * room + slot
        self.member: NDArray[np.int16] = np.zeros(SMALLEST, np.int16)  # by cell
        self.slot: NDArray[np.int32] = np.zeros(SMALLEST, np.int32)  # by cell
        self.live: NDArray[np.int32] = np.zeros(SMALLEST, np.int32)  # by cell: panes with arrivals
        self.values: Ints = np.zeros((columns, SMALLEST), np.int64)  # column by cell
        self.width_of: NDArray[np.int32] = np.zeros(SMALLEST, np.int32)  # by cell
        self._free: NDArray[np.int32] = np.zeros(0, np.int32)
        self.capacity = 0
        self._emptied: list[Ints] = []
        self.floor_column: Ints = np.zeros(len(widths), np.int64)  # by member: the column that its floor is about
        self.floor: NDArray[np.float64] = np.full(len(widths), -np.inf)  # by member
        self.watched: NDArray[np.bool_] = np.zeros(len(widths), np.bool_)  # by member: decide whatever the values
        self.watched_cells: NDArray[np.bool_] = np.zeros(SMALLEST, np.bool_)  # by cell: the same
        self._logs = {width: PaneLog(columns, width) for width in dict.fromkeys(widths)}
        self._log_of: Ints = np.array([list(self._logs).index(width) for width in widths], np.int64)  # by member

    def cells(self, members: Ints, slots: Ints, capacity: int) -> Ints:
        """Return the cell of each row (a member's slot); new keys get one. `capacity`: bound of all slots."""
        if capacity > self._room:
            self._widen(1 << (capacity - 1).bit_length())
        places = members * self._room + slots
        cells = self._cell_of[places]
        missing = cells < 0
        if missing.any():
            self._hand_out(np.unique(places[missing]))
            cells = self._cell_of[places]
        assigned: Ints = cells.astype(np.int64)
        return assigned

    def _widen(self, room: int) -> None:
        table = np.full((len(self.widths), room), NO_CELL)
        table[:, : self._room] = self._cell_of.reshape(len(self.widths), self._room)
        self._cell_of, self._room = table.reshape(-1), room

    def _hand_out(self, places: Ints) -> None:
        count = len(places)
        again = min(count, len(self._free))
        fresh = np.arange(self.capacity, self.capacity + count - again, dtype=np.int32)
        cells = np.concatenate([self._free[len(self._free) - again :], fresh])
        self._free = self._free[: len(self._free) - again]
        self.capacity += count - again
        self._reserve()
        members = places // self._room
        self._cell_of[places] = cells
        self.member[cells], self.slot[cells] = members, places - members * self._room
        self.width_of[cells] = np.array(self.widths)[members]

    def _reserve(self) -> None:
        more = self.capacity - len(self.slot)
        if more > 0:
            more = (1 << (self.capacity - 1).bit_length()) - len(self.slot)
            self.member = np.concatenate([self.member, np.zeros(more, np.int16)])
            self.slot = np.concatenate([self.slot, np.zeros(more, np.int32)])
            self.live = np.concatenate([self.live, np.zeros(more, np.int32)])
            self.width_of = np.concatenate([self.width_of, np.zeros(more, np.int32)])
            self.watched_cells = np.concatenate([self.watched_cells, np.zeros(more, np.bool_)])
            self.values = np.concatenate([self.values, np.zeros((self.columns, more), np.int64)], axis=1)

    def next_expiry(self) -> int | None:
        """Return the pane at which the next row of any member leaves."""
        due = [pane for log in self._logs.values() if (pane := log.next_expiry()) is not None]
        return min(due, default=None)

    def close(self, arrivals: BankChanges, extra: BankChanges, start: int, stop: int) -> dict[int, BankDecided]:
        """Close panes start..stop-1; the decided rows of each member for which they can matter.

        A cell that stays below the floor of its member is left out, unless it or the member is watched.
        """
        span = stop - start
        cells, panes, sums = self._folded(arrivals, start, span)
        self._enter(cells, panes, sums, start, span)
        left = [log.expire(stop) for log in self._logs.values()]
        left = [part for part in left if len(part.slots)]
        if not len(cells) and not left and not len(extra.cells):
            return {}
        changed = np.concatenate([cells, extra.cells, *(part.slots for part in left)])
        deltas = np.zeros((self.columns + 1, len(changed)), np.int64)
        entered, others = len(cells), len(cells) + len(extra.cells)
        deltas[:-1, :entered], deltas[:-1, entered:others] = sums, extra.deltas
        row = others
        for part in left:
            np.negative(part.deltas.T, out=deltas[:-1, row : row + len(part.slots)])
            row += len(part.slots)
        deltas[-1, :entered], deltas[-1, others:] = 1, -1
        rows = BankChanges(changed, np.concatenate([panes, extra.panes, *(part.panes for part in left)]), deltas)
        if kernel.native is None or span > kernel.MOST_PANES:
            return self._by_member(self._run(rows, start, span))
        return self._by_member(self._run_native(rows, start, span))

    def _folded(self, arrivals: BankChanges, start: int, span: int) -> tuple[Ints, Ints, Ints]:
        """Return distinct (cell, pane) of the arrivals in order, and their sums."""
        if kernel.native is not None and span <= kernel.MOST_PANES:
            return kernel.fold((arrivals.cells, arrivals.panes, arrivals.deltas), self.capacity, start, span)
        codes, sums = folded(arrivals.cells * span + (arrivals.panes - start), arrivals.deltas)
        cells = codes // span
        return cells, codes - cells * span + start, sums

    def _enter(self, cells: Ints, panes: Ints, sums: Ints, start: int, span: int) -> None:
        """Log what arrived, apart by width."""
        order, bounds = by_log(self._log_of[self.member[cells]], panes, start, span, len(self._logs))
        rows = Changes(cells, panes, sums.T)
        for log, first, end in zip(self._logs.values(), bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
            log.append_ordered(rows.taken(order[first:end]))  # arrays of its own, given back when its window has passed

    def _run(self, changes: BankChanges, start: int, span: int) -> KernelRun:
        """Return the value of each cell wherever it changed, for cells that matter; the last delta is for `live`."""
        codes, deltas = folded(changes.cells * span + (changes.panes - start), changes.deltas, runs=True)
        cells = codes // span
        first = np.concatenate(([True], cells[1:] != cells[:-1]))
        heads = np.flatnonzero(first)
        lengths = np.diff(np.append(heads, len(cells)))
        owners = cells[heads]
        sums = np.cumsum(deltas, axis=1)
        base = sums[:, heads] - deltas[:, heads]
        base[:-1] -= self.values[:, owners]
        base[-1] -= self.live[owners]
        sums -= np.repeat(base, lengths, axis=1)
        ends = heads + lengths - 1
        self.values[:, owners] = sums[:-1, ends]
        self.live[owners] = sums[-1, ends]
        kept = np.flatnonzero(np.repeat(self._matters(cells, sums, heads), lengths))
        emptied = owners[sums[-1, ends] == 0]
        return KernelRun(cells[kept], (codes - cells * span + start)[kept], sums[:, kept], first[kept], emptied)

    def _matters(self, cells: Ints, sums: Ints, heads: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Return, by cell that changed, whether it is watched or a value reaches the floor of its member."""
        members = self.member[cells]
        values = sums[0] if self.columns == 1 else sums[self.floor_column[members], np.arange(sums.shape[1])]
        reached = np.logical_or.reduceat(values >= self.floor[members], heads)
        wanted: NDArray[np.bool_] = reached | self.watched[members[heads]] | self.watched_cells[cells[heads]]
        return wanted

    def _run_native(self, changes: BankChanges, start: int, span: int) -> KernelRun:
        state = (self.member, self.values, self.live)
        floors = (self.floor_column, self.floor, self.watched, self.watched_cells)
        return kernel.run((changes.cells, changes.panes, changes.deltas), start, span, state, floors)

    def _by_member(self, run: KernelRun) -> dict[int, BankDecided]:
        self._emptied.append(run.emptied)
        if not len(run.cells):
            return {}
        members = self.member[run.cells]
        order, bounds = parted(members, len(self.widths))
        decided = {}
        for member in np.flatnonzero(np.diff(bounds)).tolist():
            rows = order[bounds[member] : bounds[member + 1]]
            cells = run.cells[rows]
            slots = self.slot[cells].astype(np.int64)
            sums = run.sums[:, rows]
            decided[member] = BankDecided(slots, run.panes[rows], sums[:-1], sums[-1], run.first[rows], cells)
        return decided

    def take_back(self, waiting: Ints) -> None:
        """Free the cells whose windows fell empty; those with rows in open panes stay."""
        if not any(len(part) for part in self._emptied):
            self._emptied = []
            return
        used = np.zeros(self.capacity, np.bool_)
        used[np.concatenate(self._emptied)] = True
        used[waiting] = False
        self._emptied = []
        cells = np.flatnonzero(used)
        idle = cells[self.live[cells] == 0]
        self._cell_of[self.member[idle].astype(np.int64) * self._room + self.slot[idle]] = NO_CELL
        self._free = np.concatenate([self._free, idle.astype(np.int32)])

    def held(self, member: int, capacity: int) -> NDArray[np.bool_]:
        """Return, by slot, whether it has a cell in a member."""
        held = np.zeros(capacity, np.bool_)
        cells = self._row(member)[:capacity]
        held[: len(cells)] = cells >= 0
        return held

    def _row(self, member: int) -> NDArray[np.int32]:
        """Return the cells of a member, by slot."""
        return self._cell_of[member * self._room : (member + 1) * self._room]

    def cells_of(self, member: int, slots: Ints) -> Ints:
        """Return the cells that these slots have in a member, without new ones."""
        cells = self._row(member)[slots[slots < self._room]]
        return cells[cells >= 0].astype(np.int64)

    def purge(self, member: int, slots: Ints) -> None:
        """Forget these slots of a member."""
        cells = self.cells_of(member, slots)
        self.values[:, cells] = 0
        self.live[cells] = 0
        log = self._logs[self.widths[member]]
        rows = log.rows()
        log.restart(rows.rows(~np.isin(rows.slots, cells)))
        self._row(member)[self.slot[cells]] = NO_CELL
        self._free = np.concatenate([self._free, cells.astype(np.int32)])

    def state(self) -> State:
        """Return cells and logs, as arrays."""
        size = self.capacity
        logs = {str(width): log.rows() for width, log in self._logs.items()}
        return {
            "member": self.member[:size],
            "slot": self.slot[:size],
            "live": self.live[:size],
            "values": self.values[:, :size],
            "free": self._free,
            "logs": {
                name: {"cells": rows.slots.astype(np.int32), "panes": rows.panes, "deltas": rows.deltas}
                for name, rows in logs.items()
            },
        }

    def restore(self, state: State, closed: int | None = None, slots: Ints | None = None) -> None:
        """Continue from `state`; panes before `closed` are closed, `slots` is how many each member has."""
        member = checked(state, "member", np.int16, bounds=(0, len(self.widths)))
        self.capacity = size = len(member)
        self._reserve()
        self.member[:size] = member
        self.slot[:size] = checked(state, "slot", np.int32, size, (0, 1 << 31))
        self.live[:size] = checked(state, "live", np.int32, size, (0, 1 << 31))
        self.values[:, :size] = checked(state, "values", np.int64, self.columns, columns=size)
        self.width_of[:size] = np.array(self.widths, np.int32)[member]
        self._free = checked(state, "free", np.int32, bounds=(0, size))
        if len(np.unique(self._free)) != len(self._free):
            raise ValueError("a cell is free twice")
        used = np.ones(size, np.bool_)
        used[self._free] = False
        cells = np.flatnonzero(used)
        if slots is not None and (self.slot[cells] >= slots[self.member[cells]]).any():
            raise ValueError("a cell is of no slot")
        self._room = max(SMALLEST, 1 << int(self.slot[cells].max(initial=0)).bit_length())
        self._cell_of = np.full(self._room * len(self.widths), NO_CELL)
        self._cell_of[self.member[cells].astype(np.int64) * self._room + self.slot[cells]] = cells
        for width, log in self._logs.items():
            rows = state["logs"][str(width)]
            panes = checked(rows, "panes", np.int64, bounds=None if closed is None else (closed - width, closed))
            owners = checked(rows, "cells", np.int32, len(panes), (0, size)).astype(np.int64)
            log.restart(Changes(owners, panes, checked(rows, "deltas", np.int64, len(panes), columns=self.columns)))
