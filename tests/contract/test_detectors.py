"""The contract of all keyed structures: a new one joins CASES in tests/support/detector_rigs.py and is held to it all.

The model is River's checks of estimators: whatever the structure computes, its input stays untouched, the order within
a pane does not matter, memory is bounded, a restored snapshot continues exactly, and a damaged one is refused.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from detectors.baseline import Baseline
from detectors.state import State
from tests.support.detector_rigs import CASES, LIMIT, PANES, SLOTS, Pane, Rig

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


@pytest.mark.parametrize("name", ["mean", "variance", "old"])
def test_a_baseline_refuses_a_non_finite_state(name: str) -> None:
    baseline = Baseline(4.0, 1.0, 0.05, 4, up=True)
    state = {**baseline.state(), name: np.full(len(baseline.learnt.mean), np.nan)}
    with pytest.raises(ValueError, match="no samples"):
        baseline.restore(state)
