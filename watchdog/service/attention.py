"""Reminders and escalations of a running service: a look every few seconds at the cases that no one has taken on."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from alerts.case.change import DRILL, CaseChange
from alerts.decide import Decision, DecisionFacts, HeldReason, case_notices
from alerts.escalation import (
    ACKNOWLEDGED,
    AttentionPlan,
    TimedNotice,
    decide_timed,
    due,
    given,
    news,
    not_ahead,
    shifted,
)
from alerts.notice import Notice
from alerts.store.case_clocks import OpenCase
from alerts.store.case_decisions import MadeDecision
from alerts.store.cases import outer
from alerts.store.timed_notices import Given, TimedNotices
from watchdog.core.durations import SECOND_NS
from watchdog.core.episode import Episode
from watchdog.core.errors import StoreUnavailableError
from watchdog.core.text import counted, printable
from watchdog.service.bounded_executor import BoundedExecutor
from watchdog.service.writer_thread import Routes, WriterCounts

LOOK_S = 2.0
STEP_NS = 5 * SECOND_NS  # wall clock against time that passed: more is a step, less is how clocks are slewed
CATCH_UP_S = 60.0
"""How long a start waits for engines to read what happened meanwhile: what is over by now escalates to no one."""
_LOG = logging.getLogger("watchdog.service")


def elapsed_s() -> float:
    """Return seconds that have passed, those of a suspended machine among them; no one can set them."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Attention:
    """One loop, in the event loop of the service. store: its calls run in the housekeeping executor.

    plan, routes: those in force. caught_up: whether the engines have read what happened while the service was down.
    """

    def __init__(
        self,
        store: TimedNotices,
        executor: BoundedExecutor,
        counts: WriterCounts,
        *,
        plan: Callable[[], AttentionPlan],
        routes: Callable[[], Routes],
        wall_ns: Callable[[], int],
        caught_up: Callable[[], bool],
        elapsed: Callable[[], float] = elapsed_s,
    ) -> None:
        self._store, self._executor, self._counts = store, executor, counts
        self._plan, self._routes, self._wall_ns, self._elapsed = plan, routes, wall_ns, elapsed
        self._caught_up = caught_up
        self._begun_s: Final = elapsed()
        self._last: tuple[int, float] | None = None  # wall clock and time that passed, at the latest look
        self._fault = Episode()

    async def run(self) -> None:
        """Look, again and again. StoreError when the database is one that waiting cannot heal."""
        while True:
            try:
                await self.look()
            except StoreUnavailableError as error:
                if self._fault.failed(str(error)):
                    _LOG.warning("reminders and escalations: %s", error)
            else:
                if self._fault.worked(self._elapsed()):
                    _LOG.info("reminders and escalations are made again")
            await asyncio.sleep(LOOK_S)

    async def look(self) -> int:
        """Make what is due; return how many notices that were. StoreUnavailableError: nothing is lost."""
        await self._follow_clock()
        every = self._caught_up() or self._elapsed() - self._begun_s >= CATCH_UP_S
        plan, routes, total = self._plan(), self._routes(), 0
        if not plan.escalations and not plan.reminders:
            return 0
        for one in await self._executor.ask(self._store.standing):
            if (every or one.clock.drill) and self._given(one, {}, plan, routes) is not None:
                make = partial(self._given, plan=plan, routes=routes)
                made = await self._executor.ask(partial(self._store.give, one, make))
                total += self._note(one, made)
        return total

    async def _follow_clock(self) -> None:
        """Shift the clocks of cases when the machine's clock steps; at a start, drop times in the future."""
        now_ns, now_s = self._wall_ns(), self._elapsed()
        if self._last is None:
            await self._executor.ask(partial(self._store.change, lambda clock: not_ahead(clock, now_ns)))
        else:
            step_ns = now_ns - self._last[0] - int((now_s - self._last[1]) * SECOND_NS)
            if abs(step_ns) > STEP_NS:
                moved = await self._executor.ask(partial(self._store.change, lambda clock: shifted(clock, step_ns)))
                text = "the wall clock was set by %.0f s: the waits of %s continue as they were"
                _LOG.warning(text, step_ns / SECOND_NS, counted(moved, "case"))
        self._last = (now_ns, now_s)

    def _given(
        self, one: OpenCase, document: Mapping[str, Any], plan: AttentionPlan, routes: Routes
    ) -> Given | None:  # Any: JSON
        """Return what is due for a case with its document, or whether anything is, without one. None: nothing."""
        now_ns = self._wall_ns()
        clock, notices, made = one.clock, list[Notice](), list[MadeDecision]()
        for timed in due(clock, one.now, plan, now_ns):
            change = _change_of(one, timed, document, now_ns)
            held = _acknowledged(one, document) or _silenced(document) or routes.held(change, now_ns)
            facts = DecisionFacts(change.sandbox, one.node, one.now.severity, held=held)
            own = news(clock, timed, decide_timed(timed, facts, routes.receivers))
            notices += case_notices(change, own, routes.case_url_of, now_ns) if document else []
            made += [MadeDecision(change, each, now_ns) for each in own]
            clock = given(clock, timed, own, now_ns)
        return Given(clock, notices, made) if made else None

    def _note(self, one: OpenCase, made: Given | None) -> int:
        if made is None:
            return 0
        if one.clock.drill:
            self._counts.add_drill(made.notices)
        else:
            self._counts.add((each.decision for each in made.made), made.notices)
        for notice in made.notices:
            case, receiver = printable(one.case_id), printable(notice.receiver)
            _LOG.info("%s of case %s to receiver %s", notice.type, case, receiver)
        return len(made.notices)


def _acknowledged(one: OpenCase, document: Mapping[str, Any]) -> Decision | None:
    if one.now.state != ACKNOWLEDGED:
        return None
    by = printable(str(document.get("acknowledged_by") or "an operator"), 100)
    return Decision("", HeldReason.ACKNOWLEDGED, f"acknowledged by {by}")


def _silenced(document: Mapping[str, Any]) -> Decision | None:
    """Return that all claims of a case are silenced now, in the words of the first; None while one counts."""
    words = [one.get("silenced") for one in document.get("claims") or () if one["role"] == "core"]
    if not words or not all(words):
        return None
    return Decision("", HeldReason.SILENCED, printable(str(words[0]), 300))


def _change_of(one: OpenCase, timed: TimedNotice, document: Mapping[str, Any], now_ns: int) -> CaseChange:
    """Return a timed notice as a change of its case. Its time is that of the wall clock."""
    told: Sequence[Mapping[str, Any]] = document.get("notices") or ()
    facts = {
        "time": now_ns / 1e9,
        "reason": timed.reason.value,
        "severity": one.now.severity,
        "parties": list(told[-1]["parties"]) if told else [],
        "new_stages": [],
        "new_parties": [],
        "merged": None,
        "also_merged": [],
        "others": [],
        "by": None,
        "text": "",
        "waited": timed.waited_ns / 1e9,
    }
    body = {**outer(document), **{name: document[name] for name in ("advice", DRILL) if name in document}}
    return CaseChange(
        one.case_id,
        one.root,
        timed.number,
        one.node,
        (timed.reason,),
        one.now.severity,
        now_ns,
        sandbox=False,
        before_start=False,
        document=body,
        facts=facts,
    )
