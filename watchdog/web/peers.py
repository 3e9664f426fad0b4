"""Routes of a node's peers: the list, and the latest messages of one of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from aiohttp import web

from watchdog.service.view import ServiceView, UnknownNodeError, UnknownPeerError
from watchdog.web.answer import answer
from watchdog.web.parameters import Parameters
from watchdog.web.problem import not_found

_CONN: Final = "{conn:-?[0-9]{1,18}}"  # what an int64 takes; a source counts from 0


class PeerRoutes:
    """`/api/v1/nodes/{node}/peers` and below."""

    def __init__(self, view: ServiceView) -> None:
        self._view = view

    def routes(self) -> Sequence[web.RouteDef]:
        """Return the routes for `Application.add_routes`."""
        base = "/api/v1/nodes/{node}/peers"
        return [web.get(base, self.list), web.get(f"{base}/{_CONN}/messages", self.messages)]

    async def list(self, request: web.Request) -> web.Response:
        """Answer with the peers of a node."""
        Parameters(request.query.items(), ()).done()
        node = request.match_info["node"]
        try:
            return answer(self._view.peers(node))
        except UnknownNodeError:
            raise not_found(f"node '{node}'") from None

    async def messages(self, request: web.Request) -> web.Response:
        """Answer with the latest messages of a peer, which are kept for a minute from now on."""
        Parameters(request.query.items(), ()).done()
        node, conn = request.match_info["node"], int(request.match_info["conn"])
        try:
            return answer(self._view.messages(node, conn))
        except UnknownNodeError:
            raise not_found(f"node '{node}'") from None
        except UnknownPeerError:
            raise not_found(f"peer {conn} of node '{node}'") from None
