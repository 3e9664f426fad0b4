"""The contract of all keyed structures: a new one is added to CASES and held to every test here.

The model is River's checks of estimators: whatever the structure computes, its input stays untouched, the order within
a pane does not matter, memory is bounded, a restored snapshot continues exactly, and a damaged one is refused.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pytest
from numpy.typing import NDArray

from detectors.baseline import Baseline
from detectors.distinct import DistinctWindow, Touches
from detectors.extremes import Extremes, Latest
from detectors.quantiles import QuantileWindow
from detectors.shares import ValueCounts
from detectors.state import State
from detectors.window_banks import BankChanges, WindowBank
from detectors.windows import Changes, Ints, Window

WIDTH, SLOTS, PANES = 3, 5, 12
LIMIT = 40  # pairs of the structures that take a limit


@dataclass(frozen=True)
class Pane:
    """Rows of one pane: slot, time, value."""

    number: int
    slots: Ints
    times: Ints
    values: Ints

    def shuffled(self, chance: random.Random) -> Pane:
        """Return the same rows in another order."""
        order = np.array(chance.sample(range(len(self.slots)), len(self.slots)), np.int64)
        return Pane(self.number, self.slots[order], self.times[order], self.values[order])


class Rig(Protocol):
    """A structure behind one interface for all tests."""

    def close(self, pane: Pane) -> object:
        """Close a pane; what comes out, comparable by `same`."""

    def forget(self, slots: Ints) -> None:
        """Forget these slots."""

    def state(self) -> State:
        """The state."""

    def restore(self, state: State, closed: int) -> None:
        """Continue from a state."""

    def size(self) -> int:
        """Values that are remembered."""


class _Rig:
    structure: Any  # any of the structures below

    def forget(self, slots: Ints) -> None:
        self.structure.purge(slots)

    def state(self) -> State:
        return self.structure.state()  # type: ignore[no-any-return] # every structure returns one

    def restore(self, state: State, closed: int) -> None:
        self.structure.restore(state, closed, SLOTS)

    def size(self) -> int:
        return len(self.structure) if hasattr(self.structure, "__len__") else 0


ALL = np.arange(SLOTS)


class SumsRig(_Rig):
    def __init__(self) -> None:
        self.structure = Window(1, WIDTH)
        self.structure.reserve(SLOTS)

    def close(self, pane: Pane) -> object:
        arrivals = Changes(pane.slots, np.full(len(pane.slots), pane.number), pane.values[:, None])
        decided = self.structure.close(arrivals, Changes.none(1), pane.number, pane.number + 1)
        return decided.slots, decided.values, decided.live

    def restore(self, state: State, closed: int) -> None:
        self.structure.restore(state, closed)


class BankRig(_Rig):
    def __init__(self) -> None:
        self.structure = WindowBank(1, [WIDTH, WIDTH + 2])

    def close(self, pane: Pane) -> object:
        members = pane.slots % 2
        cells = self.structure.cells(members, pane.slots, SLOTS)
        arrivals = BankChanges(cells, np.full(len(cells), pane.number), pane.values[None, :])
        nothing = np.zeros(0, np.int64)
        none = BankChanges(nothing, nothing, np.zeros((1, 0), np.int64))
        decided = self.structure.close(arrivals, none, pane.number, pane.number + 1)
        self.structure.take_back(nothing)
        return [_by_slot(part.slots, part.values[0], part.live) for _, part in sorted(decided.items())]

    def forget(self, slots: Ints) -> None:
        for member in (0, 1):
            self.structure.purge(member, slots)

    def restore(self, state: State, closed: int) -> None:
        self.structure.restore(state, closed, np.full(2, SLOTS))


def _by_slot(slots: Ints, *columns: Ints) -> list[Ints]:
    """Cells are numbered in order of arrival; what they say of a slot must not depend on it."""
    order = np.argsort(slots, kind="stable")
    return [column[order] for column in (slots, *columns)]


class DistinctRig(_Rig):
    def __init__(self) -> None:
        self.structure = DistinctWindow(WIDTH, cap=8, max_pairs=LIMIT)
        self.structure.reserve(SLOTS)

    def close(self, pane: Pane) -> object:
        panes, widths = np.full(len(pane.slots), pane.number), np.full(len(pane.slots), WIDTH)
        touches = Touches(pane.slots, panes, pane.values.view(np.uint64), widths)
        self.structure.close(touches, pane.number, pane.number + 1)
        self.structure.resample(np.arange(SLOTS))
        return self.structure.pairs[:SLOTS] << self.structure.level[:SLOTS]


class SharesRig(_Rig):
    def __init__(self) -> None:
        self.structure = ValueCounts(WIDTH, max_pairs=LIMIT)

    def close(self, pane: Pane) -> object:
        words, panes = pane.values.view(np.uint64), np.full(len(pane.slots), pane.number)
        changes = self.structure.close(pane.slots, panes, words, pane.number, pane.number + 1)
        sums = np.zeros((SLOTS, 2), np.int64)
        np.add.at(sums, changes.slots, changes.deltas)
        return self.structure.tops(ALL), sums


class QuantileRig(_Rig):
    def __init__(self) -> None:
        self.structure = QuantileWindow(WIDTH, 0.9, max_pairs=LIMIT)

    def close(self, pane: Pane) -> object:
        panes = np.full(len(pane.slots), pane.number)
        self.structure.close(pane.slots, panes, pane.values, pane.number, pane.number + 1)
        return self.structure.of(ALL)


class ExtremesRig(_Rig):
    def __init__(self) -> None:
        self.structure = Extremes(WIDTH, least=True)

    def close(self, pane: Pane) -> object:
        self.structure.close(pane.slots, pane.values, pane.number)
        return self.structure.of(ALL)


class LatestRig(_Rig):
    def __init__(self) -> None:
        self.structure = Latest()
        self.structure.reserve(SLOTS)

    def close(self, pane: Pane) -> object:
        panes = np.full(len(pane.slots), pane.number)
        self.structure.close(pane.slots, panes, pane.times, pane.values)
        return self.structure.values[:SLOTS].copy()


class BaselineRig(_Rig):
    def __init__(self) -> None:
        self.structure = Baseline(4.0, 1.0, 0.05, 4, up=True, down=True)
        self.structure.reserve(SLOTS)

    def close(self, pane: Pane) -> object:
        slots, first = np.unique(pane.slots, return_index=True)
        own = [pane.values[pane.slots == slot].max() for slot in slots.tolist()]
        values = np.array(own, np.float64).reshape(len(first))
        odd, expected = self.structure.judge(slots, values)
        self.structure.learn(slots, values)
        return odd, expected

    def restore(self, state: State, closed: int) -> None:
        self.structure.restore(state)


CASES: dict[str, Callable[[], Rig]] = {
    "sums": SumsRig,
    "bank": BankRig,
    "distinct": DistinctRig,
    "shares": SharesRig,
    "quantile": QuantileRig,
    "extremes": ExtremesRig,
    "latest": LatestRig,
    "baseline": BaselineRig,
}
every = pytest.mark.parametrize("make", CASES.values(), ids=CASES.keys())


def panes(seed: int, values: int = 6) -> list[Pane]:
    """Random rows of PANES panes; some panes are empty. values: how many different ones."""
    chance = np.random.default_rng(seed)
    made = []
    for number in range(PANES):
        rows = int(chance.integers(0, 12)) * int(chance.random() < 0.8)
        columns = (chance.integers(0, high, rows) for high in (SLOTS, 1_000, values))
        made.append(Pane(number, *columns))
    return made


def same(one: object, other: object) -> bool:
    """Whether two results are equal, arrays in tuples and lists among them."""
    if isinstance(one, tuple | list) and isinstance(other, tuple | list):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    return bool(np.array_equal(np.asarray(one), np.asarray(other)))


def copied(state: State) -> State:
    """Return a copy of all arrays of a state."""
    return {
        name: copied(part) if isinstance(part, dict) else part.copy() if isinstance(part, np.ndarray) else part
        for name, part in state.items()
    }


def arrays(state: State, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], NDArray[Any]]]:
    """All arrays in a state with the names that lead to them."""
    for name, part in state.items():
        if isinstance(part, dict):
            yield from arrays(part, (*path, name))
        elif isinstance(part, np.ndarray):
            yield (*path, name), part


def with_array(state: State, path: tuple[str, ...], array: object) -> State:
    """Return a copy of a state with another array at a place."""
    changed = copied(state)
    inner = changed
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = array
    return changed


@every
def test_the_input_is_untouched(make: Callable[[], Rig]) -> None:
    rig = make()
    for pane in panes(1):
        before = [column.copy() for column in (pane.slots, pane.times, pane.values)]
        for column in (pane.slots, pane.times, pane.values):
            column.flags.writeable = False
        rig.close(pane)
        assert same(before, [pane.slots, pane.times, pane.values])


@every
def test_the_order_within_a_pane_does_not_matter(make: Callable[[], Rig]) -> None:
    rig, other, chance = make(), make(), random.Random(2)
    for pane in panes(2):
        assert same(rig.close(pane), other.close(pane.shuffled(chance)))


@every
def test_the_same_input_gives_the_same_result(make: Callable[[], Rig]) -> None:
    rig, other = make(), make()
    assert all(same(rig.close(pane), other.close(pane)) for pane in panes(3))


@every
def test_memory_is_bounded(make: Callable[[], Rig]) -> None:
    rig = make()
    for pane in panes(4, values=1 << 40):
        rig.close(pane)
    most = sum(array.nbytes for _, array in arrays(rig.state()))
    for pane in panes(5, values=1 << 40):
        rig.close(Pane(pane.number + PANES, pane.slots, pane.times, pane.values))
    assert sum(array.nbytes for _, array in arrays(rig.state())) <= 2 * most + 4_096
    assert rig.size() <= LIMIT


@every
@pytest.mark.parametrize("kill", [0, 1, 5, PANES - 1])
def test_a_snapshot_continues(make: Callable[[], Rig], kill: int) -> None:
    rig, resumed = make(), make()
    history = panes(6)
    for pane in history[:kill]:
        rig.close(pane)
    resumed.restore(copied(rig.state()), kill)
    for pane in history[kill:]:
        assert same(rig.close(pane), resumed.close(pane))


@every
def test_a_restored_structure_does_not_share_the_state(make: Callable[[], Rig]) -> None:
    rig, resumed = make(), make()
    history = panes(7)
    for pane in history[:6]:
        rig.close(pane)
    state = copied(rig.state())
    before = copied(state)
    resumed.restore(state, 6)
    for pane in history[6:]:
        resumed.close(pane)
    assert all(np.array_equal(array, dict(arrays(before))[path]) for path, array in arrays(state))


@every
def test_restore_refuses_other_types_and_lengths(make: Callable[[], Rig]) -> None:
    rig = make()
    for pane in panes(8)[:6]:
        rig.close(pane)
    state = rig.state()
    for path, array in arrays(state):
        wrong: list[object] = [array.astype(np.complex128), array.tolist(), array[..., None]]
        if len(dict(arrays(state))) > 1:
            wrong.append(np.concatenate([array, array[:1]]) if len(array) else np.zeros(7, array.dtype))
        for value in wrong:
            with pytest.raises((ValueError, LookupError, TypeError)):
                make().restore(with_array(state, path, value), 6)


@every
def test_a_forgotten_slot_starts_afresh(make: Callable[[], Rig]) -> None:
    rig, fresh = make(), make()
    history = panes(9)
    for pane in history[:6]:
        rig.close(pane)
    rig.forget(np.arange(SLOTS))
    for pane in history[:6]:
        fresh.close(Pane(pane.number, pane.slots[:0], pane.times[:0], pane.values[:0]))
    for pane in history[6:]:
        assert same(rig.close(pane), fresh.close(pane))


def test_a_baseline_is_silent_before_its_warm_up() -> None:
    baseline = Baseline(4.0, 1.0, 0.05, 4, up=True, down=True)
    baseline.reserve(1)
    slot = np.zeros(1, np.int64)
    verdicts = []
    for value in (1.0, 1.0, 1e9, 0.0, 1e9, 1.0, 1.0, 1e12):
        verdicts.append(bool(baseline.judge(slot, np.array([value]))[0][0]))
        baseline.learn(slot, np.array([value]))
    assert not any(verdicts[:4])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_baseline_refuses_non_finite_values(value: float) -> None:
    baseline = Baseline(4.0, 1.0, 0.05, 4, up=True)
    baseline.reserve(2)
    with pytest.raises(ValueError, match="finite"):
        baseline.judge(np.arange(2), np.array([1.0, value]))


@pytest.mark.parametrize("name", ["mean", "variance"])
def test_a_baseline_refuses_a_non_finite_state(name: str) -> None:
    baseline = Baseline(4.0, 1.0, 0.05, 4, up=True)
    state = {**baseline.state(), name: np.full(len(baseline.mean), np.nan)}
    with pytest.raises(ValueError, match="no samples"):
        baseline.restore(state)
