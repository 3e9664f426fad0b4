"""Slots for keys: as a dictionary would, with numbers that are used again and a bound."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from detectors.mixing import combine, mix
from detectors.slots import NO_SLOT, SlotTable

KEYS = st.lists(st.integers(0, 300), max_size=40)
STEPS = st.lists(st.tuples(KEYS, KEYS, st.booleans()), max_size=20)


@given(steps=STEPS)
def test_a_table_is_a_dictionary(steps: list[tuple[list[int], list[int], bool]]) -> None:
    table, known = SlotTable(10_000), dict[int, int]()
    for added, removed, saved in steps:
        slots, first = table.assign(np.array(added, np.uint64))
        fresh = set(added) - known.keys()
        assert sorted(added[row] for row in first.tolist()) == sorted(fresh)
        for key, slot in zip(added, slots.tolist(), strict=True):
            assert known.setdefault(key, slot) == slot
        assert len(set(known.values())) == len(known)
        gone = sorted({known.pop(key) for key in removed if key in known})
        table.remove(np.array(gone, np.intp))
        if saved:
            table = SlotTable.restored(10_000, table.state())
        assert len(table) == len(known)
        every = table.find(np.arange(301, dtype=np.uint64)).tolist()
        assert every == [known.get(key, NO_SLOT) for key in range(301)]


@given(steps=STEPS)
def test_a_restored_table_goes_on_with_the_same_numbers(steps: list[tuple[list[int], list[int], bool]]) -> None:
    left = right = SlotTable(10_000)
    for added, removed, saved in steps:
        slots = [
            table.assign(np.array(added, np.uint64))[0].tolist() for table in (left, right)[: 1 + (left is not right)]
        ]
        assert slots[0] == slots[-1]
        for table in {id(left): left, id(right): right}.values():
            found = table.find(np.array(sorted(set(removed)), np.uint64))
            table.remove(found[found >= 0].astype(np.intp))
        if saved:
            right = SlotTable.restored(10_000, left.state())


def test_keys_beyond_the_bound_get_no_slot_and_are_counted() -> None:
    table = SlotTable(100)
    slots, _ = table.assign(np.arange(250, dtype=np.uint64))
    assert np.count_nonzero(slots >= 0) == 100
    assert np.count_nonzero(slots == NO_SLOT) == 150
    assert table.refused == 150


@given(
    before=st.lists(st.integers(0, 300), max_size=60),
    gone=st.lists(st.integers(0, 59), max_size=60),
    keys=st.lists(st.integers(0, 10_000), max_size=200),
)
def test_a_full_table_admits_those_who_came_first_whatever_its_size(
    before: list[int], gone: list[int], keys: list[int]
) -> None:
    table = SlotTable(64)
    table.assign(np.array(before, np.uint64))
    table.remove(np.array(sorted({slot for slot in gone if slot < len(set(before))}), np.intp))
    again, large = SlotTable.restored(64, table.state()), SlotTable.restored(64, table.state())
    large._rehash(4_096)
    known = {key for key in keys if table.find(np.array([key], np.uint64))[0] != NO_SLOT}
    new = [key for key in dict.fromkeys(keys) if key not in known]
    admitted = known | set(new[: 64 - len(table)])
    expected, _ = table.assign(np.array(keys, np.uint64))
    assert [slot != NO_SLOT for slot in expected.tolist()] == [key in admitted for key in keys]
    for other in (again, large):
        assert other.assign(np.array(keys, np.uint64))[0].tolist() == expected.tolist()
        assert other.refused == table.refused


def _unmixed(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """What `mix` turns into these words: anybody can compute it."""
    for shift, factor in ((31, 0x94D049BB133111EB), (27, 0xBF58476D1CE4E5B9), (30, 1)):
        mixed = words
        for _ in range(64 // shift):
            words = mixed ^ (words >> np.uint64(shift))
        words = words * np.uint64(pow(factor, -1, 1 << 64))
    return words - np.uint64(0x9E3779B97F4A7C15)


def test_keys_that_were_made_to_want_one_place_do_not_get_it() -> None:
    wanted = np.arange(4_000, dtype=np.uint64)
    keys = _unmixed(wanted)
    assert (mix(keys) == wanted).all()
    table = SlotTable(1 << 16)
    table.assign(keys)
    assert len(np.unique(table._places(keys))) > 2_000


def test_a_pair_and_its_mixed_twin_stay_apart() -> None:
    words = np.arange(1_000, dtype=np.uint64)
    assert len(np.unique(combine(words, mix(words)))) == 1_000
    assert len(np.unique(combine(words, words[::-1]))) == 1_000
