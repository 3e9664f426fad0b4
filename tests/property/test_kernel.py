"""The C kernel against the NumPy code beside it: the same rows, the same state, whatever comes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import w30
from detectors import kernel
from detectors.distinct import DistinctWindow, Touches, spread
from detectors.mixing import combine
from detectors.ordering import by_log, parted
from detectors.slots import SlotTable
from detectors.window_banks import BankChanges, WindowBank
from tests.support.parts import lacking
from watchdog.core.kinds import ALL_KINDS
from watchdog.engine.engine import Engine

NATIVE = kernel.native

WORDS = st.lists(st.integers(0, 40) | st.integers(0, 2**64 - 1), max_size=80)
SECRET = 12345


@pytest.fixture(scope="module", autouse=True)
def built() -> None:
    """Both are here."""
    if NATIVE is None:
        lacking("no C kernel: no compiler, or WATCHDOG_KERNEL=off")


@contextmanager
def reference() -> Iterator[None]:
    """Only NumPy runs in here."""
    kernel.native = None
    try:
        yield
    finally:
        kernel.native = NATIVE


def both(work: Callable[[], Any]) -> tuple[Any, Any]:
    """What the work gives with C and with NumPy."""
    ours = work()
    with reference():
        return ours, work()


def same(ours: Any, wanted: Any) -> None:
    """Equal arrays, in any nest of tuples, lists and dicts."""
    assert type(ours) is type(wanted) or isinstance(ours, np.ndarray) == isinstance(wanted, np.ndarray)
    if isinstance(wanted, dict):
        assert list(ours) == list(wanted)
        same(list(ours.values()), list(wanted.values()))
    elif isinstance(wanted, tuple | list):
        assert len(ours) == len(wanted)
        for one, other in zip(ours, wanted, strict=True):
            same(one, other)
    elif hasattr(wanted, "__dataclass_fields__"):
        same([getattr(ours, name) for name in wanted.__dataclass_fields__], [*_fields(wanted)])
    else:
        np.testing.assert_array_equal(ours, wanted)


def _fields(value: Any) -> Iterator[Any]:
    return (getattr(value, name) for name in value.__dataclass_fields__)


def words(values: list[int]) -> np.ndarray[tuple[int, ...], np.dtype[np.uint64]]:
    return np.array(values, np.uint64)


def ints(values: list[int]) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    return np.array(values, np.int64)


def test_the_kernel_is_there() -> None:
    assert kernel.name() == kernel.C


@given(values=WORDS)
def test_words_are_mixed_alike(values: list[int]) -> None:
    left = words(values)
    same(*both(lambda: combine(left, left[::-1])))
    same(*both(lambda: spread(left)))


@given(codes=st.lists(st.integers(0, 9), max_size=60), more=st.integers(0, 5))
def test_rows_are_parted_alike(codes: list[int], more: int) -> None:
    array = ints(codes)
    same(*both(lambda: parted(array, 10 + more)))
    same(*both(lambda: by_log(array % 3, array + 100, 100, 10, 3)))


STEPS = st.lists(st.tuples(st.sampled_from(["assign", "find", "remove"]), WORDS), max_size=12)


@given(steps=STEPS, cap=st.integers(1, 120))
def test_slot_tables_are_alike(steps: list[tuple[str, list[int]]], cap: int) -> None:
    def work() -> Any:
        table, told = SlotTable(cap), []
        for step, values in steps:
            if step == "remove":
                table.remove(np.unique(np.array([v % max(1, table.capacity) for v in values], np.intp))[: len(table)])
                continue
            told.append(table.assign(words(values)) if step == "assign" else table.find(words(values)))
        return told, table.state()

    def remove_only_used(table: SlotTable, slots: Any, *, _real: Any = SlotTable.remove) -> None:
        _real(table, slots[table.used[slots]] if len(slots) and table.capacity else slots[:0])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SlotTable, "remove", remove_only_used)
        same(*both(work))


ROWS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 6), st.integers(0, 40), st.integers(-3, 9)), max_size=50)
CUTS = st.lists(st.integers(1, 44), max_size=6).map(lambda marks: sorted({0, 45, *marks}))
FLOORS = st.lists(st.none() | st.integers(-5, 20), min_size=3, max_size=3)


@given(rows=ROWS, cuts=CUTS, floors=FLOORS, columns=st.integers(1, 3), watched=st.integers(0, 7))
def test_lanes_are_alike(
    rows: list[tuple[int, int, int, int]], cuts: list[int], floors: list[int | None], columns: int, watched: int
) -> None:
    def work() -> Any:
        lane, told = WindowBank(columns, [3, 1, 3]), []
        for member, floor in enumerate(floors):
            lane.floor[member] = -np.inf if floor is None else floor
            lane.floor_column[member] = member % columns
        lane.watched[1] = watched == 7
        for start, stop in itertools.pairwise(cuts):
            part = [row for row in rows if start <= row[2] < stop]
            members, slots, panes, added = (ints([row[i] for row in part]) for i in range(4))
            cells = lane.cells(members, slots, 7)
            lane.watched_cells[: watched % 4] = True
            deltas = np.stack([added + column for column in range(columns)])
            arrivals = BankChanges(cells, panes, deltas)
            extra = BankChanges(cells[:2], panes[:2], np.ones((columns, len(cells[:2])), np.int64))
            told.append(lane.close(arrivals, extra, start, stop))
            lane.take_back(cells[:1])
        return told, lane.state()

    same(*both(work))


@given(rows=ROWS, cuts=CUTS, cap=st.integers(1, 5))
def test_distinct_counts_are_alike(rows: list[tuple[int, int, int, int]], cuts: list[int], cap: int) -> None:
    widths = ints([2, 5, 2])

    def work() -> Any:
        window, told = DistinctWindow(2, 5, cap=cap), []
        window.reserve(8)
        for start, stop in itertools.pairwise(cuts):
            part = [row for row in rows if start <= row[2] < stop]
            slots, panes, values = (ints([row[i] for row in part]) for i in (0, 2, 3))
            told.append(window.close(Touches(slots, panes, values.view(np.uint64), widths[slots]), start, stop))
            window.resample(slots)
        return told, window.state()

    same(*both(work))


@settings(max_examples=3, deadline=None)
@given(density=st.sampled_from([200, 900, 4_000]), batch=st.sampled_from([37, 500, 4_000]))
def test_an_engine_finds_and_keeps_the_same(density: int, batch: int) -> None:
    stream, plans = w30.workload(12_000, density, peers=60, groups=12), w30.plans(w30.rules(density // 20))

    def work() -> Any:
        engine, found = Engine(plans, {w30.SOURCE: ALL_KINDS}), []
        for part in stream.slices(0, 12_000, batch):
            found += engine.process(part)
        snapshot = engine.snapshot()
        return found + engine.finish(), snapshot

    (ours, ours_kept), (wanted, wanted_kept) = both(work)
    assert ours == wanted
    assert any(finding.change == "fire" for finding in wanted)
    assert ours_kept == wanted_kept


def arguments(name: str) -> list[Any]:
    """Right arguments for a function of the kernel: four rows of things numbered 0 to 3."""
    rows, four = ints([2, 0, 1, 2]), ints([0, 0, 0, 0])
    flags, out = np.zeros(4, np.bool_), [np.zeros(4, np.int64) for _ in range(5)]
    keys, table = words([5, 6, 7, 5]), [np.zeros(8, np.uint64), np.full(8, -1, np.int32), SECRET]
    lane = [np.zeros(4, np.int16), np.zeros((1, 4), np.int64), np.zeros(4, np.int32), ints([0]), np.zeros(1)]
    given: dict[str, list[Any]] = {
        "combine": [keys, keys, keys.copy()],
        "spread": [keys, keys.copy(), np.zeros(4, np.uint8)],
        "find": [keys, *table, np.zeros(4, np.int32)],
        "claim": [
            *(keys, *table, np.zeros(4, np.uint64), np.zeros(4, np.bool_), np.zeros(4, np.int32)),
            *(np.zeros(4, np.int32), 0, 0, 4, 0, 0, np.zeros(4, np.int32), out[0]),
        ],
        "settle": [words([5, 6, 7]), np.arange(3, dtype=np.int32), *table, np.zeros(4, np.int32)],
        "part": [rows, out[0], np.zeros(4, np.int64)],
        "fold": [rows, rows, rows[None, :].copy(), 3, 0, 3, out[0], out[1], out[2][None, :].copy()],
        "run": [
            *(rows, rows, np.ones((2, 4), np.int64), 0, 3, *lane, np.zeros(1, np.bool_), np.ones(4, np.bool_)),
            *(out[0], out[1], np.zeros((4, 2), np.int64), flags, out[2]),
        ],
        "touch": [rows, rows, 0, 3, four.copy(), four.copy(), np.ones(4, np.int32), out[0], out[1], flags],
        "leave": [
            *(
                rows,
                ints([2, 0, 1, 1]),
                four.copy(),
                0,
                3,
                np.ones(4, np.int32),
                four.copy(),
                four.copy(),
                out[0],
                out[1],
                out[2],
            ),
        ],
    }
    return given[name]


ANY_LENGTH, MAY_BE_LONGER = {("claim", 7), ("settle", 5)}, {("part", 2)}  # arrays with room to spare
NAMES = ("combine", "spread", "find", "claim", "settle", "part", "fold", "run", "touch", "leave")


@pytest.mark.parametrize("name", NAMES)
def test_what_does_not_fit_is_refused(name: str) -> None:
    """Arrays of a wrong type, length or order, missing ones, numbers instead: an exception, never memory of others."""
    function, right = getattr(NATIVE, name), arguments(name)
    function(*right)
    with pytest.raises(ValueError, match="arguments instead"):
        function(*right[:-1])
    for at, argument in enumerate(arguments(name)):
        for value in wrong_for(argument, name, at):
            with pytest.raises((ValueError, TypeError, BufferError)):
                function(*[value if at == place else fresh for place, fresh in enumerate(arguments(name))])


def wrong_for(argument: Any, name: str, at: int) -> Iterator[Any]:
    """Values that must not stand at this place."""
    yield from ("text", None, 1.5)
    if not isinstance(argument, np.ndarray):
        return
    yield argument.astype(np.float32)
    if argument.shape[-1] > 1:
        yield np.repeat(argument, 2, axis=-1)[..., ::2]  # right but for its strides
    if (name, at) in ANY_LENGTH:
        return
    yield argument[..., :-1].copy()
    if (name, at) not in MAY_BE_LONGER:
        yield np.concatenate([argument, argument], axis=-1)


@pytest.mark.parametrize(
    ("name", "at", "value"),
    [
        *[("fold", 0, [3, 0, 1, 2]), ("fold", 0, [-1, 0, 1, 2]), ("fold", 1, [3, 0, 1, 2]), ("fold", 1, [-1, 0, 1, 2])],
        *[
            ("run", 0, [4, 0, 1, 2]),
            ("run", 0, [-1, 0, 0, 0]),
            ("run", 1, [9, 0, 1, 2]),
            ("run", 8, [1]),
            ("run", 8, [-1]),
        ],
        *[
            ("touch", 0, [4, 0, 1, 2]),
            ("touch", 0, [-5, 0, 1, 2]),
            ("leave", 0, [4, 0, 1, 2]),
            ("leave", 1, [-1, 0, 1, 1]),
        ],
        *[("part", 0, [3, 0, 1, 2]), ("part", 0, [-1, 0, 1, 2])],
    ],
)
def test_an_index_that_lies_outside_is_refused(name: str, at: int, value: list[int]) -> None:
    right = arguments(name)
    right[at] = ints(value)
    with pytest.raises(ValueError, match=r"outside|no column"):
        getattr(NATIVE, name)(*right)


def test_a_cell_of_no_member_is_refused() -> None:
    for member in (1, -1):
        right = arguments("run")
        right[5] = np.full(4, member, np.int16)
        with pytest.raises(ValueError, match="no member"):
            NATIVE.run(*right)


def test_a_full_table_ends_a_search() -> None:
    keys = words([1, 2, 3, 4])
    right = [keys, np.zeros(2, np.uint64), np.zeros(2, np.int32), SECRET, np.zeros(4, np.int32)]
    assert NATIVE.find(*right) == 4
    full = arguments("claim")
    full[1], full[2] = np.zeros(2, np.uint64), np.zeros(2, np.int32)
    with pytest.raises(ValueError, match="no room"):
        NATIVE.claim(*full)
    with pytest.raises(ValueError, match="no room"):
        NATIVE.settle(keys[:3], np.arange(3, dtype=np.int32), *right[1:4], np.zeros(4, np.int32))
    with pytest.raises(ValueError, match="outside"):
        NATIVE.settle(keys[:1], np.array([4], np.int32), *arguments("settle")[2:5], np.zeros(4, np.int32))
