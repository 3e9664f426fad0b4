"""Routes of cases: the list, one of them, and what operators do with them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from aiohttp import web

from alerts.case.acts import CaseVerb
from alerts.case.house import case_node
from alerts.store.actions import TEXT_LIMIT, WHO_LIMIT
from alerts.store.case_acts import PARTY_LIMIT
from alerts.store.cases import CaseFilter
from alerts.store.cursor import decoded_place
from watchdog.web.answer import answer
from watchdog.web.history import ACCEPTED, HistoryRoutes, read_node, read_severities, read_states
from watchdog.web.parameters import Parameters, texts_body
from watchdog.web.problem import not_found

KNOWN = ("state", "severity", "node", "since", "limit", "cursor")
_LIMITS = {"who": WHO_LIMIT, "text": TEXT_LIMIT}
_NEEDED: dict[CaseVerb, tuple[str, ...]] = {"note": ("text",), "split": ("party",)}


class CaseRoutes(HistoryRoutes):
    """`/api/v1/cases` and below. An id is that of a case, or of one that was merged into it."""

    base = "/api/v1/cases"

    def routes(self) -> Sequence[web.RouteDef]:
        """Return the routes for `Application.add_routes`."""
        return [*super().routes(), web.post(f"{self.one}/split", self.split)]

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

    async def split(self, request: web.Request) -> web.Response:
        """Move a party out of a case into one of its own."""
        return await self.act(request, "split")

    async def act(self, request: web.Request, deed: CaseVerb) -> web.Response:
        """Store what an operator does with a case."""
        limits = {**_LIMITS, "party": PARTY_LIMIT} if deed == "split" else _LIMITS
        body = await texts_body(request, limits, needed=_NEEDED.get(deed, ()))
        id_ = request.match_info["id"]
        done = await self._view.act_on_case(id_, deed, body["who"], body["text"], body.get("party", ""))
        number = None if done.id is None else str(done.id)
        return answer({"case": done.case, "action": deed, "id": number, "already": done.already or None}, ACCEPTED)


def read_filter(pairs: Iterable[tuple[str, str]]) -> tuple[CaseFilter, int, str | None]:
    """Read filter, rows and cursor of a query. `severity` is the least that is shown; `state` may name several.

    ProblemError (400) with every mistake.
    """
    parameters = Parameters(pairs, KNOWN)
    wanted = CaseFilter(
        states=read_states(parameters),
        severities=read_severities(parameters),
        node=read_node(parameters, case_node),
        since_ns=parameters.time_ns("since"),
    )
    limit, cursor = parameters.limit(), parameters.cursor(decoded_place)
    parameters.done()
    return wanted, limit, cursor
