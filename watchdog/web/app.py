"""The web application: routes, guards and limits in one place."""

from __future__ import annotations

from aiohttp import web

from watchdog.service.view import ServiceView
from watchdog.web.audit import AuditRoutes
from watchdog.web.case_decisions import DecisionRoutes
from watchdog.web.cases import CaseRoutes
from watchdog.web.deliveries import DeliveryRoutes
from watchdog.web.guard import add_headers, guard
from watchdog.web.incidents import IncidentRoutes
from watchdog.web.operations import OperationRoutes
from watchdog.web.page import StaticPage
from watchdog.web.peers import PeerRoutes
from watchdog.web.problem import problems
from watchdog.web.silences import SilenceRoutes
from watchdog.web.stream import HEARTBEAT_S, EventStream

BODY_MOST = 64 * 1024
"""Bytes of a request's body: a note of `TEXT_LIMIT` characters, each escaped in JSON, fits several times."""


def make_app(view: ServiceView, *, heartbeat_s: float = HEARTBEAT_S) -> web.Application:
    """Return the application of API and page over a view; its runner owns loop, socket and access log.

    heartbeat_s: silence after which the stream sends a comment.
    """
    app = web.Application(middlewares=[problems, guard(view)], client_max_size=BODY_MOST)
    stream = EventStream(view, heartbeat_s=heartbeat_s)
    history = (IncidentRoutes(view), CaseRoutes(view), SilenceRoutes(view), DeliveryRoutes(view), AuditRoutes(view))
    for part in (*history, OperationRoutes(view), PeerRoutes(view), StaticPage()):
        app.add_routes(part.routes())
    app.add_routes(DecisionRoutes(view).routes())
    app.router.add_get("/api/v1/events/stream", stream.get, allow_head=False)
    app.on_response_prepare.append(add_headers)
    app.on_shutdown.append(stream.end)
    return app
