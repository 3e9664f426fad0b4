"""A service as page and API see it: a real book, a real SQLite history and outbox, a real hub; no sources."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias, TypeVar, cast

from aiohttp.test_utils import TestClient, TestServer
from aiohttp.web import Application, Request

from alerts.book import IncidentBook
from alerts.case.acts import CaseVerb
from alerts.case.document import StoredCase
from alerts.decide import decide, notices
from alerts.incident import IncidentChange
from alerts.notice import ChangeRecord
from alerts.render import as_object
from alerts.routing import Receiver
from alerts.silence import ClaimSilence
from alerts.store.actions import Done, Verb
from alerts.store.audit import Audit
from alerts.store.case_acts import CaseActs, CaseDone
from alerts.store.cases import CaseQueries
from alerts.store.database import Database
from alerts.store.incidents import IncidentQueries
from alerts.store.outbox import NoReceiverError, Outbox
from alerts.store.silences import KeptSilence, Silences
from alerts.store.verdicts import OperatorVerdict
from alerts.store.writer import IncidentWriter
from tests.support.event_loops import scenery
from watchdog.core.finding import Evidence, Finding
from watchdog.service.announcer import announced_case
from watchdog.service.config.secret import Secret
from watchdog.service.config.settings import ApiSettings
from watchdog.service.hub import Hub, Watcher
from watchdog.service.node_facts import node_facts
from watchdog.service.node_metrics import NodeState
from watchdog.service.view import Check, Health, UnknownNodeError, UnknownPeerError
from watchdog.traffic.node_traffic import NodeTraffic
from watchdog.web.app import make_app

T = TypeVar("T")
Client: TypeAlias = "TestClient[Request, Application]"  # as text: it cannot be subscripted in our oldest aiohttp

SECOND = 1_000_000_000
START_NS = 1_768_212_000 * SECOND
TOKEN = "open-sesame"
AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}

HOSTILE = (
    '<img src=x onerror="window.broken=1"><script>window.broken=1</script>'
    "\u202e\u2066gnp.exe\x1b[31m%s%n{0}\u200b\u0000"
)
"""Markup, a right-to-left override, an isolate, ANSI colour, a format string, a zero-width space, NUL."""


RULE: Mapping[str, object] = {
    "id": "addr-beyond-limit",
    "title": "t",
    "attack": "addr-flooding",
    "severity": "warning",
    "by": ("a",),
}
"""A rule with a tuple, as plans have them."""


def flood(peer: str = "217.94.191.240", second: int = 0, **changes: Any) -> Finding:
    """A flood of addresses by one peer; `changes` are fields of `Finding`."""
    found = Finding(
        rule="addr-beyond-limit",
        attack="addr-flooding",
        severity="warning",
        node="node-1",
        change="fire",
        time_ns=START_NS + second * SECOND,
        since_ns=START_NS,
        key={"peer_addr": peer},
        incident={"peer_addr": peer},
        entities=(peer, "AS3352"),
        measures={"beyond": 1200, "share": 0.25},
        summary=f"{peer} sent 40000 addresses in 10 minutes, 38000 beyond its limit",
        evidence=(
            Evidence(START_NS + second * SECOND, "p2p:addr", {"peer": peer, "entries": 1000, "solicited": False}),
        ),
        resolve_after_ns=1800 * SECOND,
    )
    return replace(found, **changes)


class StoredView:
    """A `ServiceView`. `tell` stores a finding's changes and announces them."""

    def __init__(
        self,
        folder: Path,
        api: ApiSettings | None = None,
        *,
        titles: Mapping[str, str] | None = None,
        database: str | None = None,
    ) -> None:
        self.database = scenery(lambda: Database.open(database or f"sqlite:///{folder / 'history.db'}"))
        self.queries, self.outbox = IncidentQueries(self.database), Outbox(self.database)
        self.cases, self.audit, self._case_acts = (
            CaseQueries(self.database),
            Audit(self.database),
            CaseActs(self.database),
        )
        self.api = api or ApiSettings(token=Secret("test", TOKEN))
        self.hub = Hub(100)
        self.checks = [Check("loop", ok=True, text="beats")]
        self._book, self._writer = IncidentBook(), IncidentWriter(self.database)
        self._titles = titles or {}
        self._receivers = [Receiver("chat", "https://chat.example/hook", about="incidents")]
        self.now_ns = START_NS
        self.standing: Sequence[ClaimSilence] = ()
        self.facts: dict[str, object] = {}
        self.traffic = NodeTraffic()
        self.rule_list: list[Mapping[str, object]] = [RULE]

    def tell(self, *findings: Finding) -> list[str]:
        """Ids of the incidents that changed, in order."""
        changes = [change for finding in findings for change in self._book.apply(finding)]
        changes += self._book.drain()
        records = [self._record(change) for change in changes]
        told = [
            notice for one in records for notice in notices(one, decide(one, self._receivers), self._url, self.now_ns)
        ]
        scenery(lambda: self._writer.record(records, told))
        for one in records:
            self._announce(one)
        return list(dict.fromkeys(change.id for change in changes))

    def store_cases(self, rows: Sequence[StoredCase]) -> None:
        """Store cases as the writer does."""
        self._writer.record((), (), rows)

    def _record(self, change: IncidentChange) -> ChangeRecord:
        incident = self._book.table.incident(change.id)
        assert incident is not None
        return ChangeRecord(incident, change, self._titles.get(incident.rule, "A peer sends far too many addresses"))

    def _announce(self, one: ChangeRecord) -> None:
        found = as_object(one.incident, one.title)
        del found["evidence"]
        step = {"sequence": one.change.sequence, "reason": one.change.reason.value, "text": one.change.text}
        self.hub.announce("incident", found | {"change": step | {"time": one.change.time_ns / 1e9}})

    def _url(self, id_: str) -> str:
        return f"{self.api.url}/incidents/{id_}"

    async def ask(self, call: Callable[[], T], /) -> T:
        """In a thread, as the daemon does."""
        return await asyncio.to_thread(call)

    async def act(
        self, incident_id: str, action: str, who: str, text: str, *, verdict: OperatorVerdict | None = None
    ) -> Done:
        """Store the action; no engine applies it to the book here."""
        verb, at_ns = cast("Verb", action), self.now_ns + SECOND
        return await self.ask(lambda: self.queries.act(incident_id, verb, who, text, at_ns, verdict=verdict))

    async def act_on_case(self, case: str, verb: CaseVerb, who: str, text: str, party: str = "") -> CaseDone:
        """Store the act and announce the case, as the daemon does; no engine applies it to the book here."""
        done = await self.ask(lambda: self._case_acts.act(case, verb, who, text, self.now_ns, party=party))
        shown = await self.ask(lambda: self.cases.one(done.case))
        assert shown is not None
        self.hub.announce("case", announced_case(shown))
        return done

    async def resend(self, delivery_id: str) -> None:
        """As the daemon does, for any receiver but `left`."""
        if (await self.ask(lambda: self.outbox.one(delivery_id))).notice.receiver == "left":
            raise NoReceiverError("receiver 'left' is not in the configuration: nothing would be sent")
        again = await self.ask(lambda: self.outbox.resend(delivery_id, self.now_ns))
        self.hub.announce("delivery", again.as_object())

    @property
    def silences(self) -> Silences:
        """Stored silences."""
        return Silences(self.database)

    def wall_ns(self) -> int:
        """A clock that the test moves."""
        return self.now_ns

    def standing_silences(self) -> Sequence[ClaimSilence]:
        """What the test set."""
        return self.standing

    async def silence(self, change: Callable[[Silences, int], KeptSilence], /) -> KeptSilence:
        """As the daemon does."""
        return await self.ask(lambda: change(self.silences, self.now_ns))

    def rules(self, node: str | None = None) -> Sequence[Mapping[str, object]]:
        """What the test set."""
        self._check(node)
        return self.rule_list

    def receivers(self) -> Sequence[Mapping[str, object]]:
        """One receiver."""
        return [{"name": "chat", "format": "webhook", "host": "chat.example"}]

    def subscribe(self) -> Watcher | None:
        """A watcher of the hub."""
        return self.hub.join()

    def status(self, node: str | None = None) -> Mapping[str, object]:
        """The least that a service says of itself, and `facts`."""
        self._check(node)
        return {"node": "node-1", "version": "0.1.0", **self.facts}

    def health(self) -> Health:
        """What the test set."""
        return Health(tuple(self.checks))

    def readiness(self, node: str | None = None) -> Health:
        """The same."""
        self._check(node)
        return self.health()

    def peers(self, node: str) -> Mapping[str, object]:
        """What `traffic` has seen."""
        self._check(node)
        return {"node": node, **node_facts(NodeState(), self.traffic)}

    def messages(self, node: str, conn: int) -> Mapping[str, object]:
        """The same, at a standing clock."""
        self._check(node)
        found = self.traffic.messages(conn, 0.0)
        if found is None:
            raise UnknownPeerError(f"peer {conn}")
        return {"node": node, **found}

    def _check(self, node: str | None) -> None:
        if node not in (None, "node-1"):
            raise UnknownNodeError(f"node '{node}'")

    def metrics(self) -> str:
        """One number."""
        return "# TYPE watchdog_up gauge\nwatchdog_up 1\n"


@asynccontextmanager
async def serving(view: StoredView, *, heartbeat_s: float = 15.0) -> AsyncIterator[Client]:
    """The application on a free port of 127.0.0.1, and a client for it."""
    async with TestClient(TestServer(scenery(lambda: make_app(view, heartbeat_s=heartbeat_s)))) as client:
        yield client
    view.database.close()
