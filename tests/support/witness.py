"""What the rules did in a scenario, so that its marks can be proved.

`@pytest.mark.attack("ping-flood")`: the rule must fire in this test. `@pytest.mark.benign("ping-flood")`: its benign
twin, in which the rule reads events (rows that pass `on` and `where`) and must not fire. A rule may be stable only when
both marks name it (tests/unit/test_maturity.py). `@pytest.mark.evasion("ping-flood")`: an attack that stays below the
rule, as its page accepts; the rule must not fire. The conftest of the scenarios checks the marks after each test.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from _pytest.mark.structures import ParameterSet

from watchdog.core.batch import Batch
from watchdog.core.plan import RulePlan, as_bool

MARKS = ("attack", "benign")
fired: set[str] = set()
read: set[str] = set()


def forget() -> None:
    """Start a test with nothing seen."""
    fired.clear()
    read.clear()


def saw(plans: Sequence[RulePlan], batches: Iterable[Batch], rules: Iterable[str]) -> None:
    """Note a run: its rules, what they were given, and which of them fired."""
    fired.update(rules)
    for batch in batches:
        for plan in plans:
            if plan.id not in read and batch.kind in plan.kinds and passes(plan, batch):
                read.add(plan.id)


def passes(plan: RulePlan, batch: Batch) -> bool:
    """Return whether the rule reads a row of the batch."""
    return batch.rows > 0 and (plan.where is None or bool(as_bool(plan.where(batch), batch.rows).any()))


def complaints(item: pytest.Item) -> list[str]:
    """Return what the marks of a test claim and its run did not show."""
    kinds = (*MARKS, "evasion")
    named = {kind: [rule for mark in item.iter_markers(kind) for rule in mark.args] for kind in kinds}
    return [
        *(f"attack: {rule} did not fire" for rule in named["attack"] if rule not in fired),
        *(f"benign: {rule} read no event" for rule in named["benign"] if rule not in read),
        *(f"benign: {rule} fired" for rule in named["benign"] if rule in fired),
        *(f"evasion: {rule} fired" for rule in named["evasion"] if rule in fired),
    ]


def attack(rule: str, *values: Any) -> ParameterSet:
    """Return the parameters of a test in which the rule must fire."""
    return pytest.param(*values, marks=pytest.mark.attack(rule))


def benign(rule: str, *values: Any) -> ParameterSet:
    """Return the parameters of a test in which the rule reads events and must not fire."""
    return pytest.param(*values, marks=pytest.mark.benign(rule))
