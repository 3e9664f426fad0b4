"""Builds the parts of a service from its configuration; nothing runs yet."""

from __future__ import annotations

import asyncio
import logging
import queue
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from alerts.case.change import CaseChange
from alerts.case.notice import CaseReason
from alerts.decide import Decision, HeldReason
from alerts.delivery.sender import HeartbeatPlan
from alerts.maintenance import QuietWindow, in_maintenance
from alerts.notice import ChangeRecord
from alerts.routing import FORMATS, REDACTIONS, SUBJECTS, Receiver
from alerts.store.actions import Actions
from alerts.store.audit import Audit
from alerts.store.case_acts import CaseActs
from alerts.store.cases import CaseQueries
from alerts.store.database import Database
from alerts.store.incidents import IncidentQueries
from alerts.store.outbox import Outbox
from alerts.store.recordings import Recordings
from alerts.store.timed_notices import TimedNotices
from alerts.store.writer import IncidentWriter
from rules.load import RuleSet, load
from watchdog.core.errors import StateError, WatchdogError
from watchdog.core.finding import SEVERITIES
from watchdog.core.text import printable
from watchdog.pipeline.clock import Clock
from watchdog.service.capabilities import ALONE, Capability
from watchdog.service.config.settings import ReceiverSettings, ServiceConfig
from watchdog.service.engine_thread import Bundle, EngineLoop, discard
from watchdog.service.fleet_start import FleetStart
from watchdog.service.house_claims import join_house
from watchdog.service.house_key import any_key, house_key
from watchdog.service.node_start import NodeStart, checkpoint_path, orphans, retired, take_over
from watchdog.service.nodes import Nodes
from watchdog.service.pid_file import PidFile
from watchdog.service.stored_positions import StoredPositions
from watchdog.service.writer_thread import Routes, WriterLoop

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
    cases: CaseQueries
    case_acts: CaseActs
    audit: Audit
    links: Recordings

    @classmethod
    def open(cls, url: str) -> Store:
        """Open the database for this service alone. StoreError when it cannot be opened or another service has it."""
        database = Database.open(url, exclusive=True)
        rest = (CaseQueries(database), CaseActs(database), Audit(database), Recordings(database))
        return cls(database, IncidentQueries(database), Outbox(database), Actions(database), *rest)


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
    start: NodeStart
    nodes: Nodes
    writer: WriterLoop

    @property
    def engine(self) -> EngineLoop:
        """The engine of the only node. ServiceError with several."""
        return self.nodes.only

    def close(self) -> None:
        """Release what other processes may wait for: the database and the pid file."""
        self.store.database.close()
        self.pid_file.release()


def load_rules(config: ServiceConfig) -> RuleSet:
    """Load the rules of a configuration. RuleError with every mistake."""
    return load(config.rules, packs=config.packs, exceptions=config.exceptions)


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
    on_disk = StoredPositions()
    try:
        store = Store.open(config.database.reveal())
    except WatchdogError:
        pid_file.release()
        raise
    try:
        if "" < store.database.found_revision < DEFAULTS_CHANGED:  # empty: a new database, which no version wrote
            for line in config.changed:
                _LOG.warning("changed with this version: %s", line)
        take_over(config)
        room = config.queues.changes + 1 + len(config.nodes) + len(orphans(config))  # what starting makes fits as well
        out: queue.Queue[Bundle] = queue.Queue(room if config.several else config.queues.changes)
        start = NodeStart(FleetStart(), store.actions, out, clock, wall_ns, on_disk, store.links, store.case_acts)
        nodes = _started(config, rules, start)
    except (WatchdogError, OSError):
        store.database.close()
        pid_file.release()
        raise
    writer = _writer(config, store.database, start, stored)
    return ServiceParts(InForce(config, rules), pid_file, store, start, nodes, writer)


def _writer(
    config: ServiceConfig, database: Database, start: NodeStart, stored: Callable[[Sequence[ChangeRecord]], None]
) -> WriterLoop:
    return WriterLoop(
        IncidentWriter(database),
        start.out,
        routes(config),
        checkpoint=partial(checkpoint_path, config),
        fleet=config.several,
        clock=start.clock,
        wall_ns=start.wall_ns,
        stored=stored,
        on_disk=start.on_disk,
        escalated=TimedNotices(database).escalated,
    )


def _started(config: ServiceConfig, rules: RuleSet, start: NodeStart) -> Nodes:
    """Return the engines of all nodes, resumed from their checkpoints; the queue has what starting made."""
    nodes = Nodes(start.out, labelled=config.several)
    try:
        for path in orphans(config):
            try:
                start.out.put(retired(path, rules))
            except StateError as error:
                _LOG.warning("%s; it is left alone", error)
            else:
                _LOG.warning("node %s is no longer configured: its incidents are resolved", printable(path.stem))
        if config.several:
            nodes.fleet = start.fleet.build(
                config, rules, start.actions, start.case_acts, start.out, clock=start.clock, wall_ns=start.wall_ns
            )
        for settings in config.nodes:
            nodes.add(start.build(config, settings, rules))
        join_house(nodes)
    except BaseException:
        for engine in nodes:
            discard(engine)
        raise
    for engine in nodes.loops:
        if engine.first is not None:
            start.out.put(engine.first)
            engine.first = None
    return nodes


def routes(config: ServiceConfig) -> Routes:
    """Return the receivers, and the addresses of the pages of an incident and a case."""
    url = config.api.url
    receivers = [receiver(one, house_key) for one in config.receivers]
    pages = (partial(_page_of, url, "incidents"), partial(_page_of, url, "cases"))
    return Routes(receivers, *pages, partial(held_by_window, config.maintenance))


def held_by_window(windows: Sequence[QuietWindow], change: CaseChange, now_ns: int) -> Decision | None:
    """Return the decision to hold back what the wall clock makes; the book decides of all other changes."""
    if not {CaseReason.REMINDER, CaseReason.ESCALATED}.intersection(change.reasons):
        return None
    window = in_maintenance(windows, change.node, change.severity, now_ns)
    return None if window is None else Decision("", HeldReason.MAINTENANCE, window.name, window.place)


def _page_of(url: str, subject: str, id_: str) -> str:
    return f"{url}/{subject}/{id_}"


def receiver(settings: ReceiverSettings, key_of: Callable[[Path], bytes] = any_key) -> Receiver:
    """Return a receiver with its secrets, for routing and sending. key_of: the key of the house for `redact: hash`."""
    url = settings.url.reveal()
    return Receiver(
        name=settings.name,
        url=url,
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
        nodes=settings.nodes,
        about=next(one for one in SUBJECTS if one == settings.about),
        places=settings.places,
        template=settings.template,
        own={name: tuple(one.reveal() for one in values) for name, values in settings.own.items()},
        urls=(url, *(one.reveal() for one in settings.more_urls)) if settings.more_urls else (),
        labels=settings.labels,
        proxy=settings.proxy.reveal() if settings.proxy else "",
        tls=settings.tls,
        redact=next(one for one in REDACTIONS if one == settings.redact),
        redact_key=key_of(settings.house) if settings.redact == "hash" else b"",
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
            "scope": plan.scope,
            "can_fire": judged.get(plan.id, ALONE).word,
            "lacks": list(judged.get(plan.id, ALONE).lacks),
        }
        for plan in rules.plans
    ]
