"""Fields that name who is involved, in rules over several kinds."""

from __future__ import annotations

import pytest

from rules.load import load_text
from watchdog.located_yaml.problem import RuleSetError

RULE = """
rules:
  many-leave:
    title: Many leave
    attack: node
    severity: info
    on: [peer:disconnected, rpc:peers]
    measure:
      gone: count(kind == "peer:disconnected")
    over: 1m
    fire: gone > 10
    entities: [{entities}]
"""


def test_one_kind_that_has_the_field_is_enough_to_name_who_is_involved() -> None:
    assert load_text(RULE.format(entities="netgroup, peer_addr")).plans[0].entities == ("netgroup", "peer_addr")


@pytest.mark.parametrize(
    ("entities", "words"),
    [
        ("reason", "unknown field 'reason'"),
        ("inbound", "'inbound' names no peer"),
        ("peer_addr, peer_addr", "field 'peer_addr' is given twice"),
    ],
)
def test_what_no_kind_has_or_names_nobody_is_refused(entities: str, words: str) -> None:
    with pytest.raises(RuleSetError) as caught:
        load_text(RULE.format(entities=entities))
    assert words in str(caught.value)
