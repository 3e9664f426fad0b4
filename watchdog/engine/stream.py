"""A stream's window that closes pane by pane: for absence, baselines, conditions that must last, extremes.

Rows wait in open panes, and come out as decided cells when panes close. Windows of plain sums
and distinct counts close many panes at once instead: see `banked_window`.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from detectors.state import State, checked
from detectors.windows import Decided, Ints, Window
from watchdog.core.durations import DAY_NS
from watchdog.core.plan import MeasurePlan, RulePlan
from watchdog.engine.grouping import Grouping
from watchdog.engine.measures.window_measures import WindowMeasures
from watchdog.engine.panes import NEVER, Decider, PaneCells, Pending
from watchdog.engine.selection import Selected

RUN_LEAST = 4  # arrivals that are worth closing together
RUN_ARRIVALS, RUN_PANES, RUN_GAP = 4_096, 65_536, 512  # of one run; far below what is learned of silence
LEARNED_NS = 2 * DAY_NS  # of silence in a stream: what baselines learn of it, and what firing keys say again


Decides = Literal["changed", "live", "seen"]


class StreamWindow:
    """One window over one stream: shared by all rules that read the same rows, key and length.

    decides: for which keys a pane is decided: `changed`, where something changed; `live`, all with events in the window
    (comparisons of keys); `seen`, every key that was ever seen (absence, baselines).
    """

    def __init__(
        self, plan: RulePlan, grouping: Grouping, measures: list[MeasurePlan], *, decides: Decides = "changed"
    ) -> None:
        self.grouping = grouping
        self.pane_ns, self.over_ns = plan.pane_ns, plan.over_ns
        width = plan.over_ns // plan.pane_ns
        self.measures = WindowMeasures(measures, width)
        self.window = Window(self.measures.width, width)
        self.sampled, self._lasting, self._single = decides != "changed", decides == "seen", not plan.by
        self.closed: int | None = None  # panes before this one are closed
        self._stirred = 0  # the latest pane with arrivals
        self._learned = LEARNED_NS // self.pane_ns + 2 * width  # panes after it; a clock may jump by years
        self._pending = Pending()
        self._seen: NDArray[np.bool_] = np.zeros(64, np.bool_)  # sampled: slots that have been live

    def feed(self, selected: Selected, slots: NDArray[np.int32]) -> None:
        """Add rows of a batch; `slots` are theirs, rows without a slot are left out."""
        times = selected.view.time_ns
        rows: dict[str, NDArray[Any]] = {"slot": slots.astype(np.int64), "pane": times // self.pane_ns}
        rows |= self.measures.feed(selected.view)
        if (slots < 0).any():
            kept = slots >= 0
            rows = {name: column[kept] for name, column in rows.items()}
        self._pending.add(rows)

    def hold(self, slot: int, pane: int) -> None:
        """Decide for this slot from now on, though nothing came for it (sampled windows)."""
        self._reserve()
        self._seen[slot] = True
        if self.closed is None:
            self.closed = self._stirred = pane

    def close(self, stop: int, decider: Decider) -> None:
        """Close all panes before `stop`; the decider judges what comes out."""
        if self.closed is None:
            if self._pending.first_pane >= stop:
                return
            self.closed = self._pending.first_pane
        if stop <= self.closed:
            return
        rows = self._pending.take(stop)
        self._reserve()
        self._step(rows, self.closed, stop, decider)
        self.closed = stop

    def busy(self) -> NDArray[np.bool_]:
        """Return, by slot, whether the window or an open pane holds rows of it."""
        self._reserve()
        marks = self._seen[: self.grouping.capacity].copy()
        rows = self._pending.rows()
        if rows is not None:
            marks[rows["slot"]] = True
        return marks

    def _step(self, rows: dict[str, NDArray[Any]] | None, start: int, stop: int, decider: Decider) -> None:
        parts = _by_pane(rows)
        order, taken = [*parts, int(NEVER)], 0
        runs = self._closes_runs(decider)
        pane = start
        while pane < stop:
            arrival = order[taken]
            pane, until = self._next_pane(pane, arrival, decider)
            if pane >= stop:
                break
            quiet = decider.rest(self._resting(pane), min(until, stop)) if pane < until else 0
            if quiet:
                pane += quiet
                continue
            part = None
            if pane == arrival:
                run = self._run(order, taken) if runs else order[taken : taken + 1]
                part, self._stirred, taken = _joined([parts[one] for one in run]), run[-1], taken + len(run)
            if pane < self._stirred:
                self._judge_run(part, pane, self._stirred + 1, decider)
            else:
                self._judge(part, pane, pane + 1, decider)
            pane = max(pane, self._stirred if part is not None else pane) + 1

    def _closes_runs(self, decider: Decider) -> bool:
        """Whether many panes may be closed at once: for one key at every pane, else where something changes."""
        if not self.measures.runs:
            return False
        return self._single if self.sampled else not (decider.learns or decider.waits)

    def _run(self, order: list[int], begin: int) -> list[int]:
        """Return arrivals from `begin` on that are close to each other: what lies between is judged with them."""
        run, gap = order[begin : begin + 1], min(RUN_GAP, self._learned)
        for pane in order[begin + 1 : begin + RUN_ARRIVALS]:
            if pane - run[-1] > gap or pane - run[0] > RUN_PANES:
                break
            run.append(pane)
        return run if len(run) >= RUN_LEAST else run[:1]

    def _judge_run(self, rows: dict[str, NDArray[Any]] | None, start: int, stop: int, decider: Decider) -> None:
        """Close panes start..stop-1 at once, with the cells that closing them one by one gives."""
        before = self.window.values.copy(), self.window.live.copy()
        arrivals, changes = self.measures.close(rows, start, stop)
        decided = self.window.close(arrivals, changes, start, stop)
        if self.sampled:
            decided = _every_pane(decided, *before, start, stop)
        self._mark_live(decided)
        values = self.measures.cells(decided)
        if len(decided.slots):
            decider.decide(PaneCells(decided.slots, decided.panes, decided.live, decided.first, values))

    def _next_pane(self, pane: int, arrival: int, decider: Decider) -> tuple[int, int]:
        """Return the first pane from `pane` on at which a verdict may change, with panes as the one before until then.

        And the pane until which only what baselines have learned of silence can change one.
        """
        changed = min(arrival, self._next_expiry())
        if changed <= pane or (self.sampled and pane == self._stirred):
            return pane, pane
        if not self.sampled:
            changed = max(pane, min(changed, decider.next_due()))
            return changed, changed
        settled = self._stirred + self._learned
        until = decider.next_silent(pane, fresh=pane <= settled)
        if until > settled:  # whether the call came from before or behind that pane must make no difference
            until = decider.next_silent(pane, fresh=False)
        until = min(changed, until)
        sample = decider.next_sample(pane) if pane <= settled else int(NEVER)
        return (until, until) if sample >= min(until, settled + 1) else (sample, min(until, settled + 1))

    def _resting(self, pane: int) -> PaneCells:
        """Return the cells of all keys while nothing enters or leaves their windows."""
        slots = np.flatnonzero(self._seen)
        size = len(slots)
        nothing = np.zeros((size, self.window.columns), np.int64)
        panes, first = np.full(size, pane), np.ones(size, np.bool_)
        live = self.window.live[slots].astype(np.int64)
        decided = Decided(slots, panes, self.window.values[slots], nothing, live, first)
        return PaneCells(slots, panes, live, first, self.measures.cells(decided))

    def _judge(self, rows: dict[str, NDArray[Any]] | None, start: int, stop: int, decider: Decider) -> None:
        cells = self._close_panes(rows, start, stop, decider.due(start))
        if len(cells.slots):
            decider.decide(cells)

    def _close_panes(self, rows: dict[str, NDArray[Any]] | None, start: int, stop: int, due: Ints) -> PaneCells:
        arrivals, changes = self.measures.close(rows, start, stop)
        decided = self.window.close(arrivals, changes, start, stop)
        self._mark_live(decided)
        if self.sampled or len(due):
            decided = self._complete(decided, start, due)
        values = self.measures.cells(decided)
        cells = PaneCells(decided.slots, decided.panes, decided.live, decided.first, values)
        self._settle(decided)
        return cells

    def _settle(self, decided: Decided) -> None:
        for column, slots, correction in self.measures.settle(decided.slots):
            self.window.values[slots, column] += correction

    def _next_expiry(self) -> int:
        panes = (self.window.log.next_expiry(), self.measures.next_expiry())
        return min((pane for pane in panes if pane is not None), default=int(NEVER))

    def _complete(self, decided: Decided, pane: int, due: Ints) -> Decided:
        """Add the rows of slots that did not change: all that were seen, or those that wait."""
        wanted = np.flatnonzero(self._seen) if self.sampled else due
        more = np.setdiff1d(wanted, decided.slots)
        slots = np.concatenate([decided.slots, more])
        order = np.argsort(slots, kind="stable")
        slots = slots[order]
        size = len(slots)
        deltas = np.concatenate([decided.deltas, np.zeros((len(more), self.window.columns), np.int64)])[order]
        return Decided(
            slots,
            np.full(size, pane),
            self.window.values[slots],
            deltas,
            self.window.live[slots].astype(np.int64),
            np.ones(size, np.bool_),
        )

    def _mark_live(self, decided: Decided) -> None:
        """Keep the slots that became live and drop those that fell empty, unless absence counts."""
        if not len(decided.slots):
            return
        ends = np.flatnonzero(np.concatenate((decided.first[1:], [True])))
        slots, now = decided.slots[ends], decided.live[ends] > 0
        self._seen[slots] = (self._seen[slots] | now) if self._lasting else now

    def _reserve(self) -> None:
        size = self.grouping.capacity
        self.window.reserve(size)
        self.measures.reserve(size)
        if size > len(self._seen):
            more = (1 << (size - 1).bit_length()) - len(self._seen)
            self._seen = np.concatenate([self._seen, np.zeros(more, np.bool_)])

    def purge(self, slots: Ints) -> None:
        """Forget these slots, also in open panes."""
        self._reserve()
        self._pending.drop("slot", slots)
        self.window.purge(slots)
        self.measures.evict(slots)
        self._seen[slots] = False

    def state(self) -> State:
        """Open panes, window and measures."""
        return {
            "closed": -1 if self.closed is None else self.closed,
            "pending": self._pending.rows() or {},
            "window": self.window.state(),
            "measures": self.measures.state(),
            "seen": self._seen,
            "stirred": self._stirred,
        }

    def restore(self, state: State) -> None:
        """Continue from `state`; the grouping is restored before."""
        self._reserve()
        closed, slots = int(state["closed"]), self.grouping.capacity
        self.closed = None if closed < 0 else closed
        rows = state["pending"]
        if rows:
            panes = checked(rows, "pane", np.int64, bounds=(max(closed, 0), int(NEVER)))
            checked(rows, "slot", np.int64, len(panes), (0, slots))
            if any(len(part) != len(panes) for part in rows.values()):
                raise ValueError("columns of open panes differ in length")
            self._pending.add(self.measures.waiting(rows))
        self.window.restore(state["window"], max(closed, 0))
        self.measures.restore(state["measures"], max(closed, 0), slots)
        self._seen = checked(state, "seen", np.bool_).copy()
        self._stirred = int(state["stirred"])
        self._reserve()


def _by_pane(rows: dict[str, NDArray[Any]] | None) -> dict[int, dict[str, NDArray[Any]]]:
    if rows is None:
        return {}
    order = np.argsort(rows["pane"], kind="stable")
    panes = rows["pane"][order]
    parts = np.split(order, np.flatnonzero(np.diff(panes)) + 1)
    return {int(rows["pane"][part[0]]): {name: column[part] for name, column in rows.items()} for part in parts}


def _joined(parts: list[dict[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    """Return the rows of several panes as one."""
    if len(parts) == 1:
        return parts[0]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _every_pane(decided: Decided, values: Ints, live: NDArray[np.int32], start: int, stop: int) -> Decided:
    """Return the rows of one key at every pane of start..stop-1; `values` and `live` are those before."""
    slot = int(decided.slots[0])
    panes = np.arange(start, stop)
    rows = np.searchsorted(decided.panes, panes, side="right")  # 0: nothing has changed yet
    all_values = np.concatenate([values[slot][None], decided.values])[rows]
    all_live = np.concatenate([[int(live[slot])], decided.live])[rows]
    deltas = np.zeros((len(panes), decided.deltas.shape[1]), np.int64)
    deltas[decided.panes - start] = decided.deltas
    return Decided(np.full(len(panes), slot), panes, all_values, deltas, all_live, panes == start)
