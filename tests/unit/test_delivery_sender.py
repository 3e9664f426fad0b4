"""Delivery against real receivers on 127.0.0.1, with virtual time where time matters."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time

import pytest
from aiohttp import web

from alerts.delivery.receiver_queue import WINDOW
from alerts.delivery.sender import HeartbeatPlan, Sender
from alerts.delivery.signature import secret_key, verify
from tests.support.delivery import (
    SECRET,
    MemoryOutbox,
    Seen,
    VirtualClock,
    in_order,
    notice,
    receiver_at,
    running,
    target,
    until,
)

HOUR = 3600.0


def test_a_notice_arrives_once_and_signed() -> None:
    async def story() -> None:
        outbox = MemoryOutbox(notice(1))
        async with target() as there, running(Sender(outbox, [receiver_at(there.url)])):
            await until(lambda: outbox.fates() == ["sent"])
        (seen,) = there.seen
        verify([secret_key(SECRET)], seen.headers, seen.body, time.time())
        assert seen.headers["content-type"] == "application/json"
        assert json.loads(seen.body) == {
            "type": "incident.opened",
            "timestamp": "2026-05-28T20:26:40.000000Z",
            "data": {"id": "i1"},
        }

    asyncio.run(story())


def test_order_is_kept_within_an_incident_and_others_go_on() -> None:
    async def story() -> None:
        notices = [notice(number, f"i{number % 3}") for number in range(30)]
        clock, outbox = VirtualClock(), MemoryOutbox(*notices)
        refused = {notices[3].id: 2}

        async def reply(_: web.Request, seen: Seen) -> web.Response:
            left = refused[seen.id] = refused.get(seen.id, 0) - 1
            return web.Response(status=500 if left >= 0 else 200)

        async with (
            target(reply=reply) as there,
            running(Sender(outbox, [receiver_at(there.url)], clock), clock),
        ):
            await clock.advance(2)
            assert len(there.accepted) == 21, "the other two incidents, and the first notice of the failing one"
            await clock.advance(60)
        assert len(there.accepted) == 30
        assert in_order(there, notices)

    asyncio.run(story())


def test_the_rate_limit_makes_notices_wait_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        clock, outbox = VirtualClock(), MemoryOutbox(*(notice(number, f"i{number}") for number in range(90)))
        async with (
            target() as there,
            running(sender := Sender(outbox, [receiver_at(there.url, rate_per_minute=30)], clock), clock),
        ):
            await clock.advance(1, step=1)
            assert len(there.seen) in range(30, 32)
            await clock.advance(60, step=1)
            assert len(there.seen) in range(58, 62)
            await clock.advance(70, step=1)
            assert sender.status()[0].counts.rate_waits > 0
        assert outbox.fates() == ["sent"] * 90

    with caplog.at_level(logging.WARNING, "watchdog.delivery"):
        asyncio.run(story())
    told = [record.getMessage() for record in caplog.records if "rate-limit" in record.getMessage()]
    assert [one.rpartition(" ")[0] for one in told] == ["rate-limit receiver=ops rate_per_minute=30"]


def test_what_cannot_be_stored_stops_a_receiver_once_an_episode_and_is_counted() -> None:
    async def story() -> None:
        clock, outbox = VirtualClock(), MemoryOutbox(*(notice(number, f"i{number}") for number in range(WINDOW + 20)))

        async def reply(_: web.Request, __: Seen) -> web.Response:
            outbox.broken = True
            return web.Response()

        async with (
            target(reply=reply) as there,
            running(sender := Sender(outbox, [receiver_at(there.url)], clock), clock),
        ):
            await clock.advance(30)
            assert (len(there.seen), sender.unstored) == (WINDOW, WINDOW)
            assert (sender.unstored_full, sender.status()[0].counts.full) == (1, 1)
            there.reply, outbox.broken = None, False
            await clock.advance(10)
            assert (len(there.seen), sender.unstored) == (WINDOW + 20, 0)
            sender.configure([])
            await until(lambda: not sender.status())
            assert sender.unstored_full == 1, "a counter goes back with the process only"

    asyncio.run(story())


def test_a_failing_database_holds_outcomes_back_and_sends_nothing_twice() -> None:
    async def story() -> None:
        clock, outbox = VirtualClock(), MemoryOutbox(*(notice(number, f"i{number}") for number in range(20)))

        async def reply(_: web.Request, __: Seen) -> web.Response:
            outbox.broken = True
            return web.Response()

        async with (
            target(reply=reply) as there,
            running(sender := Sender(outbox, [receiver_at(there.url)], clock), clock),
        ):
            await clock.advance(30)
            assert len(there.seen) == 20
            assert sender.unstored > 0
            outbox.broken = False
            await clock.advance(5)
            assert sender.unstored_full == 0, "there was room for a window"
        assert sorted(there.ids()) == sorted(outbox.rows)
        assert outbox.fates() == ["sent"] * 20

    asyncio.run(story())


def test_log_lines_hold_no_secret_and_no_url(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        clock, outbox = VirtualClock(), MemoryOutbox(notice(1))
        async with target(500) as there:
            url = there.url.replace("http://", "http://user:hunter2@") + "/T0KEN"
            asked = receiver_at(url, headers={"Authorization": "Bearer letmein"})
            sender = Sender(outbox, [asked, receiver_at("http://127.0.0.1:1/T0KEN", name="x")], clock)
            async with running(sender, clock):
                outbox.add(notice(2, "i2", "x"))
                await clock.advance(600)

    with caplog.at_level(logging.DEBUG):
        asyncio.run(story())
    text = caplog.text
    assert "delivery receiver=ops id=msg_" in text
    assert "cannot connect: Connection refused" in text or "Connect call failed" in text
    assert not [word for word in ("hunter2", "T0KEN", "letmein", SECRET, "whsec_") if word in text]


def test_the_heartbeat_is_signed_regular_and_withheld_when_the_service_is_ill() -> None:
    async def story() -> None:
        clock, well = VirtualClock(), True
        async with target() as there:
            sender = Sender(
                MemoryOutbox(),
                [receiver_at(there.url)],
                clock,
                heartbeat=HeartbeatPlan("ops", 60),
                vitals=lambda: {"lag_s": 1.5} if well else None,
            )
            async with running(sender, clock):
                await clock.advance(5 * 60)
                await until(lambda: len(there.seen) == 6)
                clock.step_wall(-HOUR)
                well = False
                await clock.advance(5 * 60)
        assert len(there.seen) in {5, 6}
        assert len({one.id for one in there.seen}) == len(there.seen)
        first = json.loads(there.seen[0].body)
        assert first["type"] == "watchdog.heartbeat"
        assert first["data"] == {"number": 1, "every_s": 60, "lag_s": 1.5}
        assert "webhook-signature" in there.seen[0].headers

    asyncio.run(story())


def test_receivers_come_and_go_while_it_runs() -> None:
    async def story() -> None:
        outbox = MemoryOutbox(notice(1), notice(2, receiver="chat"))
        async with target() as there, running(sender := Sender(outbox, [])):
            sender.configure([receiver_at(there.url)])
            await until(lambda: outbox.fates() == ["sent", "retry"])
            sender.configure([receiver_at(there.url, name="chat")])
            await until(lambda: outbox.fates() == ["sent", "sent"])
            assert [lane.receiver for lane in sender.status()] == ["chat"]

    asyncio.run(story())


def test_stopping_ends_soon_though_a_receiver_does_not_answer() -> None:
    async def story() -> None:
        outbox = MemoryOutbox(notice(1))

        async def reply(_: web.Request, __: Seen) -> web.Response:
            await asyncio.Event().wait()
            raise AssertionError

        async with target(reply=reply) as there:
            async with running(Sender(outbox, [receiver_at(there.url, timeout_s=100.0)])):
                await until(lambda: len(there.seen) == 1)
                began = time.monotonic()
            assert time.monotonic() - began < 30
        assert outbox.fates() == ["retry"], "unknown is not delivered: it goes out again under its id"

    asyncio.run(story())


def test_a_fast_receiver_gets_many_over_few_connections_and_in_batches() -> None:
    async def story() -> None:
        count = 1_500
        notices = [notice(number, f"i{number % 300}") for number in range(count)]
        outbox = MemoryOutbox(*notices)
        async with target() as there, running(Sender(outbox, [receiver_at(there.url)])):
            await until(lambda: len(there.accepted) == count)
        assert outbox.fates() == ["sent"] * count
        assert in_order(there, notices)
        assert len(there.connections) <= 16
        assert outbox.transactions < count

    asyncio.run(story())


def test_an_error_of_ours_beside_an_attempt_ends_the_sender_and_is_not_swallowed() -> None:
    """What fails in an attempt refuses that notice alone: `test_delivery_fault`."""

    def broken(*_: object, **__: object) -> list[object]:
        raise KeyError("a mistake of ours")

    async def story() -> None:
        outbox = MemoryOutbox(notice(1))
        outbox.due = broken  # type: ignore[assignment] # stands for a bug
        async with target() as there:
            await Sender(outbox, [receiver_at(there.url)]).run(asyncio.Event())

    with pytest.raises(ExceptionGroup) as caught:
        asyncio.run(story())
    assert caught.group_contains(KeyError, match="a mistake of ours")


def test_stopping_ends_soon_though_the_database_hangs() -> None:
    async def story() -> None:
        outbox, asked = MemoryOutbox(notice(1)), threading.Event()
        free = threading.Event()

        def hanging(*_: object, **__: object) -> list[object]:
            asked.set()
            free.wait(100)
            return []

        outbox.due = hanging  # type: ignore[assignment] # stands for a locked database
        try:
            async with target() as there, running(Sender(outbox, [receiver_at(there.url)])):
                await until(asked.is_set)
                began = time.monotonic()
            assert time.monotonic() - began < 30
        finally:
            free.set()

    asyncio.run(story())


def test_a_flood_of_small_incidents_does_not_hold_up_a_critical_one() -> None:
    async def story() -> None:
        flood = [notice(number, f"i{number}", severity="info") for number in range(2_000)]
        clock, outbox = VirtualClock(), MemoryOutbox(*flood)
        async with (
            target() as there,
            running(sender := Sender(outbox, [receiver_at(there.url, rate_per_minute=60)], clock), clock),
        ):
            await clock.advance(120, step=1)
            before = len(there.seen)
            outbox.add(notice(9_998, "large", severity="warning"), notice(9_999, "large", severity="critical"))
            await sender.poke()
            await clock.advance(3, step=1)
            assert [id_ for id_ in there.ids() if id_ in {notice(9_998).id, notice(9_999).id}] == [
                notice(9_998).id,
                notice(9_999).id,
            ]
            assert len(there.seen) - before <= 5
            assert before in range(120, 180)

    asyncio.run(story())
