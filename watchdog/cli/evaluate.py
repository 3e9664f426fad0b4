"""`watchdog evaluate`: what the rules find of labelled recordings."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

from watchdog.cli.arguments import DetailFormatter, add_rule_arguments, declare_kinds
from watchdog.cli.fleet import add_fleet_arguments, fleet_of
from watchdog.cli.folding import fitted
from watchdog.cli.output import late_text, tell_damage, warn, write_output
from watchdog.cli.progress import ProgressBar
from watchdog.offline.evaluate import evaluate, evaluate_fleet
from watchdog.offline.replay import Progress, ReplayOptions
from watchdog.offline.scorecard import as_data, as_text

SUMMARY = (
    "Replay labelled recordings and compare the incidents with the labels. Exit code 0 whatever was found, 2 for bad "
    "input; of damaged input, the readable part is used."
)

DETAILS = """\
An incident matches a label when they overlap in time and the incident has the label's class as its attack, or names a
true entity: one that took part. (An incident lasts until its last key cleared; a label is extended by 10 minutes, in a
short recording by a fifth of its length.) A label is found when any incident matches it. An incident of warning or
above that matches no label in which it opened is unlabelled; one that opened in a benign label (node_start, aftermath)
is listed separately.

In the table, the result `class` means that incidents have the class at that time but name no true entity: they may be
about something else. Rules in (brackets) have another class and name a true entity, those in [brackets] have the class
and name none. The delay is that of the best incidents: of the class with a true entity, else with a true entity, else
of the class; of these, the first that opened after the label began. `open`: all of them were open before, from an
earlier attack. The demo's table has the same delays.

A case belongs to a label when one of its claims, in the label's time, names a true entity; if no case does, when a
claim has the label's class and began then. Labels are independent when their entities share no address or prefix, and
they are not both an eclipse at the same time.

--json prints one object:
  recordings: list of
    name, seconds (event time), node_days, grace (seconds), incidents (number, of any severity)
    torn: list of texts, damaged files with the place; nothing after a cut was read, so its labels are missed
    unseen: list of texts, parts that the recording lacks; late: kind -> events that came too late and were not judged
    labels: list of
      attack, class, start, end (unix seconds), found (true, false; null for benign), by ("class", "entity", null),
      delay (seconds from start to the first of the best incidents that opened then, 0 if none did; null if missed),
      entity_named (true, false; null for benign), incidents (those that name the class), secondary (others),
      pages (cases of it; null for benign), glued_with (labels of independent attacks in one of these cases),
      notices (of these cases, from start to end and grace), delay_to_notice (seconds from start to the first of them),
      top_name (first name of the last of them), top_true (whether it took part; null without a name)
    unlabelled: list of incidents, unlabelled_per_node_day, benign: list of incidents
  summary: labels, found, entity_named, unlabelled, node_days, unlabelled_per_node_day, classes (class -> labels, found,
    entity_named), cases, pages_without_label, exactly_one (labels with one case), wrong_glue (pairs of independent
    labels in one case), notices_per_label, median_delay_to_notice (seconds), top_true (labels whose top name took part)
An incident is an object: id, rule, attack, severity, opened, resolved (unix seconds, null), summary; under labels also
named (whether it names a true entity)."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `watchdog evaluate`."""
    parser.formatter_class = DetailFormatter
    parser.epilog = DETAILS
    parser.add_argument("sources", nargs="*", metavar="RECORDING", help="folder of a recording with labels.json in it")
    add_fleet_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print data instead of a table")
    add_rule_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Replay and compare."""
    declare_kinds()
    options = ReplayOptions(rules=args.rules, packs=not args.no_packs, asmap=args.asmap)
    bar = ProgressBar()

    def show(name: str, step: Progress) -> None:
        bar.show(step.share, step.time_ns, step.events, step.incidents, name)

    try:
        fleet = fleet_of(args, {})
        scores = (
            evaluate(_distinct(args.sources), options, progress=show)
            if fleet is None
            else evaluate_fleet(fleet, options, progress=show)
        )
    finally:
        bar.clear()
    write_output("-", f"{json.dumps(as_data(scores), indent=1)}\n" if args.json else fitted(as_text(scores)))
    warn(line for one in scores for line in one.unseen)
    warn(f"{one.name}: {line}" for one in scores for line in late_text(one.late))
    return tell_damage(line for one in scores for line in one.faults)


def _distinct(recordings: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(recordings))
