"""The pipeline of a running service: slices and operators' actions in, records of incident changes out.

An action is applied when the event time of its incident's part reaches the time of the action: after all findings of
the part up to then, and before all later ones. So a run that resumes after a kill applies it at the same moment again.
If no book has the incident yet, the action waits for every part: the incident reopens on the way there.
"""

from __future__ import annotations

import logging
import secrets
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from alerts.claims import words_of
from alerts.incident import IncidentChange
from alerts.incident_table import IncidentError, UnknownIncidentError
from alerts.notice import ChangeRecord
from alerts.rule_texts import rule_texts
from alerts.store.actions import Action
from rules.load import RuleSet
from watchdog.core.batch import Slice
from watchdog.core.errors import StateError
from watchdog.core.finding import FLEET
from watchdog.core.own_rules import OWN_RULES
from watchdog.core.source import END_OF_TIME_NS
from watchdog.core.text import printable
from watchdog.engine.engine import Engine
from watchdog.engine.source_groups import Kinds
from watchdog.pipeline.checkpoint import Checkpoint
from watchdog.service.pipeline_records import PipelineRecords

ACTION_AHEAD_NS = 600_000_000_000
"""An action further ahead of event time than this is on an incident of an old recording: it is applied at once."""
SECRET_BYTES = 32
NAMED = 10  # rules, in one line of the log
_LOG = logging.getLogger("watchdog.engine")


