"""The running service as page and API see it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from alerts.case.acts import CaseVerb
from alerts.delivery.formats import place_of
from alerts.incident_table import IncidentError
from alerts.silence import ClaimSilence
from alerts.store.actions import VERBS, Done
from alerts.store.audit import Audit
from alerts.store.case_acts import CaseDone
from alerts.store.cases import CaseQueries
from alerts.store.incidents import IncidentQueries
from alerts.store.outbox import NoReceiverError, Outbox
from alerts.store.silences import KeptSilence, Silences
from alerts.store.verdicts import OperatorVerdict
from watchdog.core.release import VERSION
from watchdog.core.source import END_OF_TIME_NS
from watchdog.core.text import printable
from watchdog.service.announcer import announced_case
from watchdog.service.assembly import receiver, rule_facts
from watchdog.service.budget_facts import fact_object
from watchdog.service.channel import Channel
from watchdog.service.config.settings import ApiSettings
from watchdog.service.daemon import Daemon
from watchdog.service.engine_thread import EngineLoop
from watchdog.service.metrics import Measured, exposition
from watchdog.service.node_facts import node_facts
from watchdog.service.nodes import label_of
from watchdog.service.view import Health, Subscription, UnknownNodeError, UnknownPeerError

T = TypeVar("T")


class LiveHistory:
    """A `HistoryView` of a daemon; everything here belongs to the event loop."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    @property
    def queries(self) -> IncidentQueries:
        """Stored incidents."""
        return self._daemon.store.queries

    @property
    def outbox(self) -> Outbox:
        """Notices and their deliveries."""
        return self._daemon.store.outbox

    @property
    def cases(self) -> CaseQueries:
        """Stored cases."""
        return self._daemon.store.cases

    @property
    def audit(self) -> Audit:
        """Who changed what."""
        return self._daemon.store.audit

    async def ask(self, call: Callable[[], T], /) -> T:
        """Run a database call in a thread."""
        return await self._daemon.ask(call)

    async def act(
        self, incident_id: str, action: str, who: str, text: str, *, verdict: OperatorVerdict | None = None
    ) -> Done:
        """Store an operator's action and wake the engine. IncidentError when it cannot be done."""
        verb = next((one for one in VERBS if one == action), None)
        if verb is None:
            raise IncidentError(f"no action {action!r}; there are {', '.join(VERBS)}")
        now_ns = self._daemon.wall_ns()
        done = await self._daemon.ask(lambda: self.queries.act(incident_id, verb, who, text, now_ns, verdict=verdict))
        self._daemon.look_for_actions()
        return done

    async def act_on_case(self, case: str, verb: CaseVerb, who: str, text: str, party: str = "") -> CaseDone:
        """Store what an operator does with a case and wake the engines. IncidentError when it cannot be done."""
        store, now_ns = self._daemon.store.case_acts, self._daemon.wall_ns()
        done = await self._daemon.ask(lambda: store.act(case, verb, who, text, now_ns, party=party))
        self._daemon.look_for_actions()
        if self._daemon.hub.watchers:
            shown = await self._daemon.ask(lambda: self.cases.one(done.case))
            if shown is not None:
                self._daemon.hub.announce("case", announced_case(shown))
        return done

    async def resend(self, delivery_id: str) -> None:
        """Send a notice again, with its id. UnknownDeliveryError, or NoReceiverError: see there."""
        now_ns = self._daemon.wall_ns()
        receiver = (await self._daemon.ask(lambda: self.outbox.one(delivery_id))).notice.receiver
        if receiver not in {one.name for one in self._daemon.config.receivers}:
            raise NoReceiverError(f"receiver {receiver!r} is not in the configuration: nothing would be sent")
        again = await self._daemon.ask(lambda: self.outbox.resend(delivery_id, now_ns))
        self._daemon.hub.announce("delivery", again.as_object())
        await self._daemon.sender.poke()


