"""Exceptions of rules: which events do not count for which rules, until when, and what is wrong with one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from rules.digest import rule_hash
from rules.exceptions import FOREVER_NS, ExceptedFilter, exceptions_of, plain_plan
from rules.load import RuleSet, load, load_text
from rules.portable import to_text
from rules.show import show_rule
from tests.support.events import batch, one_slice
from watchdog.cli.main import main
from watchdog.core.errors import RuleError
from watchdog.core.resolved import UNKNOWN
from watchdog.engine import connection_facts
from watchdog.engine.coverage import wanted_kinds
from watchdog.engine.engine import Engine

RULES = """
lists:
  own: [203.0.113.0/24]
rules:
  pings:
    title: Pings
    attack: resource
    severity: warning
    on: p2p:ping
    where: direction == "in"
    by: [peer_addr]
    measure: {times: count()}
    over: 10s
    fire: times > 2
  versions:
    title: Versions
    attack: addr-flooding
    severity: warning
    on: [p2p:version, log:header]
    by: []
    measure: {times: count()}
    over: 10s
    fire: times > 2
"""
OURS, OTHER = "203.0.113.7", "198.51.100.9"


def with_exception(text: str) -> RuleSet:
    return load_text(f"{RULES}except:\n  - {text}\n")


def pings(address: str, *times: float) -> list[dict[str, Any]]:
    return [{"t": time, "peer_addr": address, "direction": "in"} for time in times]


def fired(rules: RuleSet, rows: Sequence[dict[str, Any]], kind: str = "p2p:ping") -> list[tuple[str, str]]:
    """Return rule and peer of what fires within a minute."""
    engine = Engine(rules.plans, {"hand": frozenset({kind})})
    found = engine.process(one_slice([batch(kind, rows)], 60))
    return [(one.rule, one.key.get("peer_addr", "")) for one in found if one.change == "fire"]


def test_events_of_an_exception_do_not_count() -> None:
    rows = [*pings(OURS, 1, 2, 3), *pings(OTHER, 1, 2, 3)]
    assert (
        fired(load_text(RULES), rows) == [("pings", OTHER), ("pings", OURS)] or len(fired(load_text(RULES), rows)) == 2
    )
    excepted = with_exception("{rules: all, when: peer_addr in own, reason: our monitors}")
    assert fired(excepted, rows) == [("pings", OTHER)]
    assert [(one.rules, one.use.matched) for one in excepted.exceptions] == [(("pings", "versions"), 3)]


@pytest.mark.parametrize(
    ("rules", "changed"),
    [
        ("all", ["pings", "versions"]),
        ("pings", ["pings"]),
        ("[pings, versions]", ["pings", "versions"]),
        ("{attack: addr-flooding}", ["versions"]),
        ("{attack: eclipse}", []),
    ],
)
def test_an_exception_is_for_the_rules_that_it_names(rules: str, changed: list[str]) -> None:
    found = with_exception(f"{{rules: {rules}, when: peer_addr in own, reason: x}}")
    assert [plan.id for plan in found.plans if exceptions_of(plan)] == changed
    plain = {plan.id: rule_hash(plan) for plan in load_text(RULES).plans}
    for plan in found.plans:
        assert (rule_hash(plan) == plain[plan.id]) is (plan.id not in changed)
        assert rule_hash(plain_plan(plan)) == plain[plan.id]


def test_an_exception_ends_at_its_event_time() -> None:
    found = with_exception('{rules: all, when: peer_addr in own, reason: x, until: "1970-01-01T00:00:20"}')
    assert fired(found, pings(OURS, 1, 2, 3)) == []
    assert fired(found, pings(OURS, 18, 19, 20, 21)) == []
    assert fired(found, pings(OURS, 18, 20, 21, 22)) == [("pings", OURS)]
    assert found.exceptions[0].until_ns == 20 * 10**9
    assert with_exception("{rules: all, when: peer_addr in own, reason: x}").exceptions[0].until_ns == FOREVER_NS


def test_a_kind_without_user_agent_has_that_of_its_connection() -> None:
    found = with_exception("{rules: pings, when: 'user_agent == \"/ours:1.0/\"', reason: our crawler}")
    (plan,) = (one for one in found.plans if one.id == "pings")
    assert plan.resolved == {"user_agent"}
    assert "p2p:version" in wanted_kinds(found.plans)
    versions = [
        {"t": 1, "conn": 1, "user_agent": "/ours:1.0/"},
        {"t": 1, "conn": 2, "user_agent": "/other:1.0/"},
        {"t": 5, "conn": 3, "user_agent": "/ours:1.0/"},
    ]
    rows = [
        *({**ping, "conn": 1} for ping in pings("203.0.113.1", 2, 3, 4)),
        *({**ping, "conn": 2} for ping in pings("203.0.113.2", 2, 3, 4)),
        *({**ping, "conn": 3} for ping in pings("203.0.113.3", 2, 3, 4)),  # before its version: not known to be ours
        *({**ping, "conn": 4} for ping in pings("203.0.113.4", 2, 3, 4)),  # it never said
    ]
    expected = ["203.0.113.2", "203.0.113.3", "203.0.113.4"]
    for at in range(8):  # all in one slice, and in two at any time, killed in between
        assert sorted(fired_in_two(found, versions, rows, at)) == expected


def fired_in_two(
    rules: RuleSet, versions: Sequence[dict[str, Any]], rows: Sequence[dict[str, Any]], at: float
) -> list[str]:
    """Return the peers for which a rule fires, where the events come in two slices."""
    kinds = {"hand": frozenset({"p2p:ping", "p2p:version"})}
    engine = Engine(rules.plans, kinds)
    found = []
    for begin, end in ((0, at), (at, 60)):
        parts = [
            batch(kind, own)
            for kind, every in (("p2p:ping", rows), ("p2p:version", versions))
            if (own := [row for row in every if begin <= row["t"] < end])
        ]
        found += engine.process(one_slice(parts, end))
        blob = engine.snapshot()
        engine = Engine(rules.plans, kinds)
        assert engine.restore(blob) == frozenset()
    assert all("__user_agent" not in event.fields for one in found for event in one.evidence)
    return [one.key["peer_addr"] for one in found if (one.rule, one.change) == ("pings", "fire")]


def test_an_unknown_fact_excepts_nothing_whatever_the_condition() -> None:
    found = with_exception("{rules: pings, when: 'user_agent != \"/other:1.0/\"', reason: x}")
    assert fired(found, pings(OURS, 1, 2, 3)) == [("pings", OURS)]


@pytest.mark.parametrize("restarted", [False, True])
def test_who_gets_the_number_of_a_trusted_peer_after_a_restart_inherits_nothing(restarted: bool) -> None:
    """Sources beside RPC and the log do not know the start of the node, whose connections count from 0 again."""
    ours, stranger = "203.0.113.1", "198.51.100.7"
    facts = connection_facts.ConnectionFacts(["user_agent"])
    facts.resolved([batch("p2p:version", [{"t": 1, "conn": 0, "user_agent": "/ours/", "peer_addr": ours}])])
    if restarted:
        saved, facts = facts.state(), connection_facts.ConnectionFacts(["user_agent"])
        facts.restore(saved)

    def known(rows: list[dict[str, object]]) -> list[str]:
        (seen,) = facts.resolved([batch("p2p:ping", rows)])
        column = seen.columns["__user_agent"]
        return [column.values[code] for code in column.codes]  # type: ignore[union-attr]

    at = [{"t": 9 + n, "conn": 0, "peer_addr": name} for n, name in enumerate((stranger, ours, ""))]
    assert known(at) == ["\0unknown", "/ours/", "/ours/"]
    facts.resolved([batch("p2p:version", [{"t": 20, "conn": 0, "user_agent": "/odd/", "peer_addr": stranger}])])
    facts.resolved([batch("p2p:version", [{"t": 21, "conn": 0, "user_agent": "/ours/", "peer_addr": stranger}])])
    assert known([{"t": 30, "conn": 0, "peer_addr": stranger}]) == ["/odd/"], "the first that it said counts"


def test_facts_of_the_version_before_are_taken_over() -> None:
    facts = connection_facts.ConnectionFacts(["user_agent"])
    facts.restore({"user_agent": [["hand", 0, 7, 1, "/ours/"]]})
    assert facts.state() == {"user_agent": [["hand", 0, 7, 1, "/ours/", ""]]}


def test_known_connections_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_facts, "CONNECTIONS", 10)
    facts = connection_facts.ConnectionFacts(["user_agent"])
    facts.resolved([batch("p2p:version", [{"t": n, "conn": n, "user_agent": f"/{n}/"} for n in range(30)])])
    (seen,) = facts.resolved([batch("p2p:ping", [{"t": 99, "conn": n} for n in range(30)])])
    known = [value for value in seen.strings("__user_agent").tolist() if value != UNKNOWN]
    assert known == [f"/{n}/" for n in range(20, 30)]
    again = connection_facts.ConnectionFacts(["user_agent", "permissions"])
    again.restore(facts.state())
    (same,) = again.resolved([batch("p2p:ping", [{"t": 99, "conn": n} for n in range(30)])])
    assert same.strings("__user_agent").tolist() == seen.strings("__user_agent").tolist()


def test_kinds_without_the_fields_count_as_before() -> None:
    found = with_exception('{rules: versions, when: user_agent == "/ours:1.0/", reason: x}')
    (plan,) = (one for one in found.plans if one.id == "versions")
    assert isinstance(plan.where, ExceptedFilter)
    assert plan.where.constant_for("p2p:version") is None
    assert plan.where.constant_for("log:header") is None  # what its connection said decides
    rows = [{"t": time, "user_agent": "/ours:1.0/"} for time in (1, 2, 3)]
    assert fired(found, rows, "p2p:version") == []
    assert fired(found, [{"t": time} for time in (1, 2, 3)], "log:header") == [("versions", "")]


def test_several_exceptions_of_a_rule_all_hold() -> None:
    text = f"{RULES}except:\n  - {{rules: all, when: peer_addr in own, reason: x}}\n"
    both = load_text(f'{text}  - {{rules: pings, when: peer_addr == "{OTHER}", reason: y}}\n')
    assert fired(both, [*pings(OURS, 1, 2, 3), *pings(OTHER, 1, 2, 3)]) == []
    assert [one.use.matched for one in both.exceptions] == [3, 3]


def test_an_attacker_that_fits_an_exception_hides_behind_it() -> None:
    """The documented evasion: an exception by what a peer says of itself is an invitation."""
    found = with_exception('{rules: versions, when: user_agent == "/ours:1.0/", reason: our crawler}')
    attack = [{"t": time, "user_agent": "/ours:1.0/", "peer_addr": OTHER} for time in (1, 2, 3)]
    assert fired(found, attack, "p2p:version") == []
    by_address = with_exception(
        '{rules: versions, when: user_agent == "/ours:1.0/" and peer_addr in own, reason: our crawler}'
    )
    assert fired(by_address, attack, "p2p:version") == [("versions", "")]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{rules: all, when: peer_addr in own}", "lacks 'reason'"),
        ("{rules: all, reason: x}", "lacks 'when'"),
        ("{when: peer_addr in own, reason: x}", "lacks 'rules'"),
        ("{rules: ping, when: peer_addr in own, reason: x}", "exception for unknown rule 'ping'"),
        ("{rules: [], when: peer_addr in own, reason: x}", "names no rule"),
        ("{rules: {class: node}, when: peer_addr in own, reason: x}", "'rules' must be"),
        ("{rules: {attack: nothing}, when: peer_addr in own, reason: x}", "unknown attack 'nothing'"),
        ("{rules: all, when: peer_addr in nobody, reason: x}", "nobody"),
        ("{rules: all, when: peer_adr in own, reason: x}", "unknown field 'peer_adr'"),
        ("{rules: all, when: peer_adr in own, reason: x}", "did you mean 'peer_addr'"),
        ("{rules: pings, when: 'relay', reason: x}", "unknown field 'relay'"),
        ("{rules: [pings, versions], when: 'relay', reason: x}", "rule 'pings' reads no kind"),
        ("{rules: all, when: 'true', reason: x}", "always true"),
        ("{rules: all, when: 'peer_addr ==', reason: x}", "rules.yaml:"),
        ("{rules: all, when: peer_addr in own, reason: x, until: soon}", "'until' is not a date"),
        ("{rules: all, when: peer_addr in own, reason: x, untill: 2027-01-01}", "did you mean 'until'"),
        ("all", "must be a table"),
    ],
)
def test_a_mistake_is_named_with_its_place(text: str, words: str) -> None:
    with pytest.raises(RuleError) as caught:
        with_exception(text)
    assert words in str(caught.value)
    assert "rules.yaml:" in str(caught.value)


def test_a_list_that_only_an_exception_uses_is_used() -> None:
    assert load_text(RULES).warnings != ()
    assert with_exception("{rules: all, when: peer_addr in own, reason: x}").warnings == ()


def test_rules_show_names_the_exceptions_of_a_rule() -> None:
    found = with_exception("{rules: pings, when: peer_addr in own, reason: our monitors, until: 2027-06-01}")
    (plan,) = (one for one in found.plans if one.id == "pings")
    lines = list(show_rule(plan, found.sources["pings"]))
    assert "# except peer_addr in own: our monitors, until 2027-06-01 00:00, rules.yaml:25" in lines
    assert f"# hash without exceptions {rule_hash(plain_plan(plan))}" in lines


def test_rules_with_exceptions_do_not_travel_as_text() -> None:
    with pytest.raises(RuleError, match="exceptions do not travel"):
        to_text(with_exception("{rules: pings, when: peer_addr in own, reason: x}"))


def test_shipped_rules_take_an_exception_for_all(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("lists: {own: [203.0.113.0/24]}\nexcept: [{rules: all, when: peer_addr in own, reason: ours}]\n")
    found = load([path])
    (one,) = found.exceptions
    assert len(one.rules) > 30
    assert found.warnings == ()


@pytest.mark.parametrize(
    ("when", "words"),
    [
        ("peer_addr in owns", "unknown list 'owns'"),
        ('peer_addr == "203.0.113.0/24"', "write peer_addr in"),
        ("peer_adr in own", "did you mean 'peer_addr'"),
    ],
)
def test_a_mistake_beside_the_shipped_rules_is_the_only_one(tmp_path: Path, when: str, words: str) -> None:
    """Some of their kinds have no peer_addr: that is no second mistake."""
    path = tmp_path / "own.yaml"
    path.write_text(f"lists: {{own: [203.0.113.0/24]}}\nexcept: [{{rules: all, when: '{when}', reason: ours}}]\n")
    with pytest.raises(RuleError) as caught:
        load([path])
    assert words in str(caught.value)
    assert ("unknown field" in str(caught.value)) == ("peer_adr " in when)


def test_the_configuration_has_exceptions_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "debug.log").touch()
    (tmp_path / "rules.yaml").write_text(RULES)
    text = "sources: ['log:debug.log']\nrules: rules.yaml\npacks: false\n"
    config = tmp_path / "watchdog.yaml"
    config.write_text(f"{text}except: [{{rules: versions, when: peer_addr in own, reason: ours}}]\n")
    assert main(["rules", "show", "versions", "--config", str(config)]) == 0
    assert "# except peer_addr in own: ours, " in capsys.readouterr().out
    config.write_text(f"{text}except: [{{rules: version, when: peer_addr in own, reason: ours}}]\n")
    assert main(["check", "--config", str(config)]) == 1
    assert "watchdog.yaml:4:18: exception for unknown rule 'version'" in capsys.readouterr().out
