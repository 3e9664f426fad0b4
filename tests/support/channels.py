"""Local services with the documented rules of the real ones: what they refuse, and how they say so."""

from __future__ import annotations

import html.parser
import json
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message
from typing import Any

from aiohttp import web
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from alerts.notice import Notice
from alerts.routing import Receiver
from watchdog.core.finding import Severity

MAIL_PASSWORD = "hunter2-of-the-house"
ROOT, ALIAS = "6ed2cb2a00000001", "93b1aaaa00000002"
START_NS = 1_780_000_000_000_000_000
LINK = re.compile(r"<https?://[\w./-]+/cases/[0-9a-f]{16}\|Open the page>")  # our own markup, as commands are
COMMAND = re.compile(r"`(?:bitcoin-cli|watchdog) [A-Za-z0-9 ./:=-]+`")
HOSTILE = "<!channel> @channel *b* _i_ [x](http://evil/) <b>&amp;</b>\r\nTo: x@y \u202e`c` ~s~ |t| </a>"
JsonObject = dict[str, Any]  # JSON of a request


def case_body(kind: str = "opened", **other: Any) -> JsonObject:
    """The `data` of a notice of a case; `other` replaces fields of any type."""
    change = {
        "type": f"case.{kind}",
        "time": START_NS / 1e9,
        "reason": kind,
        "severity": "high",
        "parties": ["203.0.113.7", "198.51.0.0/16"],
        "new_stages": ["outbound"],
        "new_parties": ["203.0.113.7"],
        "merged": ALIAS if kind == "merged" else None,
        "by": None,
        "text": "",
    }
    body = {
        "id": ROOT,
        "node": "alice",
        "state": "resolved" if kind == "resolved" else "open",
        "severity": "high",
        "opened": START_NS / 1e9 - 600,
        "updated": START_NS / 1e9,
        "resolved": START_NS / 1e9 if kind == "resolved" else None,
        "continues": None,
        "headline": "address flood from 203.0.113.7",
        "stages": ["outbound"],
        "parties": [
            {"name": "203.0.113.7", "addresses": ["203.0.113.7"], "rules": ["addr-beyond-limit"], "firing": True}
        ],
        "incidents": ["a1b2"],
        "notices": [{"time": 1.0, "reason": "opened", "severity": "warning", "parties": []}],
        "aliases": [ALIAS] if kind == "merged" else [],
        "acknowledged_by": "anna" if kind == "acknowledged" else None,
        "attack": "addr-flooding",
        "root": ROOT,
        "url": f"https://watch.example.com/cases/{ROOT}",
        "change": change,
    }
    return body | other


def case_notice(kind: str = "opened", number: int = 1, severity: Severity = "high", **other: Any) -> Notice:
    """A notice of the case; `other` replaces fields of its body."""
    return Notice(f"msg_{number:032x}", "ops", "", f"case.{kind}", severity, START_NS, case_body(kind, **other), ROOT)


def hostile_notice() -> Notice:
    """A notice whose every text is a stranger's."""
    change = case_body()["change"] | {"parties": [HOSTILE], "new_stages": [HOSTILE], "by": HOSTILE, "text": HOSTILE}
    return case_notice(node=HOSTILE, headline=HOSTILE * 50, change=change)


def channel(form: Any, url: str = "", **own: str | tuple[str, ...]) -> Receiver:
    """A receiver of a format on this machine, with the format's own keys; `smtp_host` is the key `smtp.host`."""
    keys = {name.replace("smtp_", "smtp."): (one,) if isinstance(one, str) else one for name, one in own.items()}
    return Receiver("ops", url, format=form, own=keys, rate_per_minute=0, allow_private=True, timeout_s=5.0)


