"""The route of decisions: why each receiver was notified of a case, or was not."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from watchdog.service.view import ServiceView
from watchdog.web.answer import answer
from watchdog.web.parameters import Parameters
from watchdog.web.problem import not_found


class DecisionRoutes:
    """`/api/v1/cases/{id}/decisions`."""

    def __init__(self, view: ServiceView) -> None:
        self._view = view

    def routes(self) -> Sequence[web.RouteDef]:
        """Return the routes for `Application.add_routes`."""
        return [web.get("/api/v1/cases/{id:[0-9a-f]{16}}/decisions", self.list)]

    async def list(self, request: web.Request) -> web.Response:
        """Answer with the decisions on a case; the id may be that of a merged case, or of an incident in it."""
        id_ = request.match_info["id"]
        parameters = Parameters(request.query.items(), ("receiver",))
        receiver = parameters.text("receiver")
        parameters.done()
        found = await self._view.ask(lambda: self._view.outbox.fates(id_, receiver))
        if found is None:
            raise not_found(f"case '{id_}'")
        return answer(found.as_object())
