"""Cases of a running service: rows for the history, findings by the wall clock, kills, reloads, and metrics."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

import pytest

from alerts.case.document import StoredCase
from rules.load import load_text
from tests.support.rulesets import FULL_MEMPOOL
from tests.support.scripted_feed import SECOND, START, Said, mempool, scripted
from watchdog.core.finding import Finding
from watchdog.core.kinds import ALL_KINDS
from watchdog.core.own_rules import SOURCE_SILENT
from watchdog.service.case_metrics import case_metrics
from watchdog.service.exposition import Exposition
from watchdog.service.live_pipeline import LivePipeline


@pytest.fixture(autouse=True)
def said(monkeypatch: pytest.MonkeyPatch) -> Said:
    return scripted(monkeypatch)


def pipeline() -> LivePipeline:
    return LivePipeline(load_text(FULL_MEMPOOL), "alice", {"capture:a": ALL_KINDS})


def full(watch: LivePipeline, *seconds: float) -> list[StoredCase]:
    """Let the mempool be full at these seconds; return the rows of cases that had a notice."""
    rows = []
    for second in seconds:
        watch.process(mempool("capture:a", second, 500))
        rows += watch.case_rows.take()
    return rows


def test_a_case_is_stored_at_its_notices_and_with_the_next_checkpoint_when_it_changed() -> None:
    watch = pipeline()
    assert full(watch, 0, 5, 30) == []
    (row,) = full(watch, 120)
    assert (row.node, row.state, row.document["notices"] != []) == ("alice", "open", True)
    assert watch.case_rows.changed() == []
    assert watch.case_rows.seen.cases == {(row.severity, "open"): 1}
    assert watch.case_rows.seen.notices == {"opened": 1}


def test_a_run_that_is_killed_stores_the_same_rows_again() -> None:
    whole = pipeline()
    expected = full(whole, 0, 5, 30, 120)
    killed = pipeline()
    full(killed, 0, 5, 30)
    saved = killed.checkpoint(["capture:a"], "")
    again = pipeline()
    again.resume(saved)
    assert full(again, 120) == expected


def test_a_reload_keeps_the_cases() -> None:
    watch = pipeline()
    (row,) = full(watch, 0, 5, 30, 120)
    watch.change_rules(load_text(FULL_MEMPOOL.replace("> 100", "> 200")), [])
    full(watch, 130, 140)
    assert [one.id for one in watch.case_rows.changed()] == [row.id]
    full(watch, 150, 160)
    assert watch.case_rows.changed() == [], "a minute has not passed"
    full(watch, 250, 260)
    assert [one.id for one in watch.case_rows.changed()] == [row.id]


def test_the_cases_of_a_node_that_goes_end_with_it() -> None:
    watch = pipeline()
    (row,) = full(watch, 0, 5, 30, 120)
    watch.remove_node("alice")
    (end,) = watch.case_rows.take()
    assert (end.id, end.state) == (row.id, "resolved")


def silent(_firing: AbstractSet[tuple[str, str]]) -> Sequence[Finding]:
    """A source gives no events: a finding by the wall clock."""
    return [
        Finding(
            SOURCE_SILENT,
            "data",
            "warning",
            "alice",
            "fire",
            START + SECOND,
            START,
            {"source": "capture:a"},
            {"source": "capture:a"},
            (),
            {},
            "silent",
        )
    ]


def test_a_finding_by_the_wall_clock_is_a_case_although_no_event_time_moves() -> None:
    watch = pipeline()
    watch.own_findings(silent)
    watch.advance_own(START + 30 * SECOND)
    assert watch.case_rows.take() == []
    watch.advance_own(START + 120 * SECOND)
    (row,) = watch.case_rows.take()
    assert (row.severity, row.document["headline"]) == ("warning", "A source gives no events")


def test_metrics_count_cases_notices_and_bounds() -> None:
    watch = pipeline()
    full(watch, 0, 5, 30, 120)
    watch.case_rows.changed()
    out = Exposition()
    case_metrics(out, watch.case_rows, "alice")
    text = out.text()
    assert 'watchdog_cases{node="alice",severity="' in text
    assert 'watchdog_case_notices_total{node="alice",reason="opened"} 1' in text
    assert 'watchdog_case_bounds_total{bound="late",node="alice"} 0' in text


def test_notices_of_the_time_before_a_first_start_are_marked_and_survive_a_kill() -> None:
    """What still fires at the start is notified there."""

    def story(*, kill: bool) -> list[tuple[str, bool, int]]:
        watch = pipeline()
        watch.begin({"capture:a": START + 300 * SECOND})
        found = []
        for second in (0, 5, 30, 120, 240, 290, 299, 330, 400):
            watch.process(mempool("capture:a", second, 500))
            found += watch.case_rows.take_changes()
            if kill and second == 240:
                saved = watch.checkpoint(["capture:a"], "")
                watch = pipeline()
                watch.resume(saved)
        return [(one.reasons[0].value, one.before_start, (one.time_ns - START) // SECOND) for one in found]

    expected = [("opened", True, 70), ("opened", False, 300)]
    assert [(reason, before) for reason, before, _ in story(kill=False)] == [one[:2] for one in expected]
    assert story(kill=False)[-1][2] == 300
    assert story(kill=True) == story(kill=False)
