"""Routes about the service itself: rules, facts for the page's head, health, metrics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http import HTTPStatus

from aiohttp import web

from alerts.incident import IncidentState
from watchdog.core.finding import SEVERITIES
from watchdog.core.own_rules import OWN_RULES
from watchdog.core.text import printable
from watchdog.service.exposition import CONTENT_TYPE
from watchdog.service.view import Health, ServiceView, UnknownNodeError
from watchdog.web.answer import answer
from watchdog.web.guard import may_see_details
from watchdog.web.openapi import openapi_document
from watchdog.web.parameters import Parameters
from watchdog.web.problem import not_found

UNRESOLVED = (IncidentState.OPEN, IncidentState.ACKNOWLEDGED)


def _node(request: web.Request, *, strict: bool) -> str | None:
    """Return the parameter `node`. strict: any other parameter is a mistake (400); probes may have others."""
    parameters = Parameters(request.query.items(), ("node",))
    if strict:
        parameters.done()
    return parameters.text("node")


@contextmanager
def _known(node: str | None) -> Iterator[None]:
    """Answer with 404 where the service watches no node of this name."""
    try:
        yield
    except UnknownNodeError:
        raise not_found(f"node '{node}'") from None


class OperationRoutes:
    """Everything that is neither an incident nor a delivery."""

    def __init__(self, view: ServiceView) -> None:
        self._view = view
        self._openapi = openapi_document()

    def routes(self) -> Sequence[web.RouteDef]:
        """Return the routes for `Application.add_routes`."""
        return [
            web.get("/api/v1/rules", self.rules),
            web.get("/api/v1/status", self.status),
            web.get("/api/v1/openapi.json", self.openapi),
            web.get("/healthz", self.healthz),
            web.get("/readyz", self.readyz),
            web.get("/metrics", self.metrics),
        ]

    async def rules(self, request: web.Request) -> web.Response:
        """Answer with the rules in force and the built-in findings."""
        with _known(node := _node(request, strict=True)):
            rules = self._view.rules(node)
        own = [
            {"id": one.id, "title": one.title, "attack": "data", "severity": one.severity, "about": one.about}
            for one in OWN_RULES.values()
        ]
        return answer({"rules": rules, "own": own})

    async def status(self, request: web.Request) -> web.Response:
        """Answer with facts about the service, its receivers, and the numbers of unresolved incidents."""
        node = _node(request, strict=True)
        counts = await self._view.ask(self._view.queries.counts)
        unresolved = {
            state.value: {severity: counts.get((state.value, severity), 0) for severity in SEVERITIES}
            for state in UNRESOLVED
        }
        with _known(node):
            facts: Mapping[str, object] = self._view.status(node)
        return answer({"service": facts, "incidents": unresolved, "receivers": self._view.receivers()})

    async def openapi(self, _request: web.Request) -> web.Response:
        """Answer with the description of this API."""
        return answer(self._openapi)

    async def healthz(self, request: web.Request) -> web.Response:
        """Answer whether a restart would help."""
        return self._health(request, self._view.health())

    async def readyz(self, request: web.Request) -> web.Response:
        """Answer whether the service does its work."""
        with _known(node := _node(request, strict=False)):
            return self._health(request, self._view.readiness(node))

    async def metrics(self, _request: web.Request) -> web.Response:
        """Answer with the metrics for Prometheus."""
        headers = {"Content-Type": CONTENT_TYPE, "Cache-Control": "no-store"}
        return web.Response(body=self._view.metrics().encode("utf-8"), headers=headers)

    def _health(self, request: web.Request, health: Health) -> web.Response:
        found: dict[str, object] = {"ok": health.ok}
        if may_see_details(request, self._view.api):
            found["checks"] = [
                {"name": one.name, "ok": one.ok, "text": printable(one.text, 400)} for one in health.checks
            ]
        return answer(found, HTTPStatus.OK if health.ok else HTTPStatus.SERVICE_UNAVAILABLE)
