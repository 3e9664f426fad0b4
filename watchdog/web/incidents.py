"""Routes of incidents: the list, one of them, and what operators do to them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from aiohttp import web

from alerts.case.house import incident_node
from alerts.store.cursor import decoded_place
from alerts.store.incidents import IncidentFilter
from watchdog.core.finding import ATTACKS, Attack
from watchdog.web.answer import answer
from watchdog.web.history import ACCEPTED, Deed, HistoryRoutes, read_node, read_severities, read_states
from watchdog.web.parameters import Parameters, action_body
from watchdog.web.problem import not_found

KNOWN = ("state", "severity", "attack", "node", "since", "limit", "cursor")


class IncidentRoutes(HistoryRoutes):
    """`/api/v1/incidents` and below."""

    base = "/api/v1/incidents"

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

    async def act(self, request: web.Request, deed: Deed) -> web.Response:
        """Store an operator's action, with a verdict where it resolves."""
        id_ = request.match_info["id"]
        who, text, verdict = await action_body(request, text_needed=deed == "note", verdict_allowed=deed == "resolve")
        done = await self._view.act(id_, deed, who, text, verdict=verdict)
        number = None if done.id is None else str(done.id)
        return answer({"incident": id_, "action": deed, "id": number, "already": done.already or None}, ACCEPTED)


def read_filter(pairs: Iterable[tuple[str, str]]) -> tuple[IncidentFilter, int, str | None]:
    """Read filter, rows and cursor of a query. `severity` is the least that is shown; `state` may name several.

    ProblemError (400) with every mistake.
    """
    parameters = Parameters(pairs, KNOWN)
    states, severities = read_states(parameters), read_severities(parameters)
    attack = parameters.choice("attack", ATTACKS)
    wanted = IncidentFilter(
        states=states,
        severities=severities,
        attacks=(cast("Attack", attack),) if attack else (),
        node=read_node(parameters, incident_node),
        since_ns=parameters.time_ns("since"),
    )
    limit, cursor = parameters.limit(), parameters.cursor(decoded_place)
    parameters.done()
    return wanted, limit, cursor
