"""Operators' acts on cases that wait for event time. They are part of the cases' state, so a checkpoint has them.

An act gets the event time at which it counts once, when it comes: its own, or the present one where that is past it or
far behind. A checkpoint that follows before anything is applied keeps this time, so a run that is killed comes to the
same notices.
"""

from __future__ import annotations

from bisect import insort

from alerts.book_record import NEVER_NS
from alerts.case.acts import CaseAct
from alerts.cases import CaseBook, IssuedNotice
from watchdog.core.durations import MINUTE_NS

ACT_AHEAD_NS = 10 * MINUTE_NS
"""An act further ahead of event time than this is on a case of an old recording: it counts at once."""
WAITING_ACTS = 1_000  # of a node; beyond them the earliest counts at once


class ActQueue:
    """The acts of one book, in the order of the times at which they count."""

    def __init__(self, book: CaseBook) -> None:
        self._book = book
        self._changed: dict[str, None] = {}  # ids of cases that an act changed, since they were last asked for

    def take(self, act: CaseAct) -> None:
        """Take in an act; `until` applies it."""
        state = self._book.state
        far = state.now_ns != NEVER_NS and act.at_ns - state.now_ns > ACT_AHEAD_NS
        insort(state.acts, (state.now_ns if far else max(act.at_ns, state.now_ns), act), key=_order)
        if len(state.acts) > WAITING_ACTS:
            state.acts[0] = (state.now_ns, state.acts[0][1])

    def hurry(self) -> None:
        """Let all acts count now: no event will reach their times."""
        state = self._book.state
        state.acts = [(min(due_ns, state.now_ns), act) for due_ns, act in state.acts]

    @property
    def due(self) -> bool:
        """Whether an act counts by now."""
        state = self._book.state
        return bool(state.acts) and state.acts[0][0] <= state.now_ns

    def until(self, until_ns: int) -> list[IssuedNotice]:
        """Apply the acts up to a time, each after all findings of its instant."""
        issued, acts = list[IssuedNotice](), self._book.state.acts
        while acts and acts[0][0] <= until_ns:
            due_ns, act = acts.pop(0)
            issued += self._book.advance(max(due_ns, self._book.state.now_ns))
            cases, notices = self._book.act(act, due_ns)
            self._changed |= dict.fromkeys(one.id for one in cases)
            issued += notices
        return issued

    def take_changed(self) -> list[str]:
        """Return the ids of the cases that acts changed since the last call."""
        changed, self._changed = list(self._changed), {}
        return changed


def _order(one: tuple[int, CaseAct]) -> tuple[int, int]:
    return one[0], one[1].id