@dataclass
class Service:
    """A service: what it accepted, and an answer that replaces the next ones."""

    rule: Callable[[web.Request, JsonObject], web.Response]
    url: str = ""
    accepted: list[JsonObject] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    instead: list[web.Response] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        """Answer by the rules of the service."""
        body = json.loads(await request.read())
        if self.instead:
            return self.instead.pop(0)
        try:
            answer = self.rule(request, body)
        except AssertionError as error:
            self.refused.append(str(error))
            raise
        self.accepted.append(body)
        return answer


@asynccontextmanager
async def service(rule: Callable[[web.Request, JsonObject], web.Response]) -> AsyncIterator[Service]:
    """A running service."""
    made = Service(rule)
    app = web.Application(client_max_size=2**20)
    app.router.add_post("/{rest:.*}", made.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield made
    finally:
        await runner.cleanup()


def slack_webhook(_request: web.Request, body: JsonObject) -> web.Response:
    """An incoming webhook of Slack, which Mattermost has too."""
    check_blocks(body)
    return web.Response(text="ok")


def slack_api(request: web.Request, body: JsonObject) -> web.Response:
    """chat.postMessage: the token in a header, refusals with status 200; threads by `thread_ts`."""
    if request.headers.get("Authorization") != "Bearer xoxb-1":
        return web.json_response({"ok": False, "error": "invalid_auth"})
    assert request.path.endswith("/chat.postMessage")
    assert request.content_type == "application/json"
    if body.get("channel") != "C1":
        return web.json_response({"ok": False, "error": "channel_not_found"})
    check_blocks(body)
    return web.json_response({"ok": True, "channel": "C1", "ts": f"1780.{id(body)}", "message": body})


def check_blocks(body: JsonObject) -> None:
    """Hold a message against Slack's limits, and against markup that strangers could make."""
    assert body["text"], "no_text"
    assert len(body["text"]) <= 4_000
    assert 1 <= len(body["blocks"]) <= 50, "invalid_blocks"
    texts = [block["text"]["text"] for block in body["blocks"]]
    assert all(0 < len(text) <= 3_000 for text in texts), "invalid_blocks"
    assert sum(map(len, texts)) <= 13_000, "msg_blocks_too_long"
    own = [text for text in texts if not LINK.fullmatch(text)]
    for text in (*own, *LINK.sub("", body["text"]).split("\n")):
        assert "<" not in text
        unmarked = (COMMAND.sub("", text) if text.startswith("What to do: ") else text).strip("*")
        assert not any(mark in unmarked for mark in ("@", "`", "~", "](", "\r", "\u202e")), text
        assert "*" not in text.strip("*")


def telegram_api(request: web.Request, body: JsonObject) -> web.Response:
    """sendMessage: 4,096 UTF-16 units, balanced tags, the bot's token in the path."""
    if request.path != "/bot12:abc/sendMessage":
        return web.json_response({"ok": False, "error_code": 401, "description": "Unauthorized"}, status=401)
    text = body["text"]
    if len(text.encode("utf-16-le")) // 2 > 4_096:
        return _telegram_refusal("message is too long")
    tags = Tags()
    tags.feed(text)
    tags.close()
    if tags.open or tags.bad or body["parse_mode"] != "HTML":
        return _telegram_refusal("can't parse entities")
    assert body["chat_id"] == -100
    assert "@" not in text
    assert "\u202e" not in text
    result = {"message_id": 41, "chat": {"id": -100}, "text": text}
    return web.json_response({"ok": True, "result": result})


def _telegram_refusal(text: str) -> web.Response:
    answer = {"ok": False, "error_code": 400, "description": f"Bad Request: {text}"}
    return web.json_response(answer, status=400)


class Tags(html.parser.HTMLParser):
    """The tags that Telegram knows, and whether they are closed in order."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.open: list[str] = []
        self.bad = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Only ours."""
        self.bad = self.bad or tag not in ("b", "a") or (tag == "a" and [name for name, _ in attrs] != ["href"])
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """In order."""
        self.bad = self.bad or not self.open or self.open.pop() != tag

    def handle_entityref(self, name: str) -> None:
        """Four are known."""
        self.bad = self.bad or name not in ("lt", "gt", "amp", "quot")


class PagerDuty:
    """The Events API v2 with its alerts: a key opens one, it is acknowledged, resolved, and opened again as another."""

    def __init__(self) -> None:
        self.alerts: list[JsonObject] = []

    def __call__(self, request: web.Request, body: JsonObject) -> web.Response:
        """Take one event."""
        assert request.path == "/v2/enqueue"
        faults = self._faults(body)
        if faults:
            answer = {"status": "invalid event", "message": "Event object is invalid", "errors": faults}
            return web.json_response(answer, status=400)
        key, action = body["dedup_key"], body["event_action"]
        alert = next((one for one in self.alerts if one["key"] == key and one["state"] != "resolved"), None)
        if action == "trigger" and alert is None:
            self.alerts.append({"key": key, "state": "triggered", "events": [body]})
        elif alert is not None:
            alert["events"].append(body)
            alert["state"] = {"acknowledge": "acknowledged", "resolve": "resolved"}.get(action, alert["state"])
        return web.json_response({"status": "success", "message": "Event processed", "dedup_key": key}, status=202)

    def states(self) -> list[tuple[str, str]]:
        """Key and state of each alert, the oldest first."""
        return [(one["key"], one["state"]) for one in self.alerts]

    def _faults(self, body: Mapping[str, Any]) -> list[str]:
        if body.get("routing_key") != "R" * 32:
            return ["'routing_key' is invalid"]
        faults = [] if body.get("event_action") in ("trigger", "acknowledge", "resolve") else ["event_action"]
        faults += [] if 0 < len(body.get("dedup_key", "")) <= 255 else ["dedup_key"]
        payload = body.get("payload") or {}
        if body.get("event_action") == "trigger":
            faults += [f"payload.{one}" for one in ("summary", "source", "severity") if not payload.get(one)]
        faults += ["summary"] if len(payload.get("summary", "")) > 1_024 else []
        faults += [] if payload.get("severity", "info") in ("critical", "error", "warning", "info") else ["severity"]
        return faults + [f"link {one}" for one in body.get("links", []) if "href" not in one]


def teams_flow(request: web.Request, body: JsonObject) -> web.Response:
    """A flow of Workflows: one Adaptive Card, 28 KB at most."""
    assert (request.content_length or 0) <= 28 * 1024
    (attachment,) = body["attachments"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    card = attachment["content"]
    assert (body["type"], card["type"], card["version"]) == ("message", "AdaptiveCard", "1.4")
    for block in card["body"]:
        assert block["type"] == "RichTextBlock", "a TextBlock would read Markdown of strangers"
        assert all(one["type"] == "TextRun" and "\r" not in one["text"] for one in block["inlines"])
    return web.Response(status=202)


class Mailbox:
    """What the server accepted; `refuses` are recipients that it does not know, `says` answers each message."""

    def __init__(self) -> None:
        self.mails: list[Message] = []
        self.recipients: list[list[str]] = []
        self.refuses: set[str] = set()
        self.says = "250 OK"
        self.tls: list[bool] = []
        self.users: list[str] = []

    async def handle_RCPT(  # noqa: N802 (aiosmtpd's name)
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _: Any
    ) -> str:
        """Take a recipient."""
        if address in self.refuses:
            return "550 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 (as above)
        """Take a message."""
        assert isinstance(envelope.content, bytes)
        assert all(len(line) <= 998 for line in envelope.content.splitlines()), "RFC 5322 section 2.1.1"
        if self.says.startswith("250"):
            self.mails.append(message_from_bytes(envelope.content))
            self.recipients.append(envelope.rcpt_tos)
            self.tls.append(session.ssl is not None)
        return self.says

    def authenticate(self, _server: object, _session: object, _envelope: object, _way: str, data: Any) -> AuthResult:
        """One user is known."""
        self.users.append(data.login.decode())
        return AuthResult(success=data.password.decode() == MAIL_PASSWORD, handled=False)
