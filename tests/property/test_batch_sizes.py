"""The standard workload gives the same findings however it is cut, and those of plain Python."""

from __future__ import annotations

from functools import cache

import pytest

from benchmarks import w30
from benchmarks.rivals.pure_python import PurePython
from watchdog.core.finding import Finding
from watchdog.core.kinds import ALL_KINDS
from watchdog.engine.engine import Engine

ROWS = 12_000
DENSITIES = (100, 500)  # events in a second of event time
SIZES = (1, 7, 25, 1_000, ROWS)


@cache
def workload(density: int) -> w30.Workload:
    return w30.workload(ROWS, density)


@cache
def findings(density: int, size: int, distinct: bool) -> tuple[Finding, ...]:
    """Everything that the engine says of the workload in batches of `size` rows."""
    engine = Engine(w30.plans(w30.rules(density, distinct=distinct)), {w30.SOURCE: ALL_KINDS})
    found = [said for part in workload(density).slices(0, ROWS, size) for said in engine.process(part)]
    return (*found, *engine.finish())


@pytest.mark.slow
@pytest.mark.parametrize("density", DENSITIES)
@pytest.mark.parametrize("size", SIZES)
def test_findings_do_not_depend_on_the_size_of_batches(density: int, size: int) -> None:
    assert findings(density, size, True) == findings(density, ROWS, True)


@pytest.mark.parametrize("density", DENSITIES)
@pytest.mark.parametrize("distinct", [True, False])
def test_the_engine_and_plain_python_find_the_same_incidents(density: int, distinct: bool) -> None:
    rival = PurePython(w30.rules(density, distinct=distinct))
    rival.take(workload(density).events(0, ROWS))
    rival.finish()
    assert w30.alerts(list(findings(density, ROWS, distinct))) == rival.alerts()


@pytest.mark.parametrize("density", DENSITIES)
def test_every_kind_of_key_and_measure_fires_in_the_workload(density: int) -> None:
    rules = {rule.name: rule for rule in w30.rules(density)}
    fired = [rules[alert[0]] for alert in w30.alerts(list(findings(density, ROWS, True)))]
    assert {rule.by for rule in fired} >= {"peer_addr", "netgroup"}
    assert {rule.measure for rule in fired} == {"count", "sum", "distinct"}


def test_some_conditions_of_the_workload_end_again() -> None:
    assert {said.change for said in findings(100, ROWS, True)} >= {"fire", "clear"}
