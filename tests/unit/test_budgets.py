"""Budgets of false findings: thresholds follow from them, a file's is split over its rules, people can read both."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from rules.budget import Budget, promises, read_budget
from rules.load import RuleSet, check, load, load_text
from rules.portable import from_text, to_text
from rules.show import show_rule
from watchdog.core.durations import DAY_NS
from watchdog.core.plan import RulePlan
from watchdog.located_yaml.problem import RuleSetError

MINUTE_PANES = 1_440
HEAD = "attack: message-anomaly, severity: warning, on: net:inbound_message, over: 10m, pane: 1m"
COUNT = """  {name}: {{title: t, {head}, fire: odd{keys},
    measure: {{n: count(), odd: 'anomalous(n, law="counts"{more})'}}}}
"""
PEERS = """  peers: {{title: t, {head}, by: [conn], fire: odd,
    measure: {{n: count(), m: sum(size), odd: 'unlike_others(n floor 3, m floor 20{more})'}}}}
"""


def rule(name: str = "one", more: str = "", keys: str = "") -> str:
    return COUNT.format(name=name, head=HEAD, more=more, keys=keys)


def loaded(text: str, top: str = "") -> RuleSet:
    return load_text(f"{top}\nrules:\n{text}")


def threshold(plan: RulePlan) -> float:
    return plan.baselines[0].threshold


def problems(text: str, top: str = "") -> str:
    with pytest.raises(RuleSetError) as caught:
        loaded(text, top)
    return str(caught.value)


def test_a_count_spends_one_in_thirty_days_unless_it_says_otherwise() -> None:
    assert threshold(loaded(rule()).plans[0]) == pytest.approx(math.log10(30 * MINUTE_PANES))
    assert threshold(loaded(rule(more=', budget="2 per 1d"')).plans[0]) == pytest.approx(math.log10(MINUTE_PANES / 2))
    assert threshold(loaded(rule(more=", threshold=3")).plans[0]) == 3.0
    both = loaded(rule(more=', direction="both"')).plans[0]
    assert threshold(both) == pytest.approx(math.log10(2 * 30 * MINUTE_PANES)), "each side may spend half"


def test_the_budget_of_a_file_is_split_over_the_rules_that_name_none() -> None:
    own = rule("own", ', budget="1 per 1d"') + rule("given", ", threshold=3")
    found = loaded(rule("one") + rule("two") + own + PEERS.format(head=HEAD, more=""), "budget: 6 per 30d")
    by_id = {plan.id: plan for plan in found.plans}
    assert by_id["one"].baselines[0].budget == by_id["two"].baselines[0].budget == "1 per 15d"
    assert by_id["peers"].comparisons[0].budget == "1 per 15d"
    assert threshold(by_id["one"]) == pytest.approx(math.log10(15 * MINUTE_PANES))
    assert (by_id["own"].baselines[0].budget, by_id["given"].baselines[0].budget) == ("1 per 1d", "")
    assert not found.warnings


def test_the_order_of_the_keys_of_a_file_makes_no_difference() -> None:
    first = loaded(rule("one") + rule("two"), "budget: 1 per 30d")
    last = load_text(f"rules:\n{rule('one')}{rule('two')}budget: 1 per 30d\n")
    assert first.hash == last.hash
    assert first.plans[0].baselines[0].budget == "1 per 60d"


def test_a_file_shares_out_over_its_own_rules_only(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(f"budget: 1 per 1d\nrules:\n{rule('one')}", encoding="utf-8")
    (tmp_path / "b.yaml").write_text(f"rules:\n{rule('two')}", encoding="utf-8")
    budgets = {plan.id: plan.baselines[0].budget for plan in load([tmp_path], packs=False).plans}
    assert budgets == {"one": "1 per 1d", "two": "1 per 30d"}


def test_a_rule_splits_its_budget_over_its_detectors() -> None:
    text = f"""  two: {{title: t, {HEAD}, budget: 1 per 10d, measure: {{n: count(), m: sum(size),
    odd: 'anomalous(n, law="counts")', more: 'anomalous(m, law="counts")'}}, fire: odd or more}}
