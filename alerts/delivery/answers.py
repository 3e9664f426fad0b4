"""What came of one attempt, and what a service's own answer means."""

from __future__ import annotations

import json
from dataclasses import dataclass

from alerts.delivery.schedule import RetryDecision
from watchdog.core.text import printable

KEPT_CHARACTERS = 500  # of what a channel returns for later notices
SHOWN_CHARACTERS = 120  # of an answer in an error


@dataclass(frozen=True, slots=True)
class Response:
    """What came of an attempt.

    status: of HTTP or SMTP, the exit code of a program; None without an answer. retry_after: seconds or a date, as HTTP
    writes them. error: one harmless line without URL, header or secret; empty when it was accepted. took_s: monotonic
    duration. meaning: what the answer means where the status alone does not say it. kept: returned to the
    encoder of later notices of the same case; at most `KEPT_CHARACTERS`.
    """

    status: int | None
    retry_after: str | None
    error: str
    took_s: float
    meaning: RetryDecision | None = None
    kept: str = ""


@dataclass(frozen=True, slots=True)
class Judged:
    """What the body of an answer adds to its status; the fields are those of `Response`."""

    meaning: RetryDecision | None = None
    error: str = ""
    retry_after: str | None = None
    kept: str = ""


def kept_text(text: str) -> str:
    """Return a text that may be kept: short and harmless, else nothing."""
    return text if len(text) <= KEPT_CHARACTERS and text.isascii() and text.isprintable() else ""


def shown(text: str) -> str:
    """Return what a service said as part of one line."""
    return printable(" ".join(text.split()), SHOWN_CHARACTERS)


def json_object(body: bytes) -> dict[str, object]:
    """Return a JSON object; empty for anything else. Never raises."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
