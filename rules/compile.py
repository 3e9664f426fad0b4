"""Compilation of one rule, from located nodes to its plan."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple, cast

from rules.advice import read_advice
from rules.canonical import Lists
from rules.case_words import read_case_words
from rules.deciding import read_measures
from rules.evasion import read_answers
from rules.keys import RULE_KEYS
from rules.maturity import read_maturity
from rules.measures import Measures
from rules.model_keys import read_decisions
from rules.naming import read_entities, read_fields, read_incident, read_summary
from rules.rule import RuleKeys, RuleSource
from rules.stream import read_kinds, read_where, read_window
from rules.unused import unused_measures
from watchdog.core.durations import MINUTE_NS
from watchdog.core.finding import Attack, Severity
from watchdog.core.plan import RulePlan, RuleScope
from watchdog.located_yaml.problem import Report

RESOLVE_AFTER_NS = 30 * MINUTE_NS
EVIDENCE = 50  # events
MAX_KEYS = 100_000


def compile_rule(rule: RuleSource, lists: Lists, report: Report) -> RulePlan | None:
    """Return the plan of a rule; None when it has problems, all of which are in the report."""
    before = len(report.problems) + report.dropped
    for key in RULE_KEYS:
        if key.required and key.name not in rule.entries:
            report.error(rule.id.place, f"rule '{rule.id.text}' lacks '{key.name}'", key.about.rstrip("."))
    keys = RuleKeys(rule, report)
    plan = _plan(keys, lists)
    (maturity, successor), max_keys = read_maturity(keys), keys.whole("max_keys", MAX_KEYS)
    words = read_case_words(keys)
    notes: dict[str, object] = {name: keys.texts(name) for name in ("references", "false_positives")}
    notes["evasion"] = read_answers(rule, report)
    notes |= read_advice(keys)
    if successor:
        notes["successor"] = successor
    if plan is None or len(report.problems) + report.dropped > before:
        return None
    place = f"{rule.place.source.name}:{rule.place.line}"
    return replace(plan, max_keys=max_keys, maturity=maturity, place=place, metadata=notes, **words._asdict())


def _plan(keys: RuleKeys, lists: Lists) -> RulePlan | None:
    """Read all keys and report every problem; None when nothing can be decided."""
    title, severity = keys.text("title"), cast(Severity, keys.choice("severity", "info"))
    for_ns, resolve_after_ns = keys.duration("for", 0), keys.duration("resolve_after", RESOLVE_AFTER_NS)
    over_ns, pane_ns = read_window(keys)
    kinds = read_kinds(keys)
    where = read_where(keys, kinds, lists)
    measures = read_measures(keys, kinds, lists, over_ns, pane_ns)
    verdicts = read_decisions(keys, measures)
    named = _named(keys, kinds, measures) if kinds else None
    if named is None or verdicts.fire is None:
        return None
    unused_measures(keys, measures, verdicts, named.summary)
    return RulePlan(
        id=keys.rule.id.text,
        title=title,
        attack=cast(Attack, keys.choice("attack", "node")),
        severity=severity,
        kinds=kinds,
        where=where,
        by=named.by,
        over_ns=over_ns,
        pane_ns=pane_ns,
        measures=tuple(measures.plans),
        values=tuple(measures.values),
        baselines=tuple(measures.baselines),
        comparisons=tuple(measures.comparisons),
        drifts=tuple(measures.drifts),
        model=measures.model,
        fire=verdicts.fire,
        clear=verdicts.clear,
        for_ns=for_ns,
        resolve_after_ns=resolve_after_ns,
        escalate=verdicts.escalate,
        incident=named.incident,
        entities=named.entities,
        summary=named.summary,
        evidence=keys.whole("evidence", EVIDENCE),
        absence=measures.absence,
        scope=cast(RuleScope, keys.choice("scope", "node")),
    )


class _Named(NamedTuple):
    """The fields of the key, of the incident and of the entities, and the summary."""

    by: tuple[str, ...]
    incident: tuple[str, ...]
    entities: tuple[str, ...]
    summary: str


def _named(keys: RuleKeys, kinds: tuple[str, ...], measures: Measures) -> _Named:
    by = read_fields(keys, "by", kinds, ()) or ()
    incident, entities = read_incident(keys, kinds, by), read_entities(keys, kinds)
    return _Named(by, incident, entities, read_summary(keys, kinds, by, measures.names()))
