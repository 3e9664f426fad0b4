"""`watchdog receive`: a receiver of webhooks that verifies them and prints them readably."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from codecs import BOM_UTF8
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

from alerts.delivery.encoding import rfc3339
from alerts.delivery.inbox import Arrival, Misbehaviour, WebhookInbox
from alerts.delivery.ports import SystemDeliveryClock
from alerts.delivery.signature import secret_key
from alerts.render import COLOURS
from watchdog.core.durations import MINUTE_NS
from watchdog.core.errors import SecretError, WatchdogError
from watchdog.core.text import printable
from watchdog.service.config.values import split_listen
from watchdog.web.serving import listen

SUMMARY = "Receive webhooks, verify their signatures and print them: for demos and debugging."
DEFAULT_LISTEN = "127.0.0.1:8390"
LARGEST_SECRET_FILE = 4_096  # bytes
TEXT_LIMIT = 400
MOST_LINES = 20  # of a message for people
APART_NS = MINUTE_NS  # event time that is further from our clock is shown beside it
EARLIEST_S, LATEST_S = 0, 253_402_300_799  # what a date can show: 1970 to 9999


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "--listen", default=DEFAULT_LISTEN, metavar="ADDRESS:PORT", help=f"default {DEFAULT_LISTEN}; port 0 picks one"
    )
    parser.add_argument(
        "--secret-file",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="holds a whsec_ secret; give several during a key rotation; without one nothing is verified",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="append each message as one line of JSON")
    faults = parser.add_argument_group("faults, for trying out retries")
    faults.add_argument("--status", type=_status, default=204, metavar="N", help="answer this status (default 204)")
    faults.add_argument("--delay", type=_seconds, default=0.0, metavar="S", help="seconds before each answer")
    faults.add_argument("--drop", action="store_true", help="hang up without an answer")
    faults.add_argument("--first", type=int, metavar="N", help="misbehave for the first N messages only")
    faults.add_argument("--retry-after", metavar="TEXT", help="send this header with a status of 400 or more")


def run(args: argparse.Namespace) -> int:
    """Receive until interrupted or terminated."""
    keys = tuple(_key(path) for path in args.secret_file)
    faults = Misbehaviour(args.status, args.delay, args.drop, args.first, args.retry_after)
    host, port = _place(args.listen)
    out = None if args.out is None else args.out.open("a", encoding="ascii")
    try:
        asyncio.run(_serve(host, port, keys, faults, out))
    finally:
        if out is not None:
            out.close()
    return 0


async def _serve(host: str, port: int, keys: tuple[bytes, ...], faults: Misbehaviour, out: TextIO | None) -> None:
    colour, loop = sys.stdout.isatty(), asyncio.get_running_loop()

    def tell(arrival: Arrival) -> None:
        if out is not None:
            out.write(json.dumps(arrival.as_object(), ensure_ascii=True, separators=(",", ":")) + "\n")
            out.flush()
        try:
            print(readable(arrival, colour=colour), flush=True)
        except OSError as error:  # later output has no reader
            unseen.append(OSError(error.errno, error.strerror, "standard output"))
            loop.call_soon_threadsafe(stop.set)

    stop, unseen = asyncio.Event(), list[OSError]()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stop.set)
    listening = await listen(WebhookInbox(keys, SystemDeliveryClock(), tell, faults).app(), host, port, end_s=1.0)
    try:
        shown = f"[{host}]" if ":" in host else host
        checked = "signatures are verified" if keys else "no --secret-file: signatures are not verified"
        sys.stderr.write(f"listening on http://{shown}:{listening.addresses[0][1]}/ ({checked})\n")
        sys.stderr.flush()
        await stop.wait()
    finally:
        await listening.close()
    if unseen:
        raise unseen[0]


def readable(arrival: Arrival, *, colour: bool = False) -> str:
    """Render a message: one line with its type and whether it is verified, then the texts, indented.

    It begins with our clock; `of TIME` is the event time where it differs; both in UTC.
    Everything from the message is escaped; a second and later attempt with the same id is marked.
    """
    body = arrival.body or {}
    incident = _incident(body)
    severity = str(incident.get("severity") or "")
    mark = _coloured(severity, colour=colour)
    kind = printable(str(_named(body) if body else "no JSON object"))
    rule = printable(str(incident.get("rule") or ""))
    trust = {None: "not verified", True: "verified", False: f"REFUSED: {printable(arrival.problem)}"}[arrival.verified]
    again = f", attempt {arrival.attempt}" if arrival.attempt > 1 else ""
    answered = "hung up" if arrival.status is None else f"answered {arrival.status}"
    time = rfc3339(arrival.received_ns)[:19].replace("T", " ")
    head = "  ".join(part for part in (time, mark, kind, rule) if part)
    happened_ns = _happened_ns(incident)
    if happened_ns is not None and abs(happened_ns - arrival.received_ns) > APART_NS:  # of a recording, or late
        head = f"{head}  of {rfc3339(happened_ns)[:19].replace('T', ' ')}"
    texts = [
        printable(str(incident[name]), TEXT_LIMIT)
        for name in ("title", "headline", "summary", "url", "text")
        if incident.get(name)
    ]
    texts = texts or [printable(line, TEXT_LIMIT) for line in _message(body)]
    lines = [f"{head}  [{trust}{again}, {answered}, {printable(arrival.id)}]", *(f"    {text}" for text in texts)]
    return "\n".join(lines)


def _named(body: Mapping[str, Any]) -> str:
    """Return what a message is: the type of a webhook, else the format that its fields belong to."""
    if "alerts" in body:
        return f"alertmanager {body.get('status', '')}".strip()
    if "event_action" in body:
        return f"pagerduty {body['event_action']}"
    formats = {"data": body.get("type"), "chat_id": "telegram", "attachments": "teams", "blocks": "slack"}
    return str(next((name for field, name in formats.items() if field in body and name), body.get("type", "other")))


def _message(body: Mapping[str, Any]) -> list[str]:
    """Return the lines of a message for people: of Slack, Telegram or PagerDuty; empty for others."""
    payload = body.get("payload")
    text = payload.get("summary") if isinstance(payload, dict) else body.get("text")
    return [line for line in text.split("\n") if line.strip()][:MOST_LINES] if isinstance(text, str) else []


def _incident(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the incident of either format, under the names of `webhook`; empty without one."""
    data = body.get("data")
    if isinstance(data, dict):
        return data
    alerts = body.get("alerts")
    first = alerts[0] if isinstance(alerts, list) and alerts and isinstance(alerts[0], dict) else {}
    labels, annotations = first.get("labels"), first.get("annotations")
    named = dict(labels) | {"rule": labels.get("alertname")} if isinstance(labels, dict) else {}
    return named | (annotations if isinstance(annotations, dict) else {}) | {"opened": first.get("startsAt")}


