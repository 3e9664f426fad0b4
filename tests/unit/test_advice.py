"""What to do about a case: keys of rules, texts of techniques, and the advice in a case's document."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from alerts.case.advice import SEEN, advice_of
from alerts.case.document import stored_cases
from alerts.cases import CasePicture
from alerts.claims import LONGEST_SAID
from alerts.rule_texts import RuleText, rule_texts
from alerts.technique_texts import TECHNIQUE_DO
from rules.advice import LONGEST_DO
from rules.load import RuleSet, load, load_text, pack_names
from rules.portable import from_text, to_text
from rules.show import show_rule
from tests.support.case_rig import CaseRig, made_finding, shipped_plans
from watchdog.cli.rule_advice import advice_lines
from watchdog.core.errors import RuleError
from watchdog.core.own_rules import OWN_RULES

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
LONGEST_SHIPPED = 340  # characters: with the rest of a message it fits on a phone
COMMANDS = {
    "addnode",
    "disconnectnode",
    "getaddrmaninfo",
    "getbestblockhash",
    "getblockchaininfo",
    "getblockcount",
    "getchaintips",
    "getnetworkinfo",
    "getmempoolinfo",
    "getpeerinfo",
    "setban",
    "setnetworkactive",
    "uptime",
}
"""Commands that the texts may name; each is in `bitcoin-cli help` of Bitcoin Core v26 to v31."""
TEXTS = rule_texts(shipped_plans().values())


def all_packs() -> RuleSet:
    return load((), packs=pack_names())


def advice(rig: CaseRig, minute: float, texts: dict[str, RuleText] | None = None) -> dict[str, object]:
    (case,) = rig.until(minute)
    return advice_of(case, TEXTS if texts is None else texts)


def test_every_shipped_rule_says_what_to_do() -> None:
    for plan in all_packs().plans:
        assert_good(plan.id, str(plan.metadata.get("do", "")))


def test_every_technique_of_the_default_pack_has_a_text() -> None:
    techniques = {plan.technique for plan in load(()).plans} - {""}
    assert techniques - TECHNIQUE_DO.keys() == set()
    assert TECHNIQUE_DO.keys() - techniques - {"mass-disconnect", "data"} == set(), "no rule has it"
    for technique, text in TECHNIQUE_DO.items():
        assert_good(technique, text)


def assert_good(name: str, text: str) -> None:
    """Two sentences at most, and only commands that exist."""
    assert 40 <= len(text) <= LONGEST_SHIPPED, f"{name}: {len(text)} characters"
    assert len(re.findall(r"[.!?](?:\s|$)", text)) <= 2, f"{name}: more than two sentences"
    assert text.endswith("."), name
    named = set(re.findall(r"`bitcoin-cli (\w+)", text))
    assert named <= COMMANDS, f"{name}: {named - COMMANDS}"


def test_findings_by_the_wall_clock_have_texts() -> None:
    assert OWN_RULES.keys() <= TEXTS.keys()
    assert all(TEXTS[rule].do for rule in OWN_RULES)


def test_keys_are_read_shown_overridden_and_part_of_a_text() -> None:
    found = load_text(
        f"{RULE}    do: >-\n      Look at it.\n      Then act.\n    runbook: https://wiki.example.org/a\n"
    )
    (plan,) = found.plans
    assert rule_texts(found.plans)["mine"] == RuleText("Look at it. Then act.", "https://wiki.example.org/a")
    shown = " ".join(show_rule(plan, found.sources["mine"]))
    assert "Look at it. Then act." in shown
    assert "runbook:" in shown
    assert from_text(to_text(found)).plans[0].metadata["do"] == "Look at it. Then act."
    assert found.hash == load_text(RULE).hash, "words for people do not change what a rule does"


def test_an_override_changes_them(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text("overrides:\n  ping-flood:\n    do: Call Anna.\n    runbook: https://wiki.example.org/ping\n")
    texts = rule_texts(load([file]).plans)
    assert texts["ping-flood"] == RuleText("Call Anna.", "https://wiki.example.org/ping")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (f"do: {'a' * (LONGEST_DO + 1)}", f"'do' is longer than {LONGEST_DO} characters"),
        ("do: [a, b]", "'do' must be text"),
        ("runbook: wiki/page", "'runbook' must be a URL"),
        ("runbook: javascript:alert(1)", "'runbook' must be a URL"),
        ("runbook: 'https://a.example.org/ <b>'", "'runbook' must be a URL"),
        ("runbook: https://anna:secret@a.example.org/", "'runbook' must be a URL"),
    ],
)
def test_bad_values_are_refused_at_their_place(line: str, said: str) -> None:
    with pytest.raises(RuleError) as caught:
        load_text(f"{RULE}    {line}\n")
    assert said in str(caught.value)
    assert "rules.yaml:10:" in str(caught.value)


def test_commands_show_those_of_the_rules_in_force(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert advice_lines("ping-flood", None) == [TEXTS["ping-flood"].do]
    assert advice_lines("source-silent", None) == [OWN_RULES["source-silent"].remedy]
    assert advice_lines("no-such-rule", None) == []
    config = tmp_path / "watchdog.yaml"
    config.write_text("sources: log:a\nrules: own.yaml\n")
    (tmp_path / "own.yaml").write_text(
        "overrides:\n  ping-flood:\n    do: Call Anna.\n    runbook: https://wiki.example.org/ping\n"
    )
    expected = ["Call Anna.", "Runbook: https://wiki.example.org/ping"]
    assert advice_lines("ping-flood", config) == advice_lines("ping-flood", None) == expected
    config.write_text("sources: [nonsense\n")
    assert advice_lines("ping-flood", config) == [TEXTS["ping-flood"].do], "an incident stays readable"


# ---- advice


def test_the_rule_speaks_for_its_technique_and_one_claim_needs_no_reason() -> None:
    rig = CaseRig()
    rig.say("ping-flood", ["203.0.113.9"], 0)
    found = advice(rig, 2)
    assert found["do"] == [TEXTS["ping-flood"].do]
    assert (found["why"], found["runbook"]) == ("", None)
    assert found["seen"] == [
        {
            "time": 1_770_000_000.0,
            "rule": "ping-flood",
            "title": shipped_plans()["ping-flood"].title,
            "text": "ping-flood",
            "severity": "warning",
            "parties": 1,
            "firing": True,
        }
    ]


def test_the_furthest_stage_leads_and_the_gravest_rule_follows() -> None:
    rig = CaseRig()
    rig.say("eclipse-outbound-replaced", ["198.51.100.7"], 0)
    rig.say("addr-pattern-2021", ["198.51.100.7"], 1)
    found = advice(rig, 10)
    assert found["do"] == [TECHNIQUE_DO["outbound"], TEXTS["addr-pattern-2021"].do]
    assert found["why"] == "2 rules name 198.51.100.7."


def test_steps_of_an_eclipse_and_one_technique_are_reasons() -> None:
    rig = CaseRig()
    rig.say("eclipse-inbound-group", ["198.51.100.7"], 0)
    rig.say("eclipse-outbound-replaced", ["203.0.113.9"], 10)
    assert advice(rig, 20)["why"] == "One attacker needs these steps together: slots, outbound."
    rig = CaseRig()
    rig.say("addr-pattern-2021", ["198.51.100.7"], 0)
    rig.say("addr-pattern-2021", ["203.0.113.9"], 1)
    assert advice(rig, 5)["why"] == "2 networks did the same thing at the same time."


def test_a_runbook_is_that_of_the_gravest_rule_that_has_one() -> None:
    texts = {"ping-flood": RuleText("a", "https://a.example.org"), "addr-pattern-2021": RuleText("b")}
    rig = CaseRig()
    rig.say("addr-pattern-2021", ["198.51.100.7"], 0)
    rig.say("ping-flood", ["198.51.100.7"], 1)
    found = advice(rig, 5, texts)
    assert (found["do"], found["runbook"]) == (["b"], "https://a.example.org")


def test_without_texts_a_technique_still_has_its_own() -> None:
    rig = CaseRig()
    rig.say("ping-flood", ["198.51.100.7"], 0)
    assert advice(rig, 5, {})["do"] == [TECHNIQUE_DO["ping-flood"]]


def test_a_list_of_rules_is_bounded_and_keeps_the_gravest() -> None:
    rules = [plan.id for plan in shipped_plans().values() if plan.role == "core" and plan.severity != "info"]
    rig = CaseRig()
    for minute, rule in enumerate(rules[: SEEN + 4]):
        rig.say(rule, ["198.51.100.7"], minute, severity="critical" if minute == SEEN + 3 else "warning")
    (case,) = rig.until(SEEN + 6)
    found = advice_of(case, TEXTS)
    seen = found["seen"]
    assert isinstance(seen, list)
    assert len(seen) == SEEN
    assert found["seen_beyond"] == 4
    assert seen[-1]["severity"] == "critical"
    assert [one["time"] for one in seen] == sorted(one["time"] for one in seen)


def test_the_document_has_it_and_texts_survive_a_restart() -> None:
    rig = CaseRig()
    rig.feed.book.texts = {"ping-flood": RuleText("Call Anna.")}
    rig.say("ping-flood", ["198.51.100.7"], 0)
    rig.until(2)
    blob = rig.feed.snapshot()
    rig.feed.restore(blob)
    (stored,) = stored_cases(rig.feed.book)
    advice_part = stored.document["advice"]
    assert isinstance(advice_part, dict)
    assert advice_part["do"] == ["Call Anna."]


def test_a_sentence_that_names_bystanders_gives_way_to_the_title() -> None:
    rig = CaseRig()
    rig.say("ping-flood", ["198.51.100.7"], 0)
    rig.say("eclipse-stale-tip", ["203.0.113.9"], 1, severity="warning")
    cases = rig.until(10)
    for case in cases:
        for claim in case.claims:
            claim.said = f"{next(iter(claim.weights), claim.rule)} did it"
    said = {one["rule"]: one["text"] for case in cases for one in seen_of(case)}
    assert said == {"ping-flood": "198.51.100.7 did it", "eclipse-stale-tip": ""}


def seen_of(case: CasePicture) -> list[dict[str, object]]:
    seen = advice_of(case, TEXTS)["seen"]
    assert isinstance(seen, list)
    return seen


def test_a_claim_keeps_the_sentence_of_its_gravest_moment() -> None:
    rig = CaseRig()
    rig.say("ping-flood", ["198.51.100.7"], 0)
    rig.say("ping-flood", ["198.51.100.7"], 1, change="update")
    finding = made_finding("ping-flood", ["198.51.100.7"], 2, change="escalate", severity="high")
    rig.feed.take(finding.time_ns, "ping-flood", replace(finding, summary="900 pings\x1b" + "a" * 300))
    (case,) = rig.until(5)
    (claim,) = case.claims
    assert claim.said.startswith("900 pings\\x1baaa")
    assert len(claim.said) <= LONGEST_SAID
    rig.say("ping-flood", ["198.51.100.7"], 6, change="update", severity="high")
    (case,) = rig.until(10)
    assert case.claims[0].said == claim.said


def test_witnesses_alone_give_advice() -> None:
    rig = CaseRig()
    rig.say("mass-disconnect", ["198.51.100.7"], 0)
    cases: list[CasePicture] = rig.until(30)
    assert all(advice_of(case, TEXTS)["do"] for case in cases)
    assert cases
