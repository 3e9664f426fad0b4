"""What fires is posted again and again to Alertmanager: to whom, what, and when it ends."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from alerts.delivery.sender import HeartbeatPlan, Sender
from alerts.incident import IncidentState, Reason
from alerts.routing import DEFAULT_EVENTS, Receiver
from alerts.store.database import Database
from alerts.store.due import StoredOutbox
from alerts.store.writer import IncidentWriter
from tests.support.delivery import Seen, Target, VirtualClock, running, target, until
from tests.support.history import record
from tests.support.told import hears, incident, opened, store


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """An empty database in a file."""
    made = Database.open(f"sqlite:///{tmp_path}/watchdog.db")
    yield made
    made.close()


def manager(there: Target, **other: Any) -> Receiver:
    """The target as an Alertmanager. `other` replaces fields: any of Receiver's types."""
    plain: dict[str, Any] = {
        "format": "alertmanager",
        "about": "incidents",
        "severity": "warning",
        "events": DEFAULT_EVENTS,
    }
    return hears(there.url, **(plain | {"keepalive_s": 60.0} | other))


def alerts(seen: Seen) -> list[dict[str, Any]]:
    """The alerts of one request."""
    found = json.loads(seen.body)
    assert isinstance(found, list)
    return found


def kept(there: Target) -> list[Seen]:
    """Requests that keep alerts alive."""
    return [one for one in there.seen if one.id.startswith("keepalive_")]


def only_stored(database: Database, *numbers: int, severity: Any = "high", reason: Any = Reason.OPENED) -> None:
    """Incidents without notices: the receiver came after them."""
    records = [record(incident(number, severity, "flood"), 1, reason) for number in numbers]
    IncidentWriter(database).record(records, [])


def test_all_that_fires_is_posted_every_keepalive_in_requests_of_100(database: Database) -> None:
    only_stored(database, *range(250))

    async def story() -> None:
        clock = VirtualClock()
        async with target() as there:
            sender = Sender(StoredOutbox(database), [manager(there)], clock, page_of=lambda id_, _: f"http://x/{id_}")
            async with running(sender, clock):
                for rounds in (1, 2):
                    await until(lambda rounds=rounds: len(kept(there)) == 3 * rounds)  # type: ignore[misc] # mypy cannot infer a lambda with a default
                    await until(lambda rounds=rounds: [one.keepalives for one in sender.status()] == [(3 * rounds, 0)])  # type: ignore[misc] # as above
                    await clock.advance(59, step=59)
                    assert len(kept(there)) == 3 * rounds, "not before its time"
                    await clock.advance(2, step=2)
        first = kept(there)[:3]
        assert [len(alerts(one)) for one in first] == [100, 100, 50]
        assert len({alert["labels"]["incident"] for one in first for alert in alerts(one)}) == 250
        assert alerts(first[0])[0]["annotations"]["url"].startswith("http://x/")
        assert first[0].headers["webhook-signature"], "signed as all else"

    asyncio.run(story())


@pytest.mark.parametrize(
    ("settings", "severity", "reason", "told"),
    [
        ({}, "warning", Reason.OPENED, True),
        ({}, "info", Reason.OPENED, False),
        ({"severity": "critical"}, "high", Reason.OPENED, False),
        ({"events": ("incident.escalated",)}, "high", Reason.OPENED, False),
        ({"events": ("incident.escalated",)}, "high", Reason.ESCALATED, True),
        ({"events": ("incident.resolved",)}, "high", Reason.OPENED, False),
        ({"enabled": False}, "high", Reason.OPENED, False),
        ({"format": "alertmanager-webhook"}, "high", Reason.OPENED, False),
        ({"format": "webhook"}, "high", Reason.OPENED, False),
    ],
)
def test_only_what_the_receiver_was_to_be_told_is_kept_alive(
    database: Database, settings: dict[str, Any], severity: Any, reason: Any, told: bool
) -> None:
    only_stored(database, 1, severity=severity, reason=reason)

    async def story() -> None:
        clock = VirtualClock()
        async with target() as there:
            sender = Sender(StoredOutbox(database), [manager(there, **settings)], clock)
            async with running(sender, clock):
                if told:
                    await until(lambda: bool(kept(there)))
                await clock.advance(200, step=50)
            assert bool(kept(there)) == told

    asyncio.run(story())


