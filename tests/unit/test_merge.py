"""Several sources become one stream, the one furthest behind first."""

from __future__ import annotations

from collections.abc import Sequence

from watchdog.core.batch import Slice
from watchdog.core.kinds import ALL_KINDS
from watchdog.core.source import END_OF_TIME_NS
from watchdog.pipeline.scheduler import IDLE_S, merged


class Script:
    """A source that plays watermarks; None stands for a poll without news."""

    kinds = ALL_KINDS

    def __init__(self, name: str, watermarks: Sequence[int | None], log: list[str], *, caught_up: bool = False) -> None:
        self.name = name
        self._caught_up = caught_up
        self._left = list(watermarks)
        self._total = len(self._left)
        self._log = log

    @property
    def ended(self) -> bool:
        return not self._left

    @property
    def progress(self) -> float:
        return 1.0 - len(self._left) / self._total

    def poll(self) -> Slice | None:
        self._log.append(self.name)
        until = self._left.pop(0)
        return None if until is None else Slice(self.name, (), until, caught_up=self._caught_up)

    def close(self) -> None:
        """Nothing to close."""


def never(seconds: float) -> None:
    raise AssertionError(f"waited {seconds} s although there was something to read")


def test_the_source_that_is_furthest_behind_is_polled() -> None:
    log: list[str] = []
    slow, fast = Script("slow", [10, 100, END_OF_TIME_NS], log), Script("fast", [1, 2, 3, 20, END_OF_TIME_NS], log)
    given = [(one.source, one.until_ns) for one in merged([slow, fast], wait=never)]
    assert log == ["slow", "fast", "fast", "fast", "fast", "slow", "fast", "slow"]
    assert given[-1] == ("slow", END_OF_TIME_NS)
    assert len(given) == 8


def test_a_source_without_news_is_passed_over() -> None:
    log: list[str] = []
    quiet, busy = Script("quiet", [None, None, END_OF_TIME_NS], log), Script("busy", [5, 6, END_OF_TIME_NS], log)
    assert [one.source for one in merged([quiet, busy], wait=never)] == ["busy", "busy", "quiet", "busy"]


def test_when_nobody_has_news_it_waits_and_asks_again() -> None:
    waits: list[float] = []
    source = Script("quiet", [None, 7, None, None, END_OF_TIME_NS], [])
    assert [one.until_ns for one in merged([source], wait=waits.append)] == [7, END_OF_TIME_NS]
    assert waits == [IDLE_S] * 3


def test_a_source_that_ends_without_a_last_slice_does_not_hang() -> None:
    assert list(merged([Script("empty", [None], [])], wait=never)) == []
    assert list(merged([], wait=never)) == []


def test_a_source_that_has_given_all_it_has_rests_before_it_is_asked_again() -> None:
    waits: list[float] = []
    live = Script("live", [1, 2, END_OF_TIME_NS], [], caught_up=True)
    assert [one.until_ns for one in merged([live], wait=waits.append)] == [1, 2, END_OF_TIME_NS]
    assert waits == [IDLE_S, IDLE_S]


def test_others_are_read_while_one_that_has_given_all_it_has_rests() -> None:
    log: list[str] = []
    live, file = Script("live", [1, 2, END_OF_TIME_NS], log, caught_up=True), Script("file", [5, END_OF_TIME_NS], log)
    assert [one.source for one in merged([live, file], wait=never)] == ["live", "file", "live", "file", "live"]
