"""The engine's thread: polls sources, runs the rules, and hands changes to the writer; it never calls the database."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from alerts.notice import ChangeRecord
from alerts.store.actions import Action
from rules.load import RuleSet
from watchdog.core.errors import ServiceError
from watchdog.engine.coverage import wanted_kinds
from watchdog.pipeline.checkpoint import Checkpoint
from watchdog.pipeline.clock import Clock
from watchdog.service.feed import Feed
from watchdog.service.live_pipeline import LivePipeline
from watchdog.service.self_watch import self_watch
from watchdog.service.worker import Worker

# Between two rounds in which no source had anything new. Rules decide in panes of seconds, so a second more is little,
# and a round's price hardly depends on how much is new: at four a second it was most of what an idle service used.
IDLE_S = 1.0
PATIENCE_S = 5.0  # while no source has news, an action waits for its part's event time no longer than this
COMMANDS_MOST = 16  # in the queue: each has up to a thousand actions, and the database keeps all of them
FULL_S = 0.1  # between two tries of a full queue
_LOG = logging.getLogger("watchdog.engine")


@dataclass(frozen=True, slots=True)
class Bundle:
    """A unit of work for the writer: changes, then the state after them if it is to be saved."""

    records: Sequence[ChangeRecord] = ()
    checkpoint: Checkpoint | None = None
    last: bool = False


@dataclass(slots=True)
class EngineCounts:
    """Counts of the engine's thread; written there, read anywhere."""

    slices: int = 0
    busy_s: float = 0.0
    full: int = 0
    full_s: float = 0.0
    refused: int = 0  # commands refused by a full queue; written by the callers
    checkpoints: int = 0
    idle_s: float | None = None  # monotonic time at which all sources last had nothing new
    changes: dict[str, int] = field(default_factory=dict)


EngineCommand = Callable[[], None]


