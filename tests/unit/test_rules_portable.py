"""Rules as text: every shipped rule survives it, and hostile texts are refused in one line."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules import portable
from rules.load import load, load_text
from rules.portable import from_text, one_spelling, to_text
from rules.tokens import ExpressionError, tokenize
from watchdog.core.errors import RuleError
from watchdog.core.kinds import ALL_KINDS
from watchdog.embedding.rules import Rules, load_rules
from watchdog.engine.source_groups import divide

CLEAN = """
lists:
  mine: [198.51.100.7, 203.0.113.0/24]
  ports: [8333, 18_444]
  mixed: ["8333", x]
rules:
  many:
    title: Many messages
    attack: message-anomaly
    severity: info
    maturity: stable
    on: [net:outbound_message, net:inbound_message]
    where: peer_addr in mine   or ( type ==  "a  b" and not  (size in ports or peer in mixed) )
    by: conn
    over: 600s
    pane: 5000ms
    measure: {z: "count( size >  0 )", a: mean(size), q: "quantile(size, 0.95)", per_s: rate(z)}
    fire: anomalous(per_s, half_life=6h, floor=1) or max(z, 3) > 4 and q > 1
    escalate: {critical: z > 4_000, high: z > 400}
    evidence: 7
    references: one
    summary: "  {z} messages,  {a} bytes"
"""


def example() -> str:
    return to_text(load_text(CLEAN))


def changed(change: Callable[[dict[str, Any]], object], text: str | None = None) -> str:
    """Return the example's text after a change of its content."""
    content = json.loads(text or example())
    change(content)
    return json.dumps(content)


def described(plan: Any) -> dict[str, Any]:
    """Return all of a plan, its expressions by their canonical text."""
    found = {field.name: getattr(plan, field.name) for field in fields(plan)}
    found["where"] = plan.stream_text
    found["fire"], found["clear"] = plan.fire.text, plan.clear and plan.clear.text
    found["values"] = [(name, value.text) for name, value in plan.values]
    found["escalate"] = [(severity, value.text) for severity, value in plan.escalate]
    found["measures"] = [(measure.name, measure.text) for measure in plan.measures]
    found["baselines"] = [repr(each).replace(repr(each.value), each.value.text) for each in plan.baselines]
    return found


@pytest.mark.parametrize("text", [None, CLEAN], ids=["packs", "example"])
def test_a_round_trip_changes_nothing(text: str | None) -> None:
    rules = load(()) if text is None else load_text(text)
    again = from_text(to_text(rules))
    assert [described(plan) for plan in again.plans] == [described(plan) for plan in rules.plans]
    assert (again.hash, again.lists, again.typed_lists) == (rules.hash, rules.lists, rules.typed_lists)
    assert to_text(again) == to_text(rules)
    digests = [[group.digest for group in divide(each.plans, {"a": ALL_KINDS})] for each in (rules, again)]
    assert digests[0] == digests[1], "a snapshot of one would not fit the other"


def test_one_text_for_one_meaning() -> None:
    other = CLEAN.replace("peer_addr in mine   or", "peer_addr in mine or").replace("600s", '"10m"')
    other = other.replace("[net:outbound_message, net:inbound_message]", "[net:inbound_message, net:outbound_message]")
    other = other.replace("by: conn", "by: [conn]").replace("evidence: 7", "evidence: +7").replace("5000ms", "5s")
    other = other.replace("[8333, 18_444]", "[8333, 18444]").replace('"  {z} messages', '"{z} messages')
    assert other != CLEAN
    assert json.loads(to_text(load_text(other)))["rules"] == json.loads(example())["rules"]
    assert Rules.from_text(example()) == Rules(load_text(CLEAN))
    assert Rules.from_text(example()) != Rules(load_text(CLEAN.replace("evidence: 7", "evidence: 8")))


