"""The words that rules have for cases: technique, role and names."""

from __future__ import annotations

import pytest

from alerts.case.links import STAGE_OF
from alerts.claims import words_of
from rules.load import load, load_text
from watchdog.core.errors import RuleError
from watchdog.core.own_rules import OWN_RULES
from watchdog.docs_build.rule_pages import page

RULE = """\
rules:
  mine:
    title: Mine
    attack: data
    severity: info
    on: p2p:ping
    over: 1m
    measure: {n: count()}
    fire: n > 1
"""


def test_every_shipped_rule_has_the_three_words_and_a_reason_on_its_page() -> None:
    found = load(())
    for plan in found.plans:
        source = found.sources[plan.id]
        assert {"technique", "role", "names"} <= source.entries.keys(), plan.id
        section = page(plan, source, found.lists).partition("## In cases\n")[2].partition("\n## ")[0]
        assert f"| {plan.technique or 'none'} | {plan.role} | {plan.names} |" in section
        assert len(section.strip().splitlines()[-1]) > 20, f"{plan.id} gives no reason"
        assert "`technique`:" not in page(plan, source, found.lists), "the reason is not among the numbers"


def test_a_rule_without_them_is_core_and_its_id_is_its_technique() -> None:
    (plan,) = load_text(RULE).plans
    assert (plan.technique, plan.role, plan.names) == ("mine", "core", "party")


def test_a_rule_may_have_no_technique_and_the_hash_does_not_change() -> None:
    plain, worded = load_text(RULE), load_text(RULE + "    technique: none\n    role: witness\n    names: mixed\n")
    (plan,) = worded.plans
    assert (plan.technique, plan.role, plan.names) == ("", "witness", "mixed")
    assert plain.hash == worded.hash


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("technique: Two Words", "'Two Words' is no name of a technique"),
        ("technique: " + "a" * 65, "is no name of a technique"),
        ("role: boss", "role"),
        ("names: everyone", "names"),
    ],
)
def test_other_words_are_refused_at_their_place(line: str, said: str) -> None:
    with pytest.raises(RuleError) as caught:
        load_text(f"{RULE}    {line}\n")
    assert said in str(caught.value)


def test_stages_are_techniques_of_shipped_rules_and_what_gossip_names_is_known() -> None:
    plans = load(()).plans
    assert STAGE_OF.keys() <= {plan.technique for plan in plans}
    words = words_of(plans)
    assert {rule for rule, one in words.items() if one.forged} == {
        "eclipse-new-table-group",
        "eclipse-new-table-as",
        "eclipse-tried-group",
        "eclipse-tried-growth",
    }
    assert {words[rule].role for rule in OWN_RULES} == {"state"}
