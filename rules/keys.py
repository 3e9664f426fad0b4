"""The keys of the rule language: one table for the reader, the JSON Schema and the reference."""

from __future__ import annotations

import re
from typing import Literal

from watchdog.core.durations import DAY_NS, SECOND_NS
from watchdog.core.finding import ATTACKS, SEVERITIES
from watchdog.located_yaml.keys import Key

RuleShape = Literal[
    "text",
    "choice",
    "texts",
    "names",
    "kinds",
    "expression",
    "measures",
    "escalations",
    "duration",
    "whole",
    "answers",
    "numbers",
]

RULE_ID = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
NAME = re.compile(r"[a-z][a-z0-9_]*")
LONGEST_ID = 64  # characters of a rule id, a measure or a list
SCOPES = ("node", "fleet")
MATURITIES = ("sandbox", "incubating", "stable", "deprecated")
ROLES = ("core", "state", "witness")
ACCUSATIONS = ("party", "mixed", "bystander")

RULE_KEYS: tuple[Key[RuleShape], ...] = (
    Key("title", "text", "What the rule sees, in a few words.", required=True),
    Key("attack", "choice", "The family of attacks it belongs to.", required=True, choices=ATTACKS),
    Key("severity", "choice", "Severity when it fires.", required=True, choices=SEVERITIES),
    Key(
        "maturity",
        "choice",
        "How far the rule has been proved; see [Maturity](#maturity).",
        "incubating",
        choices=MATURITIES,
    ),
    Key("successor", "text", "The rule that replaces a deprecated one; required there.", "none"),
    Key(
        "technique",
        "text",
        "What is done: claims of one technique at one time are one case. `none` for symptoms that many attacks share.",
        "the rule's id",
    ),
    Key(
        "role",
        "choice",
        "In cases: `core` accuses a party and links, `state` is about the node, `witness` is evidence and never links.",
        "core",
        choices=ROLES,
    ),
    Key(
        "names",
        "choice",
        "Whether its entities are accused: `party` yes, `mixed` by a third, `bystander` never.",
        "party",
        choices=ACCUSATIONS,
    ),
    Key(
        "do",
        "text",
        "What the person who is woken looks at first, and what to do: two sentences, at most 500 characters.",
        "the text of the technique, if it is one of the shipped rules",
    ),
    Key("runbook", "text", "URL of your own page about it, shown in messages.", "none"),
    Key("references", "texts", "Where the attack or the threshold is described.", "none"),
    Key("false_positives", "texts", "What else can make it fire.", "none"),
    Key("evasion", "answers", "How an attacker could keep it silent; shipped rules answer all questions.", "none"),
    Key(
        "scope",
        "choice",
        "`node`: within one node. `fleet`: over the nodes of a service, see [Rules over nodes](#rules-over-nodes).",
        "node",
        choices=SCOPES,
    ),
    Key("on", "kinds", "The event kind, or a list of kinds, that it reads.", required=True),
    Key("where", "expression", "Which events count; a condition over fields.", "all events"),
    Key(
        "by",
        "names",
        "Fields that make a key; keys are within one node, unless `scope` is `fleet`.",
        "one key for the node",
    ),
    Key("measure", "measures", "Names with their measures and expressions, in order.", "none"),
    Key("over", "duration", "The window.", unit="duration", required=True, low=SECOND_NS, high=30 * DAY_NS),
    Key(
        "pane",
        "duration",
        "The step by which the window moves; verdicts are made at its end.",
        "largest of 1s 2s 5s 10s 15s 30s 60s 5m 15m that divides `over` and is at most a 60th of it, else 1s",
        unit="duration",
        low=100_000_000,
        high=DAY_NS,
    ),
    Key("fire", "expression", "When the rule fires; a condition over measures.", required=True),
    Key("clear", "expression", "When it is over; a condition over measures.", "as soon as `fire` is false"),
    Key("for", "duration", "How long `fire` must be true first.", "0s", unit="duration", high=30 * DAY_NS),
    Key(
        "resolve_after",
        "duration",
        "How long it must be over before the incident is resolved.",
        "30m",
        unit="duration",
        high=30 * DAY_NS,
    ),
    Key("escalate", "escalations", "Higher severities with their conditions.", "none"),
    Key(
        "incident",
        "names",
        "Fields under which findings come together in one incident.",
        "`by`, with conn, peer and peer_addr replaced by netgroup",
    ),
    Key("entities", "names", "Fields that name who is involved.", "`peer_addr` when the kinds have it"),
    Key("summary", "text", "One sentence for people, with {placeholders}.", "the title"),
    Key(
        "budget",
        "text",
        "False findings that its detectors may report at one node, split over those that name neither a budget nor a "
        "threshold; see [Budgets](#budgets).",
        "the rule's share of the file's `budget`, else `1 per 30d` for each detector",
    ),
    Key("model", "text", "A class of river that scores each key; see [Models](#models-of-your-own).", "none"),
    Key(
        "memory",
        "whole",
        "Samples of its model that each key keeps, one a minute; required with `model`.",
        "none",
        unit="samples",
        low=100,
        high=10_080,
    ),
    Key("features", "names", "Measures that its model reads, in this order.", "all measures that are numbers"),
    Key("parameters", "numbers", "Parameters of the model's class, plain numbers.", "those of the class"),
    Key("limits", "numbers", "Range of each feature, `LOW to HIGH`; half-space trees need it.", "none"),
    Key("evidence", "whole", "Events kept with a finding.", "50", unit="events", low=0, high=1000),
    Key(
        "max_keys",
        "whole",
        "Keys followed at a time; the least active go first.",
        "100000",
        unit="keys",
        low=1,
        high=10_000_000,
    ),
)
RULE_KEY_NAMES = tuple(key.name for key in RULE_KEYS)
TOP_KEYS = ("budget", "except", "lists", "overrides", "rules", "tracepoints")
OVERRIDE_KEYS = ("enabled", "expects", *RULE_KEY_NAMES)