class LivePipeline(PipelineRecords):
    """A `Pipeline` that also applies operators' actions. Belongs to the engine's thread.

    The engine thread calls `resume` or `begin` before the first slice. Methods that return records return all changes
    since the last call, each with its incident. sources: the kinds of events that each can give, by name. alone: no
    other pipeline of the service has incidents; else an action on an incident that is unknown here belongs to another.
    """

    def __init__(self, rules: RuleSet, node: str, sources: Mapping[str, Kinds], *, alone: bool = True) -> None:
        super().__init__(rules, _engine(rules, sources, node), self._before)
        self.rules, self._node, self._sources = rules, node, dict(sources)
        self.alone = alone
        self.seen: Counter[tuple[str, str]] = Counter()  # events by kind and source, since the start
        self.refused = 0  # actions that could not be applied
        self.restarted_rules: frozenset[str] = frozenset()  # rules that the last change or start left with empty state

    def begin(self, starts: Mapping[str, int]) -> None:
        """Hold back changes from before the starts (ns, by name) of sources that are read for the first time.

        Changes of other sources count as reported up to their watermarks.
        """
        reached = {name: mark for name, mark in self.engine.marks.items() if 0 < mark < END_OF_TIME_NS}
        reported = {name: max(mark, self.quiet.starts.get(name, 0)) for name, mark in reached.items()}
        self.quiet.begin({**reported, **starts}, self.engine.groups)
        self.case_rows.begin(max(starts.values(), default=0))

    def process(self, slice_: Slice) -> list[ChangeRecord]:
        """Pass a slice of one source through engine and books."""
        for part in slice_.parts:
            for batch in part.batches:
                if batch.rows:
                    self.seen[batch.kind, slice_.source] += batch.rows
        before = self.pipeline.restarted
        self.pipeline.process(slice_)
        if self.pipeline.restarted > before:  # actions may wait for a time that is far off now
            self.quiet.rewind(self.last_event_ns or slice_.until_ns, self.engine.groups)
            return self.hurry()
        return self._take_records()

    def finish(self) -> list[ChangeRecord]:
        """Close the engine's open panes: all sources have ended. Incidents that are not due to resolve stay open."""
        self.pipeline.finish()
        return self.hurry()

    def act(self, action: Action) -> list[ChangeRecord]:
        """Apply an action when event time reaches it: at once if it has, else later, or with `hurry`."""
        if not self.actions.receive(action):
            return []
        self._judge(action)
        holder = self.books.holder(action.incident_id)
        parts = set(range(len(self.engine.groups))) if holder is None else {holder} - {self.pipeline.own_part}
        times = {part: self.books[part].now_ns for part in parts if not self.engine.ended(part)}
        waiting = {part for part, now_ns in times.items() if now_ns < action.at_ns}
        if waiting and (self.last_event_ns is None or action.at_ns - max(times.values()) <= ACTION_AHEAD_NS):
            self.actions.wait(action, waiting)
        else:
            self._act(action)
        return self._take_records()

    def _judge(self, action: Action) -> None:
        """Let the budget of a rule learn of an operator's verdict. At once, as it counts from the next hour on only."""
        judged, own = action.judged, self.engine.node
        if action.verdict is None or own not in (judged.node, FLEET):
            return
        scores = judged.scores if action.verdict == "false_alarm" else {}
        if not self.engine.budgets.mark(judged.rule, action.incident_id, scores, action.at_ns) and judged.node == own:
            _LOG.info("verdict %s on %s: rule %s has no budget", action.verdict, action.incident_id, judged.rule)

    def hurry(self, *, cases: bool = True) -> list[ChangeRecord]:
        """Apply all waiting actions: no event will reach their times. cases: those on cases, too."""
        for action in self.actions.pop_all():
            self._act(action)
        if cases:
            self.case_rows.acts.hurry()
        return self._take_records()

    def change_rules(self, rules: RuleSet, promises: Sequence[Slice]) -> list[ChangeRecord]:
        """Replace the rules, and keep the incidents. Parts whose rules are the same keep their state.

        Other rules restart with empty state and do not know what fires, so all of theirs counts as cleared now. What
        still holds fires again and keeps its incident; the rest resolves after its `resolve_after`. promises: brings
        the new engine up to the watermarks so far.
        """
        self.rules = rules
        self._titles |= {plan.id: plan.title for plan in rules.plans}
        if self.pipeline.cases is not None:
            self.pipeline.cases.change_rules(words_of(rules.plans))
            self.pipeline.cases.advise(rule_texts(rules.plans))
        self._restart_rules(self.pipeline.change_engine(_engine(rules, self._sources, self._node)))
        self.pipeline.move_books()
        self.quiet.divide(self.engine.groups, self.books.holder)
        self.actions.wait_again(range(len(self.engine.groups)))  # those past its time apply it soon
        for promise in promises:
            self.pipeline.process(promise)
        return self._take_records()

    def checkpoint(self, sources: Sequence[str], asmap: str) -> Checkpoint:
        """Return all that a later run needs to resume exactly here."""
        return replace(
            self.pipeline.checkpoint(self.rules.hash, sources, asmap),
            last_action=self.actions.applied_up_to,
            acted=self.actions.applied_early,
            starts=self.quiet.starts,
            held=self.quiet.held(self.books.holder),
        )

    def resume(self, saved: Checkpoint) -> list[ChangeRecord]:
        """Resume from a checkpoint; rules that changed, or whose sources changed, restart with empty state.

        StateError when it is damaged or of another version.
        """
        restarted = self.pipeline.resume(saved)
        self.quiet.restore(saved.starts, saved.held, self.engine.groups, self.books.holder)
        kept = self.pipeline.positions
        self.pipeline.positions = {name: kept[name] for name in self._sources if name in kept}
        self.actions.restore(saved.last_action, saved.acted)
        self._restart_rules(restarted)
        return self._take_records()

    def _before(self, part: int, time_ns: int, ended: bool) -> None:
        """Apply what is due before a part's book advances to this time: its start, then actions."""
        start_ns = self.quiet.due(part, time_ns)
        if start_ns is not None:
            self._note(self.books[part].advance(start_ns - 1))
            self._record(self.quiet.passed(part))
        for waiting in self.actions.reached(part, time_ns, ended=ended):
            self._note(self.books[part].advance(min(waiting.at_ns, time_ns)))
            if self.books.holder(waiting.action.incident_id) == part or not waiting.parts:
                self.actions.remove(waiting)
                self._act(waiting.action)

    def _act(self, action: Action) -> None:
        """Apply an action to the incident's present state."""
        self.actions.applied(action.id)
        try:
            changes = self._changes_by(action)
        except UnknownIncidentError as error:
            if self.alone:
                self._refuse(action, error)
        except IncidentError as error:
            self._refuse(action, error)
        else:
            self._note(changes, action.id)

    def _refuse(self, action: Action, error: IncidentError) -> None:
        self.refused += 1
        _LOG.warning("action %d by %s: %s", action.id, printable(action.who), printable(str(error)))

    def _changes_by(self, action: Action) -> list[IncidentChange]:
        if action.verb == "note":
            return []
        book = self.books.book_with(action.incident_id)
        act = book.acknowledge if action.verb == "ack" else book.resolve
        return act(action.incident_id, action.who, action.at_ns)

    def _restart_rules(self, restarted: frozenset[str]) -> None:
        """Clear what fired under rules that restart with empty state or were removed."""
        if restarted:
            _LOG.warning("%s", restarted_text(restarted))
        self.restarted_rules = restarted
        self._note(self.books.clear_others(({plan.id for plan in self.rules.plans} - restarted) | OWN_RULES.keys()))


def restarted_text(rules: Collection[str]) -> str:
    """Return which rules restart with empty state, for people; empty without any."""
    if not rules:
        return ""
    names = sorted(rules)
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    who = "1 rule restarts" if len(names) == 1 else f"{len(names)} rules restart"
    return f"{who} with empty state; open incidents are kept: {', '.join(names[:NAMED])}{more}"


def check_fits(saved: Checkpoint, node: str, place: str) -> None:
    """Raise StateError when a checkpoint is of another node: its incidents would carry the wrong name."""
    if saved.node != node:
        raise StateError(
            f"checkpoint '{place}': was made with node {saved.node!r}, now {node!r}; remove it to start over"
        )


def _engine(rules: RuleSet, sources: Mapping[str, Kinds], node: str) -> Engine:
    """Return a new engine with its own secret: no peer may work out which of too many findings are kept."""
    return Engine(rules.plans, sources, node=node, secret=secrets.token_bytes(SECRET_BYTES))
