"""Routes of cases: the list, one of them, and what operators do with them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from aiohttp import web

from alerts.case_acts import CaseVerb
from alerts.case_house import case_node
from alerts.incident import RANK, IncidentState
from alerts.store.actions import TEXT_LIMIT, WHO_LIMIT
from alerts.store.case_acts import PARTY_LIMIT
from alerts.store.cases import CaseFilter
from alerts.store.cursor import decoded_place
from alerts.store.incidents import STATES
from watchdog.core.finding import SEVERITIES
from watchdog.service.view import ServiceView
from watchdog.web.answer import answer
from watchdog.web.incidents import ACCEPTED
from watchdog.web.parameters import Parameters, texts_body
from watchdog.web.problem import not_found

KNOWN = ("state", "severity", "node", "since", "limit", "cursor")
_LIMITS = {"who": WHO_LIMIT, "text": TEXT_LIMIT}


class CaseRoutes:
    """`/api/v1/cases` and below. An id is that of a case, or of one that was merged into it."""

    def __init__(self, view: ServiceView) -> None:
        self._view = view

    def routes(self) -> Sequence[web.RouteDef]:
        """Return the routes for `Application.add_routes`."""
        base = "/api/v1/cases"
        one = base + "/{id:[0-9a-f]{16}}"
        return [
            web.get(base, self.list),
            web.get(one, self.show),
            web.post(f"{one}/ack", self.acknowledge),
            web.post(f"{one}/resolve", self.resolve),
            web.post(f"{one}/notes", self.note),
            web.post(f"{one}/split", self.split),
        ]

    async def list(self, request: web.Request) -> web.Response:
        """Answer with a page of cases, latest opened first."""
        wanted, limit, cursor = read_filter(request.query.items())
        page = await self._view.ask(lambda: self._view.cases.page(wanted, limit, cursor))
        return answer({"cases": page.rows, "cursor": page.cursor})

    async def show(self, request: web.Request) -> web.Response:
        """Answer with everything about one case."""
        id_ = request.match_info["id"]
        found = await self._view.ask(lambda: self._view.cases.one(id_))
        if found is None:
            raise not_found(f"case '{id_}'")
        return answer(found)

    async def acknowledge(self, request: web.Request) -> web.Response:
        """Acknowledge a case as it is now."""
        return await self._act(request, "ack")

    async def resolve(self, request: web.Request) -> web.Response:
        """Resolve a case."""
        return await self._act(request, "resolve")

    async def note(self, request: web.Request) -> web.Response:
        """Add a note to a case."""
        return await self._act(request, "note", needed=("text",))

    async def split(self, request: web.Request) -> web.Response:
        """Move a party out of a case into one of its own."""
        return await self._act(request, "split", needed=("party",))

    async def _act(self, request: web.Request, verb: CaseVerb, needed: Sequence[str] = ()) -> web.Response:
        limits = {**_LIMITS, "party": PARTY_LIMIT} if verb == "split" else _LIMITS
        body = await texts_body(request, limits, needed=needed)
        id_ = request.match_info["id"]
        done = await self._view.act_on_case(id_, verb, body["who"], body["text"], body.get("party", ""))
        number = None if done.id is None else str(done.id)
        return answer({"case": done.case, "action": verb, "id": number, "already": done.already or None}, ACCEPTED)


def read_filter(pairs: Iterable[tuple[str, str]]) -> tuple[CaseFilter, int, str | None]:
    """Read filter, rows and cursor of a query. `severity` is the least that is shown; `state` may name several.

    ProblemError (400) with every mistake.
    """
    parameters = Parameters(pairs, KNOWN)
    states = parameters.choices("state", STATES)
    floor = parameters.choice("severity", SEVERITIES)
    node, since_ns = case_node(parameters.text("node") or "") or None, parameters.time_ns("since")
    limit, cursor = parameters.limit(), parameters.cursor(decoded_place)
    parameters.done()
    wanted = CaseFilter(
        states=tuple(IncidentState(state) for state in STATES if state in states),
        severities=tuple(one for one in SEVERITIES if floor and RANK[one] >= RANK[floor]),
        node=node,
        since_ns=since_ns,
    )
    return wanted, limit, cursor