"""
    assert [spec.budget for spec in loaded(text).plans[0].baselines] == ["1 per 20d", "1 per 20d"]


def test_an_override_gives_a_rule_another_budget(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(f"budget: 1 per 1d\nrules:\n{rule('one')}{rule('two')}", encoding="utf-8")
    (tmp_path / "b.yaml").write_text("overrides: {one: {budget: 1 per 90d}}\n", encoding="utf-8")
    budgets = {plan.id: plan.baselines[0].budget for plan in load([tmp_path], packs=False).plans}
    assert budgets == {"one": "1 per 90d", "two": "1 per 2d"}


def test_rules_as_text_keep_their_share() -> None:
    found = loaded(rule("one") + rule("two"), "budget: 1 per 30d")
    again = from_text(to_text(found))
    assert again.hash == found.hash
    assert [threshold(plan) for plan in again.plans] == [threshold(plan) for plan in found.plans]


@pytest.mark.parametrize(
    "text", ["often", "1 per", "0 per 1d", "-1 per 1d", "1 per 1h", "1 per 4000d", "1001 per 1d", ""]
)
def test_another_budget_is_refused_wherever_it_is_written(text: str) -> None:
    assert isinstance(read_budget(text), str)
    for source, top in ((rule(more=f', budget="{text}"'), ""), (rule(keys=f', budget: "{text}"'), "")):
        assert "budget" in problems(source, top)
    assert "budget" in problems(rule(), f'budget: "{text or " "}"')


def test_a_budget_and_a_threshold_exclude_each_other() -> None:
    assert "exclude each other" in problems(rule(more=', budget="1 per 1d", threshold=3'))


def test_the_level_takes_no_budget_and_counts_take_whole_numbers() -> None:
    level = rule().replace('law="counts"', 'budget="1 per 1d"')
    assert "'budget' needs law=\"counts\"" in problems(level)
    assert "takes whole numbers" in problems(rule().replace("n: count()", "n: rate(count())"))


def test_a_budget_that_no_rule_spends_is_a_warning() -> None:
    text = f"  plain: {{title: t, {HEAD}, measure: {{n: count()}}, fire: n > 5}}\n"
    assert ["spends" in one.message for one in loaded(text, "budget: 1 per 1d").warnings] == [True]
    own = text.replace("fire: n > 5", "fire: n > 5, budget: 1 per 1d")
    assert ["spent by no detector" in one.message for one in loaded(own).warnings] == [True]


def test_a_budget_that_is_too_small_for_its_rules_is_refused() -> None:
    assert "too small for 2 rules" in problems(rule("one") + rule("two"), "budget: 1 per 3650d")


def test_a_broken_expression_beside_a_budget_is_reported_once(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(f"budget: 1 per 1d\nrules:\n{rule().replace('count()', 'count(')}", encoding="utf-8")
    assert len([one for one in check([path], packs=False) if "unused" not in one.message]) == 1


def test_people_read_threshold_budget_and_what_it_rests_on() -> None:
    found = loaded(rule("one") + PEERS.format(head=HEAD, more=""), "budget: 1 per 15d")
    lines = {plan.id: list(promises(plan)) for plan in found.plans}
    assert lines["one"] == [
        "odd: threshold 4.64 -log10 of the chance (budget 1 per 30d, the law's own tail; more for one key among many)"
    ]
    assert lines["peers"] == [
        "odd: threshold 6.65 deviations (budget 1 per 30d, shipped tail of 19 peaks, provisional)"
    ]
    shown = list(show_rule(found.plans[0], found.sources["one"]))
    assert f"# {lines['one'][0]}" in shown
    given = loaded(rule(more=", threshold=3")).plans[0]
    assert list(promises(given)) == ["odd: threshold 3.00 -log10 of the chance (no budget)"]


def test_shares_are_whole_minutes_and_never_more_than_the_whole() -> None:
    whole = Budget(30 * DAY_NS // 7, "7 per 30d")
    for parts in range(2, 40):
        share = whole.share(parts)
        assert share.every_ns >= whole.every_ns * parts
        assert read_budget(share.text) == share
