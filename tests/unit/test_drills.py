"""Drills: one marked case as real ones are made, that touches no other and ends whatever happens."""

from __future__ import annotations

import asyncio
import itertools
import queue
from collections.abc import Iterator, Sequence
from pathlib import Path

import jsonschema
import pytest

from alerts.drill import TITLE, DrillCase
from alerts.incident_table import IncidentError
from alerts.routing import Receiver
from alerts.store.audit import Audit
from alerts.store.cases import CaseQueries, outer
from alerts.store.database import Database
from alerts.store.drills import Drill, Drills
from alerts.store.outbox import Outbox
from alerts.store.writer import IncidentWriter
from tests.support.event_loops import scenery
from tests.support.postgres import Server
from watchdog.core.durations import HOUR_NS, SECOND_NS
from watchdog.core.finding import Severity
from watchdog.pipeline.clock import SystemClock
from watchdog.service.bounded_executor import BoundedExecutor
from watchdog.service.drills import LiveDrills
from watchdog.service.engine_thread import Bundle
from watchdog.service.writer_thread import Routes, WriterLoop
from watchdog.web.openapi_cases import CASE_SCHEMAS

NUMBERS = itertools.count()
NOW_NS = 1_800_000_000 * SECOND_NS
TEAM = Receiver("team", "https://example.org/hook")


class World:
    """A service's drills with a writer that stores what they give, and a clock that a test moves."""

    def __init__(self, database: Database) -> None:
        self.database, self.now_ns, self.store = database, NOW_NS, Drills(database)
        self.out: queue.Queue[Bundle] = queue.Queue(10)
        self.restart()

    def restart(self) -> None:
        """Resume in another process."""
        self.live = LiveDrills(
            self.store,
            BoundedExecutor("test"),
            self.out,
            nodes=lambda: ["alice", "bob"],
            wall_ns=lambda: self.now_ns,
        )
        self.writer = self._new_writer()

    def _new_writer(self) -> WriterLoop:
        return WriterLoop(
            IncidentWriter(self.database),
            self.out,
            Routes((TEAM,), str, lambda id_: f"http://page/cases/{id_}"),
            checkpoint=Path,
            clock=SystemClock(),
            wall_ns=lambda: self.now_ns,
            stored=lambda _records: None,
        )

    def look(self, after_s: float = 1.0, *, writes: bool = True) -> None:
        """Let the service look once, and its writer store what came of it."""
        self.now_ns += int(after_s * SECOND_NS)
        asyncio.run(self.live.look())
        if writes:
            self.write()

    def write(self) -> None:
        """Store what is queued, in a thread of its own as always."""
        bundles: list[Bundle] = []
        while not self.out.empty():
            bundles.append(self.out.get_nowait())
        if bundles:
            for one in bundles:
                self.out.put_nowait(one)
            self.writer.finish()
            scenery(self.writer.start)
            assert self.writer.join(60)
            counts, self.writer = self.writer.counts, self._new_writer()
            self.writer.counts = counts

    def ask(self, severity: Severity = "critical", node: str = "") -> str:
        """Ask for a drill that may take an hour."""
        return self.store.ask(node, severity, "anna", self.now_ns, self.now_ns + HOUR_NS)

    def drill(self, id_: str) -> Drill:
        found = self.store.one(id_)
        assert found is not None
        return found

    def types(self) -> list[str]:
        return [one.notice.type for one in reversed(Outbox(self.database).page().rows)]


