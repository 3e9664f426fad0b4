"""Rules over nodes in a running service: judged once, stored under the fleet or the accused node, resumed exactly."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from alerts.store.incidents import IncidentFilter
from tests.support.daemon import MovedClock, serve, until
from tests.support.event_loops import scenery
from tests.support.rulesets import FULL_AT_TWO
from tests.support.two_nodes import FULL, configure_nodes, poll, seen, stored
from watchdog.core.finding import FLEET
from watchdog.fleet.report import NodeReport
from watchdog.fleet.stage import FleetStage
from watchdog.pipeline.checkpoint import Checkpoint, read_checkpoint
from watchdog.service.daemon import Daemon
from watchdog.service.fleet_feed import FleetFeed, FleetInbox
from watchdog.service.fleet_order import FleetOrder
from watchdog.service.live_view import LiveView

RULES = (
    FULL_AT_TWO
    + """
  full-at-one:
    title: The mempool of a node is full
    attack: resource
    severity: info
    scope: fleet
    on: rpc:mempool
    where: node != "carol"
    by: [node]
    measure: {most: max(txs)}
    over: 10s
    fire: most > 100
    summary: "{node} is full"
"""
)
LATER = 200  # seconds: the fleet judges what every node has passed


def fleet(folder: Path, names: list[str]) -> None:
    """A service with these nodes and the rules over nodes only."""
    configure_nodes(folder, names)
    scenery(lambda: (folder / "rules.yaml").write_text(RULES))


def polls(folder: Path, *names: str, second: int = 0) -> None:
    """A full mempool, and empty ones later, so that time passes."""
    for name in names:
        poll(folder, name, [*FULL, *([10] * 20)], second)


def test_what_nodes_show_together_is_an_incident_of_the_fleet(tmp_path: Path) -> None:
    fleet(tmp_path, ["alice", "bob", "carol"])
    polls(tmp_path, "alice", "bob")
    poll(tmp_path, "carol", [10] * 24)

    async def story(daemon: Daemon, _clock: MovedClock) -> None:
        def opened() -> set[tuple[str, str]]:
            return {(node, rule) for node, rule, _ in stored(daemon)}

        await seen(lambda: len(opened()) == 3)
        assert await asyncio.to_thread(opened) == {
            (FLEET, "full-at-two"),
            ("alice", "full-at-one"),
            ("bob", "full-at-one"),
        }
        page = await daemon.ask(lambda: daemon.store.queries.page(IncidentFilter(node="alice"), 10))
        assert [row["summary"] for row in page.rows] == ["alice is full"]
        assert 'watchdog_events_total{kind="rpc:mempool",node="*fleet*",source="fleet"}' in LiveView(daemon).metrics()

    serve(tmp_path, story)
    saved = read_checkpoint(tmp_path / "watchdog.fleet")
    assert (saved.node, sorted(saved.streams)) == (FLEET, ["alice", "bob", "carol"])
    for name in saved.streams:
        node = read_checkpoint(tmp_path / f"{name}.checkpoint")
        assert node.streams[name] == saved.streams[name], "an orderly end: the fleet has all that the node reported"


def test_a_restart_counts_nothing_twice_and_acts_on_what_is_open(tmp_path: Path) -> None:
    fleet(tmp_path, ["alice", "bob"])
    for name in ("alice", "bob"):
        poll(tmp_path, name, [*FULL, 600, 600, 600])

    async def first(daemon: Daemon, _clock: MovedClock) -> None:
        await seen(lambda: (FLEET, "full-at-two", "open") in stored(daemon))

    async def second(daemon: Daemon, _clock: MovedClock) -> None:
        page = await daemon.ask(lambda: daemon.store.queries.page(IncidentFilter(node=FLEET), 10))
        await LiveView(daemon).act(str(page.rows[0]["id"]), "ack", "anna", "")
        fleet_loop = daemon.nodes.fleet
        assert fleet_loop is not None
        await until(lambda: any(one.acknowledged_by for one in fleet_loop.watch.books.incidents()))
        polls(tmp_path, "alice", "bob", second=70)
        await until(lambda: fleet_loop.watch.events >= 2 * 28)
        assert fleet_loop.watch.events <= 2 * 31, "each poll is counted once"

    serve(tmp_path, first)
    serve(tmp_path, second)


def test_removing_a_node_resolves_what_accuses_it(tmp_path: Path) -> None:
    fleet(tmp_path, ["alice", "bob"])
    polls(tmp_path, "alice", "bob")

    async def story(daemon: Daemon, _clock: MovedClock) -> None:
        await seen(lambda: ("bob", "full-at-one", "open") in stored(daemon) or len(stored(daemon)) == 3)
        fleet(tmp_path, ["alice"])
        ok, text = await daemon.reload()
        assert ok, text
        await seen(lambda: ("bob", "full-at-one", "resolved") in stored(daemon))
        loop, feed = daemon.nodes.fleet, daemon._chores._nodes.fleet
        assert loop is feed
        assert loop is not None
        assert "bob" not in loop.watch.checkpoint([], "").positions

    serve(tmp_path, story)
    assert not (tmp_path / "bob.checkpoint").exists()


def test_a_node_without_events_is_left_out_and_holds_nothing_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fleet(tmp_path, ["alice", "bob", "dead"])
    (tmp_path / "dead.jsonl").unlink()
    polls(tmp_path, "alice", "bob")

    async def story(daemon: Daemon, clock: MovedClock) -> None:
        await until(lambda: all(daemon.nodes.engines[name].watch.events for name in ("alice", "bob")))
        clock.ahead += 11
        await seen(lambda: any(node == FLEET for node, *_ in stored(daemon)))

    serve(tmp_path, story)
    assert "node dead is without any event so far: the rules over nodes no longer wait for it" in caplog.text


def saved(node: str, streams: dict[str, dict[str, int]]) -> Checkpoint:
    return Checkpoint("", (), node, "", {}, b"", b"", streams=streams)


def test_a_checkpoint_of_a_node_waits_for_that_of_the_fleet() -> None:
    order = FleetOrder()
    alice = saved("alice", {"alice": {"log:a": 5, "rule:x": 1}})
    assert order.due(alice) == []
    assert order.due(saved(FLEET, {"alice": {"log:a": 5}}))[1:] == [], "a finding is missing"
    whole = saved(FLEET, {"alice": {"log:a": 7, "rule:x": 1}})
    assert order.due(whole) == [whole, alice]
    later = saved("alice", {"alice": {"log:a": 7, "rule:x": 1}})
    assert order.due(later) == [later], "the fleet has it already"
    assert order.due(saved("alice", {"alice": {"log:a": 9}})) == []
    order.forget("alice")
    assert order.due(saved(FLEET, {"alice": {"log:a": 9}}))[1:] == []


class SteppedClock:
    """A monotonic clock that the test sets."""

    seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


def test_a_node_whose_times_are_ahead_of_the_clock_leaves_out_no_other_node() -> None:
    now_ns = 1_700_000_000 * 10**9
    clock = SteppedClock()
    feed = FleetFeed(FleetStage(["alice", "bob", "early"], {"rpc:chain"}), FleetInbox(), clock, lambda: now_ns)
    marks = {"alice": now_ns - 5 * 10**9, "bob": now_ns - 200 * 10**9, "early": now_ns + 119 * 10**9}
    for seconds in (0.0, 11.0):
        clock.seconds = seconds
        for node, mark_ns in marks.items():
            feed.inbox.put(NodeReport(node, mark_ns + round(seconds)))
        feed.next()
    assert list(feed.stage.members.away) == ["bob"]


def test_what_a_rule_over_nodes_says_of_one_is_a_case_of_that_node(tmp_path: Path) -> None:
    fleet(tmp_path, ["alice", "bob", "carol"])
    rules = tmp_path / "rules.yaml"
    scenery(lambda: rules.write_text(RULES.replace("severity: info", "severity: warning")))
    polls(tmp_path, "alice", "bob")
    poll(tmp_path, "carol", [10] * 24)

    async def story(daemon: Daemon, _clock: MovedClock) -> None:
        def cases() -> dict[str, list[str]]:
            engines = {engine.node: engine for engine in daemon.nodes.loops}
            pictures = {
                node: engine.watch.pipeline.cases.pictures()
                for node, engine in engines.items()
                if engine.watch.pipeline.cases is not None
            }
            return {node: [one.claims[0].rule for one in found] for node, found in pictures.items()}

        await seen(lambda: sum(map(len, cases().values())) == 3)
        assert cases() == {"alice": ["full-at-one"], "bob": ["full-at-one"], "carol": [], FLEET: ["full-at-two"]}

    serve(tmp_path, story)
