"""Why a notice was held back, as text: the answer of `watchdog cases why-not`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from alerts.render import time_text
from watchdog.core.text import printable

FateObject = Mapping[str, Any]  # Any: JSON of `alerts.store.case_fates`


def fate_lines(fates: Sequence[FateObject], pending: FateObject | None, at_s: float | None = None) -> list[str]:
    """Return a line for each decision, by receiver.

    at_s: only the latest decisions for each receiver up to then (unix seconds, event time), and what followed at once.
    """
    shown = [one for one in fates if at_s is None or one["time"] <= at_s]
    if at_s is not None:
        last = {one["receiver"]: one["time"] for one in shown}
        shown = [one for one in shown if one["time"] == last[one["receiver"]]]
    lines: list[str] = []
    for receiver in sorted({str(one["receiver"]) for one in shown}):
        lines.append(f"{printable(receiver)}:")
        lines += [f"  {_line(one)}" for one in shown if one["receiver"] == receiver]
    if pending is not None and at_s is None:
        lines.append(f"every receiver: {pending_text(pending)}")
    return lines


def pending_text(pending: FateObject) -> str:
    """Return what waits for the end of an interval."""
    types = ", ".join(f"case.{reason}" for reason in pending["reasons"])
    return f"{types}: held back: interval (until {_time(pending['due'])} of event time, with what comes until then)"


def _line(one: FateObject) -> str:
    head = f"{_time(one['time'])}  {one['type']:<17}  "
    if one["decision"] == "held":
        place = f", {printable(one['place'])}" if one["place"] else ""
        return f"{head}held back: {one['reason']} ({printable(one['detail'], 300)}{place})"
    return f"{head}{_sent(one)}"


def _sent(one: FateObject) -> str:
    error = f": {printable(one['error'], 200)}" if one["error"] else ""
    id_ = one["delivery"]
    match one["status"]:
        case "sent" | "merged":
            return f"sent at {_time(one['settled'])} ({id_})"
        case "dead":
            return f"not delivered, a dead letter since {_time(one['settled'])} ({id_}{error})"
        case "waiting":
            return f"waits for the receiver ({id_}{error})"
    return f"made at {_time(one['decided'])} ({id_}, no longer kept)"


def _time(seconds: float) -> str:
    return time_text(int(seconds * 1e9))
