"""How much of a window was watched, and how much of that was lost: two questions."""

from __future__ import annotations

import pytest

from tests.support.events import SECOND, batch
from watchdog.engine.coverage import Coverage


def _seen(coverage: Coverage, begin: int, end: int) -> tuple[float, float]:
    return coverage.seen(begin * SECOND, end * SECOND, ("p2p:ping",))


def test_a_warm_up_is_no_loss() -> None:
    coverage = Coverage(["a"])
    coverage.begin(75 * SECOND, "a")
    assert _seen(coverage, 0, 100) == (1.0, 0.25)


def test_watching_begins_with_the_slowest_source_and_the_last_start() -> None:
    coverage = Coverage(["a", "b"])
    coverage.begin(10 * SECOND, "a")
    assert _seen(coverage, 0, 100) == (1.0, 0.0), "b has given nothing"
    coverage.begin(50 * SECOND, "b")
    assert _seen(coverage, 0, 100) == (1.0, 0.5)
    assert _seen(coverage, 0, 40) == (1.0, 0.0), "the same whether b's first event is known by then or not"
    coverage.see(batch("node:started", [{"t": 90}]))
    assert _seen(coverage, 0, 100) == (1.0, 0.1)
    assert _seen(coverage, 0, 90) == (1.0, round(40 / 90, 6)), "a start at the end of a window is not in it"


def test_a_loss_is_a_share_of_what_was_watched() -> None:
    coverage = Coverage(["a"])
    coverage.begin(60 * SECOND, "a")
    coverage.see(batch("source:gap", [{"t": 50, "from_ns": 50 * SECOND, "to_ns": 70 * SECOND}]))
    assert _seen(coverage, 0, 100) == (0.75, 0.4)


def test_first_events_survive_a_checkpoint() -> None:
    coverage = Coverage(["a", "b"])
    coverage.begin(10 * SECOND, "a")
    coverage.begin(50 * SECOND, "b")
    again = Coverage(["a", "b"])
    again.restore(coverage.state())
    assert _seen(again, 0, 100) == (1.0, 0.5)


@pytest.mark.parametrize(("from_ns", "to_ns"), [(5 * SECOND, (1 << 63) - 1), (-(1 << 63), 30 * SECOND)])
def test_a_gap_whose_times_no_window_can_be_added_to_is_a_gap_still(from_ns: int, to_ns: int) -> None:
    coverage = Coverage(["a"])
    coverage.begin(0, "a")
    coverage.see(batch("source:gap", [{"t": 20, "from_ns": from_ns, "to_ns": to_ns}]))
    disturbed = coverage.disturbed(30 * SECOND, ("p2p:ping",))
    assert [disturbed.at(end * SECOND) for end in (25, 40, 100)] == [True, True, to_ns > 100 * SECOND]