def test_a_resolved_alert_does_not_come_back_however_slow_the_receiver(database: Database) -> None:
    store(database, opened(range(1, 2)))

    async def story() -> None:
        clock, free = VirtualClock(), asyncio.Event()
        meanwhile: list[Seen] = []

        async def reply(_: web.Request, seen: Seen) -> web.Response:
            if seen.id.startswith("keepalive_") and not free.is_set():
                over = replace(incident(1, "high", "flood", IncidentState.RESOLVED), resolved_ns=clock.wall)
                store(database, [record(over, 2, Reason.RESOLVED)])
                sender._poke()
                await asyncio.sleep(0.2)  # in which the resolution must not arrive
                meanwhile.extend(one for one in there.seen if alerts(one)[0]["endsAt"] <= alerts(one)[0]["startsAt"])
                free.set()
            return web.Response()

        async with target(reply=reply) as there:
            sender = Sender(StoredOutbox(database), [manager(there, rate_per_minute=0)])
            async with running(sender):
                await until(lambda: len(there.accepted) >= 3)
            assert free.is_set()
            assert meanwhile == [], "the resolution waits for the request that says that it fires"
            assert not there.seen[-1].id.startswith("keepalive_"), "and is the last word"

    asyncio.run(story())


def test_a_reload_that_turns_the_receiver_off_or_takes_it_away_ends_the_keepalive(database: Database) -> None:
    only_stored(database, 1)

    async def story() -> None:
        clock = VirtualClock()
        async with target() as there:
            sender = Sender(StoredOutbox(database), [manager(there)], clock)
            async with running(sender, clock):
                await until(lambda: [one.keepalives for one in sender.status()] == [(1, 0)])
                sender.configure([manager(there, enabled=False)])
                await clock.advance(200, step=20)
                assert len(kept(there)) == 1
                sender.configure([manager(there)])
                await until(lambda: len(kept(there)) == 2)
                sender.configure([])
                await until(lambda: not sender.status())
                await clock.advance(200, step=20)
                assert len(kept(there)) == 2

    asyncio.run(story())


@pytest.mark.parametrize("status", [404, 405])
def test_a_receiver_that_is_no_alertmanager_is_named_once(
    database: Database, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    only_stored(database, 1)
    store(database, opened(range(2, 4)))

    async def story() -> None:
        clock = VirtualClock()
        async with target(status) as there:
            sender = Sender(StoredOutbox(database), [manager(there, rate_per_minute=0)], clock)
            async with running(sender, clock):
                await until(lambda: len(there.seen) >= 3)
                await clock.advance(300, step=20)

    with caplog.at_level(logging.WARNING, "watchdog.delivery"):
        asyncio.run(story())
    assert caplog.text.count("format: alertmanager-webhook") == 1
    assert caplog.text.count("keepalive receiver=ops fate=failed") == 1, "once an episode"


def test_the_heartbeat_reaches_alertmanager_as_an_alert(database: Database) -> None:
    async def story() -> None:
        clock = VirtualClock()
        async with target() as there:
            plan, body = HeartbeatPlan("ops", 60), {"node": "alice", "state": "ok", "cannot_fire": []}
            sender = Sender(StoredOutbox(database), [manager(there)], clock, heartbeat=plan, vitals=lambda: body)
            async with running(sender, clock):
                await until(lambda: len(there.seen) == 1)
        (alert,) = alerts(there.seen[0])
        assert alert["labels"] == {"alertname": "WatchdogHeartbeat", "severity": "info", "node": "alice"}

    asyncio.run(story())
