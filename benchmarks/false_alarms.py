"""Counts the false alarms of the shipped rules: `python -m benchmarks.false_alarms`.

Replays the open recordings of a real node beside the repository and writes docs/rules/false_alarms.json, from which the
rule pages take their figures. Takes some minutes; run it after a change of a shipped rule, then `make docs`.

Quiet time is what no label of an attack covers, grace included; the start of a node is part of it. A false alarm is an
incident, of whatever severity, that opens in quiet time. Beside each rule runs a counter of the events that the rule
reads: a rule that reads none in any recording, such as one about Tor, is not measured. Nor are rules over nodes:
tests/scenario/test_fleet.py counts their false alarms in 30 simulated days.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from alerts.incident import Incident
from benchmarks.recordings import RECORDINGS
from rules.load import RuleSet, load
from rules.maturity import measured_hash
from watchdog.core.plan import RulePlan
from watchdog.docs_build.rule_pages import FALSE_ALARMS, quoted
from watchdog.offline.labels import BENIGN, Label, grace_of, is_alarm, read_labels
from watchdog.offline.replay import ReplayOptions, ReplayResult, replay

ASMAP = RECORDINGS.parent / "data" / "asmap.dat"
COUNTER = "seen-"  # before the id of a rule: the rule that counts the other's events
START_S = 300.0  # a start of the node is reported within this time; such a report is true
RESTART_RULE = "node-restart"


def within_one_node(shipped: RuleSet) -> list[RulePlan]:
    """Return the rules that are measured: those over nodes read what no recording of one node has."""
    return [plan for plan in shipped.plans if plan.scope == "node"]


def counters(shipped: RuleSet) -> str:
    """Return a rule file with a counter for each rule: it fires as soon as an event passes `on` and `where`."""
    lines = ["rules:"]
    for plan in within_one_node(shipped):
        entries = shipped.sources[plan.id].entries
        lines += [
            f"  {COUNTER}{plan.id}:",
            "    title: Counter",
            "    attack: data",
            "    severity: info",
            f"    on: {quoted(entries['on'].value)}",
            *([f"    where: {quoted(entries['where'].value)}"] if "where" in entries else []),
            "    measure: {n: count()}",
            "    over: 1h",
            "    fire: n > 0",
        ]
    return "\n".join(lines) + "\n"


def quiet_spans(labels: Sequence[Label], start_s: float, end_s: float) -> Iterator[tuple[float, float]]:
    """Yield the spans of quiet time in order, unix seconds."""
    grace_s, free_s = grace_of(end_s - start_s), start_s
    for label in sorted((one for one in labels if one.class_ != BENIGN), key=lambda one: one.start):
        if label.start > free_s:
            yield free_s, label.start
        free_s = max(free_s, label.end + grace_s)
    if end_s > free_s:
        yield free_s, end_s


def is_true_restart(incident: Incident, starts: Sequence[float]) -> bool:
    """Return whether an incident reports a start of the node that the recording lists."""
    opened_s = incident.opened_ns / 1e9
    return incident.rule == RESTART_RULE and any(0 <= opened_s - start <= START_S for start in starts)


def false_alarms(result: ReplayResult, folder: Path) -> tuple[float, list[Incident]]:
    """Return the seconds of quiet time in a recording, and the false alarms of all rules."""
    start_s, end_s = (result.first_event_ns or 0) / 1e9, (result.last_event_ns or 0) / 1e9
    spans = list(quiet_spans(read_labels(folder / "labels.json"), start_s, end_s))
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    starts = [start_s, *meta["restarts"]]
    alarms = [
        incident
        for incident in result.incidents
        if any(begin <= incident.opened_ns / 1e9 < end for begin, end in spans)
        and not is_true_restart(incident, starts)
    ]
    return sum(end - begin for begin, end in spans), alarms


@dataclass(slots=True)
class Tally:
    """The sums over recordings. incidents, alarms: false alarms by rule, all and of warning and above."""

    quiet_s: float = 0.0
    incidents: Counter[str] = field(default_factory=Counter)
    alarms: Counter[str] = field(default_factory=Counter)
    read: set[str] = field(default_factory=set)  # rules that had an event to read

    def add(self, folder: Path, options: ReplayOptions) -> None:
        """Replay one recording, and print its false alarms."""
        result = replay([f"recording:{folder}"], options)
        seconds, incidents = false_alarms(result, folder)
        wrong = [incident for incident in incidents if not incident.rule.startswith(COUNTER)]
        self.quiet_s += seconds
        self.incidents.update(incident.rule for incident in wrong)
        self.alarms.update(incident.rule for incident in wrong if is_alarm(incident))
        counting = (incident.rule for incident in result.incidents if incident.rule.startswith(COUNTER))
        self.read.update(rule.removeprefix(COUNTER) for rule in counting)
        print(f"{folder.name}: {seconds / 3600:.1f} quiet hours")
        for incident in wrong:
            print(f"  {incident.severity} {incident.rule}: {incident.summary}", flush=True)

    def row(self, plan: RulePlan) -> dict[str, object]:
        """Return the figures of one rule as the file has them."""
        return {
            "hash": measured_hash(plan),
            "measured": plan.id in self.read,
            "incidents": self.incidents[plan.id],
            "alarms": self.alarms[plan.id],
        }


def main() -> int:
    """Measure all rules and write the file; 2 without recordings."""
    folders = sorted(RECORDINGS.glob("open-*"))
    if not folders:
        print(f"no recordings in '{RECORDINGS}'", file=sys.stderr)
        return 2
    shipped, tally = load(()), Tally()
    with tempfile.TemporaryDirectory() as scratch:
        rules = Path(scratch) / "counters.yaml"
        rules.write_text(counters(shipped), encoding="utf-8")
        for folder in folders:
            tally.add(folder, ReplayOptions(rules=[rules], asmap=str(ASMAP) if ASMAP.is_file() else None))
    rows = {plan.id: tally.row(plan) for plan in within_one_node(shipped)}
    data = {"recordings": len(folders), "quiet_hours": round(tally.quiet_s / 3600, 1), "rules": rows}
    FALSE_ALARMS.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
