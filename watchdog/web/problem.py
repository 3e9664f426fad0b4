"""Errors of the API as RFC 9457 problem documents, whatever raised them."""

from __future__ import annotations

import html
import json
import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus

from aiohttp import web
from aiohttp.typedefs import Handler

from alerts.incident_table import IncidentError, UnknownIncidentError
from alerts.store.outbox import NoReceiverError, UnknownDeliveryError
from watchdog.core.errors import StoreUnavailableError, WatchdogError
from watchdog.core.text import printable
from watchdog.service.bounded_executor import BusyError

LOG = logging.getLogger(__name__)
CONTENT_TYPE = "application/problem+json"
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} - watchdog</title>
<link rel="icon" href="/static/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/static/style.css">
</head>
<body>
<main class="empty">
<h1>{title}</h1>
<p>{status}: {detail}</p>
<p><a href="/">All incidents</a></p>
</main>
</body>
</html>
"""
RETRY_S = 5
"""Retry-After when database or stream is full: longer than one attempt at a locked file."""


class ProblemError(Exception):
    """An answer other than success. parameters: (name, what is wrong with it), one for each mistake found."""

    def __init__(
        self,
        status: HTTPStatus,
        detail: str,
        *,
        parameters: Sequence[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail
        self.parameters, self.headers = tuple(parameters), dict(headers or {})


def not_found(what: str) -> ProblemError:
    """Return a 404 that names the missing thing."""
    return ProblemError(HTTPStatus.NOT_FOUND, f"no {what}")


def document(problem: ProblemError, instance: str) -> dict[str, object]:
    """Return the problem as JSON-able data. `about:blank` (RFC 9457, 4.2.1): the title is the status's phrase."""
    found: dict[str, object] = {
        "type": "about:blank",
        "title": problem.status.phrase,
        "status": int(problem.status),
        "detail": printable(problem.detail, 1_000),
        "instance": printable(instance),
    }
    if problem.parameters:
        found["errors"] = [
            {"parameter": printable(name, 64), "detail": printable(detail, 400)} for name, detail in problem.parameters
        ]
    return found


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer every error below as a problem document; the details of unexpected ones go to the log only."""
    try:
        return await handler(request)
    except ProblemError as error:
        return _response(error, request)
    except web.HTTPException as error:
        if error.status < HTTPStatus.BAD_REQUEST:
            raise
        kept = {name: error.headers[name] for name in ("Allow", "Retry-After") if name in error.headers}
        return _response(ProblemError(HTTPStatus(error.status), _said(error), headers=kept), request)
    except (UnknownIncidentError, UnknownDeliveryError) as error:
        return _response(ProblemError(HTTPStatus.NOT_FOUND, str(error)), request)
    except (IncidentError, NoReceiverError) as error:
        return _response(ProblemError(HTTPStatus.CONFLICT, str(error)), request)
    except BusyError as error:  # counted where it is raised; a line for each would be a flood on top of one
        return _response(unavailable(str(error)), request)
    except StoreUnavailableError as error:
        LOG.warning("%s %s: %s", request.method, printable(request.path), error)
        return _response(unavailable("the database does not respond"), request)
    except WatchdogError as error:
        LOG.error("%s %s: %s", request.method, printable(request.path), error)  # noqa: TRY400 (one line, made for people)
    except ConnectionError:
        raise  # the client disconnected in the middle of its request, so there is no answer and no fault to log
    except Exception:
        # The edge to clients: they get a document for any error, and never a trace.
        LOG.exception("%s %s", request.method, printable(request.path))
    detail = "internal error; the service's log has the details"
    return _response(ProblemError(HTTPStatus.INTERNAL_SERVER_ERROR, detail), request)


def unavailable(detail: str) -> ProblemError:
    """Return a 503 with the time after which to retry."""
    return ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers={"Retry-After": str(RETRY_S)})


def _said(error: web.HTTPException) -> str:
    details = {
        HTTPStatus.NOT_FOUND: "nothing exists at this path",
        HTTPStatus.METHOD_NOT_ALLOWED: "this path does not support this method",
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "the body is too large",
    }
    return details.get(HTTPStatus(error.status), error.reason)


def _response(problem: ProblemError, request: web.Request) -> web.Response:
    found = document(problem, request.path)
    as_page = _for_a_browser(request)
    return web.Response(
        text=_page(found) if as_page else json.dumps(found, ensure_ascii=True),
        status=problem.status,
        content_type="text/html" if as_page else CONTENT_TYPE,
        headers={"Cache-Control": "no-store", "Vary": "Accept", **problem.headers},
    )


def _for_a_browser(request: web.Request) -> bool:
    """Return whether a person opened this address in a browser; the API always answers in JSON."""
    asks = request.method in {"GET", "HEAD"} and "text/html" in request.headers.get("Accept", "").lower()
    return asks and not request.path.startswith("/api/")


def _page(found: Mapping[str, object]) -> str:
    """Return the problem as a page with a link to the incidents."""
    return PAGE.format(**{name: html.escape(str(found[name])) for name in ("status", "title", "detail")})
