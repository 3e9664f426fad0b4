"""What channels return is stored with the delivery, and cases that fire are posted again, over real databases."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from alerts.delivery.alertmanager import alive_body
from alerts.delivery.ports import Fate, Outcome
from alerts.delivery.sender import Sender
from alerts.routing import Receiver
from alerts.store.cases import CaseQueries
from alerts.store.database import Database
from alerts.store.due import StoredOutbox
from tests.support.case_story import NOW_NS, TEAM, CaseStory, merged_cases
from tests.support.channels import channel, service, slack_api
from tests.support.delivery import VirtualClock, running, target, until
from tests.support.event_loops import scenery
from tests.unit.test_case_maintenance import window

names = (f"channels_{number}" for number in itertools.count())


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty database of each kind."""
    url = f"sqlite:///{tmp_path}/watchdog.db"
    if request.param == "postgres":
        url = request.getfixturevalue("postgres").url(next(names))
    made = Database.open(url)
    yield made
    made.close()


def test_what_was_kept_comes_with_later_notices_of_the_same_root_and_receiver(database: Database) -> None:
    merged_cases(database)
    store = StoredOutbox(database)
    first, other, merged = (one.notice for one in store.due(NOW_NS, "team", 10))
    assert [one.kept for one in store.due(NOW_NS, "team", 10)] == ["", "", ""]
    store.settle([Outcome(first.id, Fate.SENT, 200, NOW_NS, kept="1780.1"), Outcome(other.id, Fate.SENT, 200, NOW_NS)])
    (due,) = store.due(NOW_NS, "team", 10)
    assert (due.notice.id, due.notice.subject, due.kept) == (merged.id, first.subject, "1780.1")
    store.settle([Outcome(merged.id, Fate.SENT, 200, NOW_NS, kept="1780.2")])
    again = StoredOutbox(database)
    scenery(lambda: again.due(NOW_NS, "team", 10))
    assert again.due(NOW_NS, "nobody", 10) == []


def test_a_thread_survives_a_restart_of_the_service(database: Database) -> None:
    def slack(url: str) -> Receiver:
        return channel("slack", url, token="xoxb-1", channel="C1")

    async def story() -> list[dict[str, Any]]:
        story = CaseStory(database, slack(""))
        story.rig.burst("ping-flood", ["91.165.48.111"], 0, lasts=10)
        async with service(slack_api) as there:
            for minute in (0, 60):
                await asyncio.to_thread(story.until, minute or 5)
                clock = VirtualClock()
                clock.wall = NOW_NS + minute * 10**9
                outbox = StoredOutbox(database)
                async with running(Sender(outbox, [slack(there.url)], clock), clock):
                    await clock.advance(20)
            return there.accepted

    opened, *later = asyncio.run(story())
    assert "thread_ts" not in opened
    assert later
    assert {one["thread_ts"] for one in later} == {later[0]["thread_ts"]}
    assert later[0]["thread_ts"].startswith("1780.")


def test_a_case_is_kept_alive_for_those_that_were_to_hear_of_it_until_it_is_resolved(database: Database) -> None:
    lead = Receiver("lead", "https://example.org/", severity="critical")
    story = CaseStory(database, TEAM, lead)
    story.rig.burst("ping-flood", ["91.165.48.111"], 0, lasts=10)
    story.until(4)
    store = StoredOutbox(database)
    (case,) = CaseQueries(database).latest()
    assert (store.firing(TEAM), store.firing(lead)) == ([case["id"]], [])
    (picture,) = store.pictures(TEAM, [case["id"]])
    assert (picture["root"], picture["state"], bool(picture["attack"])) == (case["id"], "open", True)

    async def alive() -> list[dict[str, Any]]:
        async with target() as there:
            receiver = Receiver("team", there.url, format="alertmanager", allow_private=True, keepalive_s=1.0)
            pages = Sender(StoredOutbox(database), [receiver], page_of=lambda id_, about: f"http://x/{about}/{id_}")
            async with running(pages):
                await until(lambda: any(one.id.startswith("keepalive_") for one in there.seen))
            return [json.loads(one.body)[0] for one in there.seen if one.id.startswith("keepalive_")]

    alert = asyncio.run(alive())[0]
    assert alert["labels"]["case"] == case["id"]
    assert alert["annotations"]["url"] == f"http://x/cases/{case['id']}"
    story.until(60)
    assert store.firing(TEAM) == []
    assert store.pictures(TEAM, [case["id"]]) == []


def test_what_maintenance_holds_back_is_not_posted_by_the_alert_that_is_kept_alive(database: Database) -> None:
    manager = Receiver("team", "https://example.org/", format="alertmanager")
    story = CaseStory(database, manager)
    story.rig.feed.book.maintain([window(5, 60)])
    story.rig.say("ping-flood", ["91.165.48.111"], 0)
    story.until(4)
    story.rig.say("ping-flood", ["91.165.48.111"], 10, change="escalate", severity="high")
    (held,) = story.until(30)
    assert held.held is not None
    store = StoredOutbox(database)
    assert kept_severity(store, manager) == "warning", "what the receiver knows"
    story.until(61)
    assert kept_severity(store, manager) == "high"


def kept_severity(store: StoredOutbox, receiver: Receiver) -> str:
    """The severity of the only alert that is kept alive."""
    (alert,) = json.loads(alive_body(store.pictures(receiver, store.firing(receiver)), receiver, NOW_NS))
    return str(alert["labels"]["severity"])
