"""What our own code cannot send: the receiver's other notices, and all other receivers, never wait for it."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

import pytest
from aiohttp import web

from alerts.delivery.client import WebhookClient
from alerts.delivery.schedule import REFUSED_ATTEMPTS
from alerts.delivery.sender import HeartbeatPlan, Sender
from alerts.notice import Notice
from alerts.routing import Receiver
from tests.support.delivery import MemoryOutbox, Seen, VirtualClock, notice, receiver_at, running, target, until

BEYOND_S = 1e12  # unix seconds; no calendar has it, so no channel can write it


def poisoned(one: Notice) -> Notice:
    return replace(one, body={**one.body, "opened": BEYOND_S, "findings": [BEYOND_S]})


def pager(url: str) -> Receiver:
    return receiver_at(url, name="pager", format="pagerduty", own={"routing_key": ("r" * 32,)})


def test_a_notice_that_no_encoder_takes_is_given_up_and_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        first, second = (notice(number, f"i{number}", "pager") for number in (1, 2))
        other = notice(3, "i3")
        clock, outbox = VirtualClock(), MemoryOutbox(poisoned(first), second, other)
        async with target(status=202) as there, target() as ops:
            sender = Sender(outbox, [pager(there.url), receiver_at(ops.url)], clock)
            async with running(sender, clock):
                await clock.advance(7200, step=30)
            counts = {one.receiver: one.counts for one in sender.status()}
        assert [outbox.rows[one.id].fate.value for one in (first, second, other)] == ["dead", "sent", "sent"]
        assert outbox.rows[first.id].attempts == REFUSED_ATTEMPTS
        assert "the watchdog failed: ValueError at encoding.py:" in outbox.rows[first.id].error
        assert (counts["pager"].dead, counts["pager"].failed) == (1, REFUSED_ATTEMPTS)

    with caplog.at_level(logging.ERROR, "watchdog.delivery"):
        asyncio.run(story())
    told = [one.getMessage() for one in caplog.records if "delivery-fault" in one.getMessage()]
    assert len(told) == REFUSED_ATTEMPTS
    assert all("receiver=pager" in one for one in told)


def test_an_alert_that_cannot_be_kept_alive_stops_nothing() -> None:
    async def story() -> None:
        clock, outbox = VirtualClock(), MemoryOutbox(notice(1, "i1"))
        outbox.alive["i9"] = {"id": "i9", "node": "alice", "severity": "high", "opened": float("nan")}
        async with target() as there, target() as ops:
            manager = receiver_at(there.url, name="manager", format="alertmanager", keepalive_s=60.0)
            sender = Sender(outbox, [manager, receiver_at(ops.url)], clock)
            async with running(sender, clock):
                await clock.advance(200, step=10)
                outbox.add(notice(2, "i2"))
                await clock.advance(10, step=1)
            kept = {one.receiver: one.keepalives for one in sender.status()}
        assert outbox.fates() == ["sent", "sent"]
        assert kept["manager"][1] >= 3

    asyncio.run(story())


def test_a_heartbeat_that_cannot_be_made_is_a_failure_and_stops_nothing() -> None:
    async def story() -> None:
        clock, outbox = VirtualClock(), MemoryOutbox(notice(1, "i1"))
        async with target() as ops:
            plan = HeartbeatPlan("ops", 60.0)
            sender = Sender(outbox, [receiver_at(ops.url)], clock, heartbeat=plan, vitals=lambda: {"x": float("nan")})
            async with running(sender, clock):
                await clock.advance(130, step=10)
        assert outbox.fates() == ["sent"]
        assert sender.heartbeat_failures >= 2

    asyncio.run(story())


def test_a_member_of_a_cluster_that_hangs_keeps_the_others_from_nothing() -> None:
    async def story() -> None:
        ends = asyncio.Event()

        async def hanging(_: web.Request, __: Seen) -> web.Response:
            await ends.wait()
            return web.Response()

        async with target(reply=hanging) as stuck, target() as well, WebhookClient() as client:
            cluster = receiver_at(
                stuck.url, format="alertmanager", urls=(stuck.url, stuck.url, well.url), timeout_s=100.0
            )
            sending = asyncio.create_task(client.post(cluster, "msg_1", 1, b"[]"))
            async with asyncio.timeout(30):
                await until(lambda: len(well.seen) == 1)
            assert len(stuck.seen) <= 2
            assert not sending.done()
            ends.set()
            assert (await sending).error == ""

    asyncio.run(story())
