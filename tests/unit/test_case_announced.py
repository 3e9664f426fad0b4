"""Cases for live pages: what is announced, what the writer reports, and when each stage was entered."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from alerts.case.document import stored_cases
from alerts.store.case_acts import CaseActs
from alerts.store.cases import CaseQueries
from alerts.store.database import Database
from alerts.store.writer import IncidentWriter
from tests.support.case_rig import START_NS, CaseRig
from watchdog.service.announcer import NAMED, Announcer, announced_case
from watchdog.service.hub import Hub

A, B = "91.165.48.111", "217.94.191.240"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    found = Database.open(f"sqlite:///{tmp_path / 'history.db'}")
    yield found
    found.close()


def test_an_announced_case_has_few_names_and_the_right_counts() -> None:
    rig = CaseRig()
    for number in range(6):
        rig.say("addr-pattern-2021", [f"{60 + number}.7.0.1"], 0)
    rig.until(10)
    (row,) = stored_cases(rig.feed.book)
    found = announced_case(row.document)
    listed = row.document["parties"], row.document["notices"]
    assert (len(listed[0]), found["parties_beyond"]) == (6, 6 - NAMED)  # type: ignore[arg-type]
    assert found["parties"] == listed[0][:NAMED]  # type: ignore[index]
    assert found["notices"] == listed[1][-1:]  # type: ignore[index]
    assert not {"incidents", "claims", "links", "story", "advice", "stages_entered"} & set(found)
    assert row.document["parties_beyond"] == 0, "the document itself stays as it is"


def test_stored_cases_are_announced_to_pages_only_while_there_are_any() -> None:
    rig = CaseRig()
    rig.say("ping-flood", [A], 0)
    rig.until(5)
    rows = stored_cases(rig.feed.book)

    async def hold() -> None:
        hub = Hub(10)
        announcer = Announcer(hub)
        announcer.cases_stored(rows)
        announcer.start()
        announcer.cases_stored(rows)
        watcher = hub.join()
        assert watcher is not None
        await asyncio.to_thread(announcer.cases_stored, rows)
        found = await watcher.next(5)
        assert found is not None
        assert (found.number, found.event, found.data["id"]) == (1, "case", rows[0].id)

    asyncio.run(hold())


def test_the_writer_reports_what_the_history_shows(database: Database) -> None:
    rig, writer = CaseRig(), IncidentWriter(database)
    rig.say("ping-flood", [A], 0)
    rig.say("inv-flood", [B], 2)
    rig.until(4)
    before = stored_cases(rig.feed.book)
    assert [one.state for one in writer.record((), (), before).cases] == ["open", "open"]
    CaseActs(database).act(before[0].id, "ack", "anna", "", START_NS)
    again = {one.id: one for one in writer.record((), (), stored_cases(rig.feed.book)).cases}
    assert again[before[0].id].state == "acknowledged", "an act that the book has yet to apply is not undone"
    rig.say("headers-spam", [A], 10, key={"conn": "1"})
    rig.say("headers-spam", [B], 10, key={"conn": "2"})
    rig.until(20)
    (kept,) = writer.record((), (), [*before, *stored_cases(rig.feed.book)]).cases
    assert kept.aliases, "the row of a merged case is not reported"
    assert CaseQueries(database).one(kept.id) is not None


def test_each_stage_has_the_time_of_its_first_claim_and_an_inherited_one_none() -> None:
    rig = CaseRig()
    rig.burst("eclipse-inbound-group", [A], 0, 4, severity="high")
    rig.say("eclipse-outbound-replaced", [B], 5, severity="high")
    rig.until(7)
    (row,) = stored_cases(rig.feed.book)
    assert row.document["stages_entered"] == [
        {"stage": "slots", "time": START_NS / 1e9},
        {"stage": "outbound", "time": START_NS / 1e9 + 300},
    ]
    life = rig.feed.book.pictures()[0].life
    life.stages.insert(0, "poisoning")  # as a case has that continues an earlier one
    (row,) = stored_cases(rig.feed.book)
    assert row.document["stages_entered"][0] == {"stage": "poisoning", "time": None}  # type: ignore[index]
