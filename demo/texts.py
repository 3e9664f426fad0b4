"""What the demo prints: alerts, and the table of attacks."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from alerts.delivery.inbox import Arrival
from alerts.render import COLOURS
from watchdog.core.text import printable
from watchdog.offline.evaluate import LabelScore, RecordingScore

NAME_WIDTH, DELAY_WIDTH = 24, 9  # columns of the table of attacks; the rest belongs to the rules
PARTY_WIDTH = 27  # columns of the names in a line of an alert


def event_time(arrival: Arrival) -> float:
    """Unix seconds of the node's time at which what a webhook reports happened; 0 when it does not say."""
    change = _data(arrival).get("change")
    happened = change.get("time") if isinstance(change, dict) else None
    return float(happened) if isinstance(happened, int | float) else 0.0


def alert_lines(arrival: Arrival, *, colour: bool) -> str:
    """One webhook in at most 80 columns: event time, severity, event, who; below it what the case is."""
    case = _data(arrival)
    change = case.get("change")
    happened = event_time(arrival)
    time = datetime.fromtimestamp(happened, UTC).strftime("%H:%M:%S") if happened else "-"
    severity = printable(str(case.get("severity") or "-"), 8)
    code = next((code for name, code in COLOURS.items() if name == severity), None)
    mark = f"\x1b[{code}m{severity:<8}\x1b[0m" if colour and code else f"{severity:<8}"
    kind = printable(str((arrival.body or {}).get("type") or "-"), 24).removeprefix("case.")
    trust = "signature verified" if arrival.verified else f"REFUSED: {printable(arrival.problem, 60)}"
    again = f", attempt {arrival.attempt}" if arrival.attempt > 1 else ""
    names = change.get("parties") if isinstance(change, dict) else None
    who, *others = names if isinstance(names, list) and names else ["-"]
    more = f" and {len(others)} more" if others else ""
    who = f"{printable(str(who), PARTY_WIDTH - 1 - len(more))}{more}"
    headline = printable(str(case.get("headline") or "-"), 70)
    return f"{time:<8}  {mark}  {kind:<9} {who:<{PARTY_WIDTH}} {trust}{again}\n          {headline}"


def _data(arrival: Arrival) -> Mapping[str, object]:
    data = (arrival.body or {}).get("data")
    return data if isinstance(data, dict) else {}


def attacks_table(scored: RecordingScore, width: int) -> str:
    """Which labelled attacks were found, how soon after their start, and by which rules; at most `width` columns."""
    attacks = [one for one in scored.labels if not one.benign]
    lines = [f"{'WHAT REALLY HAPPENED':<{NAME_WIDTH}}{'FOUND':<{DELAY_WIDTH}}BY RULE"]
    for one in attacks:
        lines += attack_rows(one, width)
    found, named = sum(one.found for one in attacks), sum(one.named for one in attacks)
    needless = len(scored.unlabelled)
    lines += ["", f"{found} of {len(attacks)} attacks found, an attacker named in {named}."]
    lines.append(f"{needless or 'No'} incident{'' if needless == 1 else 's'} of warning or above without an attack.")
    return "\n".join(lines) + "\n"


def attack_rows(one: LabelScore, width: int) -> list[str]:
    """One attack: its name, the delay, and the rules that name an attacker, on as many lines as they need.

    As `watchdog evaluate` has it; where no rule names anybody, those of its class, in square brackets.
    """
    when = "open" if one.open_before else f"in {one.delay_text}" if one.found else "missed"
    rules = ", ".join(dict.fromkeys(match.incident.rule for match in one.best)) or "-"
    rules = rules if one.named or not one.found else f"[{rules}]"
    indent = NAME_WIDTH + DELAY_WIDTH
    first, *rest = textwrap.wrap(rules, max(width - indent, 20), break_on_hyphens=False)
    name = one.label.attack if len(one.label.attack) < NAME_WIDTH else f"{one.label.attack[: NAME_WIDTH - 4]}... "
    return [f"{name:<{NAME_WIDTH}}{when:<{DELAY_WIDTH}}{first}", *(" " * indent + line for line in rest)]


def near(path: Path) -> str:
    """Return the shortest form of a path, relative to the current folder where possible."""
    short = Path(os.path.relpath(path))
    return str(path if ".." in short.parts else short)


def coloured() -> bool:
    """Whether standard output is a terminal that wants colours (https://no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")
