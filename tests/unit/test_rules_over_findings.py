"""Rules over findings in the language: typed like others, a stage of their own, and what they can wait for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rules.load import RuleSet, load_text
from watchdog.cli.main import main
from watchdog.located_yaml.problem import RuleSetError
from watchdog.service.capabilities import Capability, Facts, capabilities, lines

BASE = """
rules:
  many: {title: m, attack: message-anomaly, severity: info, on: net:inbound_message, over: 10s,
         measure: {n: count()}, fire: n > 1}
  lost: {title: l, attack: eclipse, severity: high, on: peer:outbound_lost, over: 10s,
         measure: {n: count()}, fire: n > 1, escalate: {critical: n > 9}}
"""
RULE = """\
  mine:
    title: t
    attack: eclipse
    severity: high
    on: {on}
    where: {where}
    over: 1m
    measure: {{{measure}}}
    fire: {fire}
"""


def text(on: str = "finding:fire", where: str = "keys > 0", measure: str = "n: count()", fire: str = "n > 0") -> str:
    return BASE + RULE.format(on=on, where=where, measure=measure, fire=fire)


def problem(rules: str) -> tuple[str, str, str]:
    """Return the only mistake: the text at its place, message, hint."""
    with pytest.raises(RuleSetError) as caught:
        load_text(rules)
    (only,) = caught.value.problems
    line = rules.splitlines()[only.place.line - 1]
    return line[only.place.column - 1 :], only.message, only.hint


def warnings(rules: str) -> list[tuple[str, str]]:
    return [(one.message, one.hint) for one in load_text(rules).warnings]


def judged(rules: RuleSet, *sources: frozenset[str]) -> Capability:
    return capabilities(rules.plans, {str(number): kinds for number, kinds in enumerate(sources)}, Facts())["mine"]


def test_fields_of_findings_are_typed() -> None:
    load_text(text(where='attack == "eclipse" and asn in [5] and netblock == "136.43.0.0/16" and node != "x"'))
    load_text(text(measure="n: distinct(node), longest: max(time_ns - since_ns)", fire="n > 1 and longest > 5"))
    place, message, hint = problem(text(where='attack == "eclips"'))
    assert (place[:8], message) == ('"eclips"', "'attack' is never \"eclips\"")
    assert "did you mean 'eclipse'" in hint
    assert "unknown field 'measures'" in problem(text(where='measures == "n"'))[1]


def test_by_a_peer_address_is_by_what_findings_know() -> None:
    rules = text().replace("over: 1m", "over: 1m\n    by: [peer_addr, rule]")
    (mine,) = [plan for plan in load_text(rules).plans if plan.id == "mine"]
    assert (mine.incident, mine.entities) == (("peer_addr", "rule"), ("peer_addr",))
    assert "keys are always within one node" in problem(text().replace("over: 1m", "over: 1m\n    by: [node]"))[2]


def test_a_rule_reads_findings_or_events_of_sources_never_both() -> None:
    place, message, hint = problem(text(on="[finding:fire, net:inbound_message]", where="true or true"))
    assert place.startswith("net:inbound_message")
    assert message == "a rule that reads 'finding:fire' cannot read 'net:inbound_message' too"
    assert hint == "write a rule over the events, and read its findings here"
    place, message, _ = problem(text(on="[p2p:ping, finding:clear]", where="true or true"))
    assert place.startswith("finding:clear")
    assert "unknown kind 'finding:fires'" in problem(text(on="finding:fires"))[1]


def test_a_rule_that_names_its_own_stage_is_refused() -> None:
    place, message, hint = problem(text(where='rule == "mine"'))
    assert place == 'rule == "mine"'
    assert (message, hint) == (
        "rule 'mine' reads its own findings",
        "rules over findings read the findings of rules over events only",
    )
    other = text() + RULE.format(on="finding:fire", where='rule == "mine"', measure="n: count()", fire="n > 0").replace(
        "mine:", "other:"
    )
    assert "rule 'other' reads findings of 'mine'" in problem(other)[1]


def test_a_rule_that_nothing_feeds_is_a_warning() -> None:
    assert warnings(text()) == []
    [(message, hint)] = warnings(text(where='rule == "mny"'))
    assert message == "no rule in force reports a finding that rule 'mine' reads"
    assert "did you mean 'many'" in hint
    assert len(warnings(text(where='attack == "chain"'))) == 1
    assert len(warnings(text(where='rule in ["nobody", "none"]'))) == 1
    assert len(warnings(text(where='rule == "many" and attack == "eclipse"'))) == 1
    assert len(warnings(text(on="finding:escalate", where='rule == "many"'))) == 1, "many has one severity"
    assert warnings(text(on="finding:escalate", where='rule == "lost"')) == []
    assert len(warnings(text(where='rule == "many"') + "overrides: {many: {enabled: false}}\n")) == 1


def test_a_rule_over_findings_can_fire_when_rules_below_can() -> None:
    capture, rpc = frozenset({"net:inbound_message"}), frozenset({"peer:outbound_lost"})
    any_of_them = load_text(text())
    assert judged(any_of_them, capture) == Capability(True, ())
    assert judged(any_of_them) == Capability(False, ("capture", "rpc"))
    both = load_text(text(measure='a: count(rule == "many"), b: count(rule == "lost")', fire="a > 0 and b > 0"))
    assert judged(both, capture) == Capability(False, ("rpc",))
    assert judged(both, capture, rpc) == Capability(True, ())
    assert judged(both) == Capability(False, ("capture", "rpc"))
    nothing = load_text(text(where='rule == "mny"'))
    assert judged(nothing, capture) == Capability(False, ("rules",))
    assert lines(capabilities(nothing.plans, {"c": capture, "r": rpc})) == [
        "1 rule waits for rules whose findings they read: mine"
    ]


def test_rules_list_shows_kinds_and_what_is_lacking(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rules.yaml").write_text(text(), encoding="utf-8")
    arguments = ["rules", "list", "--json", "--no-packs", "--rules", str(tmp_path / "rules.yaml")]
    assert main(arguments) == 0
    [mine] = [one for one in json.loads(capsys.readouterr().out) if one["id"] == "mine"]
    assert (mine["kinds"], mine["lacks"]) == (["finding:fire"], ["capture", "rpc"])
    assert main(["rules", "check", "--no-packs", str(tmp_path / "rules.yaml")]) == 0


def test_each_mixture_is_one_mistake() -> None:
    assert "'log:tip'" in problem(text(on="[finding:fire, finding:clear, log:tip]", where="true or true"))[1]
