"""The result of an evaluation as data and as text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from alerts.incident import Incident
from alerts.render import time_text
from watchdog.core.durations import rough_duration
from watchdog.core.text import counted, printable
from watchdog.offline.case_scores import LabelCases, as_summary, odd_lines, summary_text
from watchdog.offline.evaluate import DAY_S, LabelScore, RecordingScore
from watchdog.offline.labels import LabelMatch
from watchdog.offline.read_once import shown

LONGEST = 4_096  # characters of a line of damage, a path among them
SHOWN_INCIDENTS = 20  # unlabelled ones of a recording, in the text


def as_data(scores: Sequence[RecordingScore]) -> dict[str, object]:
    """Return JSON-able data; `watchdog evaluate --help` describes it."""
    attacks = [one for score in scores for one in score.labels if not one.benign]
    unlabelled = sum(len(score.unlabelled) for score in scores)
    days = sum(score.seconds for score in scores) / DAY_S
    classes = sorted({one.label.class_ for one in attacks})
    return {
        "recordings": [_recording(score) for score in scores],
        "summary": {
            **_counts(attacks),
            "unlabelled": unlabelled,
            "node_days": round(days, 6),
            "unlabelled_per_node_day": round(unlabelled / days, 3) if days else 0.0,
            **as_summary([score.cases for score in scores]),
            "classes": {name: _counts(one for one in attacks if one.label.class_ == name) for name in classes},
        },
    }


def as_text(scores: Sequence[RecordingScore]) -> str:
    """Render tables for people: one for each recording, and a last line over all."""
    lines: list[str] = []
    for score in scores:
        lines += _section(score)
    attacks = [one for score in scores for one in score.labels if not one.benign]
    found, named = sum(one.found for one in attacks), sum(one.named for one in attacks)
    unlabelled = sum(len(score.unlabelled) for score in scores)
    days = sum(score.seconds for score in scores) / DAY_S
    rate = unlabelled / days if days else 0.0
    lines.append(summary_text([score.cases for score in scores]))
    lines.append(
        f"{found} of {len(attacks)} labels found{_by_class(found - named)}, a true entity named in {named}; "
        f"{counted(unlabelled, 'unlabelled incident')} of warning and above in {days:.2f} node-days "
        f"({rate:.1f} per day)"
    )
    return "\n".join(lines) + "\n"


def _section(score: RecordingScore) -> list[str]:
    count = counted(score.incidents, "incident")
    lines = [
        f"{printable(score.name)}: {rough_duration(int(score.seconds * 1e9))}, {count}",
        *(f"  input torn: {printable(line, LONGEST)}" for line in shown(score.faults)),
        f"  {'LABEL':<30}  {'CLASS':<15}  {'RESULT':<6}  {'DELAY':<7}  {'NAMED':<5}  RULES",
    ]
    for one in score.labels:
        if one.benign:
            continue
        delay = one.delay_text or "-"
        result, named = _result(one), "yes" if one.named else "no"
        rules = _rules(one.matches)
        lines.append(
            f"  {printable(one.label.attack):<30}  {printable(one.label.class_):<15}  {result:<6}  {delay:<7}  "
            f"{named:<5}  {rules}"
        )
    lines.append(f"  unlabelled, warning and above: {len(score.unlabelled)} ({score.per_node_day:.1f} per node-day)")
    lines += [_incident_line(incident) for incident in score.unlabelled[:SHOWN_INCIDENTS]]
    lines += [f"  {line}" for line in odd_lines(score.cases)[:SHOWN_INCIDENTS]]
    if len(score.unlabelled) > SHOWN_INCIDENTS:
        lines.append(f"    and {len(score.unlabelled) - SHOWN_INCIDENTS} more")
    if score.benign:
        lines.append(f"  in benign labels (not counted): {len(score.benign)}")
        lines += [_incident_line(incident) for incident in score.benign[:SHOWN_INCIDENTS]]
    return [*lines, ""]


def _result(one: LabelScore) -> str:
    """Return `class` when incidents have the attack's class at its time but name no true entity."""
    return "found" if one.named else "class" if one.found else "MISSED"


def _by_class(count: int) -> str:
    return f" ({count} by class only)" if count else ""


def _rules(matches: Sequence[LabelMatch]) -> str:
    """Return the rules that match a label: (of another class) with a true entity, [of its class] without."""
    best: dict[str, str] = {}
    for pattern, primary, named in (("{}", True, True), ("({})", False, True), ("[{}]", True, False)):
        for one in matches:
            if (one.primary, one.named) == (primary, named):
                best.setdefault(one.incident.rule, pattern.format(one.incident.rule))
    return ", ".join(best.values())


def _incident_line(incident: Incident) -> str:
    moment = time_text(incident.opened_ns)
    return f"    {moment}  {incident.severity:<8}  {incident.rule}: {printable(incident.summary)}"


def _recording(score: RecordingScore) -> dict[str, object]:
    return {
        "name": score.name,
        "seconds": round(score.seconds, 6),
        "node_days": round(score.seconds / DAY_S, 6),
        "grace": score.grace_s,
        "incidents": score.incidents,
        "torn": shown(score.faults),
        "unseen": list(score.unseen),
        "late": dict(score.late),
        "labels": [_label(one, case) for one, case in zip(score.labels, score.cases.labels, strict=True)],
        "unlabelled": [_incident(incident) for incident in score.unlabelled],
        "unlabelled_per_node_day": round(score.per_node_day, 3),
        "benign": [_incident(incident) for incident in score.benign],
    }


def _label(one: LabelScore, case: LabelCases) -> dict[str, object]:
    found_by = "class" if any(match.primary for match in one.matches) else "entity" if one.found else None
    return {
        "attack": one.label.attack,
        "class": one.label.class_,
        "start": one.label.start,
        "end": one.label.end,
        "found": None if one.benign else one.found,
        "by": found_by,
        "delay": one.delay_s,
        "entity_named": None if one.benign else one.named,
        "incidents": [_match(match) for match in one.matches if match.primary],
        "secondary": [_match(match) for match in one.matches if not match.primary],
        "pages": None if one.benign else len(case.cases),
        "glued_with": list(case.glued_with),
        "notices": case.notices,
        "delay_to_notice": case.delay_s,
        "top_name": case.top_name,
        "top_true": case.top_true,
    }


def _match(match: LabelMatch) -> dict[str, object]:
    return {**_incident(match.incident), "named": match.named}


def _incident(incident: Incident) -> dict[str, object]:
    return {
        "id": incident.id,
        "rule": incident.rule,
        "attack": incident.attack,
        "severity": incident.severity,
        "opened": incident.opened_ns / 1e9,
        "resolved": None if incident.resolved_ns is None else incident.resolved_ns / 1e9,
        "summary": incident.summary,
    }


def _counts(scores: Iterable[LabelScore]) -> dict[str, int]:
    known = list(scores)
    return {
        "labels": len(known),
        "found": sum(one.found for one in known),
        "entity_named": sum(one.named for one in known),
    }