def test_overrides_are_applied_and_absent_from_the_text(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("overrides: {addr-beyond-limit: {fire: beyond > 777}, addr-inflow: {enabled: false}}\n")
    rules = load_rules([own])
    assert "beyond > 777" in rules.to_text()
    assert "addr-inflow" not in rules.ids
    assert Rules.from_text(rules.to_text()) == rules == load_rules(str(own)) == load_rules(own)
    assert pickle.loads(pickle.dumps(rules)) == rules
    assert load_rules(packs=False).ids == ()
    assert Rules.from_text(load_rules(packs=False).to_text()).ids == ()


HOSTILE: list[tuple[str, str]] = [
    ("", "not JSON"),
    ("null", "must be a JSON object"),
    ("[]", "must be a JSON object"),
    ("{}", "not a text of rules"),
    ("[" * 100_000, "nested too deep"),
    ('{"a":' * 100_000, "nested too deep"),
    ('{"version": 1, "version": 1}', "name 'version' is given twice"),
    ('{"version": NaN}', "number NaN is not whole"),
    ('{"version": 1e999}', "number 1e999 is not whole"),
    ('{"version": ' + "9" * 5000 + "}", "not JSON"),
    ("x" * (portable.LARGEST + 1), "larger than"),
    ("," * (portable.MOST_VALUES + 1), "more than 200000 values"),
]


@pytest.mark.parametrize(("text", "reason"), HOSTILE, ids=[reason for _, reason in HOSTILE])
def test_what_is_no_text_of_rules_is_refused_in_one_line(text: str, reason: str) -> None:
    with pytest.raises(RuleError, match=reason) as caught:
        from_text(text)
    assert type(caught.value) is RuleError
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 400


CHANGES: list[tuple[str, Callable[[dict[str, Any]], object]]] = [
    ("version 2, this release reads 1: load the rules and write", lambda c: c.update(version=2)),
    ("version of type str", lambda c: c.update(version="1")),
    ("version True", lambda c: c.update(version=True)),
    ("lacks 'hash'", lambda c: c.pop("hash")),
    ("unknown name 'more'", lambda c: c.update(more=1)),
    ("behaviour differs", lambda c: c.update(hash="0" * 12)),
    ("behaviour differs", lambda c: c["lists"]["mine"].append("192.0.2.1")),
    ("'lists' must be an object", lambda c: c.update(lists=[])),
    ("'rules' must be an array", lambda c: c.update(rules={})),
    ("rule number 0 must be an object", lambda c: c.update(rules=[1])),
    ("rule 'many' is given twice", lambda c: c["rules"].append(c["rules"][0])),
    ("more than 2000 rules", lambda c: c.update(rules=[0] * 2001)),
    ("not of the form file:line", lambda c: c["rules"][0].update(place="x:²")),
    ("not of the form file:line", lambda c: c["rules"][0].update(place="x")),
    ("unknown key 'extra'", lambda c: c["rules"][0]["keys"].update(extra="1")),
    ("lacks 'fire'", lambda c: c["rules"][0]["keys"].pop("fire")),
    ("unknown kind 'p2p:new'", lambda c: c["rules"][0]["keys"].update(on=["p2p:new"])),
    ("'over' must be 1s to 30d", lambda c: c["rules"][0]["keys"].update(over="99d")),
    ("must be a string", lambda c: c["rules"][0]["keys"].update(over=None)),
    ("must be a string", lambda c: c["rules"][0]["keys"].update(fire=True)),
    ("'fire' must be an expression, not a list", lambda c: c["rules"][0]["keys"].update(fire=["n > 1"])),
    ("must be an array of pairs", lambda c: c["rules"][0]["keys"].update(measure=[["a"]])),
    ("name 'a' is given twice", lambda c: c["rules"][0]["keys"].update(measure=[["a", "1"], ["a", "2"]])),
    ("longer than 8192 characters", lambda c: c["rules"][0]["keys"].update(fire="x" * 8193)),
    ("not valid Unicode", lambda c: c["rules"][0]["keys"].update(title="\ud800")),
    ("bad rule id", lambda c: c["rules"][0].update(id="\x1b[2J\n")),
    ("taken by a built-in finding", lambda c: c["rules"][0].update(id="source-flapping")),
    ("bad list name", lambda c: c["lists"].update({"A B": []})),
    ("not a range", lambda c: c["lists"].update(mine=["10.0.0.1/8"])),
    ("a value of list 'mine' must be a string", lambda c: c["lists"].update(mine=[[]])),
]


@pytest.mark.parametrize(("reason", "change"), CHANGES, ids=[f"{n}-{reason}" for n, (reason, _) in enumerate(CHANGES)])
def test_a_changed_text_is_refused_in_one_line(reason: str, change: Callable[[dict[str, Any]], object]) -> None:
    with pytest.raises(RuleError) as caught:
        from_text(changed(change))
    assert type(caught.value) is RuleError
    assert reason in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert str(caught.value).isprintable()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
PLACES = st.sampled_from(
    [
        *(("rules", 0, "keys", key) for key in json.loads(example())["rules"][0]["keys"]),
        *(("rules", 0, key) for key in ("id", "place", "keys")),
        *((key,) for key in ("rules", "lists", "hash", "version", "format")),
        ("lists", "mine"),
        ("lists", "ports", 0),
        ("rules", 0, "keys", "measure", 0),
        ("rules", 0, "keys", "measure", 0, 1),
        ("rules", 0, "keys", "escalate", 0, 0),
    ]
)


@pytest.mark.fuzz
@given(place=PLACES, value=JSON)
def test_any_value_anywhere_is_taken_or_refused(place: tuple[Any, ...], value: object) -> None:
    content = json.loads(example())
    inner = content
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    try:
        rules = from_text(json.dumps(content))
    except RuleError as caught:
        error: RuleError | None = caught
    else:
        error = None
        assert from_text(to_text(rules)).hash == rules.hash
    assert error is None or len(str(error).splitlines()) == 1


@pytest.mark.fuzz
@given(
    st.lists(st.sampled_from([*'()[],=<>+-*/ "', "==", "and", "in", "not", "x", "count", "5", "6h", '"a  b"', "\n"]))
)
def test_one_spelling_keeps_every_word(words: list[str]) -> None:
    expression = " ".join(words)
    try:
        tokens = tokenize(expression)
    except ExpressionError:
        return
    spelled = one_spelling(expression)
    assert [(token.kind, token.text) for token in tokenize(spelled)] == [(token.kind, token.text) for token in tokens]
    assert one_spelling(spelled) == spelled


def test_rules_that_no_reader_would_take_are_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    odd = replace(load_text(CLEAN), typed_lists={"odd": ("\ud800",)})  # such YAML is refused before
    with pytest.raises(RuleError, match="not valid Unicode"):
        to_text(odd)
    monkeypatch.setattr(portable, "MOST_RULES", 0)
    with pytest.raises(RuleError, match="more than 0 rules"):
        to_text(load_text(CLEAN))
    monkeypatch.undo()
    monkeypatch.setattr(portable, "LARGEST", 100)
    with pytest.raises(RuleError, match="larger than 100 characters"):
        to_text(load_text(CLEAN))


def test_from_text_takes_text_only() -> None:
    with pytest.raises(RuleError, match="must be a str, not bytes"):
        Rules.from_text(b"{}")  # type: ignore[arg-type] # what a caller without a type checker does


def test_reading_yaml_is_the_only_step_that_needs_its_library(root: Path) -> None:
    code = (
        "import sys; sys.modules['yaml'] = None\n"
        "from watchdog.embedding.rules import load_rules\n"
        "try: load_rules()\n"
        "except ModuleNotFoundError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("load_rules reads YAML and needs PyYAML"), done.stderr