def _happened_ns(incident: Mapping[str, Any]) -> int | None:
    """Return a message's event time; in Alertmanager's format, which has no other, that of the opening."""
    told = incident.get("updated", incident.get("opened"))
    if isinstance(told, str):
        try:
            moment = datetime.fromisoformat(told)
            told = moment.timestamp() if moment.tzinfo else None
        except (ValueError, OverflowError):
            return None
    if isinstance(told, bool) or not isinstance(told, int | float) or not EARLIEST_S < told < LATEST_S:
        return None
    return int(told * 1e9)


def _coloured(severity: str, *, colour: bool) -> str:
    text = f"{printable(severity, 12).upper():<8}" if severity else ""
    code = next((code for name, code in COLOURS.items() if name == severity), None)
    return f"\x1b[{code}m{text}\x1b[0m" if colour and code and text else text


def _key(path: Path) -> bytes:
    """Read the key in a file; errors name the file and never its content."""
    raw = path.read_bytes()[:LARGEST_SECRET_FILE].removeprefix(BOM_UTF8)
    try:
        return secret_key(raw.decode("ascii", "replace"))
    except SecretError as error:
        raise SecretError(f"{path}: {error}") from None


def _place(text: str) -> tuple[str, int]:
    try:
        host, port = split_listen(text)
    except ValueError:
        raise WatchdogError(f"--listen {text!r}: not of the form ADDRESS:PORT, for example {DEFAULT_LISTEN}") from None
    if not 0 <= port <= 65_535:
        raise WatchdogError(f"--listen {text!r}: a port is 0 to 65535")
    return host or "127.0.0.1", port


def _status(text: str) -> int:
    if text.isascii() and text.isdigit() and 200 <= int(text) <= 599:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no HTTP status of 200 to 599")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if 0 <= seconds <= 3_600:
        return seconds
    raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds from 0 to 3600")
