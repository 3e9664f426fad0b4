"""The secrets of a receiver that a request carries, and answers without them.

Servers repeat what they were sent: `Cannot POST /hooks/...` in a page of an error, all headers on a debugging page.
What they say goes into the log, into the history of deliveries and on the page, so it goes there without these.
"""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, unquote, urlsplit

from alerts.delivery.formats import targets
from alerts.routing import Receiver
from watchdog.core.text import without_secrets

_KEY = re.compile(r"(?=.*[0-9]).{8,}|.{20,}")  # what is more than a word


def answer_without_secrets(answer: bytes, receiver: Receiver) -> bytes:
    """Return the beginning of an answer with each secret of the receiver replaced."""
    secrets = {one.encode("utf-8", "backslashreplace").decode("latin-1") for one in secrets_of(receiver)}
    return without_secrets(answer.decode("latin-1"), secrets).encode("latin-1")


def secrets_of(receiver: Receiver) -> set[str]:
    """Return paths and queries of its URLs with their parts, the values of its headers, and keys of its format."""
    found = {one for values in receiver.own.values() for one in values if _KEY.fullmatch(one)}
    for value in receiver.headers.values():
        found |= {value, *value.split()[1:]}
    for url in targets(receiver):
        parts = urlsplit(url)
        found |= {parts.path, unquote(parts.path), parts.query} - {"", "/"}
        found |= {unquote(one) for one in parts.path.split("/") if _KEY.fullmatch(unquote(one))}
        found |= {value for _, value in parse_qsl(parts.query)}
    return found
