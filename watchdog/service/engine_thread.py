"""The engine's thread: polls sources, runs the rules, and hands changes to the writer; it never calls the database."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final

from alerts.case.act_queue import WAITING_ACTS
from alerts.case.acts import CaseAct
from alerts.case.change import CaseChange
from alerts.case.document import StoredCase
from alerts.maintenance import QuietWindow
from alerts.notice import ChangeRecord
from alerts.silence import ClaimSilence
from alerts.store.actions import Action
from rules.load import RuleSet
from watchdog.core.batch import Slice
from watchdog.core.errors import ServiceError
from watchdog.core.finding import Finding
from watchdog.core.plan import RulePlan
from watchdog.engine.engine import Engine
from watchdog.fleet.tap import Tap
from watchdog.fleet.wanted import nodes_report
from watchdog.pipeline.checkpoint import Checkpoint
from watchdog.pipeline.clock import Clock
from watchdog.service.commands import Commands
from watchdog.service.fleet_feed import FleetFeed, FleetInbox
from watchdog.service.followed_sources import FollowedSources
from watchdog.service.live_pipeline import LivePipeline
from watchdog.service.loop_feed import LoopFeed
from watchdog.service.node_metrics import NodeState, kinds_read
from watchdog.service.recorder import NodeRecorder
from watchdog.service.self_watch import self_watch
from watchdog.service.worker import Worker
from watchdog.traffic.node_traffic import NodeTraffic

# Between two rounds in which no source had anything new. Rules decide in panes of seconds, so a second more is little,
# and a round's price hardly depends on how much is new: at four a second it was most of what an idle service used.
IDLE_S = 1.0
PATIENCE_S = 5.0  # while no source has news, an action waits for its part's event time no longer than this
RECORDER_END_S = 1.0  # for the recorder to write what waits, when its engine ends
FULL_S = 0.1  # between two tries of a full queue
_LOG = logging.getLogger("watchdog.engine")


@dataclass(frozen=True, slots=True)
class Bundle:
    """A unit of work for the writer: changes and cases, then the state after them if it is to be saved.

    notices: of the cases, which are stored with them.
    forget: a node that was removed, whose checkpoint is removed too once the changes are stored. last: the writer ends.
    """

    records: Sequence[ChangeRecord] = ()
    checkpoint: Checkpoint | None = None
    forget: str = ""
    last: bool = False
    cases: Sequence[StoredCase] = ()
    notices: Sequence[CaseChange] = ()


@dataclass(slots=True)
class EngineCounts:
    """Counts of the engine's thread; written there, read anywhere."""

    slices: int = 0
    busy_s: float = 0.0
    full: int = 0
    full_s: float = 0.0
    checkpoints: int = 0
    idle_s: float | None = None  # monotonic time at which all sources last had nothing new
    changes: dict[str, int] = field(default_factory=dict)


def discard(engine: EngineLoop) -> None:
    """Release the input of an engine and the folder of its recorder: it is not started, or ends."""
    engine.feed.close()
    if engine.recorder is not None:
        engine.recorder.stop(RECORDER_END_S)


@dataclass(frozen=True, slots=True)
class NodeReports:
    """Tells the fleet what each step of a node gives; the node's thread uses it."""

    tap: Tap
    inbox: FleetInbox

    def step(self, engine: Engine, slice_: Slice | None, findings: Sequence[Finding]) -> None:
        """Report a step; slice_: None for the end of the input."""
        report = self.tap.report(engine, slice_, findings, finished=slice_ is None)
        if report is not None:
            self.inbox.put(report)


