"""Query strings and bodies of requests: every mistake of a request in one answer."""

from __future__ import annotations

import difflib
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus

from aiohttp import web

from alerts.store.actions import TEXT_LIMIT, WHO_LIMIT
from alerts.store.cursor import CursorError
from alerts.store.verdicts import VERDICTS, OperatorVerdict
from watchdog.web.guard import present_bearer
from watchdog.web.problem import ProblemError

LIMIT_DEFAULT = 50
LIMIT_MOST = 200
SHOWN = 60
_ACTION: Mapping[str, int] = {"who": WHO_LIMIT, "text": TEXT_LIMIT}
VERDICT_LIMIT = max(len(one) for one in VERDICTS)
_NUMBER = re.compile(r"-?[0-9]{1,12}(\.[0-9]{1,9})?")
_LAST_SECOND = 253_402_300_799  # the end of the year 9999


class Parameters:
    """Takes values out of a query and collects what is wrong with them; `done` raises all of it at once."""

    def __init__(self, pairs: Iterable[tuple[str, str]], known: Sequence[str]) -> None:
        given = list(pairs)
        times = Counter(name for name, _ in given)
        self._query = dict(given)
        self._mistakes: list[tuple[str, str]] = []
        for name in self._query:
            if name not in known:
                near = difflib.get_close_matches(name[:SHOWN], known, 1)
                there_are = f"known are {', '.join(known)}" if known else "this path takes none"
                hint = f"did you mean '{near[0]}'?" if near else there_are
                self.wrong(name[:SHOWN], f"no such parameter; {hint}")
            elif times[name] > 1:
                self.wrong(name, "given more than once")

    def wrong(self, name: str, detail: str) -> None:
        """Note a mistake."""
        self._mistakes.append((name, detail))

    def text(self, name: str) -> str | None:
        """Return the value unchanged; None when it is absent or empty, as forms send it."""
        return self._query.get(name) or None

    def choice(self, name: str, choices: Collection[str]) -> str | None:
        """Return the value if it is one of these words."""
        value = self.text(name)
        if value is not None and value not in choices:
            self.wrong(name, f"'{value[:SHOWN]}' is none of {', '.join(choices)}")
            return None
        return value

    def choices(self, name: str, choices: Collection[str]) -> frozenset[str]:
        """Return the chosen words of a comma-separated list; empty when absent."""
        given = (self.text(name) or "").split(",") if self.text(name) else []
        for value in [value for value in given if value not in choices][:3]:
            self.wrong(name, f"'{value[:SHOWN]}' is none of {', '.join(choices)}")
        return frozenset(given) & frozenset(choices)

    def limit(self) -> int:
        """Read `limit`: rows of a page, 1 to `LIMIT_MOST`."""
        value = self.text("limit")
        if value is None:
            return LIMIT_DEFAULT
        if not (value.isascii() and value.isdigit() and len(value) <= 6 and 1 <= int(value) <= LIMIT_MOST):
            self.wrong("limit", f"'{value[:SHOWN]}' is no whole number from 1 to {LIMIT_MOST}")
            return LIMIT_DEFAULT
        return int(value)

    def cursor(self, decoded: Callable[[str], object]) -> str | None:
        """Read `cursor` as it is, where `decoded` takes it; CursorError of that is a mistake like others."""
        value = self.text("cursor")
        if value is None:
            return None
        try:
            decoded(value)
        except CursorError as error:
            self.wrong("cursor", str(error))
            return None
        return value

    def time_ns(self, name: str) -> int | None:
        """Return a time as unix seconds or RFC 3339, in ns."""
        value = self.text(name)
        if value is None:
            return None
        found = moment_ns(value)
        if found is None:
            self.wrong(name, f"'{value[:SHOWN]}' is no time; write unix seconds or '2026-01-31T12:00:00Z'")
        return found

    def done(self) -> None:
        """Raise 400 with every mistake, when there is one."""
        count = len(self._mistakes)
        if count:
            detail = f"{count} {'parameter is' if count == 1 else 'parameters are'} wrong"
            raise ProblemError(HTTPStatus.BAD_REQUEST, detail, parameters=self._mistakes)


