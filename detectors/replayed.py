"""Scores of an online model of another library, whose state is the samples that it was fed.

>>> from river.anomaly import HalfSpaceTrees
>>> trees = Replayed(lambda: RowModel(HalfSpaceTrees(window_size=50, limits={0: (0, 9)}, seed=0)), 1, memory=400)
>>> scores = [trees.sample(0, (float(at % 3),)).score for at in range(200)]
>>> trees.sample(0, (9.0,)).score > max(scores)
True

A model of another library has a state of its own, which only pickle could save, and pickle runs code from a file. So
the samples are kept instead, and a fresh model is fed with them: after a restart, and each time when there are `memory`
of them, with the latest half. What was before is forgotten by both alike, so a run that was killed gives the same
scores.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, Protocol

import numpy as np

from detectors.kept import KeptRows
from detectors.state import State, checked
from detectors.windows import Floats, Ints

LEAST_MEMORY: Final = 100  # the half that is kept must be more than the warm-up
MOST_MEMORY: Final = 10_080  # a week of minutes
MOST_NUMBERS: Final = 1_000_000  # that are kept together, 8 MB
MOST_SLOTS: Final = 64
WARMUP: Final = 30
"""Samples before the first score, as of `anomalous`: many models raise, or give any number, where they know nothing."""
FREEZE: Final = 360  # samples without a lesson; a slot then learns whatever it is shown, as `anomalous` after 6 h


class OnlineModel(Protocol):
    """What is asked of a model. freezes: whether scoring leaves it as it is, so that it can be kept from learning."""

    freezes: bool

    def score(self, row: Sequence[float]) -> float:
        """Return how anomalous a row is."""
        ...

    def learn(self, row: Sequence[float]) -> None:
        """Learn from a row."""
        ...


class RowModel:
    """A class of `river.anomaly` that takes rows of numbers. Of a supervised one, the first number is the target."""

    def __init__(self, model: Any) -> None:  # an object of another library, without types
        self._model = model
        self._supervised = "y" in inspect.signature(model.score_one).parameters
        self.freezes = type(model).__name__ != "PredictiveAnomalyDetection"  # it learns its errors in score_one

    def score(self, row: Sequence[float]) -> float:
        """Return how anomalous a row is."""
        return self._model.score_one(*self._split(row))  # type: ignore[no-any-return] # checked by the caller

    def learn(self, row: Sequence[float]) -> None:
        """Learn from a row."""
        self._model.learn_one(*self._split(row))

    def _split(self, row: Sequence[float]) -> tuple[object, ...]:
        named = dict(enumerate(row))
        return ({at: value for at, value in named.items() if at}, row[0]) if self._supervised else (named,)


class DriftModel:
    """A class of `river.drift` on one number: its score is 1 where it sees a change, else 0. Scoring teaches it."""

    freezes = False

    def __init__(self, model: Any) -> None:  # the same
        self._model, self._taken = model, False

    def score(self, row: Sequence[float]) -> float:
        """Take a value, and return whether it shows a change."""
        self._model.update(row[0])
        self._taken = True
        return float(self._model.drift_detected)

    def learn(self, row: Sequence[float]) -> None:
        """Take a value, unless its score has."""
        if not self._taken:
            self._model.update(row[0])
        self._taken = False


class Scored(NamedTuple):
    """score: 0 while the model is warming up, was refused a place, or failed. fault: what went wrong, "" if nothing."""

    score: float
    fault: str = ""


def _always(_score: float) -> bool:
    return True


class Replayed:
    """One model for each slot, all of one make.

    make: returns a fresh model, the same each time (fix its seed). width: numbers of a row. memory: rows that a slot
    keeps. slots: how many have a model, further ones are refused and counted.
    """

    def __init__(self, make: Callable[[], OnlineModel], width: int, *, memory: int, slots: int = MOST_SLOTS) -> None:
        if not LEAST_MEMORY <= memory <= MOST_MEMORY:
            raise ValueError(f"memory is {LEAST_MEMORY} to {MOST_MEMORY} samples")
        self._make = make
        self._kept = KeptRows(width, memory, max(1, min(slots, MOST_NUMBERS // (memory * width))))
        self._models: dict[int, OnlineModel] = {}
        self._frozen: dict[int, int] = {}  # by slot, samples since the last lesson
        self._faults: dict[int, int] = {}  # by slot, how often its model has failed

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def refused(self) -> int:
        """Samples of slots for which there was no place."""
        return self._kept.refused

    def faults(self, slot: int) -> int:
        """Return how often the model of a slot has failed."""
        return self._faults.get(slot, 0)

    def sample(self, slot: int, row: tuple[float, ...], teaches: Callable[[float], bool] = _always) -> Scored:
        """Score a row, then learn from it if `teaches` says so of its score. A model that fails starts afresh.

        Raises ValueError on non-finite values.
        """
        if not all(map(math.isfinite, row)):
            raise ValueError("a model takes finite values only")
        if not self._kept.admit(slot):
            return Scored(0.0)
        try:
            return Scored(self._step(slot, row, teaches))
        except Exception as error:  # noqa: BLE001 - another library's code: whatever it raises is counted and named
            self._start_afresh(slot)
            self._faults[slot] = self.faults(slot) + 1
            return Scored(0.0, f"{type(error).__name__}: {error}"[:200])

    def _step(self, slot: int, row: tuple[float, ...], teaches: Callable[[float], bool]) -> float:
        rows = self._kept.rows(slot) if slot not in self._models else None
        if rows is not None:
            self._models[slot] = self._fed(rows)
        model, size = self._models[slot], self._kept.count(slot)
        score = _number(model.score(row)) if size >= WARMUP else 0.0
        frozen = self._frozen.get(slot, 0)
        if model.freezes and size >= WARMUP and not teaches(score):
            self._frozen[slot] = min(frozen + 1, FREEZE)
            if frozen < FREEZE:
                return score
        else:
            self._frozen.pop(slot, None)
        model.learn(row)
        if self._kept.add(slot, row) >= self._kept.most:
            self._kept.keep(slot, self._kept.most // 2)
            self._models[slot] = self._fed(self._kept.rows(slot))
        return score

    def _fed(self, rows: Floats) -> OnlineModel:
        """Return a fresh model that has learned these rows."""
        model = self._make()
        for number, row in enumerate(rows.tolist()):
            if number >= WARMUP and not model.freezes:
                model.score(row)
            model.learn(row)
        return model

    def _start_afresh(self, slot: int) -> None:
        """Forget what a slot has learned; it keeps its place, so that faults are bounded like slots."""
        self._kept.keep(slot, 0)
        self._models.pop(slot, None)
        self._frozen.pop(slot, None)

    def purge(self, slots: Ints) -> None:
        """Forget these slots."""
        for slot in slots.tolist():
            self._kept.drop(slot)
            for known in (self._models, self._frozen, self._faults):
                known.pop(slot, None)

    def state(self) -> State:
        """Return the kept rows, for how long each slot has learned nothing, and the faults."""
        slots = self._kept.state({})["slots"].tolist()
        return {
            **self._kept.state({"frozen": np.array([self._frozen.get(slot, 0) for slot in slots], np.int64)}),
            "faulty": np.array(list(self._faults), np.int64),
            "faults": np.array(list(self._faults.values()), np.int64),
        }

    def restore(self, state: State) -> None:
        """Continue from `state`. ValueError on misfits. The models are fed when their slot has its next sample."""
        slots = self._kept.restore(state)
        frozen = checked(state, "frozen", np.int64, len(slots), (0, FREEZE + 1))
        faulty = checked(state, "faulty", np.int64, bounds=(0, 1 << 31))
        faults = checked(state, "faults", np.int64, len(faulty), (1, 1 << 62))
        self._models = {}
        self._frozen = {slot: own for slot, own in zip(slots.tolist(), frozen.tolist(), strict=True) if own}
        self._faults = dict(zip(faulty.tolist(), faults.tolist(), strict=True))


def _number(score: object) -> float:
    """Return a score as a number. ValueError for anything else: a model that gives nonsense has failed."""
    if isinstance(score, bool | np.bool_ | int | float | np.number) and math.isfinite(score):
        return float(score)
    raise ValueError(f"its score is {score!r:.80}")
