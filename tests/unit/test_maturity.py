"""Maturity of rules: what a stable one must have shown, and what a deprecated one must name."""

from __future__ import annotations

import ast
import json
from functools import cache
from pathlib import Path

import pytest

from rules.load import load, load_text, pack_names
from rules.maturity import measured_hash
from tests.support.witness import MARKS
from watchdog.cli.main import main
from watchdog.core.plan import RulePlan
from watchdog.docs_build.rule_pages import FALSE_ALARMS, page, read_figures
from watchdog.located_yaml.problem import RuleSetError

SCENARIOS = Path(__file__).parents[1] / "scenario"
RULE = """\
  {id}:
    title: Much talk
    attack: resource
    severity: info
    on: p2p:ping
    over: 1m
    measure: {{n: count()}}
    fire: n > 100
"""
OLD, NEW = RULE.format(id="old"), RULE.format(id="new")


@cache
def marked() -> dict[str, frozenset[str]]:
    """The rules that scenarios name, by mark: decorators and parameters alike; each run proves them."""
    names: dict[str, set[str]] = {kind: set() for kind in MARKS}
    for path in sorted(SCENARIOS.glob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func).removeprefix("pytest.mark.")
            if called in MARKS:
                values = node.args if ast.unparse(node.func) != called else node.args[:1]
                names[called] |= {str(ast.literal_eval(value)) for value in values}
    return {kind: frozenset(rules) for kind, rules in names.items()}


def stable() -> list[RulePlan]:
    """The shipped rules that say of themselves that they are stable."""
    return [plan for plan in load(()).plans if plan.maturity == "stable"]


def test_many_shipped_rules_are_stable() -> None:
    assert len(stable()) >= 20


@pytest.mark.parametrize("kind", MARKS)
def test_a_stable_rule_has_a_test_of_the_attack_and_of_a_benign_twin(kind: str) -> None:
    assert [plan.id for plan in stable() if plan.id not in marked()[kind]] == []


def test_marks_name_shipped_rules() -> None:
    shipped = {plan.id for plan in load((), packs=pack_names()).plans}
    assert marked()["attack"] | marked()["benign"] <= shipped


def test_the_false_alarms_of_every_shipped_rule_are_measured_as_it_is_now() -> None:
    figures = json.loads(FALSE_ALARMS.read_text(encoding="utf-8"))["rules"]
    hashes = {plan.id: measured_hash(plan) for plan in load(()).plans if plan.scope == "node"}
    assert {name: row["hash"] for name, row in figures.items()} == hashes, "run python -m benchmarks.false_alarms"


def test_a_stable_rule_shows_its_false_alarms_a_day() -> None:
    found, figures = load(()), read_figures()
    for plan in stable():
        assert figures[plan.id].measured, f"{plan.id}: no recording has an event that it reads"
        text = page(plan, found.sources[plan.id], found.lists, figures)
        assert "a day" in text.partition("## False alarms")[2].partition("##")[0]


def test_a_rule_that_says_nothing_of_its_maturity_is_incubating() -> None:
    (plan,) = load_text("rules:\n" + NEW).plans
    assert plan.maturity == "incubating"


def test_check_names_the_successor_of_a_deprecated_rule(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(f"rules:\n{OLD}    maturity: deprecated\n    successor: new\n{NEW}", encoding="utf-8")
    assert main(["rules", "check", str(path)]) == 0
    printed = capsys.readouterr()
    assert "rule 'old' is deprecated; its successor is 'new'" in printed.out + printed.err


@pytest.mark.parametrize(
    ("keys", "message", "hint"),
    [
        ("maturity: deprecated", "rule 'old' is deprecated and names no successor", "add successor: RULE"),
        (
            "successor: new",
            "rule 'old' has a successor and is incubating",
            "a successor belongs to maturity: deprecated",
        ),
        ("maturity: deprecated\n    successor: old", "'old' cannot succeed rule 'old'", "name another rule"),
        (
            "maturity: deprecated\n    successor: nwe",
            "successor 'nwe' of rule 'old' is not a rule",
            "did you mean 'new'?",
        ),
    ],
)
def test_a_deprecated_rule_must_name_another_rule(keys: str, message: str, hint: str) -> None:
    with pytest.raises(RuleSetError) as caught:
        load_text(f"rules:\n{OLD}    {keys}\n{NEW}")
    (problem,) = caught.value.problems
    assert (problem.message, str(problem.hint)[: len(hint)]) == (message, hint)
