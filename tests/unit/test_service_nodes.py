"""Several nodes in one service: each is judged, named, filtered, added and removed for itself."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient, TestServer

from alerts.store.incidents import IncidentFilter
from tests.support.daemon import MovedClock, serve, until
from tests.support.event_loops import scenery
from tests.support.two_nodes import configure_nodes, poll, seen, stored
from watchdog.core.errors import ServiceError
from watchdog.pipeline.checkpoint import read_checkpoint, write_checkpoint
from watchdog.service.daemon import Daemon
from watchdog.service.live_view import LiveView
from watchdog.web.app import make_app

RULE = "mempool-full"


def test_each_node_has_its_incidents_and_its_checkpoint(tmp_path: Path) -> None:
    configure_nodes(tmp_path, ["alice", "bob"])
    poll(tmp_path, "alice", [10, 10, 10])
    poll(tmp_path, "bob")

    async def story(daemon: Daemon, _clock: MovedClock) -> None:
        await seen(lambda: stored(daemon) == [("bob", RULE, "open")])
        with pytest.raises(ServiceError, match="watches 2 nodes"):
            _ = daemon.engine
        assert daemon.config.node == "alice, bob"

    serve(tmp_path, story)
    for name in ("alice", "bob"):
        assert read_checkpoint(tmp_path / f"{name}.checkpoint").node == name
    assert not (tmp_path / "watchdog.checkpoint").exists()


def test_status_readiness_and_metrics_by_node(tmp_path: Path) -> None:
    configure_nodes(tmp_path, ["alice", "bob"])
    (tmp_path / "bob.jsonl").unlink()

    async def story(daemon: Daemon, _clock: MovedClock) -> None:
        await until(lambda: LiveView(daemon).readiness("alice").ok)
        async with TestClient(TestServer(scenery(lambda: make_app(LiveView(daemon))))) as client:
            answers = {
                path: (await client.get(path)).status
                for path in ("/readyz", "/readyz?node=alice", "/readyz?node=bob", "/readyz?node=carol")
            }
            assert list(answers.values()) == [503, 200, 503, 404]
            service = (await (await client.get("/api/v1/status")).json())["service"]
            assert [(one["node"], one["state"]) for one in service["nodes"]] == [("alice", "ok"), ("bob", "degraded")]
            assert {one["node"] for one in service["sources"]} == {"alice", "bob"}
            one = (await (await client.get("/api/v1/status?node=bob")).json())["service"]
            assert (one["node"], len(one["sources"])) == ("bob", 1)
            assert (await client.get("/api/v1/status?node=carol")).status == 404
            assert (await client.get("/api/v1/rules?node=alice")).status == 200
            assert (await client.get("/api/v1/rules?nod=alice")).status == 400
            assert (await client.get("/api/v1/deliveries?node=alice")).status == 200
        metrics = LiveView(daemon).metrics()
        assert f'watchdog_source_up{{node="alice",source="snapshots:{tmp_path}/alice.jsonl"}} 1.0' in metrics
        assert f'watchdog_source_up{{node="bob",source="snapshots:{tmp_path}/bob.jsonl"}} 0.0' in metrics
        assert metrics.count("# TYPE watchdog_source_up gauge") == 1

    serve(tmp_path, story)


def test_a_dead_node_is_named_by_a_heartbeat_that_goes_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    configure_nodes(tmp_path, ["alice", "bob"])
    (tmp_path / "bob.jsonl").unlink()

    async def story(daemon: Daemon, clock: MovedClock) -> None:
        def state() -> object:
            sign = daemon.sign_of_life()
            return sign and sign["state"]

        await until(lambda: "bob.jsonl" in LiveView(daemon).readiness("bob").checks[0].text)
        clock.ahead += 31
        await until(lambda: daemon.vitals.node_states()["bob"] == ("blind", "a source cannot be read"))
        await until(lambda: daemon.vitals.node_states()["alice"][0] == "ok")  # its thread has seen the clock
        await until(lambda: state() == "degraded")  # once the engine over nodes has seen the clock too
        sign = daemon.sign_of_life()
        assert sign is not None, "a node is left"
        assert {"node": "bob", "state": "blind", "reason": "a source cannot be read"} in sign["nodes"]  # type: ignore[operator] # a list
        scenery((tmp_path / "alice.jsonl").unlink)
        daemon.nodes.engines["alice"].feed.channels[0].renew(0)
        await until(lambda: bool(LiveView(daemon).readiness("alice").checks[0].ok) is False)
        clock.ahead += 31
        await until(lambda: state() is None)
        for name in ("alice", "bob"):
            poll(tmp_path, name)
        clock.ahead += 61
        await until(lambda: state() == "ok")

    with caplog.at_level(logging.INFO, "watchdog.service"):
        serve(tmp_path, story)
    assert "node bob is not watched: a source cannot be read" in caplog.text


def test_actions_reach_the_node_of_their_incident_and_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    configure_nodes(tmp_path, ["alice", "bob"])
    poll(tmp_path, "alice")
    poll(tmp_path, "bob")

    async def story(daemon: Daemon, _clock: MovedClock) -> None:
        await seen(lambda: len(stored(daemon)) == 2)
        page = await daemon.ask(lambda: daemon.store.queries.page(IncidentFilter(), 10))
        bob = next(str(row["id"]) for row in page.rows if row["node"] == "bob")
        await LiveView(daemon).act(bob, "ack", "anna", "")

        def acknowledged() -> set[str]:
            books = {engine.node: engine.watch.books for engine in daemon.nodes}
            return {name for name, book in books.items() if any(one.acknowledged_by for one in book.incidents())}

        await until(lambda: acknowledged() == {"bob"})
        await until(lambda: all(engine.watch.actions.applied_up_to == 1 for engine in daemon.nodes))
        assert [engine.watch.refused for engine in daemon.nodes] == [0, 0]

    serve(tmp_path, story)
    assert "action" not in caplog.text


def test_a_reload_adds_and_removes_nodes_and_leaves_the_others_alone(tmp_path: Path) -> None:
    configure_nodes(tmp_path, ["alice", "bob"])
    poll(tmp_path, "alice")
    poll(tmp_path, "bob")

    async def story(daemon: Daemon, _clock: MovedClock) -> None:
        await seen(lambda: len(stored(daemon)) == 2)
        alice = daemon.nodes.engines["alice"]
        slices = alice.counts.slices
        configure_nodes(tmp_path, ["carol", "alice"])
        poll(tmp_path, "carol")
        ok, text = await daemon.reload()
        assert ok, text
        assert "nodes new: carol; nodes removed: bob" in text
        assert "needs a restart" not in text
        wanted = [("alice", RULE, "open"), ("bob", RULE, "resolved"), ("carol", RULE, "open")]
        await seen(lambda: stored(daemon) == wanted)
        await seen(lambda: not (tmp_path / "bob.checkpoint").exists())
        assert daemon.nodes.engines["alice"] is alice, "it runs on"
        assert alice.alive
        assert alice.counts.slices >= slices
        assert list(daemon.nodes.engines) == ["alice", "carol"]
        changes = (await incident(daemon, "bob"))["changes"]
        assert isinstance(changes, list)
        assert (changes[-1]["reason"], changes[-1]["text"]) == ("node removed", "no longer watched")
        assert await daemon.reload() == (True, "1 rule (as before), 0 receivers (as before)")

    serve(tmp_path, story)
    assert sorted(path.name for path in tmp_path.glob("*.checkpoint")) == ["alice.checkpoint", "carol.checkpoint"]


async def incident(daemon: Daemon, node: str) -> dict[str, object]:
    """The whole incident of a node."""
    page = await daemon.ask(lambda: daemon.store.queries.page(IncidentFilter(), 10))
    id_ = next(str(row["id"]) for row in page.rows if row["node"] == node)
    found = await daemon.ask(lambda: daemon.store.queries.one(id_))
    assert found is not None
    return found


def test_a_reload_with_a_node_that_cannot_be_built_changes_nothing(tmp_path: Path) -> None:
    configure_nodes(tmp_path, ["alice", "bob"])

    async def story(daemon: Daemon, _clock: MovedClock) -> None:
        engines = dict(daemon.nodes.engines)
        path = tmp_path / "watchdog.yaml"
        broken = scenery(path.read_text).replace(
            "  bob: {sources: snapshots:bob.jsonl}", "  carol: {sources: recording:none}"
        )
        scenery(lambda: path.write_text(broken))
        ok, text = await daemon.reload()
        assert not ok
        assert "nothing was changed" in text
        assert daemon.nodes.engines == engines
        assert all(engine.alive for engine in daemon.nodes)
        assert [one.name for one in daemon.config.nodes] == ["alice", "bob"]

    serve(tmp_path, story)


def test_a_node_removed_while_no_service_ran_is_resolved_at_the_next_start(tmp_path: Path) -> None:
    configure_nodes(tmp_path, ["alice", "bob"])
    poll(tmp_path, "bob")

    async def first(daemon: Daemon, _clock: MovedClock) -> None:
        await seen(lambda: stored(daemon) == [("bob", RULE, "open")])

    async def second(daemon: Daemon, _clock: MovedClock) -> None:
        await seen(lambda: stored(daemon) == [("bob", RULE, "resolved")])
        await seen(lambda: not (tmp_path / "bob.checkpoint").exists())

    serve(tmp_path, first)
    configure_nodes(tmp_path, ["alice"])
    (tmp_path / "notes.checkpoint").write_text("of something else")
    serve(tmp_path, second)
    assert (tmp_path / "notes.checkpoint").exists(), "a file that is no checkpoint is left alone"


def test_the_state_of_the_only_node_is_taken_over_both_ways(tmp_path: Path) -> None:
    configure_nodes(tmp_path, ["alice", "bob"])
    poll(tmp_path, "alice")
    text = (tmp_path / "watchdog.yaml").read_text()
    alone = text.split("nodes:")[0] + "node: alice\nsources: snapshots:alice.jsonl\n"

    async def once(daemon: Daemon, _clock: MovedClock) -> None:
        await seen(lambda: stored(daemon) == [("alice", RULE, "open")])

    async def still(daemon: Daemon, _clock: MovedClock) -> None:
        alice = daemon.nodes.engines["alice"]
        await until(lambda: alice.watch.events >= 4)
        assert alice.watch.events == 4, "nothing is read twice"
        assert await asyncio.to_thread(stored, daemon) == [("alice", RULE, "open")]

    (tmp_path / "watchdog.yaml").write_text(alone)
    serve(tmp_path, once)
    for config, name in ((text, "alice.checkpoint"), (alone, "watchdog.checkpoint")):
        (tmp_path / "watchdog.yaml").write_text(config)
        serve(tmp_path, still)
        assert (tmp_path / name).exists()
    assert not (tmp_path / "alice.checkpoint").exists()


def test_a_node_may_be_called_watchdog_and_a_foreign_checkpoint_is_refused(tmp_path: Path) -> None:
    configure_nodes(tmp_path, ["watchdog"])
    poll(tmp_path, "watchdog")

    async def story(daemon: Daemon, _clock: MovedClock) -> None:
        await seen(lambda: stored(daemon) == [("watchdog", RULE, "open")])

    serve(tmp_path, story)
    configure_nodes(tmp_path, ["watchdog", "bob"])
    saved = read_checkpoint(tmp_path / "watchdog.checkpoint")
    write_checkpoint(tmp_path / "bob.checkpoint", saved)
    with pytest.raises(Exception, match="was made with node 'watchdog', now 'bob'"):
        serve(tmp_path, story)


def test_a_flood_at_one_node_does_not_hold_up_the_verdict_of_another(tmp_path: Path) -> None:
    configure_nodes(tmp_path, ["alice", "bob"])
    poll(tmp_path, "alice", [10] * 60_000)
    poll(tmp_path, "bob")

    async def story(daemon: Daemon, _clock: MovedClock) -> None:
        alice = daemon.nodes.engines["alice"]
        await seen(lambda: ("bob", RULE, "open") in stored(daemon))
        assert alice.watch.events < 60_000, "bob is judged before alice has caught up"

    serve(tmp_path, story)


def test_a_dozen_nodes_end_with_a_checkpoint_each(tmp_path: Path) -> None:
    configure_nodes(tmp_path, [f"n{number}" for number in range(12)])
    for number in range(12):
        poll(tmp_path, f"n{number}")

    async def story(daemon: Daemon, _clock: MovedClock) -> None:
        await seen(lambda: len(stored(daemon)) == 12)

    serve(tmp_path, story)
    assert len(list(tmp_path.glob("n*.checkpoint"))) == 12
