"""Reads the API of a running service."""

from __future__ import annotations

import http.client
import ssl
from typing import Final, TypeVar
from urllib.parse import quote, urlsplit

import msgspec

from watchdog.core.text import printable
from watchdog.top.facts import NodeLook, PeerMessages, ShownIncident, ShownNode, TopError

DEFAULT_URL: Final = "http://127.0.0.1:8380"  # the default of `api.listen`
TIMEOUT_S: Final = 5.0
LARGEST: Final = 16 << 20  # bytes of an answer; a thousand peers with all types need 5 MB
MOST_INCIDENTS: Final = 50
_Answer = TypeVar("_Answer")


class _NodeStatus(msgspec.Struct):
    node: str


class _ServiceFacts(msgspec.Struct):
    node: str
    nodes: list[_NodeStatus] = msgspec.field(default_factory=list)


class _Status(msgspec.Struct):
    service: _ServiceFacts


class _Incidents(msgspec.Struct):
    incidents: list[ShownIncident]


class _Problem(msgspec.Struct):
    detail: str = ""


class ApiReader:
    """A `FactReader` of a service. url: its address, as `api.public_url` has it. TopError for a text that is none."""

    def __init__(self, url: str, token: str = "") -> None:
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError:
            port = -1
        if parts.scheme not in ("http", "https") or not parts.hostname or port == -1 or parts.username is not None:
            raise TopError(f"'{printable(url, 80)}' is no address of a service, such as {DEFAULT_URL}")
        self._host, self._port, self._secure = parts.hostname, port, parts.scheme == "https"
        self._base, self._token = parts.path.rstrip("/"), token
        self._nodes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Its address."""
        return self._host if self._port is None else f"{self._host}:{self._port}"

    def look(self, node: str) -> NodeLook:
        """Ask for the nodes once, then for the peers and the open incidents of one of them."""
        if not self._nodes:
            status = self._get("/api/v1/status", _Status).service
            self._nodes = tuple(one.node for one in status.nodes) or (status.node,)
        chosen = node or self._nodes[0]
        if chosen not in self._nodes:
            raise TopError(f"the service watches no node '{printable(chosen)}': {', '.join(self._nodes)}")
        facts = self._get(f"/api/v1/nodes/{quote(chosen, safe='')}/peers", ShownNode)
        query = f"state=open,acknowledged&limit={MOST_INCIDENTS}&node={quote(chosen, safe='')}"
        incidents = self._get(f"/api/v1/incidents?{query}", _Incidents).incidents
        return NodeLook(facts, self._nodes, tuple(incidents))

    def messages(self, node: str, conn: int) -> PeerMessages | None:
        """Ask for the latest messages of a peer."""
        chosen = node or self._nodes[0]
        return self._maybe(f"/api/v1/nodes/{quote(chosen, safe='')}/peers/{conn}/messages", PeerMessages)

    def close(self) -> None:
        """Nothing stays open between requests."""

    def _get(self, path: str, form: type[_Answer]) -> _Answer:
        found = self._maybe(path, form)
        if found is None:
            raise TopError(f"{self.name} has no {path.partition('?')[0]}: is the service older than this program?")
        return found

    def _maybe(self, path: str, form: type[_Answer]) -> _Answer | None:
        """Return the decoded answer, None for 404."""
        try:
            status, body = self._ask(path)
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise TopError(f"{self.name} does not answer: {printable(str(reason).lower(), 200)}") from None
        if status == http.HTTPStatus.NOT_FOUND:
            return None
        try:
            if status != http.HTTPStatus.OK:
                detail = msgspec.json.decode(body, type=_Problem).detail
                raise TopError(f"{self.name} answers {status}: {printable(detail, 200)}")
            return msgspec.json.decode(body, type=form)
        except msgspec.DecodeError:
            raise TopError(f"{self.name} answers {status}, and not as a watchdog does") from None

    def _ask(self, path: str) -> tuple[int, bytes]:
        if self._secure:
            context = ssl.create_default_context()
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                self._host, self._port, timeout=TIMEOUT_S, context=context
            )
        else:
            connection = http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT_S)
        headers = {"Accept": "application/json"} | ({"Authorization": f"Bearer {self._token}"} if self._token else {})
        try:
            connection.request("GET", self._base + path, headers=headers)
            answer = connection.getresponse()
            body = answer.read(LARGEST + 1)
        finally:
            connection.close()
        if len(body) > LARGEST:
            raise TopError(f"{self.name} answers with more than {LARGEST >> 20} MiB")
        return answer.status, body
