"""Receivers that fail: retries, outages, dead letters, and clocks that step, in virtual time."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from aiohttp import web

from alerts.delivery.schedule import ALONE_ATTEMPTS, MAX_ATTEMPTS, REFUSED_ATTEMPTS
from alerts.delivery.sender import Sender
from tests.support.delivery import (
    MemoryOutbox,
    Seen,
    VirtualClock,
    in_order,
    notice,
    receiver_at,
    running,
    target,
)

HOUR = 3600.0


def test_retries_carry_the_same_id_and_the_same_bytes_until_accepted() -> None:
    async def story() -> None:
        clock, outbox = VirtualClock(), MemoryOutbox(notice(1))
        async with target(500) as there:
            sender = Sender(outbox, [receiver_at(there.url)], clock)
            async with running(sender, clock):
                await clock.advance(10 * 60)
                there.status = 200
                await clock.advance(6 * 60)
        assert len(there.seen) > 4
        assert {(one.id, one.body) for one in there.seen} == {(notice(1).id, there.seen[0].body)}
        assert there.accepted == [notice(1).id]
        assert outbox.fates() == ["sent"]

    asyncio.run(story())


def test_a_receiver_down_for_an_hour_loses_nothing_and_is_not_hammered() -> None:
    async def story() -> None:
        notices = [notice(number, f"i{number % 40}") for number in range(200)]
        clock, outbox = VirtualClock(), MemoryOutbox(*notices)
        async with (
            target(503) as there,
            running(sender := Sender(outbox, [receiver_at(there.url)], clock), clock),
        ):
            await clock.advance(HOUR)
            attempts = len(there.seen)
            there.status = 200
            await clock.advance(6 * 60)
        assert sorted(there.accepted) == sorted(one.id for one in notices)
        assert attempts < 40, "at most one attempt in five minutes once the breaker is open"
        assert in_order(there, notices)
        assert sender.status()[0].counts.outages == 1

    asyncio.run(story())


def test_retry_after_is_honoured_for_the_whole_receiver() -> None:
    async def story() -> None:
        clock, outbox = VirtualClock(), MemoryOutbox(notice(1, "i1"))
        busy = True

        async def reply(_: web.Request, __: Seen) -> web.Response:
            return web.Response(status=429, headers={"Retry-After": "120"}) if busy else web.Response()

        async with (
            target(reply=reply) as there,
            running(sender := Sender(outbox, [receiver_at(there.url)], clock), clock),
        ):
            await clock.advance(2, step=1)
            busy = False
            outbox.add(notice(2, "i2"))
            await sender.poke()
            await clock.advance(110, step=1)
            assert len(there.seen) == 1, "nothing goes out before the time that was asked for"
            await clock.advance(30, step=1)
        assert sorted(there.accepted) == [notice(1).id, notice(2).id]

    asyncio.run(story())


@pytest.mark.parametrize(("status", "attempts"), [(413, REFUSED_ATTEMPTS), (422, REFUSED_ATTEMPTS)])
def test_a_refused_notice_becomes_a_dead_letter_and_lets_the_next_go(status: int, attempts: int) -> None:
    async def story() -> None:
        clock, outbox = VirtualClock(), MemoryOutbox(notice(1), notice(2))

        async def reply(_: web.Request, seen: Seen) -> web.Response:
            return web.Response(status=status if seen.id == notice(1).id else 200, text="too\nlarge \x1b[31m")

        async with (
            target(reply=reply) as there,
            running(Sender(outbox, [receiver_at(there.url)], clock), clock),
        ):
            await clock.advance(120)
        assert there.ids().count(notice(1).id) == attempts
        assert outbox.fates() == ["dead", "sent"]
        assert outbox.rows[notice(1).id].error == f"answered {status}: too large \\x1b[31m"

    asyncio.run(story())


def test_a_notice_that_alone_fails_is_given_up_within_the_hour() -> None:
    async def story() -> None:
        clock, outbox = VirtualClock(), MemoryOutbox(notice(1, "bad"))
        numbers = itertools.count(2)

        async def reply(_: web.Request, seen: Seen) -> web.Response:
            return web.Response(status=500 if seen.id == notice(1).id else 200)

        async with (
            target(reply=reply) as there,
            running(sender := Sender(outbox, [receiver_at(there.url)], clock), clock),
        ):
            for _ in range(70):
                outbox.add(notice(next(numbers), "good"))
                await sender.poke()
                await clock.advance(60)
        assert there.ids().count(notice(1).id) == ALONE_ATTEMPTS
        assert outbox.fates()[0] == "dead"

    asyncio.run(story())


def test_a_dead_receiver_makes_dead_letters_after_three_days() -> None:
    async def story() -> None:
        clock, outbox = VirtualClock(), MemoryOutbox(notice(1))
        async with (
            target(500) as there,
            running(Sender(outbox, [receiver_at(there.url)], clock), clock),
        ):
            await clock.advance(70 * HOUR, step=300)
            assert outbox.fates() == ["retry"]
            outbox.rows[notice(1).id].attempts = MAX_ATTEMPTS - 1
            await clock.advance(700)
        assert outbox.fates() == ["dead"]
        assert len(there.seen) < MAX_ATTEMPTS

    asyncio.run(story())


def test_a_gone_receiver_is_left_alone_until_a_reload_and_loses_nothing() -> None:
    async def story() -> None:
        clock, outbox = VirtualClock(), MemoryOutbox(*(notice(number, f"i{number}") for number in range(40)))
        async with (
            target(410) as there,
            running(sender := Sender(outbox, [receiver_at(there.url)], clock), clock),
        ):
            await clock.advance(HOUR)
            assert len(there.seen) <= 16
            assert sender.status()[0].state == "gone"
            there.status = 200
            sender.configure([receiver_at(there.url)])
            await clock.advance(60)
        assert outbox.fates() == ["sent"] * 40

    asyncio.run(story())


def test_a_redirect_is_a_failure_and_is_not_followed() -> None:
    async def story() -> None:
        clock, outbox = VirtualClock(), MemoryOutbox(notice(1))
        async with target() as elsewhere:

            async def reply(_: web.Request, __: Seen) -> web.Response:
                return web.Response(status=307, headers={"Location": elsewhere.url})

            async with target(reply=reply) as there, running(Sender(outbox, [receiver_at(there.url)], clock), clock):
                await clock.advance(2)
        assert elsewhere.seen == []
        assert outbox.rows[notice(1).id].error.startswith("answered 307: redirects are not followed")

    asyncio.run(story())


@pytest.mark.parametrize("wall_step", [HOUR, -HOUR])
def test_a_clock_that_steps_by_an_hour_neither_stalls_nor_floods(wall_step: float) -> None:
    async def story() -> None:
        clock, outbox = VirtualClock(), MemoryOutbox(*(notice(number, f"i{number}") for number in range(100)))
        async with (
            target(503) as there,
            running(Sender(outbox, [receiver_at(there.url)], clock), clock),
        ):
            await clock.advance(HOUR / 2)
            clock.step_wall(wall_step)
            before = len(there.seen)
            await clock.advance(HOUR / 2)
            assert len(there.seen) - before < 12
            there.status = 200
            await clock.advance(6 * 60)
        assert outbox.fates() == ["sent"] * 100

    asyncio.run(story())
