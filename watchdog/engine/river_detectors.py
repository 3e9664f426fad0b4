"""`changed` and `model` of one rule over the slots of its grouping: detectors of river, fed one sample a step.

Without river they say nothing; that the rule cannot fire is said where rules are listed.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.drift import Drift
from detectors.replayed import DriftModel, Replayed, RowModel
from detectors.state import State, checked
from detectors.windows import Floats, Ints
from watchdog.core.plan import COVERED, SCORE, SPEAKS, DriftPlan, ModelPlan, RulePlan, as_bool
from watchdog.core.river_classes import drift_maker, model_maker, river_installed
from watchdog.core.text import printable
from watchdog.engine.panes import NEVER, PaneCells

LONGEST_FAULT = 200  # characters


class ModelFault(NamedTuple):
    """A model that failed at a pane, or scores again. name: its class. fails: False for the latter. times: so far."""

    pane: int
    slot: int
    name: str
    fails: bool
    times: int
    text: str

    @property
    def summary(self) -> str:
        """What a finding says of it."""
        said = f"failed, and starts afresh: {self.text}" if self.fails else "gives scores again"
        return f"{self.name} {said} (faults so far: {self.times})"


class RiverDetectors:
    """The river detectors of one rule."""

    def __init__(self, plan: RulePlan) -> None:
        self._plan = plan
        self._live = bool(plan.drifts or plan.model) and river_installed()
        steps_ns = [*(spec.step_ns for spec in plan.drifts), *([plan.model.step_ns] if plan.model else [])]
        self._steps = [max(1, step_ns // plan.pane_ns) for step_ns in steps_ns]
        self._drifts = [_drift(spec, plan) for spec in plan.drifts] if self._live else []
        self._model = _model(plan.model, plan) if plan.model and self._live else None
        self._failing: set[int] = set()
        self._faults: list[ModelFault] = []

    @property
    def refused(self) -> int:
        """Samples of keys for which there was no detector."""
        return sum(one.refused for one in self._drifts) + (self._model.refused if self._model else 0)

    def take_faults(self) -> list[ModelFault]:
        """Return the faults since the last call, by pane."""
        found, self._faults = self._faults, []
        return sorted(found)

    def next_sample(self, pane: int) -> int:
        """Return the first pane from `pane` on at which a sample is taken, or at which the last one's verdict ends."""
        return min((pane if pane % step <= 1 else pane + -pane % step for step in self._steps), default=int(NEVER))

    def judge(self, cells: PaneCells, named: dict[str, NDArray[Any]]) -> None:
        """Add verdicts and scores to `named`, and learn. Rows of one slot follow each other in time."""
        size = len(cells.slots)
        for at, spec in enumerate(self._plan.drifts):
            moved, old, new = np.zeros(size, np.bool_), np.zeros(size), np.zeros(size)
            if self._live:
                values = _finite(spec.value(named), size)
                for row in self._sampled(cells, named[SPEAKS], self._steps[at]):
                    found = self._drifts[at].sample(int(cells.slots[row]), float(values[row]))
                    if found is not None:
                        moved[row], old[row], new[row] = True, _shown(found.old), _shown(found.new)
            named[spec.name], named[f"{spec.name}_old"], named[f"{spec.name}_new"] = moved, old, new
        if self._plan.model is not None:
            named[SCORE] = self._scores(self._plan.model, cells, named)

    def _scores(self, spec: ModelPlan, cells: PaneCells, named: dict[str, NDArray[Any]]) -> Floats:
        size, scores = len(cells.slots), np.zeros(len(cells.slots))
        if self._model is None:
            return scores
        columns = np.stack([_finite(named[name], size) for name in spec.features], axis=1)
        for row in self._sampled(cells, named[COVERED], self._steps[-1]):
            slot = int(cells.slots[row])
            own = {name: column[row : row + 1] for name, column in named.items()}

            def teaches(score: float, own: dict[str, NDArray[Any]] = own) -> bool:
                return not as_bool(self._plan.fire({**own, SCORE: np.array([score])}), 1)[0]

            found = self._model.sample(slot, tuple(columns[row].tolist()), teaches)
            scores[row] = found.score
            self._note(spec, int(cells.panes[row]), slot, found.fault)
        return scores

    def _note(self, spec: ModelPlan, pane: int, slot: int, fault: str) -> None:
        """Note a model that begins to fail, and one that no longer does."""
        assert self._model is not None
        if bool(fault) == (slot in self._failing):
            return
        text = printable(fault, LONGEST_FAULT)
        self._faults.append(ModelFault(pane, slot, spec.model, bool(fault), self._model.faults(slot), text))
        (self._failing.add if fault else self._failing.discard)(slot)

    @staticmethod
    def _sampled(cells: PaneCells, seen: NDArray[np.bool_], step: int) -> list[int]:
        return np.flatnonzero((cells.panes % step == 0) & seen).tolist()

    def purge(self, slots: Ints) -> None:
        """Forget these slots."""
        for drift in self._drifts:
            drift.purge(slots)
        if self._model is not None:
            self._model.purge(slots)
        self._failing.difference_update(slots.tolist())

    def state(self) -> State:
        """Return the samples that each detector keeps; empty for a rule without one, or without river."""
        found: State = {
            spec.name: drift.state() for spec, drift in zip(self._plan.drifts, self._drifts, strict=self._live)
        }
        if self._model is not None:
            found[SCORE] = {**self._model.state(), "failing": np.array(sorted(self._failing), np.int64)}
        return found

    def restore(self, state: State) -> None:
        """Continue from `state`. What a run without river did not save starts afresh."""
        for spec, drift in zip(self._plan.drifts, self._drifts, strict=self._live):
            if spec.name in state:
                drift.restore(state[spec.name])
        if self._model is not None and SCORE in state:
            self._model.restore(state[SCORE])
            self._failing = set(checked(state[SCORE], "failing", np.int64, bounds=(0, 1 << 31)).tolist())


def _finite(values: NDArray[Any], size: int) -> Floats:
    return np.nan_to_num(np.broadcast_to(values, (size,)).astype(np.float64))


def _shown(level: float) -> float:
    """Return a level as people read it: they are estimates, and whole ones read better than 1.38e+03."""
    return float(round(level)) if abs(level) >= 100 else level


def _drift(spec: DriftPlan, plan: RulePlan) -> Drift:
    return Drift(drift_maker(spec), ratio=spec.ratio, floor=spec.floor, slots=_slots(plan))


def _model(spec: ModelPlan, plan: RulePlan) -> Replayed:
    make, wrap = model_maker(spec), DriftModel if spec.model.split(".")[1] == "drift" else RowModel
    return Replayed(lambda: wrap(make()), len(spec.features), memory=spec.memory, slots=_slots(plan))


def _slots(plan: RulePlan) -> int:
    return plan.max_keys if plan.by else 1
