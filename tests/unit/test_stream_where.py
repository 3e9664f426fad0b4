"""Conditions of subscribers: what they find, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

from watchdog.core.batch import Batch, Strings
from watchdog.core.where_tree import Apply, FieldValue, WhereTree
from watchdog.stream.where import ConditionError, compiled

TYPES = {"time_ns": "i64", "n": "u64", "small": "i32", "x": "f64", "t": "str", "u": "str", "b": "bool", "raw": "bytes"}
BATCH = Batch(
    "kind",
    "node",
    "source",
    {
        "time_ns": np.arange(4, dtype=np.int64),
        "n": np.array([0, 1, 2**63, 2**64 - 1], np.uint64),
        "small": np.array([-2, -1, 0, 1], np.int32),
        "x": np.array([0.5, 1.0, 1.5, np.nan]),
        "t": Strings.of(["inv", "addr", "addrv2", "inv"]),
        "u": Strings.of(["inv", "noban,relay", "ban", "x"]),
        "b": np.array([True, False, True, False]),
    },
)
N, SMALL, X, T, U, B = map(FieldValue, ("n", "small", "x", "t", "u", "b"))


@pytest.mark.parametrize(
    ("tree", "rows"),
    [
        (True, [0, 1, 2, 3]),
        (B, [0, 2]),
        (Apply("not", (B,)), [1, 3]),
        (Apply("==", (B, False)), [1, 3]),
        (Apply("==", (N, 2**63)), [2]),
        (Apply(">", (N, -1)), [0, 1, 2, 3]),
        (Apply(">=", (N, 2**64)), []),
        (Apply("<", (1, N)), [2, 3]),
        (Apply("!=", (SMALL, 0)), [0, 1, 3]),
        (Apply("<", (SMALL, N)), [0, 1, 2, 3]),
        (Apply("<=", (X, 1)), [0, 1]),
        (Apply("in", (N, 1, 2**64 - 1, -5, 0.5, 2**70)), [1, 3]),
        (Apply("in", (X, 1.5, 7)), [2]),
        (Apply("in", (SMALL,)), []),
        (Apply("==", (T, "inv")), [0, 3]),
        (Apply("!=", ("inv", T)), [1, 2]),
        (Apply("==", (T, U)), [0]),
        (Apply("in", (T, "addr", "nothing")), [1]),
        (Apply("startswith", (T, "addr")), [1, 2]),
        (Apply("endswith", (T, "v2")), [2]),
        (Apply("contains", (T, "d")), [1, 2]),
        (Apply("has", (U, "noban")), [1]),
        (Apply("and", (B, Apply("==", (T, "inv")))), [0]),
        (Apply("or", (Apply("==", (T, "addr")), B)), [0, 1, 2]),
    ],
)
def test_it_finds_these_rows(tree: WhereTree, rows: list[int]) -> None:
    assert np.flatnonzero(compiled(tree, TYPES)(BATCH)).tolist() == rows


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        (N, "neither true nor false"),
        (7, "expected a condition"),
        (FieldValue("absent"), "has no field 'absent'"),
        (Apply("==", (FieldValue("raw"), "x")), "cannot be asked for its bytes"),
        (Apply("<", (T, "x")), "cannot compare text with text"),
        (Apply("==", (T, 1)), "cannot compare text with number"),
        (Apply("==", (1, 1)), "has no field"),
        (Apply("not", ()), "has 0 parts"),
        (Apply("and", ()), "has no parts"),
        (Apply("in", (T, 1)), "needs constants of text"),
        (Apply("in", (B, True)), "needs a field of text or numbers"),
        (Apply("startswith", (N, "x")), "needs a field of text"),
        (Apply("startswith", (T, U)), "needs a field of text"),
    ],
)
def test_it_refuses_what_does_not_fit(tree: WhereTree, said: str) -> None:
    with pytest.raises(ConditionError, match=said):
        compiled(tree, TYPES)


def test_an_empty_batch_is_no_special_case() -> None:
    empty = BATCH.take(np.zeros(0, np.intp))
    for tree in (Apply("==", (T, "inv")), Apply("<", (N, 3)), True):
        assert compiled(tree, TYPES)(empty).shape == (0,)
