"""Rows kept as evidence: many small batches of a live source become few, and a query finds the same."""

from __future__ import annotations

import numpy as np
import pytest

from watchdog.core.batch import Batch, Strings
from watchdog.engine import lookback as module
from watchdog.engine.lookback import JOINED_ROWS, Lookback, Query

KIND = "p2p:ping"
KEY = (3, 0, 1)  # stream, grouping, slot
LONG_NS = 1 << 60


def batch(at: int, rows: int = 3, source: str = "capture:a") -> Batch:
    times = np.arange(rows, dtype=np.int64) + 10 * at
    texts = Strings.of([f"peer {at} {row}" for row in range(rows)])
    return Batch(KIND, "node", source, {"time_ns": times, "nonce": times.astype(np.uint64), "peer": texts})


def fill(lookback: Lookback, count: int, *, sources: tuple[str, ...] = ("capture:a",)) -> None:
    for at in range(count):
        one = batch(at, source=sources[at % len(sources)])
        streams = {3: np.array([0, 2])} if at % 3 else {3: np.array([0, 2]), 4: np.array([1])}
        lookback.add(one, streams, {0: np.array([1, 1, 0], np.int32)})


def found(lookback: Lookback, key: tuple[int, int, int] = KEY, to_ns: int = LONG_NS) -> list[tuple[int, str]]:
    return [
        (time_ns, peer)
        for one in lookback.find((KIND,), key[:2], Query([key[2]], [0], [to_ns]))[0]
        for time_ns, peer in zip(
            one.batch.time_ns[one.rows].tolist(), one.batch.strings("peer").take(one.rows).tolist(), strict=True
        )
    ]


@pytest.mark.parametrize("sources", [("capture:a",), ("capture:a", "capture:b")], ids=["one-source", "two-sources"])
def test_joined_batches_answer_as_single_ones(monkeypatch: pytest.MonkeyPatch, sources: tuple[str, ...]) -> None:
    together, alone = Lookback({KIND: LONG_NS}), Lookback({KIND: LONG_NS})
    fill(together, 1000, sources=sources)
    monkeypatch.setattr(module, "JOINED_AT_ONCE", 1 << 30)
    fill(alone, 1000, sources=sources)
    for key in (KEY, (4, 0, 1), (3, 0, 0), (5, 0, 1)):
        assert found(together, key) == found(alone, key)
        assert found(together, key, 4_321) == found(alone, key, 4_321)
    assert found(together, (3, 0, 1))[:2] == [(0, "peer 0 0"), (10, "peer 1 0")]
    assert len(found(together)) == 1000


def test_few_batches_are_left_and_none_is_large() -> None:
    lookback = Lookback({KIND: LONG_NS})
    fill(lookback, 5_000)
    rows = [one.rows for one in lookback.batches()]
    assert sum(rows) == 15_000 - 5_000 + 1667, "rows that no stream reads are dropped"
    assert max(rows) <= JOINED_ROWS
    assert len(rows) < 40


def test_what_no_query_reaches_goes_with_the_last_row_of_its_batch() -> None:
    lookback = Lookback({KIND: 1_000})
    for at in range(5_000):
        fill_one(lookback, at)
        lookback.trim(10 * at)
    assert sum(one.rows for one in lookback.batches()) < 1_000 + JOINED_ROWS


def fill_one(lookback: Lookback, at: int) -> None:
    lookback.add(batch(at), {3: np.arange(3)}, {0: np.zeros(3, np.int32)})
