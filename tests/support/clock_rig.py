"""A service's engine over one real source, with clocks that a test sets: monotonic, of this machine, of the node."""

from __future__ import annotations

import json
import queue
from datetime import UTC, datetime
from pathlib import Path

from alerts.incident import Reason
from alerts.notice import ChangeRecord
from rules.load import RuleSet, load
from tests.support.scripted_feed import VirtualClock, mempool
from watchdog.archive.writer import EventsWriter
from watchdog.core.batch import Slice
from watchdog.core.source import SourceOptions
from watchdog.engine.coverage import wanted_kinds
from watchdog.pipeline.checkpoint import Checkpoint
from watchdog.service.engine_thread import Bundle, EngineLoop
from watchdog.service.feed import Feed
from watchdog.service.live_pipeline import LivePipeline

SECOND = 1_000_000_000
MINUTE, HOUR, DAY = 60.0, 3_600.0, 86_400.0
START = 1_768_212_000 * SECOND  # 2026-01-12
RULES = """
rules:
  attack:
    title: An attack
    attack: resource
    severity: warning
    on: {kind}
    by: []
    measure: {{times: count()}}
    over: 10s
    fire: times >= 20
    resolve_after: 1m
"""


class Rig:
    """`run` lets time pass; then `told` has what was said, and `saved` the last checkpoint."""

    def __init__(self, folder: Path, scheme: str, *others: str, missing: bool = False) -> None:
        """others: further sources. missing: the source is not there yet, see `prepare`."""
        self.folder, self.scheme, self.clock = folder, scheme, VirtualClock()
        self.wall_off = self.node_off = 0.0
        self.writer = {"log": self._log, "snapshots": self._polls, "capture": self._capture, "events": self._events}[
            scheme
        ]
        self.path = folder / {"log": "debug.log", "capture": "cap"}.get(scheme, scheme)
        self.rules = rules_of(folder, scheme)
        self.told: list[ChangeRecord] = []
        self.saved: Checkpoint | None = None
        self.kept_before: Checkpoint | None = None  # the one before the incident that opened last
        self._second, self._others = 0, others
        if not missing:
            self.prepare()
        self.start()

    @property
    def true_ns(self) -> int:
        return START + int((self.clock.now - 1_000) * SECOND)

    def wall_ns(self) -> int:
        return self.true_ns + int(self.wall_off * SECOND)

    @property
    def node_ns(self) -> int:
        return self.true_ns + int(self.node_off * SECOND)

    def start(self) -> None:
        options = SourceOptions(
            "node", wanted_kinds(self.rules.plans), True, wall_ns=self.wall_ns, skew_ns=120 * SECOND
        )
        self.feed = Feed(
            [f"{self.scheme}:{self.path}", *self._others], options, self.clock, self.wall_ns, "watchdog.checkpoint"
        )
        self.feed.open(self.saved.positions if self.saved else {})
        watch = LivePipeline(self.rules, "node", self.feed.kinds)
        if self.saved:
            watch.resume(self.saved)
        self.feed.keep_promises(watch.engine.marks)
        self.loop = EngineLoop(watch, self.feed, queue.Queue(10_000), self.clock, every_s=5.0)
        self.loop._wake.set()

    def restart(self) -> None:
        self.loop._keep()
        self.gather()
        self.feed.close()
        self.start()

    def gather(self) -> None:
        while not self.loop.out.empty():
            bundle: Bundle = self.loop.out.get()
            self.told += bundle.records
            if any(one.change.reason is Reason.OPENED for one in bundle.records):
                self.kept_before = self.saved
            self.saved = bundle.checkpoint or self.saved

    def run(self, seconds: float, *, rate: int = 1, attack: bool = False) -> None:
        for _ in range(int(seconds)):
            self.clock.now += 1
            self._second += 1
            if rate and self._second % rate == 0:
                for at in range(3 if attack else 1):
                    self.writer(at)
            for _ in range(4):
                self.loop._wake.set()
                self.loop.step()
            self.gather()

    def opened(self, rule: str) -> list[ChangeRecord]:
        return [
            one
            for one in self.told
            if one.incident.rule == rule and one.change.reason in (Reason.OPENED, Reason.REOPENED)
        ]

    def prepare(self) -> None:
        """Make an empty source."""
        if self.scheme == "capture":
            (self.path / "1.2.3.4_8333").mkdir(parents=True)
        elif self.scheme == "events":
            self._archive = EventsWriter(self.path, ("snapshots:x",))
            self._until = 0
        else:
            self.path.touch()

    def _log(self, at: int) -> None:
        moment = datetime.fromtimestamp(self.node_ns / 1e9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        with self.path.open("a") as file:
            file.write(f"{moment} [net] Misbehaving: peer={at}\n")

    def _capture(self, at: int) -> None:
        nonce = (self._second * 10 + at).to_bytes(8, "little")
        record = (
            (self.node_ns // 1_000 + at).to_bytes(8, "little") + b"ping".ljust(12, b"\0") + (8).to_bytes(4, "little")
        )
        with (self.path / "1.2.3.4_8333" / "msgs_recv.dat").open("ab") as file:
            file.write(record + nonce)

    def poll(self, at: int) -> str:
        result = {"loaded": True, "size": 1, "bytes": 1, "usage": 1, "maxmempool": 300_000_000}
        return json.dumps({"time": self.node_ns / SECOND + at / 10, "kind": "getmempoolinfo", "result": result}) + "\n"

    def _polls(self, at: int) -> None:
        with self.path.open("a") as file:
            file.write(self.poll(at))

    def _events(self, at: int) -> None:
        found = mempool("snapshots:x", (self.node_ns - START) / SECOND + at / 10)
        self._until = max(self._until, found.until_ns)  # as `watchdog record` writes it: never back
        self._archive.write(Slice(found.source, found.batches, self._until, {}))


def rules_of(folder: Path, scheme: str) -> RuleSet:
    kind = {"log": "log:misbehaving", "capture": "p2p:ping"}.get(scheme, "rpc:mempool")
    (folder / "rules.yaml").write_text(RULES.format(kind=kind))
    return load([folder / "rules.yaml"], packs=False)
