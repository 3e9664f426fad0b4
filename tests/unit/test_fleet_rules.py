"""The rule language over nodes: what `scope: fleet` allows and refuses, and who is accused."""

from __future__ import annotations

import pytest

from rules.digest import rule_hash
from rules.load import load_text
from watchdog.core.kinds import FLEET_KINDS, KINDS
from watchdog.engine.coverage import wanted_kinds
from watchdog.fleet.stage import GIVEN, kinds_for
from watchdog.fleet.wanted import fleet_reads, nodes_report, sources_give
from watchdog.located_yaml.problem import RuleSetError

RULE = """
rules:
  mine:
    title: Mine
    attack: chain
    severity: high
    {scope}
    on: {on}
    by: {by}
    measure: {{n: count()}}
    over: 1m
    fire: n > 1
"""


def text(on: str, by: str = "[]", scope: str = "scope: fleet") -> str:
    return RULE.format(on=on, by=by, scope=scope)


@pytest.mark.parametrize("on", ["rpc:chain", "finding:fire", "[finding:fire, rpc:chain]", "fleet:split", "log:tip"])
def test_what_a_rule_over_nodes_may_read(on: str) -> None:
    (plan,) = load_text(text(on, "[node]")).plans
    assert (plan.scope, plan.by, plan.incident) == ("fleet", ("node",), ("node",))


@pytest.mark.parametrize(
    ("rule", "problem", "hint"),
    [
        (text("p2p:addr"), "a rule over nodes cannot read 'p2p:addr'", "on finding:fire"),
        (text("[rpc:chain, net:inbound_message]"), "cannot read 'net:inbound_message'", "on finding:fire"),
        (text("rpc:addrman_entry"), "cannot read 'rpc:addrman_entry'", "on finding:fire"),
        (text("fleet:split", scope=""), "'fleet:split' is for rules over nodes", "add 'scope: fleet'"),
        (text("rpc:chain", "[node]", ""), "'node' cannot be part of a key", "'scope: fleet' is for rules over nodes"),
        (text("rpc:chain", "[source]"), "'source' cannot be part of a key", "keys are always within one node"),
        (text("rpc:chain", scope="scope: flet"), "unknown scope 'flet'", "did you mean 'fleet'?"),
        (text("rpc:chain", scope="scope: [fleet]"), "'scope' must be", ""),
    ],
)
def test_mistakes(rule: str, problem: str, hint: str) -> None:
    with pytest.raises(RuleSetError) as caught:
        load_text(rule)
    shown = str(caught.value)
    assert problem in shown
    assert hint in shown


def test_the_scope_is_part_of_the_behaviour_and_of_no_rule_of_one_node() -> None:
    (over,), (within,) = load_text(text("rpc:chain")).plans, load_text(text("rpc:chain", scope="")).plans
    (named,) = load_text(text("rpc:chain", scope="scope: node")).plans
    assert rule_hash(over) != rule_hash(within) == rule_hash(named)


def test_a_node_alone_reads_nothing_for_rules_over_nodes() -> None:
    plans = load_text(text("fleet:inserts")).plans
    assert not wanted_kinds(plans) & {"addrman:insert", "log:addrman_inserted"}
    assert {"addrman:insert", "log:addrman_inserted"} <= sources_give(plans) & nodes_report(plans)
    assert fleet_reads(plans) == {"fleet:inserts"}
    assert kinds_for(["log:tip"]) == {"log:tip"}, "no comparison is made for it"


def test_every_kind_of_the_fleet_is_given_by_a_comparison() -> None:
    assert GIVEN == FLEET_KINDS
    assert all(KINDS[kind].sources == ("fleet",) for kind in FLEET_KINDS)
