"""Builds the parts of a service from its configuration; nothing runs yet."""

from __future__ import annotations

import asyncio
import logging
import queue
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from alerts.delivery.sender import HeartbeatPlan
from alerts.notice import ChangeRecord
from alerts.routing import FORMATS, Receiver
from alerts.store.actions import Actions
from alerts.store.database import Database
from alerts.store.incidents import IncidentQueries
from alerts.store.outbox import Outbox
from alerts.store.writer import IncidentWriter
from rules.load import RuleSet, load
from watchdog.core.errors import WatchdogError
from watchdog.core.finding import SEVERITIES
from watchdog.core.source import SourceOptions
from watchdog.engine.coverage import wanted_kinds
from watchdog.pipeline.checkpoint import read_checkpoint
from watchdog.pipeline.clock import Clock
from watchdog.service.capabilities import Capability
from watchdog.service.config.settings import ReceiverSettings, ServiceConfig
from watchdog.service.engine_thread import Bundle, EngineLoop
from watchdog.service.feed import Feed
from watchdog.service.first_start import LEAD_NS, first_starts, start_before
from watchdog.service.live_pipeline import LivePipeline, check_fits
from watchdog.service.pid_file import PidFile
from watchdog.service.writer_thread import Routes, WriterLoop

CHECKPOINT_FILE = "watchdog.checkpoint"
DEFAULTS_CHANGED = "0006"
"""The database revision of the present receiver defaults. The first start on an older one logs what changed."""
_LOG = logging.getLogger("watchdog.service")


@dataclass(slots=True)
class Store:
    """The open database with its queries."""

    database: Database
    queries: IncidentQueries
    outbox: Outbox
    actions: Actions

    @classmethod
    def open(cls, url: str) -> Store:
        """Open the database for this service alone. StoreError when it cannot be opened or another service has it."""
        database = Database.open(url, exclusive=True)
        return cls(database, IncidentQueries(database), Outbox(database), Actions(database))


@dataclass(slots=True)
class InForce:
    """What a reload replaces. lock: held by a reload, and by those who must not meet one halfway."""

    config: ServiceConfig
    rules: RuleSet
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(slots=True)
class ServiceParts:
    """What `build` makes for the daemon: everything but sender and web."""

    in_force: InForce
    pid_file: PidFile
    store: Store
    engine: EngineLoop
    writer: WriterLoop

    def close(self) -> None:
        """Release what other processes may wait for: the database and the pid file."""
        self.store.database.close()
        self.pid_file.release()


def load_rules(config: ServiceConfig) -> RuleSet:
    """Load the rules of a configuration. RuleError with every mistake."""
    return load(config.rules, packs=config.packs)


def build(
    config: ServiceConfig,
    clock: Clock,
    wall_ns: Callable[[], int],
    stored: Callable[[Sequence[ChangeRecord]], None],
) -> ServiceParts:
    """Build a service that is about to run; the daemon calls this once. Nothing is left open after an error.

    stored: called with changes that are in the database, from the writer's thread. RuleError, StoreError, StateError,
    ServiceError, SourceError and OSError give the reason in one line.
    """
    rules = load_rules(config)
    config.checkpoint.folder.mkdir(parents=True, exist_ok=True)
    pid_file = PidFile(config.checkpoint.folder)
    try:
        store = Store.open(config.database.reveal())
    except WatchdogError:
        pid_file.release()
        raise
    try:
        if store.database.found_revision < DEFAULTS_CHANGED:
            for line in config.changed:
                _LOG.warning("changed with this version: %s", line)
        engine, first = _engine(config, rules, store, clock, wall_ns)
    except (WatchdogError, OSError):
        store.database.close()
        pid_file.release()
        raise
    writer = WriterLoop(
        IncidentWriter(store.database),
        engine.out,
        routes(config),
        checkpoint=config.checkpoint.folder / CHECKPOINT_FILE,
        clock=clock,
        wall_ns=wall_ns,
        stored=stored,
    )
    if first or engine.fresh:
        engine.out.put(Bundle(first, engine.checkpoint() if engine.fresh else None))
    return ServiceParts(InForce(config, rules), pid_file, store, engine, writer)