def moment_ns(value: str) -> int | None:
    """Return unix seconds or RFC 3339 as ns; None for any other text."""
    if _NUMBER.fullmatch(value):
        whole, _, part = value.partition(".")
        if abs(int(whole)) > _LAST_SECOND:
            return None
        sign = -1 if whole.startswith("-") else 1
        return int(whole) * 1_000_000_000 + sign * int(part.ljust(9, "0") if part else 0)
    try:
        moment = datetime.fromisoformat(value[:SHOWN].replace(" ", "+"))  # a `+` that was not escaped arrives as space
        if moment.tzinfo is None:
            return None
        return math.floor(moment.astimezone(UTC).timestamp() * 1_000) * 1_000_000
    except (ValueError, OverflowError):
        return None


async def action_body(
    request: web.Request, *, text_needed: bool, verdict_allowed: bool = False
) -> tuple[str, str, OperatorVerdict | None]:
    """Read who, text and verdict of a body like `{"who": "anna", "text": "our own crawler", "verdict": "false_alarm"}`.

    who: the name of the request's token where that has one, whatever the body says.
    All are optional, unless a text is needed; a verdict is a mistake where it is not allowed.
    415 when it is not declared as JSON, which a form of another site cannot do; 400 with every mistake.
    """
    limits = {**_ACTION, "verdict": VERDICT_LIMIT} if verdict_allowed else _ACTION
    found = await texts_body(request, limits, needed=("text",) if text_needed else ())
    said = found.get("verdict", "")
    verdict = next((one for one in VERDICTS if one == said), None)
    if said and verdict is None:
        mistake = ("verdict", f"must be one of {', '.join(VERDICTS)}")
        raise ProblemError(HTTPStatus.BAD_REQUEST, "the body is wrong", parameters=[mistake])
    return found["who"], found["text"], verdict


async def texts_body(
    request: web.Request, limits: Mapping[str, int], *, needed: Collection[str] = ()
) -> dict[str, str]:
    """Read a JSON object of texts, all of them optional unless needed. limits: most characters of each by name.

    who: see `action_body`. ProblemError: 415 or 400, see there.
    """
    found = await json_object(request)
    mistakes = [(name[:SHOWN], f"no such field; known are {', '.join(limits)}") for name in found if name not in limits]
    values = dict.fromkeys(limits, "")
    for name, most in limits.items():
        value = found.get(name, "")
        if not isinstance(value, str) or len(value) > most:
            mistakes.append((name, f"no text of at most {most} characters"))
            continue
        values[name] = value.strip()
        if name in needed and not values[name]:
            mistakes.append((name, "is needed"))
    if mistakes:
        raise ProblemError(HTTPStatus.BAD_REQUEST, "the body is wrong", parameters=mistakes[:10])
    return values | {"who": acting(values.get("who", ""))}


def acting(said: str) -> str:
    """Return who makes the present request: the name of its token where that has one, else what the body says."""
    bearer = present_bearer()
    return (bearer.name if bearer is not None else "") or said or "api"


async def json_object(request: web.Request) -> dict[str, object]:
    """Return the body as a JSON object; a missing body is an empty one. ProblemError 415, 413 or 400 for others."""
    if request.content_type != "application/json":
        raise ProblemError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send 'Content-Type: application/json'")
    raw = await request.read()
    if not raw.strip():
        return {}
    try:
        found = json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        place = f" (line {error.lineno} column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
        raise ProblemError(HTTPStatus.BAD_REQUEST, f"the body is no JSON{place}") from None
    if not isinstance(found, dict):
        raise ProblemError(HTTPStatus.BAD_REQUEST, "the body is no JSON object")
    return found
