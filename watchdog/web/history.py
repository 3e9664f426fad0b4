"""What the routes of incidents and of cases share: their paths, what operators do with one, and filters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar, Literal

from aiohttp import web

from alerts.incident import RANK, IncidentState
from alerts.store.incidents import STATES
from watchdog.core.finding import SEVERITIES, Severity
from watchdog.service.view import ServiceView
from watchdog.web.parameters import Parameters

ACCEPTED = 202
"""The action is stored and seen at once; the engine takes it up a moment later."""
Deed = Literal["ack", "resolve", "note"]


class HistoryRoutes(ABC):
    """`/api/v1/` with a kind of things, and below: their list, one of them, and what operators do with it.

    base: the path of the list.
    """

    base: ClassVar[str]

    def __init__(self, view: ServiceView) -> None:
        self._view = view

    @property
    def one(self) -> str:
        """The path of one of them."""
        return self.base + "/{id:[0-9a-f]{16}}"

    def routes(self) -> Sequence[web.RouteDef]:
        """Return the routes for `Application.add_routes`."""
        return [
            web.get(self.base, self.list),
            web.get(self.one, self.show),
            web.post(f"{self.one}/ack", self.acknowledge),
            web.post(f"{self.one}/resolve", self.resolve),
            web.post(f"{self.one}/notes", self.note),
        ]

    @abstractmethod
    async def list(self, request: web.Request) -> web.Response:
        """Answer with a page, latest opened first."""

    @abstractmethod
    async def show(self, request: web.Request) -> web.Response:
        """Answer with everything about one."""

    async def acknowledge(self, request: web.Request) -> web.Response:
        """Acknowledge it."""
        return await self.act(request, "ack")

    async def resolve(self, request: web.Request) -> web.Response:
        """Resolve it."""
        return await self.act(request, "resolve")

    async def note(self, request: web.Request) -> web.Response:
        """Add a note to it."""
        return await self.act(request, "note")

    @abstractmethod
    async def act(self, request: web.Request, deed: Deed) -> web.Response:
        """Store what an operator does with it."""


def read_states(parameters: Parameters) -> tuple[IncidentState, ...]:
    """Read `state`, which may name several; empty when absent."""
    chosen = parameters.choices("state", STATES)
    return tuple(IncidentState(state) for state in STATES if state in chosen)


def read_severities(parameters: Parameters) -> tuple[Severity, ...]:
    """Read `severity`, the least one, and return it with those above; empty when absent."""
    floor = parameters.choice("severity", SEVERITIES)
    return tuple(one for one in SEVERITIES if floor and RANK[one] >= RANK[floor])


def read_node(parameters: Parameters, spelt: Callable[[str], str]) -> str | None:
    """Read `node` and spell it as what is filtered does; None when absent."""
    name = parameters.text("node")
    return None if name is None else spelt(name)
