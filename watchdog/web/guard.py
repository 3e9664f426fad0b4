"""Who may ask for what: the tokens, the Host header, and the headers that every answer carries."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from watchdog.core.text import printable
from watchdog.service.config.settings import ApiSettings, Role
from watchdog.service.view import ServiceView
from watchdog.web.problem import ProblemError

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
HEADERS: Mapping[str, str] = {
    "Server": "watchdog",
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
READING = frozenset({"GET", "HEAD"})
HARMLESS_PATHS = frozenset({"/", "/cases", "/deliveries", "/rules", "/healthz", "/readyz"})
HARMLESS_FOLDERS = ("/static/", "/incidents/", "/cases/")
"""The empty page, which asks for the token itself, and yes-or-no answers for probes. All else may need the token."""


@dataclass(frozen=True, slots=True)
class Bearer:
    """Whose token a request has. name: empty for `api.token`, which names no one."""

    name: str
    role: Role


ANY_OPERATOR = Bearer("", "operator")
_BEARER: ContextVar[Bearer | None] = ContextVar("bearer", default=None)


async def add_headers(_request: web.Request, response: web.StreamResponse) -> None:
    """Signal `on_response_prepare`: add headers that let browsers run only our files, and hide our version."""
    response.headers.update(HEADERS)


def guard(view: ServiceView) -> Middleware:
    """Refuse foreign hosts, and requests without the token where one is needed."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        check_host(request.headers.get("Host", ""), view.api)
        changing, bearer = request.method not in READING, None
        if changing or not (is_loopback(view.api.host) or _is_harmless(request.path)):
            bearer = check_token(request, view.api)
            if changing and bearer.role != "operator":
                raise ProblemError(HTTPStatus.FORBIDDEN, f"the token '{bearer.name}' may only read: its role is viewer")
        before = _BEARER.set(bearer)
        try:
            return await handler(request)
        finally:
            _BEARER.reset(before)  # the next request of the connection runs in the same context

    return check


def may_see_details(request: web.Request, api: ApiSettings) -> bool:
    """Return whether an answer that anybody gets may hold more than yes or no."""
    return is_loopback(api.host) or _bearer(request, api) is not None


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach an address that we listen on."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"


def check_host(header: str, api: ApiSettings) -> None:
    """Raise 421 for a name that is not ours while we listen on loopback only.

    A page of a stranger can point its own name at 127.0.0.1 (DNS rebinding) and would then be of our origin; the Host
    header still tells its name. Beyond loopback the token does this work, as we cannot know all our names there.
    """
    name = _host_name(header)
    ours = {api.host.lower(), (urlsplit(api.public_url).hostname or "").lower()} - {""}
    if is_loopback(api.host) and name not in ours and not is_loopback(name):
        detail = f"host '{printable(header, 80)}': this service is not known by that name; see 'public_url'"
        raise ProblemError(HTTPStatus.MISDIRECTED_REQUEST, detail)


def check_token(request: web.Request, api: ApiSettings) -> Bearer:
    """Return whose token a request has. Raise 401 without a right one, 403 where none is configured."""
    if api.token is None and not api.tokens:
        raise ProblemError(HTTPStatus.FORBIDDEN, "no token is configured ('api.token'), so this is off")
    found = _bearer(request, api)
    if found is None:
        given = "Authorization" in request.headers
        detail = "the token is wrong" if given else "a token is needed: 'Authorization: Bearer TOKEN'"
        raise ProblemError(HTTPStatus.UNAUTHORIZED, detail, headers={"WWW-Authenticate": 'Bearer realm="watchdog"'})
    return found


def present_bearer() -> Bearer | None:
    """Return whose token the present request was let in with; None when it needed none."""
    return _BEARER.get()


def _bearer(request: web.Request, api: ApiSettings) -> Bearer | None:
    """Return whose token a request has. All are compared, each in constant time: the answer tells nothing of others."""
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        return None
    sent = given.strip().encode("utf-8", "surrogateescape")
    known = [(ANY_OPERATOR, api.token)] if api.token is not None else []
    known += [(Bearer(one.name, one.role), one.token) for one in api.tokens]
    found: Bearer | None = None
    for bearer, token in known:
        wanted = token.reveal().encode("utf-8", "surrogateescape")
        # An empty configured token must open nothing.
        if hmac.compare_digest(sent, wanted) and wanted:
            found = found or bearer
    return found


def _host_name(header: str) -> str:
    """Return `Host` without its port, lower case; empty when it is none."""
    try:
        return (urlsplit(f"//{header}").hostname or "").lower()
    except ValueError:
        return ""


def _is_harmless(path: str) -> bool:
    return path in HARMLESS_PATHS or path.startswith(HARMLESS_FOLDERS)
