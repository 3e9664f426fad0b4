"""Comparisons that can never be true are mistakes, and those that can be true are none."""

from __future__ import annotations

import pytest

from rules.load import load_text
from watchdog.located_yaml.problem import RuleSetError

RULE = """
rules:
  mine:
    {{title: t, attack: message-anomaly, severity: info, on: p2p:ping, by: [peer_addr], over: 10m, fire: n >= 1,
     measure: {{n: count()}}, resolve_after: 1m, summary: "{{n}}", where: '{where}'}}
"""


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ('peer_addr == "010.0.0.1"', "no address"),
        ('peer_addr != "1.2.3.*"', "no address"),
        ('peer_addr in ["300.1.1.1"]', "no address"),
        ('peer == "1.2.3.4"', "always has a port"),
        ('peer != "2001:db8::1"', "always has a port"),
        ('startswith(peer_addr, "10.0.0.0/8")', "never has a '/'"),
        ('contains(peer, "/")', "never has a '/'"),
        ('startswith(flow, "In")', "never true of 'flow'"),
        ('matches(network, "^tor")', "never true of 'network'"),
        ("not (size >= 0)", "never true"),
        ("size > 10 and not (size < 5000000000)", "never true"),
        ('source == "log"', 'startswith(source, "log:")'),
    ],
)
def test_what_can_never_be_true_is_a_mistake(where: str, said: str) -> None:
    with pytest.raises(RuleSetError, match=r"rules\.yaml:") as caught:
        load_text(RULE.format(where=where))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "where",
    [
        'peer_addr == "10.0.0.1"',
        'peer_addr == "seed.example.org"',
        'peer_addr == "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion"',
        'peer_addr != ""',
        'peer == "1.2.3.4:8333"',
        'peer == "[2001:db8::1]:8333"',
        'startswith(peer_addr, "10.")',
        'startswith(network, "ip")',
        'matches(peer_addr, "^10[.]")',
        "not (size > 5)",
        "size >= 0 or size > 3",
        'source == "log:/var/debug.log"',
        'startswith(source, "log:")',
    ],
)
def test_what_may_be_true_is_accepted(where: str) -> None:
    assert load_text(RULE.format(where=where)).plans
