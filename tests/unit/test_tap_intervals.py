"""Intervals of a tap: the same tables whatever the batches, bounded when times jump, closed by the slowest source."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.support.events import SECOND
from tests.support.tapped import START_S, message, peer, rows, written
from watchdog.archive.writer import EventsWriter
from watchdog.core.batch import Batch, Slice
from watchdog.tap.query import Asked, TablePlan, query_of
from watchdog.tap.run import Screen, TapOptions, tap
from watchdog.tap.table import MOST_OPEN, Intervals
from watchdog.tap.tables import json_tables

IN, OUT = "net:inbound_message", "net:outbound_message"
MEASURES = (
    "n=count()",
    "bytes=sum(size)",
    "conns=distinct(conn)",
    "top=top_share(type)",
    "bits=entropy(type)",
    "last_size=last(size)",
    "half=quantile(size, 0.5)",
    "pings=count(type == 'ping')",
    "mean_size=mean(size)",
    "sizes=histogram(size)",
)


def plan_of(*measures: str, by: tuple[str, ...] = ("type",), every_s: float = 5) -> TablePlan:
    table = query_of(Asked("", measures or MEASURES, by, int(every_s * SECOND)), frozenset({IN, OUT})).table
    assert table is not None
    return table


def tables(intervals: Intervals, plan: TablePlan, batches: list[Batch], until_s: float) -> list[str]:
    for batch in batches:
        intervals.add(batch)
    found = intervals.passed(int((START_S + until_s) * SECOND))
    return [line for table in found for line in json_tables(table, plan)]


def traffic() -> Batch:
    generator = np.random.default_rng(7)
    return rows(
        IN,
        *(
            message(float(at), str(type_), int(size), peer(int(conn)))
            for at, type_, size, conn in zip(
                generator.uniform(0, 30, 400),
                generator.choice(["inv", "tx", "ping"], 400),
                generator.integers(0, 5_000, 400),
                generator.integers(0, 9, 400),
                strict=True,
            )
        ),
    )


def keyed(lines: list[str]) -> dict[str, object]:
    """Tables by interval and key: the order of keys is that in which they came."""
    found = {}
    for line in lines:
        one = json.loads(line)
        found[json.dumps([one["from"], one["to"], one["by"]])] = one["measures"]
    return found


def test_tables_do_not_depend_on_batches_or_on_the_order_within_an_interval() -> None:
    plan, whole = plan_of(), traffic()
    wanted = keyed(tables(Intervals(plan), plan, [whole], 30))
    assert len(wanted) == 18
    generator = np.random.default_rng(1)
    for parts in (2, 7, 400):
        shuffled = whole.take(generator.permutation(whole.rows))
        pieces = [shuffled.take(rows_) for rows_ in np.array_split(np.arange(whole.rows), parts)]
        assert keyed(tables(Intervals(plan), plan, pieces, 30)) == wanted


def test_an_interval_stays_open_until_its_end_has_passed() -> None:
    plan = plan_of("n=count()", by=())
    intervals = Intervals(plan)
    assert tables(intervals, plan, [rows(IN, message(1, "inv", 1, peer(1)))], 4.9) == []
    (line,) = tables(intervals, plan, [rows(IN, message(4.95, "inv", 1, peer(1)))], 5)
    assert json.loads(line)["measures"] == {"n": 2}
    assert tables(intervals, plan, [rows(IN, message(4, "inv", 1, peer(1)))], 6) == []
    assert intervals.late == 1


def test_times_that_jump_open_no_more_intervals_than_the_most() -> None:
    plan = plan_of("n=count()", by=())
    intervals = Intervals(plan)
    jumping = [rows(IN, message(5 * number, "inv", 1, peer(1))) for number in range(3 * MOST_OPEN)]
    shown = [line for batch in jumping for line in tables(intervals, plan, [batch], 0)]
    assert len(shown) == 2 * MOST_OPEN
    assert len(intervals._open) == MOST_OPEN
    assert len(list(intervals.rest())) == MOST_OPEN


def test_tables_wait_for_the_slowest_of_several_sources(tmp_path: Path) -> None:
    fast = written(tmp_path / "fast.events", [(30, [rows(IN, message(at, "inv", 1, peer(1))) for at in (1, 6, 11)])])
    with EventsWriter(tmp_path / "slow.events", ("capture:slow",)) as file:
        for at in (2, 7, 12):
            late = rows(OUT, message(at, "tx", 1, peer(2)))
            own = Batch(late.kind, late.node, "capture:slow", late.columns)
            file.write(Slice("capture:slow", (own,), int((START_S + at + 1) * SECOND)))
    shown: list[str] = []
    asked = Asked(measures=("n=count()",), by=("type",))
    done = tap(
        [fast, f"events:{tmp_path / 'slow.events'}"],
        TapOptions(asked=asked, form="json"),
        Screen(shown.append, lambda line: None, lambda: False),
    )
    found = [json.loads(line) for text in shown for line in text.splitlines()]
    assert [(one["from"] - START_S, one["by"]["type"], one["measures"]["n"]) for one in found] == [
        (0, "inv", 1), (0, "tx", 1), (5, "inv", 1), (5, "tx", 1), (10, "inv", 1), (10, "tx", 1),
    ]  # fmt: skip
    assert done.events == 6


def test_a_live_tap_ends_by_the_clock(tmp_path: Path) -> None:
    log = tmp_path / "debug.log"
    log.write_text("")
    now = [0.0]

    def wait(seconds: float) -> None:
        now[0] += seconds

    screen = Screen(pytest.fail, pytest.fail, lambda: False, clock_s=lambda: now[0], wait=wait)
    tap([f"log:{log}"], TapOptions(span_ns=3 * SECOND, follow=True), screen)
    assert now[0] == pytest.approx(3.0, abs=0.3)
