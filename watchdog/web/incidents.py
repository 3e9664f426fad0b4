"""Routes of incidents: the list, one of them, and what operators do to them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

from aiohttp import web

from alerts.case_house import incident_node
from alerts.incident import RANK, IncidentState
from alerts.store.cursor import decoded_place
from alerts.store.incidents import STATES, IncidentFilter
from watchdog.core.finding import ATTACKS, SEVERITIES, Attack
from watchdog.service.view import ServiceView
from watchdog.web.answer import answer
from watchdog.web.parameters import Parameters, action_body
from watchdog.web.problem import not_found

KNOWN = ("state", "severity", "attack", "node", "since", "limit", "cursor")
ACCEPTED = 202
"""The action is stored and seen at once; the engine takes it up a moment later."""


class IncidentRoutes:
    """`/api/v1/incidents` and below."""

    def __init__(self, view: ServiceView) -> None:
        self._view = view

    def routes(self) -> Sequence[web.RouteDef]:
        """Return the routes for `Application.add_routes`."""
        base = "/api/v1/incidents"
        one = base + "/{id:[0-9a-f]{16}}"
        return [
            web.get(base, self.list),
            web.get(one, self.show),
            web.post(f"{one}/ack", self.acknowledge),
            web.post(f"{one}/resolve", self.resolve),
            web.post(f"{one}/notes", self.note),
        ]

    async def list(self, request: web.Request) -> web.Response:
        """Answer with a page of incidents, latest opened first."""
        wanted, limit, cursor = read_filter(request.query.items())
        page = await self._view.ask(lambda: self._view.queries.page(wanted, limit, cursor))
        rows = [{name: value for name, value in row.items() if name != "opened_ns"} for row in page.rows]
        return answer({"incidents": rows, "cursor": page.cursor})

    async def show(self, request: web.Request) -> web.Response:
        """Answer with everything about one incident."""
        id_ = request.match_info["id"]

        def look() -> tuple[dict[str, object] | None, list[dict[str, str]]]:
            return self._view.queries.one(id_), self._view.cases.of_incident(id_)

        found, cases = await self._view.ask(look)
        if found is None:
            raise not_found(f"incident '{id_}'")
        return answer({**found, "cases": cases})

    async def acknowledge(self, request: web.Request) -> web.Response:
        """Acknowledge an incident."""
        return await self._act(request, "ack")

    async def resolve(self, request: web.Request) -> web.Response:
        """Resolve an incident."""
        return await self._act(request, "resolve")

    async def note(self, request: web.Request) -> web.Response:
        """Add a note to an incident."""
        return await self._act(request, "note")

    async def _act(self, request: web.Request, action: str) -> web.Response:
        id_ = request.match_info["id"]
        who, text, verdict = await action_body(
            request, text_needed=action == "note", verdict_allowed=action == "resolve"
        )
        done = await self._view.act(id_, action, who, text, verdict=verdict)
        number = None if done.id is None else str(done.id)
        return answer({"incident": id_, "action": action, "id": number, "already": done.already or None}, ACCEPTED)


def read_filter(pairs: Iterable[tuple[str, str]]) -> tuple[IncidentFilter, int, str | None]:
    """Read filter, rows and cursor of a query. `severity` is the least that is shown; `state` may name several.

    ProblemError (400) with every mistake.
    """
    parameters = Parameters(pairs, KNOWN)
    states = parameters.choices("state", STATES)
    floor = parameters.choice("severity", SEVERITIES)
    attack = parameters.choice("attack", ATTACKS)
    node, since_ns = incident_node(parameters.text("node") or "") or None, parameters.time_ns("since")
    limit, cursor = parameters.limit(), parameters.cursor(decoded_place)
    parameters.done()
    wanted = IncidentFilter(
        states=tuple(IncidentState(state) for state in STATES if state in states),
        severities=tuple(one for one in SEVERITIES if floor and RANK[one] >= RANK[floor]),
        attacks=(cast("Attack", attack),) if attack else (),
        node=node,
        since_ns=since_ns,
    )
    return wanted, limit, cursor