class EngineLoop(Worker):
    """One thread over one `LivePipeline` and one `Feed`; the daemon calls `start`, then `stop` and `join`.

    out: a bounded queue to the writer. While it is full, the thread does not read; both are counted. every_s:
    monotonic seconds between two checkpoints.
    """

    def __init__(
        self,
        watch: LivePipeline,
        feed: Feed,
        out: queue.Queue[Bundle],
        clock: Clock,
        *,
        every_s: float,
        asmap: str = "",
    ) -> None:
        super().__init__("engine", clock)
        self.watch, self.feed, self.counts = watch, feed, EngineCounts()
        self.out, self._every_s, self._asmap = out, every_s, asmap
        self._commands: queue.Queue[EngineCommand] = queue.Queue(COMMANDS_MOST)
        self._wake, self._stopping = threading.Event(), threading.Event()
        self._kept: tuple[int, int] | None = None
        self._kept_s = clock.monotonic()
        self._finished = False
        self.fresh = False  # a source is read for the first time: its start is saved before anything else
        self._quiet_s: float | None = None
        self._self_watch = self_watch(watch.engine.node, feed, clock.monotonic())

    def stop(self) -> None:
        """End after the present slice, with a checkpoint."""
        self._stopping.set()
        self._wake.set()

    def give_up(self) -> None:
        """End even when the queue to the writer is full: a restart computes again what is not stored."""
        super().give_up()
        self.stop()

    @property
    def finished(self) -> bool:
        """Whether all sources have ended and all their changes went to the writer."""
        return self._finished

    @property
    def commands(self) -> int:
        """Number of commands in the queue."""
        return self._commands.qsize()

    def act(self, actions: Sequence[Action]) -> bool:
        """Apply operators' actions soon; False when the queue is full: try again later. From any thread."""
        return self._order(lambda: self._act(actions))

    def change_rules(self, rules: RuleSet) -> Future[bool]:
        """Replace the rules soon; the future is whether they differ from those before. From any thread.

        ServiceError when the queue of commands is full.
        """
        done: Future[bool] = Future()
        if not self._order(lambda: done.set_result(self._change_rules(rules))):
            raise ServiceError("the engine is far behind and takes no more commands; try again later")
        return done

    def _order(self, command: EngineCommand) -> bool:
        try:
            self._commands.put_nowait(command)
        except queue.Full:
            self.counts.refused += 1
            return False
        self._wake.set()
        return True

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self.step()
        finally:
            self.feed.close()
        self._keep()
        self._put(Bundle(last=True))

    def step(self) -> None:
        """Process one slice, or wait shortly; the thread repeats this until it is stopped."""
        self._beat()
        while not self._commands.empty():
            self._commands.get_nowait()()
        moved = self.feed.moved
        slice_ = self.feed.next()
        if self.feed.moved > moved:
            self._kept = None  # watermarks are part of the state: after a kill the gap has the same time again,
            self._keep()  # hence the same incident
        if slice_ is not None:
            begun = self._clock.monotonic()
            self._tell(self.watch.process(slice_))
            self.counts.slices += 1
            self.counts.busy_s += self._clock.monotonic() - begun
            self._quiet_s = None if slice_.batches else self._quiet_s
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
        if records:
            self._tell(records)
            self._kept = None  # the next checkpoint has something new

    def _rest(self) -> None:
        """Wait for news: no source has any."""
        now_s = self._clock.monotonic()
        self.counts.idle_s = now_s
        self._quiet_s = now_s if self._quiet_s is None else self._quiet_s
        if self.feed.ended and not self._finished:
            self._tell(self.watch.finish())
            self._finished = True
            self._keep()
            _LOG.info("all sources have ended; the service keeps running")
        if self.watch.actions and (self._finished or now_s - self._quiet_s > PATIENCE_S):
            self._tell(self.watch.hurry())
        self._wake.wait(IDLE_S)
        self._wake.clear()

    def _act(self, actions: Sequence[Action]) -> None:
        for action in actions:
            if action.id > self.watch.actions.last_id:
                self._tell(self.watch.act(action))
                self._kept = None

    def _change_rules(self, rules: RuleSet) -> bool:
        if rules.hash == self.watch.rules.hash:
            return False
        self._keep()
        before = wanted_kinds(self.watch.rules.plans)
        records = self.watch.change_rules(rules, self.feed.promises())
        if wanted_kinds(rules.plans) != before:
            self.feed.want(wanted_kinds(rules.plans), rules.lists)
        self._tell(records)
        self._kept = None
        self._keep()
        return True

    def _tell(self, records: Sequence[ChangeRecord]) -> None:
        if records:
            for record in records:
                name = record.change.reason.value
                self.counts.changes[name] = self.counts.changes.get(name, 0) + 1
            self._put(Bundle(records))

    def checkpoint(self) -> Checkpoint:
        """Return the present state. Called in the engine's thread, or before it starts."""
        return self.watch.checkpoint(self.feed.texts, self._asmap)

    def _keep(self) -> None:
        """Send the writer a checkpoint if anything is new in it."""
        self._kept_s = self._clock.monotonic()
        state = (self.watch.events, self.watch.actions.last_id)
        if state == self._kept or self._giving_up.is_set() or self.feed.unsettled:
            return  # a state from the future would be useless after a restart
        self._put(Bundle(checkpoint=self.checkpoint()))
        self._kept = state
        self.counts.checkpoints += 1

    def _put(self, bundle: Bundle) -> None:
        """Hand over a bundle; while the queue is full, wait, so that events stay in their files."""
        try:
            self.out.put_nowait(bundle)
        except queue.Full:
            self.counts.full += 1
        else:
            return
        begun = self._clock.monotonic()
        while not self._giving_up.is_set():
            self._beat()
            try:
                self.out.put(bundle, timeout=FULL_S)
                break
            except queue.Full:
                continue
        self.counts.full_s += self._clock.monotonic() - begun
