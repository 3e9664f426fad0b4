"""Routes of silences: the list, a new one, one about a party of a case, and the end of one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

from aiohttp import web

from alerts.case.house import case_node
from alerts.silence import COMMENT_LIMIT, WHO_LIMIT, ClaimSilence, SilenceError, checked_party, covers
from alerts.store.silences import KeptSilence, UnknownSilenceError
from watchdog.core.durations import parse_duration
from watchdog.service.view import ServiceView
from watchdog.web.answer import answer
from watchdog.web.parameters import SHOWN, Parameters, acting, json_object, moment_ns
from watchdog.web.problem import ProblemError, not_found

STATES = ("active", "all")
MATCHERS = ("party", "rule", "technique", "node")
FIELDS = (*MATCHERS, "for", "until", "who", "comment")
LONGEST_TEXT = 100  # of a matcher or a time
CREATED = 201


class SilenceRoutes:
    """`/api/v1/silences`, and `silences` below a case."""

    def __init__(self, view: ServiceView) -> None:
        self._view = view

    def routes(self) -> Sequence[web.RouteDef]:
        """Return the routes for `Application.add_routes`."""
        base = "/api/v1/silences"
        return [
            web.get(base, self.list),
            web.post(base, self.add),
            web.post(base + "/{id:[0-9]{1,18}}/expire", self.expire),
            web.post("/api/v1/cases/{id:[0-9a-f]{16}}/silences", self.add_of_case),
        ]

    async def list(self, request: web.Request) -> web.Response:
        """Answer with the silences in force, those of the configuration first; `state=all`: and those that are over."""
        parameters = Parameters(request.query.items(), ("state",))
        every = parameters.choice("state", STATES) == "all"
        parameters.done()
        now_ns = self._view.wall_ns()
        stored = await self._view.ask(lambda: self._view.silences.listed(now_ns, over=every))
        standing = [KeptSilence(one) for one in self._view.standing_silences()]
        found = [one for one in (*standing, *stored) if every or one.state(now_ns) == "active"]
        return answer({"silences": [one.as_object(now_ns) for one in found]})

    async def add(self, request: web.Request) -> web.Response:
        """Add a silence that begins now."""
        return await self._add(await self._wanted(request))

    async def add_of_case(self, request: web.Request) -> web.Response:
        """Silence a party of a case, at the case's node unless another is named."""
        id_ = request.match_info["id"]
        found = await self._view.ask(lambda: self._view.cases.named(id_))
        if not found:
            raise not_found(f"case '{id_}'")
        wanted = await self._wanted(request, node=found[0]["node"])
        if not wanted.party:
            raise _wrong("party", "is needed: a party of the case, or an address or prefix within one")
        with _refused("party"):
            party = checked_party(wanted.party)
        if not _is_of(party, found[0]):
            raise _wrong("party", "is no party of this case")
        return await self._add(wanted)

    async def expire(self, request: web.Request) -> web.Response:
        """End a silence now."""
        id_, body = request.match_info["id"], await json_object(request)
        mistakes, texts = _texts(body, ("who",))
        if mistakes:
            raise ProblemError(HTTPStatus.BAD_REQUEST, "the body is wrong", parameters=mistakes[:10])
        who = acting(texts["who"])
        try:
            kept = await self._view.silence(lambda silences, now_ns: silences.expire(id_, who, now_ns))
        except UnknownSilenceError:
            raise not_found(f"silence '{id_}'") from None
        except SilenceError as error:
            raise ProblemError(HTTPStatus.CONFLICT, str(error)) from None
        return answer({"silence": kept.as_object(self._view.wall_ns())})

    async def _add(self, wanted: ClaimSilence) -> web.Response:
        with _refused("silence"):
            kept = await self._view.silence(lambda silences, now_ns: silences.add(wanted, now_ns))
        return answer({"silence": kept.as_object(self._view.wall_ns())}, CREATED)

    async def _wanted(self, request: web.Request, node: str = "") -> ClaimSilence:
        """Read the body of a new silence; 400 with every mistake."""
        body = await json_object(request)
        mistakes, texts = _texts(body, (*MATCHERS, "for", "who", "comment"))
        now_ns, until_ns = self._view.wall_ns(), 0
        if ("for" in body) == ("until" in body):
            mistakes.append(("until", "give either 'for', such as \"4h\", or 'until'"))
        elif "until" in body:
            until = body["until"]
            found_ns = moment_ns(str(until)) if isinstance(until, str | int | float) else None
            if found_ns is None:
                mistakes.append(("until", "is no time; write unix seconds or '2026-01-31T12:00:00Z'"))
            until_ns = found_ns or 0
        else:
            span_ns = parse_duration(texts["for"])
            if span_ns is None:
                mistakes.append(("for", "is no duration such as '30m', '4h' or '7d'"))
            until_ns = now_ns + (span_ns or 0)
        if not texts["comment"] and not any(name == "comment" for name, _ in mistakes):
            mistakes.append(("comment", "is needed"))
        if mistakes:
            raise ProblemError(HTTPStatus.BAD_REQUEST, "the body is wrong", parameters=mistakes[:10])
        own = {name: texts[name] for name in MATCHERS}
        own["node"] = case_node(texts["node"]) if "node" in body else node
        return ClaimSilence("", now_ns, until_ns, acting(texts["who"]), texts["comment"], **own)


def _texts(body: Mapping[str, object], names: Sequence[str]) -> tuple[list[tuple[str, str]], dict[str, str]]:
    """Return the mistakes in a body's fields of text, and their values."""
    known = FIELDS if "comment" in names else names
    mistakes = [(name[:SHOWN], f"no such field; known are {', '.join(known)}") for name in body if name not in known]
    texts = dict.fromkeys(names, "")
    for name in names:
        value = body.get(name, "")
        most = {"comment": COMMENT_LIMIT, "who": WHO_LIMIT}.get(name, LONGEST_TEXT)
        if value is None:
            continue
        if not isinstance(value, str) or len(value) > most:
            mistakes.append((name, f"no text of at most {most} characters"))
        else:
            texts[name] = value.strip()
    return mistakes, texts


def _is_of(party: str, case: Mapping[str, Any]) -> bool:
    """Return whether a party is one of a case's, or an address or prefix within one."""
    names = [name for one in case["parties"] for name in (one["name"], *one["addresses"])]
    names += [one["party"] for one in case.get("claims", ()) if one["party"]]
    return any(covers(name, party) for name in names)


def _wrong(name: str, detail: str) -> ProblemError:
    return ProblemError(HTTPStatus.BAD_REQUEST, "the body is wrong", parameters=[(name, detail)])


@contextmanager
def _refused(name: str) -> Iterator[None]:
    """Answer with 400 what cannot be a silence."""
    try:
        yield
    except SilenceError as error:
        raise _wrong(name, str(error)) from None
