"""The pages of the shipped rules: current, complete, and their overrides can be used as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rules.digest import rule_hash
from rules.load import load, load_text
from watchdog.core.own_rules import OWN_RULES
from watchdog.docs_build import rule_pages as rule_docs

RULE = """\
# Rules about talk.
#
# "honest" is what was
# measured:
#   "here"  in this room,
#   "there" in that

# not the head

lists:
  ranges: [10.0.0.0/8, 11.0.0.0/8]

rules:
  # Measured on honest peers.
  much-talk:
    title: Peer talks much
    attack: resource
    severity: info
    references: [bitcoin/bitcoin#22387, "https://example.org/a"]
    on: net:inbound_message
    where: 'type == "a # b" or size > 5'  # Core's "bytes"
    by: [conn]
    measure:
      # honest: 3
      messages: count()  # one for each
    over: 1m
    fire: messages > 100  # net_processing.cpp: MAX_SOMETHING
    escalate:
      high: messages > 1000 or messages in [1, 2]
    summary: "{peer_addr} sent {messages}"
  next-one:
    title: Next
    attack: resource
    severity: info
    on: net:inbound_message
    over: 1m
    fire: number > 2
    measure: {number: count(peer_addr in ranges)}
"""


def test_the_pages_of_all_shipped_rules_are_current() -> None:
    current = {path.name: path.read_text(encoding="utf-8") for path in rule_docs.DOCS.glob("*.md")}
    assert current == rule_docs.pages(load(())), "run make docs"
    assert rule_docs.main(["--check"]) == 0


def test_the_override_of_every_page_is_right_and_changes_nothing(tmp_path: Path) -> None:
    found = load(())
    shipped = {plan.id: rule_hash(plan) for plan in found.plans}
    made = rule_docs.pages(found)
    for rule_id in shipped:
        (block,) = re.findall(r"```yaml\n(.*?)```", made[f"{rule_id}.md"], re.DOTALL)
        (tmp_path / f"{rule_id}.yaml").write_text(block, encoding="utf-8")
    tuned = load([tmp_path])
    assert {plan.id: rule_hash(plan) for plan in tuned.plans} == shipped
    assert tuned.warnings == ()


def test_a_page_says_what_the_rule_says() -> None:
    found = load_text(RULE)
    text = rule_docs.pages(found)["much-talk.md"]
    assert "| resource | info to high | incubating | capture |" in text
    assert "| info | `messages > 100` |" in text
    assert "| high | `messages > 1000 or messages in [1, 2]` |" in text
    assert "[bitcoin/bitcoin#22387](https://github.com/bitcoin/bitcoin/issues/22387)" in text
    assert "<https://example.org/a>" in text
    assert "> {peer_addr} sent {messages}" in text


def test_comments_beside_numbers_say_where_they_come_from() -> None:
    found = load_text(RULE)
    assert list(rule_docs.numbers_explained(found.sources["much-talk"])) == [
        "Measured on honest peers.",
        '`where`: Core\'s "bytes"',
        "`measure`: honest: 3 one for each",
        "`fire`: net_processing.cpp: MAX_SOMETHING",
    ]


def test_the_head_of_a_pack_stands_on_every_page_of_it() -> None:
    built_in = {f"{id_}.md" for id_ in OWN_RULES}
    for page in rule_docs.pages(load_text(RULE)).keys() - {rule_docs.INDEX} - built_in:
        head = '"honest" is what was measured:\n- "here" in this room,\n- "there" in that\n\n## '
        assert head in rule_docs.pages(load_text(RULE))[page]


def test_the_lists_that_a_rule_uses_stand_on_its_page() -> None:
    made = rule_docs.pages(load_text(RULE))
    assert "`ranges` is `10.0.0.0/8`, `11.0.0.0/8`." in made["next-one.md"]
    assert "`ranges`" not in made["much-talk.md"]


def test_a_rule_without_a_key_speaks_of_the_node() -> None:
    text = rule_docs.pages(load_text(RULE))["next-one.md"]
    assert "One key for the node itself" in text
    assert "One incident for the node itself" in text


@pytest.mark.parametrize(("text", "written"), [("a > 1", "a > 1"), ("'a' in b", "\"'a' in b\""), ("a: b", '"a: b"')])
def test_values_are_quoted_where_yaml_needs_it(text: str, written: str) -> None:
    rule = RULE.replace("title: Peer talks much", f'title: "{text}"')
    assert rule_docs.quoted(load_text(rule).sources["much-talk"].entries["title"].value) == written