class LiveSilences:
    """A `SilenceView` of a daemon; everything here belongs to the event loop."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    @property
    def silences(self) -> Silences:
        """Stored silences."""
        return Silences(self._daemon.store.database)

    @property
    def cases(self) -> CaseQueries:
        """Stored cases."""
        return CaseQueries(self._daemon.store.database)

    def standing_silences(self) -> Sequence[ClaimSilence]:
        """Return those of the configuration in force."""
        return self._daemon.config.silences

    def wall_ns(self) -> int:
        """Return the time of the wall clock."""
        return self._daemon.wall_ns()

    async def silence(self, change: Callable[[Silences, int], KeptSilence], /) -> KeptSilence:
        """Store a change and wake the engines. SilenceError when it cannot be."""
        now_ns = self._daemon.wall_ns()
        kept = await self._daemon.ask(lambda: change(self.silences, now_ns))
        self._daemon.look_for_silences()
        return kept


class LiveState:
    """A `StateView` of a daemon; everything here belongs to the event loop."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    def rules(self, node: str | None = None) -> Sequence[Mapping[str, object]]:
        """Return the rules in force."""
        self._check(node)
        engines = [one for one in self._daemon.nodes if node in (None, one.node)]
        learnt = [(one.node, fact) for one in engines for fact in one.watch.engine.budgets.facts()]
        return [
            {**rule, "detectors": [fact_object(fact, own) for own, fact in learnt if fact.rule == rule["id"]]}
            for rule in rule_facts(self._daemon.in_force.rules, self._daemon.abilities.now(node))
        ]

    def receivers(self) -> Sequence[Mapping[str, object]]:
        """Return the receivers without secrets, with the state of their queues."""
        states = {one.receiver: one.state for one in self._daemon.sender.status()}
        return [
            {
                "name": one.name,
                "format": one.format,
                "host": place_of(receiver(one, _no_key)),
                "severity": one.severity,
                "about": one.about,
                "events": list(one.events),
                "nodes": list(one.nodes),
                "enabled": one.enabled,
                "state": states.get(one.name, ""),
            }
            for one in self._daemon.config.receivers
        ]

    def status(self, node: str | None = None) -> Mapping[str, object]:
        """Return facts for the page's head."""
        self._check(node)
        daemon, nodes = self._daemon, self._daemon.nodes
        engines = [one for one in nodes if node in (None, one.node)]
        states = daemon.vitals.node_states()
        facts = {
            "node": ", ".join(one.node for one in engines),
            "version": VERSION,
            "uptime_s": round(daemon.clock.monotonic() - daemon.started_s, 1),
            **self._times(engines),
            "sources": [
                {**label_of(nodes, one), **_source(channel)} for one in engines for channel in list(one.feed.channels)
            ],
            "queues": {"changes": nodes.out.qsize(), "outcomes": daemon.sender.unstored},
        }
        if nodes.labelled:
            facts["nodes"] = [
                {"node": one.node, "state": states[one.node][0], "reason": states[one.node][1], **self._times([one])}
                for one in engines
            ]
        return facts

    def health(self) -> Health:
        """Return whether the service is alive."""
        return self._daemon.vitals.health()

    def readiness(self, node: str | None = None) -> Health:
        """Return whether the service does its work."""
        self._check(node)
        return self._daemon.vitals.readiness(node)

    def metrics(self) -> str:
        """Return the Prometheus text."""
        daemon = self._daemon
        parts = Measured(
            nodes=daemon.nodes,
            writer=daemon.writer,
            sender=daemon.sender,
            hub=daemon.hub,
            stored=daemon.stored,
            api_queries=daemon.api_queries,
            callers=daemon.callers,
            vitals=daemon.vitals,
            abilities=daemon.abilities,
            delays=daemon.delays,
            now_s=daemon.clock.monotonic(),
        )
        return exposition(parts, daemon.wall_ns())

    def peers(self, node: str) -> Mapping[str, object]:
        """Return the peers of a node, and its latest numbers."""
        self._check(node)
        engine = self._daemon.nodes.engines[node]
        return {"node": node, **node_facts(engine.node_state, engine.traffic)}

    def messages(self, node: str, conn: int) -> Mapping[str, object]:
        """Return the latest messages of a peer, and keep further ones for a while."""
        self._check(node)
        engine = self._daemon.nodes.engines[node]
        found = engine.traffic.messages(conn, self._daemon.clock.monotonic())
        if found is None:
            raise UnknownPeerError(f"peer {conn} of node '{printable(node)}'")
        return {"node": node, **found}

    def _check(self, node: str | None) -> None:
        if node is not None and node not in self._daemon.nodes.engines:
            raise UnknownNodeError(f"node '{printable(node)}'")

    def _times(self, engines: Iterable[EngineLoop]) -> dict[str, object]:
        """Return event times and the number of events; of several nodes the latest event and the longest lag."""
        watches = [engine.watch for engine in engines]
        events = [watch.last_event_ns for watch in watches if watch.last_event_ns is not None]
        live = [one for one in (watch.engine.watermark_ns for watch in watches) if 0 < one < END_OF_TIME_NS]
        return {
            "event_time": max(events) / 1e9 if events else None,
            "lag_s": round((self._daemon.wall_ns() - min(live)) / 1e9, 3) if live else None,
            "events": sum(watch.events for watch in watches),
        }


class LiveView(LiveHistory, LiveSilences, LiveState):
    """A `ServiceView` of a daemon."""

    @property
    def api(self) -> ApiSettings:
        """Where the API listens, its token and public address."""
        return self._daemon.config.api

    def subscribe(self) -> Subscription | None:
        """Return a subscription from now on; None when there are too many."""
        return self._daemon.hub.join()


def _source(one: Channel) -> dict[str, object]:
    return {
        "name": printable(one.name),
        "state": "failing" if one.error else "ended" if one.ended else "open",
        "error": one.error,
        "watermark": one.watermark_ns / 1e9 if 0 < one.watermark_ns < END_OF_TIME_NS else None,
    }


def _no_key(_folder: Path) -> bytes:
    """Return no key: what is shown of a receiver hashes nothing."""
    return b""
