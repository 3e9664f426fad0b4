"""Cases for machines (the JSON object of `watchdog replay --cases`) and for people (a table for terminals)."""

from __future__ import annotations

import json
import textwrap
from collections import Counter
from collections.abc import Sequence

from alerts.case.house import HOUSE, related
from alerts.case.life import SHOWN
from alerts.case.names import LISTED_PARTIES, PartyView, announced, headline
from alerts.case.notice import CaseNotice
from alerts.cases import CasePicture
from alerts.incident import IncidentState
from alerts.render import COLOURS, NARROWEST, time_text
from watchdog.core.durations import rough_duration
from watchdog.core.finding import SEVERITIES
from watchdog.core.text import counted, printable

COLUMNS = (("CASE", 16), ("SEVERITY", 8), ("OPENED (UTC)", 19), ("LASTED", 7), ("STATE", 12))
INDENT = COLUMNS[0][1] + 2
MOST_ANNOUNCED = 64  # listed netblocks that gossip named


def case_object(picture: CasePicture, cases: Sequence[CasePicture] = ()) -> dict[str, object]:
    """Return the case as JSON-able data: times in unix seconds, null while one has not come.

    The fields of the contract come first, up to `aliases`. announced: netblocks that gossip named, which accuse no one.
    cases: of nodes; a case of the house lists those that share a party with it, in `related`. attack: that of the
    first claim, which stays the same while others join.
    """
    life = picture.life
    parties = len(picture.parties)
    return {
        "id": life.id,
        "node": life.node,
        "state": life.state.value,
        "severity": life.severity,
        "opened": _seconds(life.opened_ns),
        "updated": _seconds(life.updated_ns),
        "resolved": None if life.resolved_ns is None else _seconds(life.resolved_ns),
        "continues": life.continues,
        "headline": printable(headline(life, picture.claims, picture.witnesses, parties), 300),
        "stages": list(life.stages),
        "parties": [_party(view, firing=life.is_open) for view in picture.parties[:LISTED_PARTIES]],
        "incidents": list(life.incidents),
        "notices": [_notice(notice) for notice in life.notices],
        "aliases": list(life.aliases),
        "parties_beyond": max(parties - LISTED_PARTIES, 0),
        "notices_beyond": life.notices_beyond,
        "announced": announced(picture.claims)[:MOST_ANNOUNCED],
        "acknowledged_by": life.acknowledged_by,
        "related": related(picture, cases) if life.node == HOUSE else [],
        "attack": _attack(picture),
    }


def case_line(picture: CasePicture, cases: Sequence[CasePicture] = ()) -> str:
    """Return one line of ASCII JSON without the line break; see `case_object`."""
    return json.dumps(case_object(picture, cases), ensure_ascii=True, allow_nan=False, separators=(",", ":"))


def case_table(
    pictures: Sequence[CasePicture], width: int, *, colour: bool = False, until_ns: int | None = None
) -> str:
    """Render cases in at most `width` columns (at least 60): each with its headline, names, stages and notices.

    until_ns: how far the input went; what is open has lasted until then.
    """
    width = max(width, NARROWEST)
    several = len({picture.life.node for picture in pictures}) > 1
    head = "  ".join([*(f"{name:<{size}}" for name, size in COLUMNS), *(["NODE"] if several else [])])
    lines = [head.rstrip()]
    for picture in pictures:
        rows = _rows(picture, width, until_ns, colour=colour)
        lines += [f"{rows[0]}  {printable(picture.life.node)}" if several else rows[0], *rows[1:]]
    counts = Counter(picture.life.severity for picture in pictures)
    parts = [f"{counts[severity]} {severity}" for severity in reversed(SEVERITIES) if counts[severity]]
    total = counted(len(pictures), "case")
    lines = [line.rstrip() for line in lines]
    return "\n".join([*lines, "", f"{total}: {', '.join(parts)}" if parts else total]) + "\n"


def _rows(picture: CasePicture, width: int, until_ns: int | None, *, colour: bool) -> list[str]:
    life = picture.life
    end_ns = life.resolved_ns if life.resolved_ns is not None else max(life.updated_ns, until_ns or 0)
    cells = (
        life.id,
        life.severity,
        time_text(life.opened_ns),
        rough_duration(end_ns - life.opened_ns),
        life.state.value,
    )
    padded = [f"{cell:<{size}}" for cell, (_, size) in zip(cells, COLUMNS, strict=True)]
    if colour:
        dim = "" if life.state is not IncidentState.RESOLVED else "2;"
        padded[1] = f"\x1b[{dim}{COLOURS[life.severity]}m{padded[1]}\x1b[0m"
    names = [printable(view.label) for view in picture.parties[:SHOWN]]
    more = len(picture.parties) - len(names)
    notices = ", ".join(dict.fromkeys(notice.reason.value for notice in life.notices))
    texts = (
        headline(life, picture.claims, picture.witnesses, len(picture.parties)),
        f"continues {life.continues}" if life.continues else "",
        f"stages: {', '.join(life.stages)}" if life.stages else "",
        ", ".join([*names, *([f"{more} more"] if more > 0 else [])]),
        f"{counted(len(life.incidents), 'incident')}, {counted(len(life.notices), 'notice')}: {notices}",
    )
    space = " " * (INDENT if width > 2 * INDENT + COLUMNS[2][1] else 2)
    folded = [line for text in texts if text for line in textwrap.wrap(printable(text, 1_000), width - len(space))]
    return ["  ".join(padded), *(f"{space}{line}" for line in folded)]


def _attack(picture: CasePicture) -> str | None:
    first = min((*picture.claims, *picture.witnesses), key=lambda one: one.order, default=None)
    return None if first is None else first.attack


def _party(view: PartyView, *, firing: bool) -> dict[str, object]:
    return {
        "name": printable(view.name),
        "addresses": [printable(name) for name in view.addresses],
        "rules": list(view.rules),
        "first": _seconds(view.first_ns),
        "last": _seconds(view.last_ns),
        "firing": firing and view.firing,
    }


def _notice(notice: CaseNotice) -> dict[str, object]:
    return {
        "time": _seconds(notice.time_ns),
        "reason": notice.reason.value,
        "severity": notice.severity,
        "parties": [printable(name) for name in notice.parties],
    }


def _seconds(time_ns: int) -> float:
    return time_ns / 1e9
