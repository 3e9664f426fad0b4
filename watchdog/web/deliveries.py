"""Routes of deliveries: what was sent to whom, and sending it again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from aiohttp import web

from alerts.store.cursor import decoded_position
from alerts.store.outbox import STATUSES, Status
from watchdog.service.view import ServiceView
from watchdog.web.answer import answer
from watchdog.web.history import ACCEPTED
from watchdog.web.parameters import Parameters, json_object

KNOWN = ("receiver", "status", "incident", "case", "node", "limit", "cursor")


class DeliveryRoutes:
    """`/api/v1/deliveries` and below."""

    def __init__(self, view: ServiceView) -> None:
        self._view = view

    def routes(self) -> Sequence[web.RouteDef]:
        """Return the routes for `Application.add_routes`."""
        return [
            web.get("/api/v1/deliveries", self.list),
            web.post("/api/v1/deliveries/{id:msg_[0-9a-f]{32}}/resend", self.resend),
        ]

    async def list(self, request: web.Request) -> web.Response:
        """Answer with a page of deliveries, newest first."""
        parameters = Parameters(request.query.items(), KNOWN)
        status = cast("Status | None", parameters.choice("status", STATUSES))
        receiver, incident, case, node = (parameters.text(one) for one in ("receiver", "incident", "case", "node"))
        limit, cursor = parameters.limit(), parameters.cursor(decoded_position)
        parameters.done()
        outbox = self._view.outbox
        page = await self._view.ask(
            lambda: outbox.page(
                receiver=receiver,
                status=status,
                incident=incident,
                case=case,
                node=node,
                limit=limit,
                cursor=cursor,
            )
        )
        rows = [row.as_object() for row in page.rows]
        return answer({"deliveries": rows, "cursor": page.cursor})

    async def resend(self, request: web.Request) -> web.Response:
        """Send a notice again under its own id."""
        id_ = request.match_info["id"]
        await json_object(request)
        await self._view.resend(id_)
        return answer({"id": id_, "status": "waiting"}, ACCEPTED)