def _engine(
    config: ServiceConfig, rules: RuleSet, store: Store, clock: Clock, wall_ns: Callable[[], int]
) -> tuple[EngineLoop, list[ChangeRecord]]:
    """Return the engine thread, resumed from the checkpoint, and the changes that starting made."""
    path = config.checkpoint.folder / CHECKPOINT_FILE
    saved = read_checkpoint(path) if path.exists() else None
    wanted, skew_ns = wanted_kinds(rules.plans), config.clock_skew
    options = SourceOptions(
        config.node,
        wanted,
        True,
        None,
        config.asmap,
        rules.lists,
        wall_ns=wall_ns,
        skew_ns=skew_ns,
        settings=config.source_settings,
    )
    feed = Feed(config.sources, options, clock, wall_ns, state_file=str(path))
    if saved is not None:
        check_fits(saved, config.node, str(path))
    positions = {name: one for name, one in (saved.positions if saved else {}).items() if one}
    start_ns = start_before(config.start, wall_ns())
    starts = first_starts(config.sources, saved.starts if saved else {}, positions, start_ns)
    feed.open(positions, {name: max(1, from_ns - LEAD_NS) for name, from_ns in starts.items()})
    watch = LivePipeline(rules, config.node, feed.kinds)
    bundles: queue.Queue[Bundle] = queue.Queue(config.queues.changes)
    first = watch.resume(saved) if saved else []
    fresh = any(name not in watch.quiet.starts for name in starts)
    if fresh:
        watch.begin(starts)
    feed.keep_promises(watch.engine.marks)
    watch.actions.forget_after(store.actions.last_id())
    for promise in feed.promises():
        first += watch.process(promise)
    for action in store.actions.after(watch.actions.last_id):  # made after the checkpoint, or while no service ran
        first += watch.act(action)
    every_s = config.checkpoint.every_ns / 1e9
    engine = EngineLoop(watch, feed, bundles, clock, every_s=every_s, asmap=config.asmap or "")
    engine.fresh = fresh
    return engine, first


def routes(config: ServiceConfig) -> Routes:
    """Return the receivers, and the address of an incident's page."""
    return Routes([receiver(one) for one in config.receivers], partial(_page_of, config.api.url))


def _page_of(url: str, incident_id: str) -> str:
    return f"{url}/incidents/{incident_id}"


def receiver(settings: ReceiverSettings) -> Receiver:
    """Return a receiver with its secrets, for routing and sending."""
    return Receiver(
        name=settings.name,
        url=settings.url.reveal(),
        format=next(one for one in FORMATS if one == settings.format),
        secrets=tuple(one.reveal() for one in settings.secrets),
        severity=next(one for one in SEVERITIES if one == settings.severity),
        events=settings.events,
        rate_per_minute=settings.rate_per_minute,
        timeout_s=settings.timeout_ns / 1e9,
        allow_private=settings.allow_private,
        headers={name: value.reveal() for name, value in settings.headers.items()},
        enabled=settings.enabled,
        keepalive_s=settings.keepalive_ns / 1e9,
    )


def heartbeat(config: ServiceConfig) -> HeartbeatPlan | None:
    """Return the heartbeat of a configuration, if any."""
    beat = config.heartbeat
    return None if beat is None else HeartbeatPlan(beat.receiver, beat.every_ns / 1e9)


def rule_facts(rules: RuleSet, judged: Mapping[str, Capability]) -> list[dict[str, object]]:
    """Return the rules in force for page and API; durations in seconds. judged: whether each can fire."""
    return [
        {
            "id": plan.id,
            "title": plan.title,
            "attack": plan.attack,
            "severity": plan.severity,
            "maturity": plan.maturity,
            "kinds": list(plan.kinds),
            "by": list(plan.by),
            "over_s": plan.over_ns / 1e9,
            "pane_s": plan.pane_ns / 1e9,
            "incident": list(plan.incident),
            "place": Path(plan.place).name if plan.place.startswith("/") else plan.place,
            "can_fire": judged[plan.id].word,
            "lacks": list(judged[plan.id].lacks),
        }
        for plan in rules.plans
    ]
