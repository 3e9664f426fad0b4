"""`silences`, `maintenance` of `watchdog.yaml`: lists of tables, of what is held back."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import time
from pathlib import Path
from typing import Final, TypeVar, cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from alerts.case.house import HOUSE, case_node
from alerts.maintenance import DAYS, MOST_WINDOWS, Day, QuietWindow
from alerts.silence import MOST, ClaimSilence, SilenceError, checked
from rules.exceptions import read_until
from watchdog.core.finding import SEVERITIES, Severity
from watchdog.located_yaml import values
from watchdog.located_yaml.keys import Key
from watchdog.located_yaml.nodes import Node, Series
from watchdog.located_yaml.problem import Location, Report
from watchdog.located_yaml.suggest import did_you_mean
from watchdog.service.config.found import Found
from watchdog.service.config.section import read_section
from watchdog.service.config.shapes import Section, Shape
from watchdog.service.config.values import ConfigValue, Reading, read_value

Item = TypeVar("Item")
CLOCK: Final = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")
ZONE_HINT: Final = "a name such as Europe/Berlin or UTC; the time zones of this machine are in Debian's package tzdata"

SILENCE: Final = Section(
    "silences",
    "A silence: claims that match all that is given open no case and notify no one. One of `party`, `rule` and "
    "`technique` is required. See [SILENCES.md](SILENCES.md).",
    (
        Key("party", "words", "An address, a prefix, or the host of an onion or I2P peer.", shown="any"),
        Key("rule", "words", "A rule's id.", shown="any"),
        Key("technique", "words", "A rule's `technique`, in place of `rule`.", shown="any"),
        Key("node", "words", "At this node only; `*` for cases of no single node.", shown="any"),
        Key("until", "date", "When it ends: a date or a time, UTC unless it has an offset.", required=True),
        Key("author", "words", "Who made it.", required=True),
        Key("comment", "words", "Why it is needed, for the people who read it.", required=True),
    ),
)
WINDOW: Final = Section(
    "maintenance",
    "A weekly window in which notices are held back. See [SILENCES.md](SILENCES.md).",
    (
        Key("name", "words", "Its name, for people.", required=True),
        Key("nodes", "nodes", "Only of these nodes; `*` is what accuses no single node.", shown="all"),
        Key("days", "choices", "On which it begins.", shown="every day", choices=DAYS),
        Key("from", "clock", "When it begins, by the clock of `zone`; in quotes.", required=True),
        Key("to", "clock", "When it ends; on the next day unless it is later than `from`.", required=True),
        Key("zone", "words", "A time zone such as `Europe/Berlin`.", "UTC"),
        Key("keeps", "choice", "The least severity that is sent all the same.", "critical", choices=SEVERITIES),
    ),
)


def read_silences(node: Node, reading: Reading) -> tuple[ClaimSilence, ...]:
    """Read the silences of a file; mistakes go to the report."""
    found = _items(node, SILENCE, reading, _silence, MOST)
    return tuple({one.id: one for one in found}.values())


def read_windows(node: Node, reading: Reading) -> tuple[QuietWindow, ...]:
    """Read the maintenance windows of a file; mistakes go to the report."""
    return tuple(_items(node, WINDOW, reading, _window, MOST_WINDOWS))


def _items(
    node: Node, section: Section, reading: Reading, build: Callable[[Found, Location, Report], Item | None], most: int
) -> list[Item]:
    """Read a list of tables."""
    if not isinstance(node, Series):
        reading.report.error(node.place, f"'{section.name}' must be a list, not {values.describe(node)}")
        return []
    if len(node.items) > most:
        reading.report.error(node.place, f"'{section.name}' has more than {most} entries")
        return []
    found: list[Item] = []
    for item in node.items:
        table = values.table(item, section.name, reading.report)
        before = len(reading.report.problems)
        if table is None:
            continue
        own = read_section(section, table, reading, _value)
        built = build(own, table.place, reading.report) if len(reading.report.problems) == before else None
        if built is not None:
            found.append(built)
    return found


def _value(key: Key[Shape], node: Node, reading: Reading) -> ConfigValue | None:
    if key.shape == "words":
        return values.text(node, key.name, reading.report) or None
    if key.shape == "date":
        return read_until(node, reading.report)
    if key.shape == "clock":
        return _clock(node, key.name, reading.report)
    return read_value(key, node, reading)


def _clock(node: Node, name: str, report: Report) -> str | None:
    found = values.scalar(node, name, 'a time such as "02:00"', report)
    if found is None:
        return None
    if not CLOCK.fullmatch(found.text):
        report.error(node.place, f"'{name}' is not a time of day: '{found.text[:60]}'", 'from "00:00" to "23:59"')
        return None
    return found.text


def _silence(found: Found, place: Location, report: Report) -> ClaimSilence | None:
    texts = {name: found.maybe(name, str) or "" for name in ("party", "rule", "technique", "node")}
    texts["node"] = case_node(texts["node"])
    until_ns, author, comment = found.get("until", int), found.get("author", str), found.get("comment", str)
    content = json.dumps([texts, until_ns, author, comment], sort_keys=True).encode()
    id_ = f"file:{hashlib.blake2b(content, digest_size=4).hexdigest()}"
    try:
        return checked(ClaimSilence(id_, 0, until_ns, author, comment, place=_place(place), **texts))
    except SilenceError as error:
        report.error(place, str(error))
        return None


def _window(found: Found, place: Location, report: Report) -> QuietWindow | None:
    zone = found.get("zone", str)
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        report.error(found.where("zone"), f"unknown time zone '{zone[:60]}'", ZONE_HINT)
        return None
    begins, ends = (time.fromisoformat(found.get(name, str)) for name in ("from", "to"))
    return QuietWindow(
        found.get("name", str),
        begins,
        ends,
        zone,
        cast("tuple[Day, ...]", found.maybe("days", tuple) or ()),
        tuple(case_node(name) for name in found.maybe("nodes", tuple) or ()),
        cast("Severity", found.get("keeps", str)),
        _place(place),
    )


def _place(place: Location) -> str:
    return f"{Path(place.source.name).name}:{place.line}"


def ended_silences(silences: Sequence[ClaimSilence], now_ns: int) -> list[str]:
    """Return a line for each silence of the configuration that has ended, for `watchdog check`."""
    return [
        f"{one.place}: the silence of {one.matcher} has ended: remove it" for one in silences if one.until_ns <= now_ns
    ]


def unknown_names(
    silences: Sequence[ClaimSilence], windows: Sequence[QuietWindow], nodes: Collection[str], words: Mapping[str, str]
) -> list[str]:
    """Return a line for each silence and window that names what does not exist, so that it holds nothing back.

    words: the techniques of the rules that are loaded, by id.
    """
    known = {"rule": list(words), "technique": sorted(set(words.values())), "node": [*nodes, HOUSE]}
    named = [
        (one.place, f"the silence of {one.matcher}", what, getattr(one, what)) for one in silences for what in known
    ]
    named += [
        (one.place, f"the maintenance window '{one.name}'", "node", node) for one in windows for node in one.nodes
    ]
    return [
        f"{place}: {whose} names the {what} '{name[:80]}', which does not exist here; "
        f"{did_you_mean(name, known[what], f'{what}s')}"
        for place, whose, what, name in named
        if name and name not in known[what]
    ]
