"""Slots for keys: as a dictionary would, with numbers that are used again and a bound."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

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


def test_a_pair_and_its_mixed_twin_stay_apart() -> None:
    words = np.arange(1_000, dtype=np.uint64)
    assert len(np.unique(combine(words, mix(words)))) == 1_000
    assert len(np.unique(combine(words, words[::-1]))) == 1_000
