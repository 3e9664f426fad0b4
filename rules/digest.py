"""Hashes of the behaviour of rules: stable over formatting, comments, titles and notes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence

from rules.canonical import list_digest
from watchdog.core.plan import RulePlan


def rule_hash(plan: RulePlan) -> str:
    """Return twelve hex digits of a rule's behaviour; named lists count by their content."""
    behaviour: dict[str, object] = {
        "id": plan.id,
        "attack": plan.attack,
        "severity": plan.severity,
        "stream": plan.stream_text,
        "times": [plan.over_ns, plan.pane_ns, plan.for_ns, plan.resolve_after_ns],
        "measures": sorted((measure.name, measure.text) for measure in plan.measures),
        "values": [(name, formula.text) for name, formula in plan.values],
        "baselines": [
            (b.text, b.threshold, b.half_life_ns, b.warmup_ns, b.step_ns, b.freeze_ns, bool(b.budget))
            for b in plan.baselines
        ],
        "fire": plan.fire.text,
        "clear": plan.clear.text if plan.clear else None,
        "escalate": [(severity, formula.text) for severity, formula in plan.escalate],
        "names": [plan.incident, plan.entities],
        "summary": plan.summary,
        "limits": [plan.evidence, plan.max_keys],
    }
    if plan.comparisons:
        behaviour["comparisons"] = [comparison.text for comparison in plan.comparisons]
    if plan.drifts:
        behaviour["drifts"] = [drift.text for drift in plan.drifts]
    if plan.model:
        behaviour["model"] = plan.model.text
    if plan.scope != "node":
        behaviour["scope"] = plan.scope
    return _digest(behaviour)


def set_hash(plans: Sequence[RulePlan], lists: Mapping[str, Sequence[str]]) -> str:
    """Return twelve hex digits of a whole rule set; the order of rules and lists does not matter."""
    rules = sorted((plan.id, rule_hash(plan)) for plan in plans)
    return _digest([rules, sorted((name, list_digest(values)) for name, values in lists.items())])


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]
