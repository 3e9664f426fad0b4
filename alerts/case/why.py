"""Why an incident is in a case: the links from it to the first claim, and the links that were not made.

It works on the document of a case (`alerts.case.document`), as the history keeps it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from alerts.case.state import CaseState
from alerts.cases import CasePicture
from watchdog.core.text import printable

BY_EVIDENCE = "evidence of the same family at the same time, with the most names in common"
Document = Mapping[str, Any]  # Any: JSON


class WhyStep(NamedTuple):
    """One link on the way to the first claim of a case, as text: a claim, the one that is nearer to it, and why."""

    claim: str
    nearer: str
    why: str


def why_in(document: Document, incident: str) -> list[WhyStep] | None:
    """Return the links from an incident to the oldest claim of its case; none when the case began with it.

    None: the case does not have the incident, or no longer has its claims.
    """
    claims: dict[int, Document] = {one["number"]: one for one in document["claims"]}
    starts = [one for one in claims.values() if one["incident"] == incident]
    if not starts:
        return None
    root = min(claims.values(), key=lambda one: (one["role"] != "core", one["first"], one["number"]))
    ways = _ways(document["links"], root["number"])
    start = min(starts, key=lambda one: (one["number"] not in ways, one["first"], one["number"]))
    if start["role"] == "witness" and start["number"] not in ways and start is not root:
        return [WhyStep(_text(start), _text(root), BY_EVIDENCE)]
    steps, at = [], int(start["number"])
    while at != root["number"] and at in ways:
        link = ways[at]
        nearer = link["other"] if link["claim"] == at else link["claim"]
        steps.append(WhyStep(_text(claims[at]), _text(claims[nearer]), link["why"]))
        at = nearer
    return steps


def _ways(links: Sequence[Document], root: int) -> Mapping[int, Document]:
    """Return, for each claim, the first link of its way to the root."""
    beside: dict[int, list[Document]] = {}
    for link in links:
        beside.setdefault(link["claim"], []).append(link)
        beside.setdefault(link["other"], []).append(link)
    ways: dict[int, Document] = {}
    waiting = deque([root])
    while waiting:
        at = waiting.popleft()
        for link in beside.get(at, ()):
            far = link["other"] if link["claim"] == at else link["claim"]
            if far not in ways and far != root:
                ways[far] = link
                waiting.append(far)
    return ways


def not_joined(state: CaseState, picture: CasePicture) -> list[tuple[int, str, str]]:
    """Return the links that were not made though a name was shared: time, the other case's id, and why."""
    found = []
    for edge in picture.life.declined:
        mine, theirs = (state.claims.get(number) for number in (edge.claim, edge.other))
        other = theirs if mine is not None and state.case(mine.case) is picture.life else mine
        case = state.case(other.case) if other is not None and other.case else None
        if case is not picture.life:
            found.append((edge.time_ns, "" if case is None else case.id, edge.why))
    return found


def why_lines(document: Document, incident: str) -> list[str] | None:
    """Return the answer of `watchdog cases why` as lines; None when the case does not have the incident."""
    steps = why_in(document, incident)
    if steps is None:
        return None
    lines = [f"{step.claim} -> {step.nearer}: {printable(step.why, 300)}" for step in steps]
    lines = lines or [f"case {document['id']} began with this incident"]
    held = [one for one in document["claims"] if one["incident"] == incident and one.get("silenced")]
    lines += [f"{_text(one)} does not count: {printable(one['silenced'], 400)}" for one in held]
    apart = [
        f"not joined with case {one['case'] or '(forgotten)'}: {printable(one['why'], 300)}"
        for one in document["not_joined"]
    ]
    return lines + apart


def _text(claim: Document) -> str:
    return f"{claim['rule']} {printable(claim['party'])}".strip()
