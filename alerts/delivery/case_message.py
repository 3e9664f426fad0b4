"""The message about a case: the first line, then what is new, what is known, who, what to do, and why it is one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from alerts.case.life import CAMPAIGN_QUIET_NS, QUIET_NS
from alerts.case.links import OUTBOUND, POISONING, SLOTS, STAGES, VIEW
from alerts.case.names import LISTED_ADDRESSES
from alerts.case.render import MOST_ANNOUNCED
from alerts.delivery.body_reader import (
    Body,
    capped,
    count,
    items,
    labels,
    moment,
    number,
    part,
    short_id,
    shown_names,
    tables,
    text,
    texts,
    was_severity,
)
from watchdog.core.durations import SECOND_NS, rough_duration
from watchdog.core.text import counted

STAGE_TEXTS: Final[Mapping[str, str]] = {
    POISONING: "the address tables of the node are being filled",
    SLOTS: "the inbound slots of the node are being taken",
    OUTBOUND: "the outbound peers of the node are being replaced",
    VIEW: "blocks may be withheld from the node",
}
NO_ORIGIN: Final = "no single origin"
"""How the names of a notice begin where many peers only relay, see `alerts.case.names`."""
QUIET: Final = ("acknowledged", "resolved")
"""Changes after which there is nothing to do at once."""
LONGEST_FIRST: Final = 150  # characters: what a lock screen shows
CUT: Final = "…"
LONGEST_DO: Final = 600  # characters of one text
LONGEST_SIGHT: Final = 140  # characters of what one rule saw: six of them fit in a paragraph


def kind_of(body: Body) -> str:
    """Return what changed, without `case.`: opened where the body does not say."""
    return text(part(body, "change"), "type", 40).removeprefix("case.") or "opened"


def lasted(body: Body) -> str:
    """Return how long the case has lasted, in words."""
    start = number(body, "opened")
    ends = (number(body, "resolved"), number(part(body, "change"), "time"), number(body, "updated"))
    end = next((one for one in ends if one is not None), start)
    if start is None or end is None:
        return "an unknown time"
    return rough_duration(int(max(end - start, 0) * SECOND_NS))


def first_line(body: Body) -> str:
    """Return severity, node, what and case, `LONGEST_FIRST` characters at most; of these only what is shortened."""
    head, tail = _head(body), f", case {short_id(text(body, 'id'))}"
    what = text(body, "headline", 300) or "case"
    room = LONGEST_FIRST - len(head) - len(tail)
    return f"{head}{shortened(what, max(room, 20))}{tail}"


def _head(body: Body) -> str:
    """Return how the line begins: what happened, and where."""
    severity, node = (text(body, "severity", 16) or "alert").upper(), text(body, "node", 40) or "node"
    where = "several nodes" if node == "*" else node
    by = text(part(body, "change"), "by", 30)
    match kind_of(body):
        case "severity":
            was = was_severity(body)
            return f"{severity}{f' (was {was})' if was and was.upper() != severity else ''} {where}: "
        case "stage":
            stages = ", ".join(texts(part(body, "change"), "new_stages", 20)[:4])
            return f"{severity} {where}: new stage{f' {stages}' if stages else ''}: "
        case "merged":
            return f"{severity} {where}: two cases are one: "
        case "acknowledged":
            return f"ACKNOWLEDGED{f' (by {by})' if by else ''} {where}: "
        case "resolved":
            return f"OVER after {lasted(body)} {where}: "
        case "reopened":
            return f"{severity} {where}: again: "
        case "reminder":
            return f"{severity} {where}: still active after {lasted(body)}: "
        case "escalated":
            return f"{severity} {where}: not acknowledged: "
        case _:
            return f"{severity} {where}: "


def shortened(line: str, limit: int) -> str:
    """Return a text of at most so many characters, with an ellipsis where some are missing."""
    return line if len(line) <= limit else line[: limit - 1].rstrip() + CUT


class Advice(str):
    """A paragraph that the rules wrote and no peer had a part in, so that a channel may show its commands as code."""

    __slots__ = ()


def paragraphs(body: Body) -> list[str]:
    """Return the paragraphs in order; those with nothing to say are left out. What to do is an `Advice`."""
    made = news(body)
    titles = {"do": "What to do: ", "runbook": "Runbook: ", "why": "Why this is one case: "}
    shown = {name: f"{titles.get(name, '')}{made[name]}" for name in ("new", "seen", "who", *titles) if made[name]}
    return [Advice(one) if name == "do" else one for name, one in shown.items()]


def news(body: Body) -> dict[str, str]:
    """Return the texts of a case by name: new, who, do, runbook, seen, why, lasted. Empty: nothing to say."""
    advice, kind = part(body, "advice"), kind_of(body)
    steps = [] if kind in QUIET else texts(advice, "do", LONGEST_DO)[:2]
    new = _NEW.get(kind, _updated)(body)
    return {
        "new": " ".join(one for one in (new, _also(body), _new_parties(body), _continues(body), _related(body)) if one),
        "who": _who(body),
        "do": " ".join(steps),
        "runbook": "" if kind in QUIET else text(advice, "runbook"),
        "seen": _seen(body),
        "why": "" if kind in QUIET else text(advice, "why", 400),
        "lasted": lasted(body),
    }


# ---- what is new


def _opened(body: Body) -> str:
    begun = moment(number(body, "opened"), exact=True)
    return f"New: this case opened at {begun} UTC.{_stages(body)}"


def _severity(body: Body) -> str:
    was, now = was_severity(body), text(body, "severity", 16)
    change = f"from {was} to {now}" if was and was != now else f"to {now}"
    return f"New: the severity rose {change}. The case is {lasted(body)} old.{_stages(body)}"


def _stage(body: Body) -> str:
    new = _new_stages(body)
    if not new:
        return f"New: the attack entered another stage.{_stages(body)}"
    return f"New: stage {_named_stages(new)}.{_next(new)}{_stages(body)}"


def _new_stages(body: Body) -> list[str]:
    return [one for one in texts(part(body, "change"), "new_stages", 20) if one in STAGE_TEXTS]


def _named_stages(stages: list[str]) -> str:
    return " and ".join(f"{one} ({STAGE_TEXTS[one]})" for one in stages)


def _next(new: list[str]) -> str:
    """Return what an attacker does after the furthest of these stages."""
    later = STAGES[max(map(STAGES.index, new)) + 1 :]
    return f" If it continues, next: {STAGE_TEXTS[later[0]]}." if later else ""


def _stages(body: Body) -> str:
    known = [one for one in texts(body, "stages", 20) if one in STAGE_TEXTS]
    if not known:
        return ""
    if len(known) == 1:
        return f" It can be a step of an eclipse, an attack that cuts the node off from the network (stage {known[0]})."
    so_far = f"{counted(len(known), 'stage')} of {len(STAGES)} so far: {', '.join(known)}"
    return f" It looks like an eclipse, an attack that cuts the node off from the network ({so_far})."


def _merged(body: Body) -> str:
    others = _merged_cases(body)
    subject = f"case{'s' if len(others) > 1 else ''} {' and '.join(others)}" if others else "another case"
    verb = "are" if len(others) > 1 else "is"
    return f"New: {subject} {verb} the same attack and {verb} part of this case from now on."


def _merged_cases(body: Body) -> list[str]:
    """Return the ids of cases that this change merged into it, for people; four at most."""
    change = part(body, "change")
    ids = [text(change, "merged", 16), *texts(change, "also_merged", 16)]
    return [short_id(one) for one in ids if one][:4]


def _acknowledged(body: Body) -> str:
    by, said = _operator(body)
    return (
        f"{by} acknowledged this case{said}. You will be notified again if its severity rises, if a new stage begins, "
        "or if a new party joins at high."
    )


def _resolved(body: Body) -> str:
    by, said = _operator(body)
    start, end = number(body, "opened"), number(body, "resolved")
    span = f"{moment(start)} to {moment(end, beside=start)} UTC, {lasted(body)}"
    totals = ", ".join((*_involved(body), counted(len(items(body, "incidents")), "incident"), _notices(body)))
    if text(part(body, "change"), "by"):
        return f"{by} closed this case{said}. It was open from {span}. In total: {totals}."
    quiet_ns = CAMPAIGN_QUIET_NS if items(body, "stages") else QUIET_NS
    return f"It is over: {span}, of which the last {rough_duration(quiet_ns)} were quiet. In total: {totals}."


def _involved(body: Body) -> list[str]:
    parties = len(items(body, "parties")) + count(body, "parties_beyond")
    addresses = sum(len(items(one, "addresses")) for one in tables(body, "parties"))
    full = any(len(items(one, "addresses")) >= LISTED_ADDRESSES for one in tables(body, "parties"))
    least = "at least " if full or count(body, "parties_beyond") else ""
    if not parties:
        return []
    networks = "1 network" if parties == 1 else f"{parties} networks"
    return [networks, f"{least}{addresses} address{'' if addresses == 1 else 'es'}"] if addresses else [networks]


def _notices(body: Body) -> str:
    return counted(len(items(body, "notices")) + count(body, "notices_beyond"), "notice")


def _reopened(body: Body) -> str:
    return f"New: this case was over and is active again.{_stages(body)}"


def _reminder(body: Body) -> str:
    return f"Still active after {lasted(body)}, and no one has acknowledged it.{_stages(body)}"


def _escalated(body: Body) -> str:
    waited_s = number(part(body, "change"), "waited")
    waited = lasted(body) if waited_s is None else rough_duration(int(max(waited_s, 0) * SECOND_NS))
    return f"No one has acknowledged this case in {waited}, so it comes to you.{_stages(body)}"


def _updated(body: Body) -> str:
    return f"Changed: more evidence or other names at the same severity, after {lasted(body)}.{_stages(body)}"


_NEW: Final[Mapping[str, Callable[[Body], str]]] = {
    "opened": _opened,
    "severity": _severity,
    "stage": _stage,
    "merged": _merged,
    "acknowledged": _acknowledged,
    "resolved": _resolved,
    "reopened": _reopened,
    "reminder": _reminder,
    "escalated": _escalated,
}


def _operator(body: Body) -> tuple[str, str]:
    """Return who did it, and what they said of it."""
    change = part(body, "change")
    said = text(change, "text", 300)
    return text(change, "by", 60) or "An operator", f' and says: "{said}"' if said else ""


def _new_parties(body: Body) -> str:
    new = labels(body, texts(part(body, "change"), "new_parties")[:4])
    lead = "Not named before" if kind_of(body) == "resolved" else "Newly accused"  # it is over: no one joins it
    return f"{lead}: {', '.join(new)}." if new and kind_of(body) != "opened" else ""


def _continues(body: Body) -> str:
    before = short_id(text(body, "continues", 16))
    return f"It continues case {before}." if before else ""


def _also(body: Body) -> str:
    """Return what else is new in a notice with several reasons, of which its type names the first."""
    kind, stages, merged = kind_of(body), _new_stages(body), _merged_cases(body)
    was, now = was_severity(body), text(body, "severity", 16)
    rose = kind not in ("opened", "severity") and "severity" in texts(part(body, "change"), "others", 20)
    parts = (
        f"The severity rose from {was} to {now}." if rose and was and was != now else "",
        f"New stage: {_named_stages(stages)}." if stages and kind not in ("opened", "stage") else "",
        f"Merged into it: {', '.join(merged)}." if merged and kind != "merged" else "",
    )
    return " ".join(one for one in parts if one)


def _related(body: Body) -> str:
    """Return the open cases of single nodes that share a party with a case of several nodes."""
    cases = tables(body, "related")
    named = [f"{text(one, 'node', 40)} (case {short_id(text(one, 'id', 16))})" for one in cases[:4]]
    more = f" and {len(cases) - 4} more" if len(cases) > 4 else ""
    return f"The same parties are in open cases of {', '.join(named)}{more}." if named else ""


# ---- what is known


def _who(body: Body) -> str:
    names, over = shown_names(body), kind_of(body) == "resolved"
    if names and names[0].startswith(NO_ORIGIN):
        return f"{names[0][:1].upper()}{names[0][1:]}, so none of them is accused."
    gossip = len(items(body, "announced"))
    netblocks = "1 netblock" if gossip == 1 else capped(gossip, MOST_ANNOUNCED, "netblocks")
    announced = f" Addresses in {netblocks} were announced to the node; that accuses no one in them."
    if not names:
        return f"No peer is accused: this is about the node itself.{announced if gossip else ''}"
    more = len(items(body, "parties")) + count(body, "parties_beyond") - len(names)
    tail = f" and {more} more" if more > 0 else ""
    return f"Accused{'' if over else ' now'}: {', '.join(labels(body, names))}{tail}.{announced if gossip else ''}"


def _seen(body: Body) -> str:
    """Return what the rules saw, a line each, in the order of time."""
    advice = part(body, "advice")
    seen = tables(advice, "seen")
    start = number(part(body, "change"), "time")
    lines = [f"{moment(number(one, 'time'), beside=start)} {_sight(one)}" for one in seen]
    beyond = count(advice, "seen_beyond")
    if beyond:
        lines.append(f"and {counted(beyond, 'other rule')}")
    return "\n".join(["Seen so far (UTC):", *lines]) if lines else ""


def _sight(seen: Body) -> str:
    parties = count(seen, "parties")
    said = text(seen, "text", LONGEST_SIGHT) or text(seen, "title", LONGEST_SIGHT)
    others = f" (and {counted(parties - 1, 'other network')} likewise)" if parties > 1 else ""
    return f"{text(seen, 'severity', 16)}: {said}{others}"
