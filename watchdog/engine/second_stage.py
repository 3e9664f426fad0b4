"""The second stage: rules over findings, fed by the groups whose rules report them.

    first stage   watermark 12:00:30   findings up to 12:00:30  --+
    first stage   watermark 12:00:20   findings up to 12:00:20  --+-->  second stage, watermark 12:00:20

A group has reported every finding up to its watermark, and each later one is of a later time. So nothing is late here,
and what the second stage reports depends on events and rules only. Its own findings are fed to no rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from watchdog.core.finding import Finding
from watchdog.core.finding_events import KIND_OF, finding_batches
from watchdog.engine.group_engine import GroupEngine
from watchdog.engine.source_groups import SourceGroup
from watchdog.engine.surplus import Lots

FINDINGS: Final = "findings"
"""The name of what a group of the second stage waits for, beside sources that report node starts."""


class _Seat(NamedTuple):
    """A group of the second stage: its number, those of the groups below, and what it reads: rules and kinds."""

    number: int
    below: tuple[int, ...]
    rules: frozenset[str]
    kinds: frozenset[str]


class SecondStage:
    """Feeds the groups of the second stage, and keeps their watermark at the least of the groups below.

    engines: those of all groups, by number; `Engine` may replace one.
    """

    def __init__(self, groups: Sequence[SourceGroup], engines: Sequence[GroupEngine]) -> None:
        self._engines = engines
        numbers = {group.name: number for number, group in enumerate(groups)}
        self._seats = [
            _Seat(
                number,
                tuple(numbers[below.name] for below in group.below),
                frozenset(group.fed_by),
                frozenset(kind for plan in group.plans for kind in plan.kinds),
            )
            for number, group in enumerate(groups)
            if group.fed_by
        ]

    def process(self, findings: Sequence[Finding]) -> list[Finding]:
        """Take the findings of the first stage that one step reported; return those that follow from them."""
        more: list[Finding] = []
        for seat in self._seats:
            engine = self._engines[seat.number]
            self._feed(seat, engine, findings)
            more += engine.promise(FINDINGS, self._reached_ns(seat))
        return more

    def finish(self, findings: Sequence[Finding]) -> list[Finding]:
        """Take the last findings of the first stage, and close every pane that has findings or events."""
        more: list[Finding] = []
        for seat in self._seats:
            engine = self._engines[seat.number]
            self._feed(seat, engine, findings)
            more += engine.finish()
        return more

    def catch_up(self, number: int) -> None:
        """Bring a group without state up to the watermark of the groups below; no effect in the first stage."""
        for seat in self._seats:
            if seat.number == number:
                self._engines[number].promise(FINDINGS, self._reached_ns(seat))

    def _feed(self, seat: _Seat, engine: GroupEngine, findings: Sequence[Finding]) -> None:
        read = [finding for finding in findings if finding.rule in seat.rules and KIND_OF[finding.change] in seat.kinds]
        for batch in finding_batches(read) if read else ():
            engine.feed(batch)

    def _reached_ns(self, seat: _Seat) -> int:
        return min(self._engines[number].watermark_ns for number in seat.below)


def engine_over(group: SourceGroup, node: str, lots: Lots) -> GroupEngine:
    """Return an engine without state for a group of the second stage."""
    return GroupEngine(
        group.plans,
        node=node,
        sources=(FINDINGS, *group.telling),
        feeding=group.feeding,
        lots=lots,
        behind=_kinds_behind(group),
    )


def _kinds_behind(group: SourceGroup) -> tuple[str, ...]:
    """Return the kinds that the rules read whose findings a group reads."""
    feeders = (plan for below in group.below for plan in below.plans if plan.id in group.fed_by)
    return tuple(sorted({kind for plan in feeders for kind in plan.kinds}))
