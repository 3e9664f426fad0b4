"""Operators' acts on the cases of one engine, which belong to its thread.

What comes is taken in, a checkpoint follows, and only then `settle` applies what is due: see `alerts.case.act_queue`.
While no checkpoint can be made, the engine's thread takes nothing in (`EngineLoop`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from alerts.case.acts import CaseAct
from alerts.case.feed import CaseFeed
from alerts.cases import IssuedNotice
from watchdog.pipeline.pipeline import Pipeline


class LiveCaseActs:
    """Takes acts in and applies them. tell: called with the notices of each book."""

    def __init__(self, pipeline: Pipeline, tell: Callable[[CaseFeed, Sequence[IssuedNotice]], None]) -> None:
        self._pipeline, self._tell = pipeline, tell

    @property
    def taken(self) -> int:
        """The id of the latest act that was taken in, here or elsewhere."""
        return 0 if self._pipeline.cases is None else self._pipeline.cases.events.book.state.acted

    @property
    def wait(self) -> bool:
        """Whether acts wait for event time."""
        return any(feed.book.state.acts for feed in self._feeds())

    @property
    def due(self) -> bool:
        """Whether an act counts by now."""
        return any(feed.acts.due for feed in self._feeds())

    def take(self, acts: Sequence[CaseAct]) -> None:
        """Take in acts, in the order of their ids; those of other nodes are only counted as taken."""
        cases = self._pipeline.cases
        if cases is not None:
            for act in acts:
                cases.take_act(act)

    def hurry(self) -> None:
        """Let the acts that wait count now: no event will reach their times."""
        for feed in self._feeds():
            feed.acts.hurry()

    def settle(self) -> None:
        """Apply what counts by now."""
        for feed in self._feeds():
            self._tell(feed, feed.acts.until(feed.book.state.now_ns))

    def forget_after(self, last_id: int) -> None:
        """Forget ids beyond the latest in the database: a new database numbers from 1 again."""
        if self._pipeline.cases is not None:
            self._pipeline.cases.forget_acts_after(last_id)

    def _feeds(self) -> tuple[CaseFeed, ...]:
        cases = self._pipeline.cases
        return () if cases is None else (cases.events, cases.clock)
