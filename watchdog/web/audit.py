"""The route of the audit: who changed what, the latest first."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from alerts.store.cursor import decoded_position
from watchdog.service.view import ServiceView
from watchdog.web.answer import answer
from watchdog.web.parameters import Parameters

KNOWN = ("limit", "cursor")


class AuditRoutes:
    """`/api/v1/audit`."""

    def __init__(self, view: ServiceView) -> None:
        self._view = view

    def routes(self) -> Sequence[web.RouteDef]:
        """Return the routes for `Application.add_routes`."""
        return [web.get("/api/v1/audit", self.list)]

    async def list(self, request: web.Request) -> web.Response:
        """Answer with a page of entries."""
        parameters = Parameters(request.query.items(), KNOWN)
        limit, cursor = parameters.limit(), parameters.cursor(decoded_position)
        parameters.done()
        page = await self._view.ask(lambda: self._view.audit.page(limit, cursor))
        return answer({"entries": page.rows, "cursor": page.cursor})
