"""Words and names that the findings of one rule are made of."""

from __future__ import annotations

import re

from watchdog.core.durations import exact_duration
from watchdog.core.kinds import KINDS
from watchdog.core.plan import SCORE, BaselinePlan, CellExpression, RulePlan
from watchdog.engine.comparisons import COMPARED
from watchdog.engine.learning import Turn
from watchdog.engine.measures.registry import kind_of
from watchdog.engine.report import number_text

_PLACEHOLDER = re.compile(r"\{([a-z_][a-z0-9_]*)\}")


def turn_text(turn: Turn, spec: BaselinePlan) -> str:
    """Return what a finding says of a key that learns its normal afresh."""
    if turn.begins:
        held, blind = exact_duration(spec.freeze_ns), exact_duration(spec.warmup_ns)
        return f"no normal value for {held}: learns a new normal, without a verdict for {blind}"
    old, new = number_text(turn.old), number_text(turn.new)
    if turn.old <= 0:
        return f"normal re-learnt at {new}; it was 0"
    return f"normal re-learnt at {turn.new / turn.old:.3g}x the old level: {new}, was {old}"


def carried_fields(plan: RulePlan) -> list[str]:
    """Return fields beside the key that findings of this rule name: they are kept with the key."""
    derived = {"node"} | {measure.name for measure in plan.measures} | {name for name, _ in plan.values}
    fields = {name for kind in plan.kinds for name in KINDS[kind].fields}
    wanted = [*plan.incident, *_PLACEHOLDER.findall(plan.summary)]
    return [name for name in dict.fromkeys(wanted) if name not in derived and name in fields and name not in plan.by]


def strengths_of(plan: RulePlan) -> list[CellExpression]:
    """How far measures are beyond constants in `fire`, also in values that it names."""
    values, names = dict(plan.values), list(plan.fire.names)
    strengths = list(plan.fire.strengths)
    for name in names:  # grows while it is walked
        expression = values.pop(name, None)
        if expression is not None:
            strengths += expression.strengths
            names += expression.names
    return strengths


def names_of(plan: RulePlan) -> list[str]:
    """Return the names whose values a finding carries."""
    expected = (f"{baseline.name}_expected" for baseline in plan.baselines)
    compared = [f"{one.name}_{part}" for one in plan.comparisons for part in COMPARED]
    moved = [f"{one.name}_{part}" for one in plan.drifts for part in ("old", "new")] + ([SCORE] if plan.model else [])
    names = [*(m.name for m in plan.measures), *(name for name, _ in plan.values), *expected, *compared, *moved]
    return [*dict.fromkeys(names)]


def integer_names(plan: RulePlan) -> frozenset[str]:
    """Return the names whose values are whole numbers."""
    whole = [m.name for m in plan.measures if not kind_of(m).fraction]
    return frozenset([*whole, *(f"{one.name}_{part}" for one in plan.comparisons for part in ("measure", "peers"))])


def group_fields(plan: RulePlan) -> frozenset[str]:
    """Fields of the plan's kinds whose values identify a peer or network: addresses, prefixes, AS numbers."""
    fields = [field for kind in plan.kinds for field in KINDS[kind].fields.values()]
    return frozenset(field.name for field in fields if field.type == "prefix" or field.name.endswith(("asn", "_addr")))
