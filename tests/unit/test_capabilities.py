"""Which rules can fire with which sources, and what the others lack."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from rules.load import RuleSet, load, load_text
from watchdog.cli.main import main
from watchdog.core.source import SourceOptions
from watchdog.service.abilities import net_of
from watchdog.service.capabilities import LACKS, Capability, Facts, capabilities, lines
from watchdog.service.channel import Channel
from watchdog.service.source_paths import source_kinds
from watchdog.sources.log.categories import ENOUGH_LINES
from watchdog.sources.registry import kinds_of, open_sources

SHIPPED = load([])
UNKNOWN = Facts()
RULE = """
rules:
  mine:
    title: t
    attack: node
    severity: info
    on: {on}
    by: []
    measure: {{{measures}}}
    over: 1m
    fire: {fire}
    summary: s
"""


def judged(sources: Sequence[str], facts: Facts = UNKNOWN, rules: RuleSet = SHIPPED) -> dict[str, Capability]:
    return capabilities(rules.plans, source_kinds(sources), facts)


def one(on: str, measures: str, fire: str, sources: Sequence[str], facts: Facts = UNKNOWN) -> Capability:
    return judged(sources, facts, load_text(RULE.format(on=on, measures=measures, fire=fire)))["mine"]


def test_a_capture_and_a_log_leave_32_rules_waiting_for_rpc_and_3_for_tracepoints() -> None:
    found = judged(["capture:a", "log:b"], Facts(log_net=True, log_addrman=True, asmap=True))
    waiting = {name for name, one in found.items() if one.can_fire is False}
    assert len(waiting) == 35
    assert sum(name.startswith("eclipse-") for name in waiting) == 15
    traced = {"rejected-transactions", "replacement-surge", "slow-blocks"}
    assert {name for name in waiting if "rpc" not in found[name].lacks} == traced
    assert {found[name].lacks for name in traced} == {("tracepoint",)}
    first, second = lines(found)
    assert first.startswith("32 rules wait for rpc or snapshots: addr-limited-by-node, announcement-backlog, ")
    assert second.startswith(
        "3 rules wait for tracepoints (watchdog extract, or a nats source): rejected-transactions, "
    )


def test_everything_lets_every_rule_fire() -> None:
    every = ["capture:a", "log:b", "snapshots:c", "stream:d"]
    found = judged(every, Facts(asmap=True, log_net=True, log_addrman=True))
    assert {name for name, one in found.items() if one != (True, ())} == set()
    assert lines(found) == []


def test_categories_of_a_log_are_unknown_until_lines_show_them() -> None:
    assert judged(["log:b"])["eclipse-evictions"] == (None, ("log:net",))
    assert judged(["log:b"], Facts(log_net=False))["eclipse-evictions"] == (False, ("log:net",))
    assert judged(["log:b"], Facts(log_net=True))["eclipse-evictions"] == (True, ())
    assert judged(["log:b"], Facts(log_net=False, seen=frozenset({"log:version"})))["eclipse-evictions"] == (True, ())
    assert judged(["log:b"])["eclipse-tried-growth"] == (None, ("log:addrman",))


def test_an_asmap_may_be_the_nodes_own_where_rpcs_are_asked() -> None:
    assert judged(["snapshots:a"])["eclipse-inbound-as"] == (None, ("asmap",))
    assert judged(["snapshots:a"])["eclipse-outbound-as"] == (None, ("asmap",))
    assert judged(["snapshots:a"], Facts(asmap=True))["eclipse-outbound-as"] == (True, ())
    assert one("p2p:ping", "n: distinct(asn where asn > 0)", "n > 3", ["capture:a"]) == (False, ("asmap",))
    assert one("p2p:ping", "n: distinct(asn)", "n > 3", ["capture:a"]) == (False, ("asmap",))


@pytest.mark.parametrize(
    ("measures", "fire", "fires"),
    [
        ('a: count(kind == "rpc:peers"), b: count(kind == "node:started")', "a > 3 and b == 0", False),
        ('a: count(kind == "rpc:peers"), b: count(kind == "node:started")', "a > 3 or b > 0", True),
        ('a: count(kind == "rpc:peers"), b: count(kind == "node:started")', "a == 0 and b > 0", True),
        ('a: max(inbound where kind == "rpc:peers"), b: a * 2 - a', "b >= 10", False),
        ('a: max(inbound where kind == "rpc:peers"), b: abs(a - 20)', "b >= 10", True),
        ('a: count(kind == "rpc:peers"), b: count(kind == "node:started"), c: a / b', "c > 0.5", False),
        ('a: count(kind != "rpc:peers"), b: "if(a > 2, 5, 1)"', "b > 3", True),
    ],
)
def test_numbers_that_no_source_can_raise_keep_a_rule_from_firing(measures: str, fire: str, fires: bool) -> None:
    found = one("[rpc:peers, node:started]", measures, fire, ["log:b"])
    assert found == ((True, ()) if fires else (False, ("rpc",)))


def test_alternatives_are_all_named_and_needs_are_needs() -> None:
    assert judged([])["connection-churn"] == (False, ("capture", "log:net"))
    assert judged([])["eclipse-inbound-as"] == (False, ("rpc", "asmap"))
    assert judged([])["node-restart"] == (False, ("log", "rpc", "zmq"))
    assert one("utxocache:flush", "n: count()", "n > 1", ["log:b"]) == (False, ("tracepoint",))
    assert {lack for found in judged([]).values() for lack in found.lacks} <= set(LACKS)


def test_of_a_recording_of_events_nothing_is_known_before_it_is_read() -> None:
    found = judged(["events:a"])
    assert {one.can_fire for one in found.values()} == {None}
    seen = judged(["events:a"], Facts(seen=frozenset({"rpc:network"})))
    assert seen["network-inactive"].can_fire is True


def test_rules_list_says_what_each_rule_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def listed(*arguments: str) -> dict[str, tuple[object, list[str]]]:
        assert main(["rules", "list", "--json", *arguments]) == 0
        return {one["id"]: (one["can_fire"], one["lacks"]) for one in json.loads(capsys.readouterr().out)}

    monkeypatch.chdir(tmp_path)
    assert listed()["clock-offset"] == ("unknown", ["rpc"])
    (tmp_path / "watchdog.yaml").write_text("sources: [capture:a, log:b]\n")
    assert listed()["clock-offset"] == (False, ["rpc"])
    assert listed()["ping-flood"] == (True, [])
    assert listed()["eclipse-evictions"] == ("unknown", ["log:net"])
    (tmp_path / "other.yaml").write_text("sources: snapshots:a\npacks: false\nrules: mine.yaml\n")
    (tmp_path / "mine.yaml").write_text(RULE.format(on="p2p:ping", measures="n: count()", fire="n > 1"))
    assert listed("--config", "other.yaml") == {"mine": (False, ["capture"])}


@pytest.mark.parametrize(
    ("begun", "lines", "known"),
    [
        (None, ["[net] connection from 1.2.3.4:5 accepted"], True),
        (False, ["[net:debug] anything", "x"], True),  # the node was started again with -debug=net
        (None, ["UpdateTip: x"] * (ENOUGH_LINES - 1), None),
        (None, ["UpdateTip: x"] * ENOUGH_LINES, False),
        (True, ["UpdateTip: x"] * ENOUGH_LINES, True),
        (None, [], None),
    ],
)
def test_lines_that_were_read_show_the_category_net(
    tmp_path: Path, begun: bool | None, lines: list[str], known: bool | None
) -> None:
    path = tmp_path / "debug.log"
    path.write_text("".join(f"2026-08-01T00:00:00Z {line}\n" for line in lines))
    (source,) = open_sources([f"log:{path}"], SourceOptions(follow=True))
    source.poll()
    channel = Channel(source.name, source.name, source)
    assert net_of([channel], begun) is known
    assert net_of([Channel("capture:x", "capture:x")], begun) is begun
    source.close()


FLEET = """
rules:
  behind:
    title: Behind
    attack: chain
    severity: high
    scope: fleet
    on: fleet:chain
    by: [node]
    measure: {lasts: last(lasts_s)}
    over: 5m
    fire: lasts > 10
"""


def test_a_rule_over_nodes_lacks_a_second_node_then_what_it_compares() -> None:
    plans = load_text(FLEET).plans
    snapshots = {"snapshots:a": kinds_of("snapshots:a")}
    assert capabilities(plans, snapshots) == {}, "it is not in force at one node"
    assert capabilities(plans, snapshots, Facts(nodes=2)) == {"behind": Capability(True, ())}
    capture = {"capture:a": kinds_of("capture:a")}
    assert capabilities(plans, capture, Facts(nodes=2)) == {"behind": Capability(False, ("rpc",))}
    assert not lines(capabilities(plans, capture)), "a service for one node lacks nothing"


def test_an_exception_does_not_change_what_a_rule_lacks(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("lists: {own: [203.0.113.0/24]}\nexcept: [{rules: all, when: peer_addr in own, reason: ours}]\n")
    found = load([path])
    assert "eclipse-inbound-as" in found.exceptions[0].rules
    for sources in (["snapshots:a"], ["capture:a", "log:b"], ["log:b"]):
        assert judged(sources, rules=found) == judged(sources)
