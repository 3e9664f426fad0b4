"""One rule from located nodes to its plan."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple, cast

from rules.canonical import Lists
from rules.deciding import read_measures, read_verdicts
from rules.evasion import read_answers
from rules.keys import RULE_KEYS
from rules.measures import Measures
from rules.naming import read_entities, read_fields, read_incident, read_summary
from rules.rule import RuleKeys, RuleSource
from rules.stream import read_kinds, read_where, read_window
from rules.unused import unused_measures
from watchdog.core.durations import MINUTE_NS
from watchdog.core.finding import Attack, Maturity, Severity
from watchdog.core.plan import RulePlan
from watchdog.located_yaml.problem import Report

RESOLVE_AFTER_NS = 30 * MINUTE_NS
EVIDENCE = 50  # events
MAX_KEYS = 100_000


def compile_rule(rule: RuleSource, lists: Lists, report: Report) -> RulePlan | None:
    """The plan of a rule; None with every problem found in the report."""
    before = len(report.problems) + report.dropped
    for key in RULE_KEYS:
        if key.required and key.name not in rule.entries:
            report.error(rule.id.place, f"rule '{rule.id.text}' lacks '{key.name}'", key.about.rstrip("."))
    keys = RuleKeys(rule, report)
    plan = _plan(keys, lists)
    maturity, max_keys = cast(Maturity, keys.choice("maturity", "stable")), keys.whole("max_keys", MAX_KEYS)
    notes: dict[str, object] = {name: keys.texts(name) for name in ("references", "false_positives")}
    notes["evasion"] = read_answers(rule, report)
    if plan is None or len(report.problems) + report.dropped > before:
        return None
    place = f"{rule.place.source.name}:{rule.place.line}"
    return replace(plan, max_keys=max_keys, maturity=maturity, place=place, metadata=notes)


def _plan(keys: RuleKeys, lists: Lists) -> RulePlan | None:
    """Read all keys, noting problems and going on; None when there is nothing to decide on."""
    title, severity = keys.text("title"), cast(Severity, keys.choice("severity", "info"))
    attack = cast(Attack, keys.choice("attack", "node"))
    for_ns, resolve_after_ns = keys.duration("for", 0), keys.duration("resolve_after", RESOLVE_AFTER_NS)
    evidence = keys.whole("evidence", EVIDENCE)
    over_ns, pane_ns = read_window(keys)
    kinds = read_kinds(keys)
    where = read_where(keys, kinds, lists)
    measures = read_measures(keys, kinds, lists, over_ns, pane_ns)
    verdicts = read_verdicts(keys, measures)
    if not kinds:
        return None
    named = _named(keys, kinds, measures)
    if verdicts.fire is None:
        return None
    unused_measures(keys, measures, verdicts, named.summary)
    return RulePlan(
        id=keys.rule.id.text,
        title=title,
        attack=attack,
        severity=severity,
        kinds=kinds,
        where=where,
        by=named.by,
        over_ns=over_ns,
        pane_ns=pane_ns,
        measures=tuple(measures.plans),
        values=tuple(measures.values),
        baselines=tuple(measures.baselines),
        fire=verdicts.fire,
        clear=verdicts.clear,
        for_ns=for_ns,
        resolve_after_ns=resolve_after_ns,
        escalate=verdicts.escalate,
        incident=named.incident,
        entities=named.entities,
        summary=named.summary,
        evidence=evidence,
        absence=measures.absence,
    )


class _Named(NamedTuple):
    """The fields of the key, of the incident and of who is involved, and what is said of them."""

    by: tuple[str, ...]
    incident: tuple[str, ...]
    entities: tuple[str, ...]
    summary: str


def _named(keys: RuleKeys, kinds: tuple[str, ...], measures: Measures) -> _Named:
    by = read_fields(keys, "by", kinds, ()) or ()
    incident, entities = read_incident(keys, kinds, by), read_entities(keys, kinds)
    return _Named(by, incident, entities, read_summary(keys, kinds, by, measures.names()))
