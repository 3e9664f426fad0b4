"""What a live pipeline has found, as others see it, and the records of changes that it collects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from typing import Final

from alerts.books import IncidentBooks
from alerts.case.feed import CaseFeed, NodeCases
from alerts.case.house import HOUSE, HouseFeed
from alerts.claims import words_of
from alerts.incident import Incident, IncidentChange, Policy
from alerts.notice import ChangeRecord
from alerts.rule_texts import rule_texts
from rules.load import RuleSet
from watchdog.core.finding import FLEET, Finding
from watchdog.core.own_rules import OWN_RULES
from watchdog.engine.engine import Engine
from watchdog.pipeline.clock import SystemClock
from watchdog.pipeline.pipeline import After, Before, Pipeline
from watchdog.pipeline.silent_parts import SilentParts
from watchdog.service.case_rows import CaseRows
from watchdog.service.first_start import Quiet
from watchdog.service.pending_actions import PendingActions

POLICY: Final = Policy(resolved=10_000)
"""A resolved incident takes about 6 kB of memory, and each group of sources has a book; the database keeps all."""


class PipelineRecords:
    """A pipeline with the records of its changes; `LivePipeline` adds what happens to it.

    Any thread may read. quiet: holds back changes from before a first start. own_open: whether a finding about the
    service's own input fires. case_rows: what the history lacks of cases.
    """

    def __init__(self, rules: RuleSet, engine: Engine, before: Before) -> None:
        self.quiet = Quiet()
        self.actions = PendingActions()
        self.own_open = False
        words = words_of(rules.plans)
        events = HouseFeed(words) if engine.node == FLEET else CaseFeed(engine.node, words)
        cases = NodeCases(events, CaseFeed(HOUSE if engine.node == FLEET else engine.node, words))
        cases.advise(rule_texts(rules.plans))
        self.pipeline = Pipeline(engine, self._note, before, own=OWN_RULES, policy=POLICY, cases=cases)
        self.pipeline.silent = SilentParts(SystemClock())
        self.case_rows = CaseRows(self.pipeline)
        self._titles = {plan.id: plan.title for plan in rules.plans}
        self._titles |= {one.id: one.title for one in OWN_RULES.values()}
        self._records: list[ChangeRecord] = []  # since they were last returned

    @property
    def engine(self) -> Engine:
        """The engine of the rules in force."""
        return self.pipeline.engine

    @property
    def books(self) -> IncidentBooks:
        """The incidents."""
        return self.pipeline.books

    @property
    def events(self) -> int:
        """Number of events processed."""
        return self.pipeline.events

    @property
    def last_event_ns(self) -> int | None:
        """Latest event time, None before the first event."""
        return self.pipeline.last_event_ns

    def own_findings(self, ask: Callable[[AbstractSet[tuple[str, str]]], Sequence[Finding]]) -> bool:
        """Take in findings by the wall clock; return whether there are any. `ask` gets what fires already."""
        findings = ask(self.books[self.pipeline.own_part].table.firing)
        self.pipeline.note_own(findings)
        return bool(findings)

    def advance_own(self, now_ns: int) -> list[ChangeRecord]:
        """Apply them and the time of the wall clock."""
        self.pipeline.advance_own(now_ns)
        self.own_open = bool(self.books[self.pipeline.own_part].table.firing)
        return self._take_records()

    def remove_node(self, node: str) -> list[ChangeRecord]:
        """Resolve all incidents of a node: it is no longer watched."""
        for number in range(len(self.books)):
            self._note(self.books[number].remove_node(node))
        if node == self.engine.node:
            self.case_rows.close()
        return self._take_records()

    def after_each_step(self, after: After) -> None:
        """Call this with each slice and its findings from now on; see `Pipeline`."""
        self.pipeline.after = after

    def _note(self, changes: Sequence[IncidentChange], action: int = 0) -> None:
        """Record changes, except those from before a first start."""
        self._record(self.quiet.news(changes, self.books.holder) if self.quiet else changes, action)

    def _record(self, changes: Sequence[IncidentChange], action: int = 0) -> None:
        """Record changes, each with the present state of its incident."""
        pictures: dict[str, Incident | None] = {}
        taken = self.actions.applied_up_to
        for change in changes:
            if change.id not in pictures:
                pictures[change.id] = self.books.incident(change.id)
            picture = pictures[change.id]
            if picture is not None:
                title = self._titles.get(picture.rule, "")
                self._records.append(ChangeRecord(picture, change, title, action, taken))

    def _take_records(self) -> list[ChangeRecord]:
        """Return the records since the last call."""
        records, self._records = self._records, []
        return records
