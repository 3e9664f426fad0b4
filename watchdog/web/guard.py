"""Who may ask for what: the token, the Host header, and the headers that every answer carries."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from watchdog.core.text import printable
from watchdog.service.config.settings import ApiSettings
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
HARMLESS_PATHS = frozenset({"/", "/deliveries", "/rules", "/healthz", "/readyz"})
HARMLESS_FOLDERS = ("/static/", "/incidents/")
"""The empty page, which asks for the token itself, and yes-or-no answers for probes. All else may need the token."""


async def add_headers(_request: web.Request, response: web.StreamResponse) -> None:
    """Signal `on_response_prepare`: what tells browsers to run nothing but our own files, and strangers no versions."""
    response.headers.update(HEADERS)


def guard(view: ServiceView) -> Middleware:
    """Refuse foreign hosts, and requests without the token where one is needed."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        check_host(request.headers.get("Host", ""), view.api)
        changing = request.method not in READING
        if changing or not (is_loopback(view.api.host) or _is_harmless(request.path)):
            check_token(request, view.api)
        return await handler(request)

    return check


def may_see_details(request: web.Request, api: ApiSettings) -> bool:
    """Return whether an answer that anybody gets may hold more than yes or no."""
    return is_loopback(api.host) or _has_token(request, api)


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach an address that we listen on."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"


def check_host(header: str, api: ApiSettings) -> None:
    """421 for a name that is not ours while we listen on loopback only.

    A page of a stranger can point its own name at 127.0.0.1 (DNS rebinding) and would then be of our origin; the Host
    header still tells its name. Beyond loopback the token does this work, as we cannot know all our names there.
    """
    name = _host_name(header)
    ours = {api.host.lower(), (urlsplit(api.public_url).hostname or "").lower()} - {""}
    if is_loopback(api.host) and name not in ours and not is_loopback(name):
        detail = f"host '{printable(header, 80)}': this service is not known by that name; see 'public_url'"
        raise ProblemError(HTTPStatus.MISDIRECTED_REQUEST, detail)


def check_token(request: web.Request, api: ApiSettings) -> None:
    """401 without the right `Authorization: Bearer`, 403 where no token is configured that could be right."""
    if api.token is None:
        raise ProblemError(HTTPStatus.FORBIDDEN, "no token is configured ('api.token'), so this is off")
    if not _has_token(request, api):
        given = "Authorization" in request.headers
        detail = "the token is wrong" if given else "a token is needed: 'Authorization: Bearer TOKEN'"
        raise ProblemError(HTTPStatus.UNAUTHORIZED, detail, headers={"WWW-Authenticate": 'Bearer realm="watchdog"'})


def _has_token(request: web.Request, api: ApiSettings) -> bool:
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    if api.token is None or scheme.lower() != "bearer":
        return False
    wanted = api.token.reveal().encode("utf-8", "surrogateescape")
    # An empty configured token must open nothing.
    return hmac.compare_digest(given.strip().encode("utf-8", "surrogateescape"), wanted) and bool(wanted)


def _host_name(header: str) -> str:
    """`Host` without its port, lower case; empty when it is none."""
    try:
        return (urlsplit(f"//{header}").hostname or "").lower()
    except ValueError:
        return ""


def _is_harmless(path: str) -> bool:
    return path in HARMLESS_PATHS or path.startswith(HARMLESS_FOLDERS)
