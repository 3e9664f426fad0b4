"""PagerDuty within its receiver's rate, and the second life of a case as an alert of its own."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from alerts.delivery.schedule import Bucket
from alerts.delivery.sender import Sender
from alerts.notice import MERGED, Notice
from alerts.routing import DEFAULT_CASE_EVENTS, Receiver
from alerts.store.database import Database
from alerts.store.due import StoredOutbox
from alerts.store.merged import MERGED_MOST, merged_body
from alerts.store.outbox import Outbox
from tests.support.channels import ROOT, START_NS, PagerDuty, case_notice, service
from tests.support.delivery import MemoryOutbox, VirtualClock, running
from tests.support.told import hears, opened, store
from tests.unit.test_channels import pagerduty, talk
from tests.unit.test_delivery_severity import advanced

RATE = 20


def desk_at(url: str, **other: object) -> Receiver:
    return replace(pagerduty(url), rate_per_minute=RATE, **other)  # type: ignore[arg-type]


def test_a_crowd_of_openings_is_no_crowd_of_events(tmp_path: Path) -> None:
    """Merged openings would be an event for each incident all the same, a hundred at a time."""
    database = Database.open(f"sqlite:///{tmp_path / 'h.db'}")
    store(database, opened(range(90)))

    async def story() -> None:
        clock, desk = VirtualClock(), PagerDuty()
        async with service(desk) as there:
            receiver = replace(hears(there.url, rate_per_minute=RATE), format="pagerduty", own=pagerduty("").own)
            async with running(Sender(StoredOutbox(database), [receiver], clock), clock):
                await clock.advance(30)
                assert len(there.accepted) <= RATE + RATE // 2
                await advanced(clock, lambda: len(there.accepted) >= 90)
        assert len(there.accepted) == len(desk.alerts) == 90

    asyncio.run(story())
    assert not [one for one in Outbox(database).page(limit=200).rows if one.notice.type == MERGED]
    database.close()


def test_events_beyond_the_first_of_a_notice_count_too() -> None:
    """A notice that an older version merged is still an event for each of its incidents."""
    many = merged_body([{"id": f"{number:016x}", "rule": "r", "node": "n"} for number in range(MERGED_MOST)])
    merged = Notice("mrg_1", "ops", "0" * 16, MERGED, "high", START_NS, many)
    later = Notice("msg_2", "ops", "f" * 16, "incident.opened", "warning", START_NS, {"id": "f" * 16, "rule": "r"})

    async def story() -> None:
        clock, desk, outbox = VirtualClock(), PagerDuty(), MemoryOutbox(merged)
        async with service(desk) as there, running(Sender(outbox, [desk_at(there.url)], clock), clock):
            await clock.advance(5)
            assert len(there.accepted) == MERGED_MOST
            outbox.add(later)
            await clock.advance((MERGED_MOST - RATE) / RATE * 60)
            assert len(there.accepted) == MERGED_MOST, "the rate is made up for first"
            await advanced(clock, lambda: len(there.accepted) == MERGED_MOST + 1)

    asyncio.run(story())


def test_a_bucket_that_owes_gives_nothing_until_it_has_made_up_for_it() -> None:
    bucket = Bucket(60)
    assert bucket.take(0.0) == 0
    bucket.owe(89, 0.0)
    assert (bucket.available(0.0), bucket.take(0.0)) == (0.0, 31.0)
    assert (bucket.take(30.0) > 0, bucket.take(31.0)) == (True, 0.0)
    free = Bucket(0)
    free.owe(1_000, 0.0)
    assert free.take(0.0) == 0


@pytest.mark.parametrize("events", [DEFAULT_CASE_EVENTS, ("case.opened", "case.reopened")])
def test_a_case_that_reopens_is_a_new_alert_whatever_the_receiver_hears(events: tuple[str, ...]) -> None:
    desk = PagerDuty()
    heard = [one for one in ("opened", "resolved", "reopened") if f"case.{one}" in events]
    talk(desk, lambda url: desk_at(url, events=events), [case_notice(one) for one in heard])
    assert desk.states() == [(ROOT, "resolved"), (ROOT, "triggered")]
    assert desk.alerts[1]["events"][0]["payload"]["custom_details"]["earlier_alert"] == ROOT


def test_a_reopening_that_goes_out_as_something_else_links_the_alert_before() -> None:
    desk = PagerDuty()
    again = case_notice("severity", notices=[{"reason": "opened"}, {"reason": "resolved"}, {"reason": "reopened"}])
    talk(desk, lambda url: desk_at(url, events=("case.severity", "case.resolved")), [again])
    (event,) = desk.alerts[0]["events"]
    assert any(ROOT in link["text"] for link in event["links"])
    assert event["payload"]["custom_details"]["earlier_alert"] == ROOT
    reminded = case_notice("reminder", notices=again.body["notices"])
    talk(desk, desk_at, [reminded])
    assert "earlier_alert" not in desk.alerts[0]["events"][-1]["payload"]["custom_details"], "it is of the same alert"
