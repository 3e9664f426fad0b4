"""Apprise, an extra: one URL for each of its many services. It opens its own connections.

The target guard, `proxy` and `tls` do not reach it. Its answers say no more than yes or no. Its own log lines may hold
its URL, so they are switched off. Which markup the service reads is not known, so none of a stranger's gets through.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from alerts.delivery.answers import Response
from alerts.delivery.encoding import encode
from alerts.delivery.markup import cut, for_unknown
from alerts.delivery.message import Message, signal_words, words_of
from alerts.delivery.schedule import RetryDecision
from alerts.notice import Notice
from alerts.routing import Receiver

EXTRA: Final = "pip install 'bitcoin-watchdog[apprise]'"
BODY = 20_000  # characters; apprise cuts further for each service
_TYPES: Final = {"info": "info", "warning": "warning", "high": "failure", "critical": "failure"}


def notice_bodies(notice: Notice, receiver: Receiver, _now_ns: int, _kept: str) -> Sequence[bytes]:
    """Return title, text and type of a notice as JSON."""
    kind = "success" if notice.type.endswith(".resolved") else _TYPES.get(notice.severity, "info")
    return [_body(words_of(notice, receiver, for_unknown), kind)]


def signal_bodies(kind: str, _receiver: Receiver, _now_ns: int, data: Mapping[str, object]) -> Sequence[bytes]:
    """Return the message of a test."""
    return [_body(signal_words(kind, data, for_unknown), "info")]


def check(receiver: Receiver) -> Iterator[tuple[str, str]]:
    """Yield keys with their faults: a missing extra, or a URL that apprise does not know. It is not shown."""
    if importlib.util.find_spec("apprise") is None:
        yield "format", f"'format: apprise' needs the package apprise, which is not installed; {EXTRA}"
    elif not _service(receiver.url):
        yield "url", "apprise knows no service with such a URL"


def send(receiver: Receiver, body: bytes) -> Response:
    """Make one attempt in the caller's thread; it blocks as long as the service does, and no one can end it."""
    began = time.monotonic()
    try:
        service = _service(receiver.url)
        sent = bool(service) and service.notify(**json.loads(body), body_format="text")
    except ImportError:
        return _failed(f"apprise is not installed; {EXTRA}", began)
    except Exception as error:  # noqa: BLE001 (a service of apprise may raise anything, and its text may hold the URL)
        return _failed(f"apprise failed: {type(error).__name__}", began)
    if not sent:
        return _failed("apprise did not deliver it", began)
    return Response(None, None, "", time.monotonic() - began, RetryDecision.ACCEPTED)


def _failed(error: str, began: float) -> Response:
    return Response(None, None, error, time.monotonic() - began, RetryDecision.FAILED)


def _service(url: str) -> Any:  # Any: apprise has no types
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it imports modules that Python deprecates
        import apprise  # noqa: PLC0415 (an extra)

        logging.getLogger("apprise").disabled = True
        try:  # without a limit of its own it calls the service in this thread: its pool is shared by all receivers
            asset = apprise.AppriseAsset(async_mode=False, service_timeout=0)
        except (AttributeError, TypeError):  # before 2.0, which knows neither
            asset = apprise.AppriseAsset(async_mode=False)
        made = apprise.Apprise(asset=asset)
        return made if made.add(url) else None


def _body(message: Message, kind: str) -> bytes:
    text = "\n\n".join([*message.parts, *([message.url] if message.url else [])])
    return encode({"title": message.first, "body": cut(text or message.first, BODY), "notify_type": kind})
