"""What is normal for a key, learned as it goes: mean and variance of its series, by one of two laws.

>>> from detectors.laws import CountLaw
>>> pings = Baseline(threshold=4.6, floor=5.0, weight=0.02, warmup=30, up=True, law=CountLaw())
>>> for minute in range(60):
...     pings.learn(np.array([0]), np.array([20.0 + minute % 7]))
>>> pings.judge(np.array([0]), np.array([90.0]))[0].tolist()
[True]

What is anomalous must not become normal: a sample moves the mean as if it were at most three deviations away, and the
owner of a baseline marks samples that teach nothing, as an attack lasts. A slot that has learned nothing for `freeze`
samples forgets what was normal and learns afresh, without a verdict until it has `warmup` samples: a lasting change
would be an alarm for ever.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.laws import Law, LevelLaw
from detectors.state import State, checked
from detectors.windows import SMALLEST, Floats, Ints

# A sample moves the mean as if it were at most this many deviations away, so that an attack does not become the norm
# within its own length. Clipped so, 84 percent of the minutes of a flood like that of 2021 were in alarm, without a
# limit 22 percent (measured on the open recordings, with a negative binomial law).
LEARN_LIMIT: Final = 3.0
NEVER: Final = 1 << 62  # samples
RELEARNS: Final = -1  # in `frozen`: the slot learns afresh, whatever it is shown


class Learnt(NamedTuple):
    """What is known of slots. frozen: samples since the last that taught, or RELEARNS. old: the level before it."""

    mean: Floats
    variance: Floats
    samples: Ints
    frozen: Ints
    old: Floats


class Baseline:
    """Mean and variance of a series for each slot, one sample a step.

    threshold: of the law's scores; floor: least difference from the expectation, in the unit of the series; weight: of
    a new sample once the series is old, 0..1; warmup: samples before the first verdict. up, down: the sides of the
    expectation that count. law: None for `LevelLaw`. freeze: samples after which a slot that learns nothing learns
    afresh. shared: the threshold is for the worst of all keys of a pane, so that a single one needs more among many.
    """

    def __init__(
        self,
        threshold: float,
        floor: float,
        weight: float,
        warmup: int,
        *,
        up: bool = False,
        down: bool = False,
        law: Law | None = None,
        freeze: int = NEVER,
        shared: bool = False,
    ) -> None:
        self.threshold, self.floor, self.shared = threshold, floor, shared
        self.up, self.down, self.law = up, down, law or LevelLaw(floor)
        self.weight, self.warmup, self.freeze = weight, warmup, freeze
        self.learnt = _nothing(SMALLEST)

    def reserve(self, slots: int) -> None:
        """Make room for slots 0..slots-1."""
        size = len(self.learnt.mean)
        if slots > size:
            more = _nothing((1 << (slots - 1).bit_length()) - size)
            self.learnt = Learnt._make(np.concatenate(both) for both in zip(self.learnt, more, strict=True))

    def at(self, slots: Ints) -> Learnt:
        """Return what is known of these slots."""
        return Learnt._make(column[slots] for column in self.learnt)

    def judge(self, slots: Ints, values: Floats, keys: int = 1) -> tuple[NDArray[np.bool_], Floats]:
        """Return whether each value is anomalous, and the expected values. keys: how many are judged together.

        Raises ValueError on non-finite values.
        """
        if not np.isfinite(values).all():
            raise ValueError("a baseline takes finite values only")
        scores, expected = self.scored(values, self.at(slots), keys)
        return scores > self.threshold, expected

    def scored(self, values: Floats, memory: Learnt, keys: int = 1) -> tuple[Floats, Floats]:
        """Return how far finite values are from what is expected, as the threshold counts it, and the expected values.

        memory: what is known of each value's slot. 0 where the difference is below the floor, or the slot is not warm.
        """
        expected = self.law.expected(memory.mean)
        among = math.log10(max(keys, 1)) if self.shared else 0.0
        effect, warm = values - expected, memory.samples >= self.warmup
        scores = np.zeros(len(values))
        for wanted, far, score in (
            (self.up, effect >= self.floor, self.law.above),
            (self.down, -effect >= self.floor, self.law.below),
        ):
            rows = np.flatnonzero(far & warm) if wanted else ()
            if len(rows):
                far_off = score(values[rows], memory.mean[rows], memory.variance[rows]) - among
                scores[rows] = np.maximum(scores[rows], far_off)
        return scores, expected

    def learn(self, slots: Ints, values: Floats, teaches: NDArray[np.bool_] | None = None) -> None:
        """Take one sample of each of these slots (distinct ones). teaches: by slot, False freezes it; None: all do."""
        taught = np.ones(len(slots), np.bool_) if teaches is None else teaches
        self.put(slots, self.after(values, taught, self.at(slots)))

    def after(self, values: Floats, teaches: NDArray[np.bool_], memory: Learnt) -> Learnt:
        """Return what is known after one sample each."""
        mean, variance, seen, frozen, old = memory
        again = frozen == RELEARNS
        taught = teaches | again
        step = self.law.samples(values) - mean
        reach = self.law.deviation(mean, variance) * LEARN_LIMIT
        step = np.where(seen >= self.warmup, np.clip(step, -reach, reach), step)
        weight = np.maximum(self.weight, 1.0 / (seen + 1.0))  # a plain average while the series is young
        forgets = ~taught & (frozen + 1 >= self.freeze)
        kept = ~taught & ~forgets
        return Learnt(
            np.where(taught, mean + weight * step, np.where(forgets, 0.0, mean)),
            np.where(taught, (1.0 - weight) * (variance + weight * step * step), np.where(forgets, 0.0, variance)),
            np.where(taught, seen + 1, np.where(forgets, 0, seen)),
            np.where(kept, frozen + 1, np.where(forgets | (again & (seen + 1 < self.warmup)), RELEARNS, 0)),
            np.where(forgets, self.law.expected(mean), old),
        )

    def series(self, slot: int, values: Floats, taken: NDArray[np.bool_], *, teaches: bool) -> Learnt:
        """Return what is known of the slot before each of these values, and behind the last: one row more.

        taken: by value, whether it becomes a sample, as `learn` takes it with `teaches`. The slot itself learns
        nothing: see `put`.
        """
        size = len(values) + 1
        rows = _nothing(size)
        mean, variance, seen, frozen, old = (column[slot].item() for column in self.learnt)
        samples = self.law.samples(values).tolist()
        for row, (sample, sampled) in enumerate(zip(samples, taken.tolist(), strict=True)):
            rows.mean[row], rows.variance[row], rows.samples[row] = mean, variance, seen
            rows.frozen[row], rows.old[row] = frozen, old
            if not sampled:
                continue
            if teaches or frozen == RELEARNS:
                mean, variance, seen = self._after(sample, mean, variance, seen)
                frozen = RELEARNS if frozen == RELEARNS and seen < self.warmup else 0
            elif frozen + 1 < self.freeze:
                frozen += 1
            else:
                old = self.law.expected(np.array([mean])).item()
                mean, variance, seen, frozen = 0.0, 0.0, 0, RELEARNS
        for column, last in zip(rows, (mean, variance, seen, frozen, old), strict=True):
            column[-1] = last
        return rows

    def _after(self, sample: float, mean: float, variance: float, seen: int) -> tuple[float, float, int]:
        """Return mean, variance and samples after one more; the same operations as in `after`, on single numbers."""
        step = sample - mean
        if seen >= self.warmup:
            reach = self.law.deviation_at(mean, variance) * LEARN_LIMIT
            step = min(max(step, -reach), reach)
        weight = max(self.weight, 1.0 / (seen + 1.0))
        return mean + weight * step, (1.0 - weight) * (variance + weight * step * step), seen + 1

    def put(self, slots: Ints, memory: Learnt) -> None:
        """Continue these slots with what is given as known of them."""
        for column, values in zip(self.learnt, memory, strict=True):
            column[slots] = values

    def purge(self, slots: Ints) -> None:
        """Forget these slots."""
        self.put(slots, _nothing(len(slots)))

    def state(self) -> State:
        """Return what is known of all slots, as arrays."""
        return dict(zip(Learnt._fields, self.learnt, strict=True))

    def restore(self, state: State) -> None:
        """Continue from `state`; `reserve` makes room for slots that it lacks. ValueError on misfits."""
        mean = checked(state, "mean", np.float64)
        variance = checked(state, "variance", np.float64, len(mean))
        samples = checked(state, "samples", np.int64, len(mean), (0, 1 << 62))
        if "frozen" not in state:  # a checkpoint from before baselines forgot
            state = {**state, "frozen": np.zeros(len(mean), np.int64), "old": np.zeros(len(mean))}
        frozen = checked(state, "frozen", np.int64, len(mean), (RELEARNS, 1 << 62))
        old = checked(state, "old", np.float64, len(mean))
        if not all(np.isfinite(column).all() for column in (mean, variance, old)) or (variance < 0).any():
            raise ValueError("a baseline has a mean or a variance that no samples give")
        self.learnt = Learnt(mean.copy(), variance.copy(), samples.copy(), frozen.copy(), old.copy())


def _nothing(size: int) -> Learnt:
    whole = np.zeros(size, np.int64)
    return Learnt(np.zeros(size), np.zeros(size), whole, whole.copy(), np.zeros(size))


def turns(frozen: Ints) -> NDArray[np.bool_]:
    """Return, along the first axis, whether a slot begins or ends to learn afresh from each row to the next."""
    again = frozen == RELEARNS
    changed: NDArray[np.bool_] = again[1:] != again[:-1]
    return changed


class Path:
    """What a baseline learns while the series of its slots does not change; nothing is learned until `follow`.

    teaches: by slot, whether its samples teach. sampled: by pane, whether one is taken there. keys: judged together.
    """

    def __init__(
        self,
        baseline: Baseline,
        slots: Ints,
        values: Floats,
        teaches: NDArray[np.bool_],
        *,
        sampled: NDArray[np.bool_],
        keys: int = 1,
    ) -> None:
        self._baseline, self._slots, self._values, self._keys = baseline, slots, values, keys
        self._sampled, self.threshold = sampled, baseline.threshold
        self._samples_before = np.concatenate(([0], np.cumsum(sampled)))  # by pane: samples before it
        states = [baseline.at(slots)]
        for _ in range(int(sampled.sum())):
            states.append(baseline.after(values, teaches, states[-1]))
        self._states = Learnt._make(np.stack(columns) for columns in zip(*states, strict=True))

    def scores(self) -> tuple[Floats, Floats]:
        """Return `Baseline.scored` of every slot at every pane; the panes of a slot follow each other."""
        before = Learnt._make(column[self._samples_before[:-1]].T.reshape(-1) for column in self._states)
        return self._baseline.scored(np.repeat(self._values, len(self._sampled)), before, self._keys)

    def turns(self) -> NDArray[np.bool_]:
        """Return, in the same order, whether a slot begins or ends to learn afresh at a pane."""
        panes = np.zeros((len(self._sampled), len(self._slots)), np.bool_)
        panes[self._sampled] = turns(self._states.frozen)
        return panes.T.reshape(-1)

    def follow(self, panes: int) -> None:
        """Take the samples of the first `panes` panes."""
        step = int(self._samples_before[panes])
        self._baseline.put(self._slots, Learnt._make(column[step] for column in self._states))
