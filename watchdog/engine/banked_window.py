"""Windows of plain sums and distinct counts, closed together: the hot path of most rules.

All such windows with the same pane and number of measures form one bank.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.distinct import DistinctWindow, Touches
from detectors.state import State, checked
from detectors.window_banks import BankChanges, BankDecided, WindowBank
from detectors.windows import Ints
from watchdog.core.batch import Batch
from watchdog.core.plan import MeasurePlan, as_bool
from watchdog.engine.grouping import Grouping
from watchdog.engine.measures.measure import Cost, identities, whole_numbers
from watchdog.engine.measures.registry import kind_of
from watchdog.engine.panes import NEVER, Decider, PaneCells, Pending
from watchdog.engine.selection import chosen


class BankedWindow:
    """One window of a bank, and what its rows add to each of its measures."""

    def __init__(self, bank: BankInput, member: int, grouping: Grouping, measures: Sequence[MeasurePlan]) -> None:
        self.pane_ns, self.grouping, self.bank = bank.pane_ns, grouping, bank
        self.member, self.measures = member, tuple(measures)
        self.signature = "\n".join(measure.text for measure in self.measures)
        self.distinct = frozenset(c for c, measure in enumerate(measures) if kind_of(measure).bank == "distinct")

    def demand(self, column: int, floor: float) -> None:
        """Leave this member alone while no value of this column reaches the floor."""
        self.bank.windows.floor_column[self.member], self.bank.windows.floor[self.member] = column, floor

    def cells(self, decided: BankDecided) -> PaneCells:
        """Return the measures as named cells."""
        values: dict[str, NDArray[Any]] = {}
        for column, measure in enumerate(self.measures):
            numbers = decided.values[column]
            if column in self.distinct:
                numbers = numbers << self.bank.level(column, decided.cells)
            values[measure.name] = numbers
        return PaneCells(decided.slots, decided.panes, decided.live, decided.first, values)

    def busy(self) -> NDArray[np.bool_]:
        """Return, by slot, whether the window or an open pane holds rows of it."""
        return self.bank.windows.held(self.member, self.grouping.capacity)

    def purge(self, slots: Ints) -> None:
        """Forget these slots, also in open panes."""
        self.bank.drop(self.bank.windows.cells_of(self.member, slots))
        self.bank.windows.purge(self.member, slots)

    def state(self) -> State:
        """Return nothing: the bank saves the state of its windows together."""
        return {}

    def restore(self, state: State) -> None:
        """Restore nothing: the bank restores its windows together."""


@dataclass(frozen=True, slots=True, eq=False)
class BankedRows:
    """Rows of a batch for one member; `group` is the number of its grouping in the engine."""

    window: BankedWindow
    rows: NDArray[np.intp]
    group: int


@dataclass(frozen=True, slots=True, eq=False)
class _Joined:
    """Rows of a batch for several members behind each other, with the cell and the pane of each."""

    batch: Batch
    rows: NDArray[np.intp]
    cells: Ints
    panes: Ints


class BankInput:
    """The windows of a bank, their open panes and their distinct counts."""

    def __init__(self, pane_ns: int, columns: int, widths: list[int], distinct: frozenset[int]) -> None:
        self.pane_ns, self.columns = pane_ns, columns
        self.windows = WindowBank(columns, widths)
        self.closed: int | None = None  # panes before this one are closed
        self._distinct = {column: DistinctWindow(*widths) for column in sorted(distinct)}
        self._pending = Pending()
        self._touches = {column: Pending() for column in self._distinct}

    def feed(self, batch: Batch, fed: Sequence[BankedRows], slots_of: Mapping[int, NDArray[np.int32]]) -> None:
        """Add rows of a batch for all members at once. slots_of: by grouping, the slot of each row of the batch."""
        fed = sorted(fed, key=lambda part: part.window.signature)  # what is measured alike is measured together
        joined, sizes = self._joined(batch, fed, slots_of)
        added = np.empty((self.columns, len(joined.rows)), np.int64)
        stop = 0
        for _, alike in groupby(zip(fed, sizes, strict=True), key=lambda part: part[0].window.signature):
            start, together = stop, list(alike)
            stop += sum(size for _, size in together)
            self._measure(together[0][0].window, joined, slice(start, stop), added)
        columns = {f"added{column}": added[column] for column in range(self.columns)}
        self._pending.add({"cell": joined.cells, "pane": joined.panes, **columns})

    def _joined(
        self, batch: Batch, fed: Sequence[BankedRows], slots_of: Mapping[int, NDArray[np.int32]]
    ) -> tuple[_Joined, list[int]]:
        """Return all rows and how many each member has, without those that got no slot because a key table was full."""
        rows = np.concatenate([part.rows for part in fed])
        sizes = [len(part.rows) for part in fed]
        part_of = np.repeat(np.arange(len(fed)), sizes)
        groups = list(dict.fromkeys(part.group for part in fed))
        offsets = np.array([groups.index(part.group) * batch.rows for part in fed])
        slots = np.concatenate([slots_of[group] for group in groups])[offsets[part_of] + rows]
        known = slots >= 0
        if not known.all():
            rows, part_of, slots = rows[known], part_of[known], slots[known]
            sizes = np.bincount(part_of, minlength=len(fed)).tolist()
        members = np.array([part.window.member for part in fed], np.int64)[part_of]
        capacity = max(part.window.grouping.capacity for part in fed)
        cells = self.windows.cells(members, slots.astype(np.int64), capacity)
        return _Joined(batch, rows, cells, batch.time_ns[rows] // self.pane_ns), sizes

    def _measure(self, window: BankedWindow, joined: _Joined, part: slice, added: Ints) -> None:
        """Fill in what these rows add to each column; values of distinct counts are kept apart until panes close."""
        view, size = chosen(joined.batch, joined.rows[part]), part.stop - part.start
        for column, measure in enumerate(window.measures):
            passed = None if measure.where is None else as_bool(measure.where(view), size)
            if column in window.distinct:
                added[column, part] = 0
                rows = {"cell": joined.cells[part], "pane": joined.panes[part], "value": identities(measure, view)}
                if passed is not None:
                    rows = {name: values[passed] for name, values in rows.items()}
                self._touches[column].add(rows)
                continue
            added[column, part] = whole_numbers(measure, view)
            if passed is not None:
                added[column, part] *= passed

    def level(self, column: int, cells: Ints) -> Ints:
        """Return by how many bits the distinct count of each cell is sampled."""
        return self._distinct[column].level[cells]

    def close(self, stop: int, windows: Sequence[BankedWindow], deciders: Sequence[Decider]) -> None:
        """Close all panes before `stop`; each member's decider judges what comes out."""
        if self.closed is None:
            if self._pending.first_pane >= stop:
                return
            self.closed = self._pending.first_pane
        if stop <= self.closed:
            return
        rows = self._pending.take(stop)
        touches = {column: pending.take(stop) for column, pending in self._touches.items()}
        for distinct in self._distinct.values():
            distinct.reserve(self.windows.capacity)
        if self._near_cap(touches):
            self._step(rows, touches, stop, windows, deciders)
        elif rows is not None or (self.windows.next_expiry() or NEVER) < stop:
            self._close_panes(rows, touches, (self.closed, stop), windows, deciders)
        self.closed = stop
        waiting = self._pending.rows()
        self.windows.take_back(waiting["cell"] if waiting is not None else np.zeros(0, np.int64))

    @property
    def _sampling(self) -> bool:
        """Whether a distinct count is an estimate, so that its column must not be compared with a floor."""
        return any(distinct.sampling for distinct in self._distinct.values())

    def _near_cap(self, touches: dict[int, dict[str, NDArray[Any]] | None]) -> bool:
        return any(rows is not None and self._distinct[c].may_overflow(rows["cell"]) for c, rows in touches.items())

    def _step(
        self,
        rows: dict[str, NDArray[Any]] | None,
        touches: dict[int, dict[str, NDArray[Any]] | None],
        stop: int,
        windows: Sequence[BankedWindow],
        deciders: Sequence[Decider],
    ) -> None:
        """Close pane by pane, since a distinct count may begin to sample in any of them."""
        pane = self.closed or 0
        while pane < stop:
            arrival = int(rows["pane"].min()) if rows is not None and len(rows["pane"]) else int(NEVER)
            pane = max(pane, min(arrival, self.windows.next_expiry() or int(NEVER)))
            if pane >= stop:
                return
            now, rows = _split(rows, pane)
            parts: dict[int, dict[str, NDArray[Any]] | None] = {}
            for column, part in touches.items():
                parts[column], touches[column] = _split(part, pane)
            self._close_panes(now, parts, (pane, pane + 1), windows, deciders)
            pane += 1

    def _close_panes(
        self,
        rows: dict[str, NDArray[Any]] | None,
        touches: dict[int, dict[str, NDArray[Any]] | None],
        panes: tuple[int, int],
        windows: Sequence[BankedWindow],
        deciders: Sequence[Decider],
    ) -> None:
        start, stop = panes
        arrivals = self._nothing()
        if rows is not None:
            added = rows["added0"][None, :]
            if self.columns > 1:
                added = np.stack([rows[f"added{column}"] for column in range(self.columns)])
            arrivals = BankChanges(rows["cell"], rows["pane"], added)
        extra = [self._close_distinct(column, part, start, stop) for column, part in touches.items()]
        extra = [part for part in extra if len(part.cells)]
        joined = _joined(extra) if extra else self._nothing()
        self._watch(windows, deciders)
        judged = self.windows.close(arrivals, joined, start, stop)
        for member, decided in judged.items():
            deciders[member].decide(windows[member].cells(decided))
        if self._distinct and judged:
            self._resample(np.concatenate([decided.cells for decided in judged.values()]))

    def _watch(self, windows: Sequence[BankedWindow], deciders: Sequence[Decider]) -> None:
        """Have the cells of firing keys and of estimated counts decided whatever their values."""
        bank = self.windows
        bank.watched_cells[:] = False
        sampling = self._sampling
        bank.watched[:] = [sampling and bool(window.distinct) for window in windows]
        for member, decider in enumerate(deciders):
            held = decider.held()
            if len(held):
                bank.watched_cells[bank.cells_of(member, held)] = True

    def _close_distinct(self, column: int, rows: dict[str, NDArray[Any]] | None, start: int, stop: int) -> BankChanges:
        nothing = np.zeros(0, np.int64)
        touched = Touches(nothing, nothing, nothing.view(np.uint64), nothing)
        if rows is not None:
            widths = self.windows.width_of[rows["cell"]].astype(np.int64)
            touched = Touches(rows["cell"], rows["pane"], rows["value"], widths)
        changes = self._distinct[column].close(touched, start, stop)
        deltas = np.zeros((self.columns, len(changes.slots)), np.int64)
        deltas[column] = changes.deltas[:, 0]
        return BankChanges(changes.slots, changes.panes, deltas)

    def _resample(self, cells: Ints) -> None:
        for column, distinct in self._distinct.items():
            if distinct.needs_resampling(cells):
                changed = np.unique(cells)
                before = distinct.pairs[changed].copy()
                distinct.resample(changed)
                self.windows.values[column, changed] += distinct.pairs[changed] - before

    def _nothing(self) -> BankChanges:
        none = np.zeros(0, np.int64)
        return BankChanges(none, none, np.zeros((self.columns, 0), np.int64))

    def drop(self, cells: Ints) -> None:
        """Forget rows of these cells in open panes and in distinct counts."""
        self._pending.drop("cell", cells)
        for column, distinct in self._distinct.items():
            self._touches[column].drop("cell", cells)
            distinct.reserve(self.windows.capacity)
            distinct.purge(cells)

    def cost(self) -> Cost:
        """Return the values that distinct counts remember, and those refused because a table was full."""
        counts = self._distinct.values()
        return Cost(sum(len(distinct) for distinct in counts), sum(distinct.refused for distinct in counts))

    def state(self) -> State:
        """Open panes, windows and distinct counts."""
        return {
            "closed": -1 if self.closed is None else self.closed,
            "lane": self.windows.state(),
            "pending": self._pending.rows() or {},
            "touches": {str(column): pending.rows() or {} for column, pending in self._touches.items()},
            "distinct": {str(column): distinct.state() for column, distinct in self._distinct.items()},
        }

    def restore(self, state: State, windows: Sequence[BankedWindow]) -> None:
        """Continue from `state`; the groupings of the windows are restored before."""
        closed = int(state["closed"])
        self.closed = None if closed < 0 else closed
        slots = np.array([window.grouping.capacity for window in windows], np.int64)
        self.windows.restore(state["lane"], max(closed, 0), slots)
        added = [f"added{column}" for column in range(self.columns)]
        self._waiting(self._pending, state["pending"], dict.fromkeys(added, np.int64))
        for column, distinct in self._distinct.items():
            self._waiting(self._touches[column], state["touches"][str(column)], {"value": np.uint64})
            distinct.restore(state["distinct"][str(column)], max(closed, 0), self.windows.capacity)

    def _waiting(self, pending: Pending, rows: State, more: Mapping[str, type[np.generic]]) -> None:
        """Take saved rows of open panes. ValueError when they do not fit."""
        if rows:
            panes = checked(rows, "pane", np.int64, bounds=(max(self.closed or 0, 0), int(NEVER)))
            cells = checked(rows, "cell", np.int64, len(panes), (0, self.windows.capacity))
            pending.add({"cell": cells, "pane": panes, **{n: checked(rows, n, k, len(panes)) for n, k in more.items()}})


def _joined(parts: list[BankChanges]) -> BankChanges:
    if len(parts) == 1:
        return parts[0]
    return BankChanges(
        np.concatenate([part.cells for part in parts]),
        np.concatenate([part.panes for part in parts]),
        np.concatenate([part.deltas for part in parts], axis=1),
    )


ColumnRows = dict[str, NDArray[Any]]


def _split(rows: ColumnRows | None, pane: int) -> tuple[ColumnRows | None, ColumnRows | None]:
    """Return the rows of a pane, and the others."""
    if rows is None:
        return None, None
    mine = rows["pane"] == pane
    if not mine.any():
        return None, rows
    return {name: part[mine] for name, part in rows.items()}, {name: part[~mine] for name, part in rows.items()}
