"""How a rule says that it could be evaded: five answers, asked of shipped rules, free to all others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rules import load as loading
from rules.evasion import QUESTIONS
from rules.load import PACKS, check, load, load_text
from watchdog.cli.main import main
from watchdog.docs_build.rule_pages import page
from watchdog.located_yaml.problem import RuleSetError

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
ANSWERS = "    evasion:\n" + "".join(f"      {name}: accepted, because it is a test\n" for name in QUESTIONS)


def test_every_shipped_rule_answers_every_question_on_its_page() -> None:
    found = load(())
    for plan in found.plans:
        answers = plan.metadata["evasion"]
        assert isinstance(answers, dict)
        assert tuple(answers) == tuple(QUESTIONS), plan.id
        text = page(plan, found.sources[plan.id], found.lists)
        for question in QUESTIONS.values():
            assert f"| {question} | " in text


def test_answers_are_of_the_rule_and_not_copied_all_alike() -> None:
    every = [json.dumps(plan.metadata["evasion"]) for plan in load(()).plans]
    assert len(set(every)) == len(every)


@pytest.mark.parametrize("open_", [*QUESTIONS, "all"])
def test_a_shipped_rule_that_leaves_a_question_open_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], open_: str
) -> None:
    kept = "".join(line for line in ANSWERS.splitlines(keepends=True) if open_ not in line)
    (tmp_path / "own.yaml").write_text(RULE + ("" if open_ == "all" else kept), encoding="utf-8")
    monkeypatch.setattr(loading, "PACKS", tmp_path)
    assert main(["rules", "check", str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert "shipped rule 'mine' lacks answers under 'evasion'" in said
    assert (", ".join(QUESTIONS) if open_ == "all" else f": {open_}") in said
    (tmp_path / "own.yaml").write_text(RULE + ANSWERS, encoding="utf-8")
    assert main(["rules", "check", str(tmp_path)]) == 0


def test_a_shipped_pack_is_refused_by_a_path_relative_to_here_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(PACKS.parent)
    assert [problem.message for problem in check([Path("packs")], packs=False)] == []
    assert load([Path("packs")], packs=False).hash == load(()).hash


def test_rules_of_operators_need_no_answers_and_may_give_some() -> None:
    assert load_text(RULE).plans[0].metadata["evasion"] == {}
    some = load_text(RULE + "    evasion: {falsify: no}\n").plans[0]
    assert some.metadata["evasion"] == {"falsify": "no"}
    with pytest.raises(RuleSetError, match="unknown answer 'falsified' under 'evasion'"):
        load_text(RULE + "    evasion: {falsified: no}\n")
    with pytest.raises(RuleSetError, match="must be a table"):
        load_text(RULE + "    evasion: none\n")
    with pytest.raises(RuleSetError, match="'absence'"):
        load_text(RULE + "    evasion: {absence: }\n")


def test_answers_change_no_hash() -> None:
    assert load_text(RULE).hash == load_text(RULE + ANSWERS).hash


def test_show_and_list_give_the_answers(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules", "show", "block-gap"]) == 0
    assert "  evasion:  # rules/packs/message-anomaly.yaml" in capsys.readouterr().out
    assert main(["rules", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert len(listed) > 50
    assert all(set(rule["evasion"]) == set(QUESTIONS) for rule in listed)


def test_ids_of_rules_about_our_own_input_say_so() -> None:
    for plan in load(()).plans:
        own = plan.attack == "data" or any(kind.startswith("source:") for kind in plan.kinds)
        assert own == plan.id.startswith(("data-", "log-", "source-")), plan.id


def test_a_rule_that_leaves_a_network_out_names_its_twin() -> None:
    found = load(())
    ids = {plan.id for plan in found.plans}
    for plan in found.plans:
        where = plan.where.text if plan.where else ""
        if "network in [" in where and "not in" not in where:
            answers = plan.metadata["evasion"]
            assert isinstance(answers, dict)
            assert any(f"`{rule}`" in answers["left_out"] for rule in ids), plan.id