@pytest.fixture(params=["file", "server"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """An empty history, in SQLite and in PostgreSQL."""
    if request.param == "file":
        database = Database.open(f"sqlite:///{tmp_path / 'h.db'}")
    else:
        server: Server = request.getfixturevalue("postgres")
        database = Database.open(server.url(f"drills_{next(NUMBERS)}"))
    yield World(database)
    database.close()


def test_a_drill_opens_a_marked_case_and_ends_when_asked(world: World) -> None:
    id_ = world.ask()
    world.look()
    assert world.drill(id_).node == "alice"
    world.look()
    (case,) = CaseQueries(world.database).latest()
    assert (case["headline"], case["drill"], case["severity"], case["state"]) == (TITLE, True, "critical", "open")
    assert (case["incidents"], case["parties"]) == ([], [])
    jsonschema.Draft202012Validator(CASE_SCHEMAS["CaseHead"]).validate(outer(case))
    jsonschema.Draft202012Validator(CASE_SCHEMAS["Case"]).validate(case)
    assert world.drill(id_).case_id == case["id"]
    (due,) = Outbox(world.database).due(world.now_ns, "team", 10)
    assert due.notice.body["drill"] is True
    world.look()
    assert world.types() == ["case.opened"]
    world.store.stop(id_)
    world.look()
    world.look()
    assert world.types() == ["case.opened", "case.resolved"]
    assert (world.drill(id_).ended_ns, world.drill(id_).error) == (world.now_ns, "")
    assert CaseQueries(world.database).latest()[0]["state"] == "resolved"
    (entry,) = Audit(world.database).page().rows
    assert (entry["action"], entry["detail"]) == ("drill", {"severity": "critical"}), "no empty node"


def test_no_metric_counts_it_as_real(world: World) -> None:
    world.ask()
    world.look()
    world.look()
    counts = world.writer.counts
    assert (counts.case_notices, counts.decisions) == ({}, {})
    assert counts.drill_notices == {("team", "case.opened"): 1}


def test_it_waits_as_a_real_case_of_its_severity(world: World) -> None:
    id_ = world.ask("warning")
    world.look()
    world.look(59)
    assert not world.drill(id_).case_id
    world.look(2)
    assert world.drill(id_).case_id
    assert world.types() == ["case.opened"]


def test_it_ends_by_itself(world: World) -> None:
    id_ = world.ask()
    world.look()
    world.look()
    world.look(3_600)
    world.look()
    assert world.drill(id_).ended_ns is not None
    assert world.types() == ["case.opened", "case.resolved"]


@pytest.mark.parametrize("stored", [True, False])
def test_a_service_that_was_killed_ends_it_under_the_same_id(world: World, *, stored: bool) -> None:
    id_ = world.ask()
    world.look()
    world.look(writes=stored)
    case = world.drill(id_).case_id
    assert case
    if not stored:
        world.out.get_nowait()  # lost with the process
    world.restart()
    world.look(30)
    world.look()
    assert world.types() == ["case.opened", "case.resolved"]
    assert [one["id"] for one in CaseQueries(world.database).latest()] == [case]
    assert "restarted" in world.drill(id_).error
    assert world.drill(id_).ended_ns is not None


def test_an_end_that_was_not_stored_is_made_again(world: World) -> None:
    id_ = world.ask()
    world.look()
    world.look()
    world.store.stop(id_)
    world.look(writes=False)
    world.look(writes=False)
    assert world.drill(id_).ended_ns is None
    world.out.get_nowait()
    world.restart()
    world.look()
    world.look()
    assert world.drill(id_).ended_ns is not None
    assert CaseQueries(world.database).latest()[0]["state"] == "resolved"


def test_a_killed_service_forgets_one_that_had_not_opened(world: World) -> None:
    id_ = world.ask("high")
    world.look()
    world.restart()
    world.look()
    assert world.drill(id_).ended_ns is not None
    assert world.types() == []


def test_an_unknown_node_and_a_late_service_are_said(world: World) -> None:
    id_ = world.ask(node="eve")
    world.look()
    assert world.drill(id_).error == "no node 'eve'; there are alice, bob"
    late = world.ask(node="bob")
    world.look(3_600)
    assert "before the service took it" in world.drill(late).error


def test_one_at_a_time_and_with_a_name(world: World) -> None:
    id_ = world.ask()
    with pytest.raises(IncidentError, match=f"drill {id_} is under way"):
        world.ask()
    with pytest.raises(IncidentError, match="a name of 1 to"):
        world.store.ask("", "high", " ", NOW_NS, NOW_NS + 1)
    world.now_ns += HOUR_NS  # its time is over, though no service took it
    assert world.ask()


def test_a_full_queue_delays_it(world: World) -> None:
    world.out = queue.Queue(1)
    world.restart()
    world.out.put_nowait(Bundle())
    id_ = world.ask()
    world.look(writes=False)
    world.look(writes=False)
    assert world.types() == []
    world.out.get_nowait()
    world.look(writes=False)
    bundle = world.out.get_nowait()
    assert [one.case_id for one in bundle.notices] == [world.drill(id_).case_id]


def test_the_same_drill_is_the_same_case() -> None:
    def steps() -> Sequence[object]:
        drill = DrillCase("d1", "alice", "high", NOW_NS)
        assert drill.advance(NOW_NS + 29 * SECOND_NS).changes == ()
        first = drill.advance(NOW_NS + 30 * SECOND_NS)
        return [first, drill.end(NOW_NS + HOUR_NS)]

    assert steps() == steps()
    assert DrillCase("d1", "alice", "high", NOW_NS).end(NOW_NS).changes == ()