class EngineLoop(Worker):
    """One thread over one `LivePipeline` and one `Feed`; the daemon calls `start`, then `stop` and `join`.

    The engines of all nodes share `out`, the bounded queue to the writer. While it is full, the thread does not read;
    both are counted. After each slice the thread lets the others run. every_s: monotonic seconds between two
    checkpoints. finished: all sources have ended, and all their changes went to the writer. orders: commands from other
    threads. first: what the start made; the queue gets it before anything else. report: tells the fleet what the
    node gives. wanted: the kinds to read for a set of rules. recorder: gets all that the engine takes.
    """

    def __init__(
        self,
        watch: LivePipeline,
        feed: LoopFeed,
        out: queue.Queue[Bundle],
        clock: Clock,
        *,
        every_s: float,
        asmap: str = "",
        report: NodeReports | None = None,
        wanted: Callable[[Sequence[RulePlan]], frozenset[str]] = kinds_read,
        recorder: NodeRecorder | None = None,
    ) -> None:
        self.node: Final = watch.engine.node
        super().__init__(f"engine {self.node}", clock)
        self.watch, self.feed, self.counts = watch, feed, EngineCounts()
        self.out, self._every_s, self._asmap = out, every_s, asmap
        self._wake, self._stopping = threading.Event(), threading.Event()
        self.orders: Final = Commands(self._wake.set)
        self._kept: tuple[int, int, int] | None = None
        self._kept_s = clock.monotonic()
        self.finished = False
        self.first: Bundle | None = None
        self._removed = False
        self._new_acts: list[CaseAct] = []  # that came and are in no checkpoint
        self.node_state, self.traffic = NodeState(), NodeTraffic()
        self._quiet_s: float | None = None
        self._self_watch = self_watch(self.node, feed, clock.monotonic(), lambda: watch.rules.plans, recorder)
        self._report, self._wanted, self.recorder = report, wanted, recorder
        if report is not None:
            watch.after_each_step(lambda slice_, findings: report.step(watch.engine, slice_, findings))

    def stop(self) -> None:
        """End after the present slice, with a checkpoint."""
        self._stopping.set()
        self._wake.set()

    def give_up(self) -> None:
        """End even when the queue to the writer is full: a restart computes again what is not stored."""
        super().give_up()
        self.stop()

    def remove(self, node: str) -> None:
        """Resolve the incidents of a node that is no longer watched, and end if it is this one. In the thread."""
        records = self.watch.remove_node(node)
        self._count(records)
        own = node == self.node
        rows = self.watch.case_rows
        self._put(Bundle(records, forget=node if own else "", cases=rows.take(), notices=rows.take_changes()))
        self._kept = None
        if own:
            self._removed = True
            self.stop()

    def act(self, actions: Sequence[Action], cases: Sequence[CaseAct] = ()) -> bool:
        """Apply operators' actions soon; False when the queue is full: try again later. From any thread.

        cases: actions on cases.
        """
        if cases and len(self._new_acts) >= WAITING_ACTS:
            return False
        return self.orders.put(lambda: self._act(actions, cases))

    def silence(self, silences: Sequence[ClaimSilence], windows: Sequence[QuietWindow]) -> bool:
        """Use these silences and maintenance windows soon; False when the queue is full. From any thread."""
        return self.orders.put(lambda: self._silence(silences, windows))

    def change_rules(self, rules: RuleSet) -> Future[bool]:
        """Replace the rules soon; the future is whether they differ from those before. From any thread.

        ServiceError when the queue of commands is full.
        """
        done: Future[bool] = Future()
        if not self.orders.put(lambda: done.set_result(self._change_rules(rules))):
            raise ServiceError("the engine is far behind and takes no more commands; try again later")
        return done

    def _run(self) -> None:
        try:
            if self.first is not None:
                self._put(self.first)
            while not self._stopping.is_set():
                self.step()
            while self.feed.pending and not self._giving_up.is_set():
                self.step()
            if not self._removed:
                self._keep()
        finally:
            discard(self)

    def step(self) -> None:
        """Process one slice, or wait shortly; the thread repeats this until it is stopped."""
        self._beat()
        while (command := self.orders.take()) is not None:
            command()
            if self._removed:
                return
        self._settle_acts()
        moved = self.feed.moved
        slice_ = self.feed.next()
        if self.feed.moved > moved:
            self._kept = None  # watermarks are part of the state: after a kill the gap has the same time again,
            self._keep()  # hence the same incident
        if slice_ is not None:
            begun = self._clock.monotonic()
            batches = [batch for part in slice_.parts for batch in part.batches]
            self.node_state.note(batches)
            self.traffic.note(batches, begun)
            self._tell(self.watch.process(slice_))
            if self.recorder is not None:
                self.recorder.take(slice_)
            self.counts.slices += 1
            self.counts.busy_s += self._clock.monotonic() - begun
            self._quiet_s = None if batches else self._quiet_s
            if self.feed.changed:
                self.feed.changed, self._kept = False, None  # after a kill the decision is the same
                self._keep()
            time.sleep(0)  # the engines of other nodes wait for the interpreter: none waits longer than for a slice
        else:
            self._rest()
        self._watch_self()
        if self._clock.monotonic() - self._kept_s >= self._every_s:
            self._keep()

    def _watch_self(self) -> None:
        """Report findings by the wall clock. They are saved before any change follows: see `Pipeline.note_own`."""
        now_s = self._clock.monotonic()
        if self.feed.unsettled or not self._self_watch.due(now_s):
            return
        wall_ns = self.feed.wall_ns()
        if self.watch.own_findings(lambda firing: self._self_watch.findings(firing, now_s, wall_ns)):
            self._kept = None  # after a kill they have the same time again, hence the same incident
            self._keep()
        records = self.watch.advance_own(wall_ns)
        self._tell(records)
        if records:
            self._kept = None  # the next checkpoint has something new

    def _rest(self) -> None:
        """Wait for news: no source has any."""
        now_s = self._clock.monotonic()
        self.counts.idle_s = now_s
        self._quiet_s = now_s if self._quiet_s is None else self._quiet_s
        if self.feed.ended and not self.finished:
            self._tell(self.watch.finish())
            self.finished = True
            self._keep()
            _LOG.info("all sources have ended; the service keeps running")
        waits = self.watch.actions or self.watch.case_rows.acts.wait
        if waits and (self.finished or now_s - self._quiet_s > PATIENCE_S):
            self._tell(self.watch.hurry(cases=not self.feed.unsettled))
        self._wake.wait(IDLE_S)
        self._wake.clear()

    def _act(self, actions: Sequence[Action], cases: Sequence[CaseAct]) -> None:
        for action in actions:
            if action.id > self.watch.actions.last_id:
                self._tell(self.watch.act(action))
                self._kept = None
        self._new_acts += cases

    def _settle_acts(self) -> None:
        """Take in acts on cases, and apply those that count by now: each once a checkpoint has it with its time.

        Without that a run that is killed would come to another time, and give the notice of it twice. While times are
        not trusted nothing can be saved, so acts wait; the history shows them all the same.
        """
        acts = self.watch.case_rows.acts
        if self.feed.unsettled or not (self._new_acts or acts.due):
            return
        acts.take(self._new_acts)
        self._new_acts, self._kept = [], None
        if self._keep() and acts.due:
            acts.settle()
            self._tell(())
            self._kept = None

    def _silence(self, silences: Sequence[ClaimSilence], windows: Sequence[QuietWindow]) -> None:
        cases = self.watch.pipeline.cases
        if cases is not None and cases.silence(silences, windows):
            self._kept = None  # after a kill they begin and end at the same times again
            self._keep()

    def _change_rules(self, rules: RuleSet) -> bool:
        if rules.hash == self.watch.rules.hash:
            return False
        self._keep()
        before, wanted = self._wanted(self.watch.rules.plans), self._wanted(rules.plans)
        if self._report is not None:
            self._report.tap.want(nodes_report(rules.plans))
        records = self.watch.change_rules(rules, self.feed.promises())
        if wanted != before:
            self.feed.want(wanted, rules.lists)
        self._tell(records)
        self._kept = None
        self._keep()
        return True

    def _tell(self, records: Sequence[ChangeRecord]) -> None:
        cases, notices = self.watch.case_rows.take(), self.watch.case_rows.take_changes()
        if records or cases:
            self._count(records)
            self._put(Bundle(records, cases=cases, notices=notices))

    def _count(self, records: Sequence[ChangeRecord]) -> None:
        for record in records:
            name = record.change.reason.value
            self.counts.changes[name] = self.counts.changes.get(name, 0) + 1

    def checkpoint(self) -> Checkpoint:
        """Return the present state. Called in the engine's thread, or before it starts."""
        saved = self.watch.checkpoint(self.feed.texts, self._asmap)
        if isinstance(self.feed, FollowedSources):
            saved = replace(saved, in_force=self.feed.in_force.saved())
        if isinstance(self.feed, FleetFeed):
            return replace(saved, streams=self.feed.stage.members.taken, stage=self.feed.stage.snapshot())
        if self._report is not None:
            tap = self._report.tap
            return replace(saved, streams={self.node: dict(tap.counts)}, origin=tap.origin)
        return saved

    def _keep(self) -> bool:
        """Send the writer a checkpoint if anything is new in it; return whether it has the present state."""
        self._kept_s = self._clock.monotonic()
        taken = self.watch.actions.last_id + self.watch.case_rows.acts.taken
        state = (self.watch.events, taken, self.feed.revision)
        if state == self._kept or self._giving_up.is_set() or self.feed.unsettled:
            return state == self._kept  # a state from the future would be useless after a restart
        rows = self.watch.case_rows
        if not self._put(Bundle(cases=rows.changed(), checkpoint=self.checkpoint(), notices=rows.take_changes())):
            return False
        self._kept = state
        self.counts.checkpoints += 1
        return True

    def _put(self, bundle: Bundle) -> bool:
        """Hand over a bundle; while the queue is full, wait, so that events stay in their files. False: given up."""
        try:
            self.out.put_nowait(bundle)
        except queue.Full:
            self.counts.full += 1
        else:
            return True
        begun, taken = self._clock.monotonic(), False
        while not taken and not self._giving_up.is_set():
            self._beat()
            with suppress(queue.Full):
                self.out.put(bundle, timeout=FULL_S)
                taken = True
        self.counts.full_s += self._clock.monotonic() - begun
        return taken
