"""Calls that hang in a library that no one can end: they are reported, and hold up no other receiver."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from aiohttp import web

from alerts.delivery.answers import Response
from alerts.delivery.blocking import CALLS
from alerts.delivery.courier import Courier
from alerts.delivery.formats import notice_bodies
from alerts.delivery.schedule import RetryDecision
from alerts.routing import Receiver
from tests.support.channels import START_NS, case_notice, channel, service
from tests.support.waiting import reached


@contextlib.asynccontextmanager
async def silent() -> AsyncIterator[tuple[str, asyncio.Event]]:
    """A server that takes connections and says nothing until the event is set; then it hangs up."""
    over = asyncio.Event()

    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await over.wait()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}", over
    finally:
        over.set()
        server.close()


def apprise(name: str, place: str, timeout_s: float = 20.0) -> Receiver:
    return replace(channel("apprise", f"json://{place}/?rto=600&cto=600"), name=name, timeout_s=timeout_s)


async def sent(courier: Courier, receiver: Receiver) -> Response:
    return await courier.send(receiver, "msg_1", 0, notice_bodies(case_notice(), receiver, START_NS))


def test_calls_that_hang_silence_no_other_receiver_and_are_reported(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("alerts.delivery.blocking.SLACK_S", 0.0)
    caplog.set_level(logging.INFO, "watchdog.delivery")

    async def story() -> None:
        async with silent() as (nowhere, over), service(lambda *_: web.Response()) as there, Courier() as courier:
            good = apprise("good", there.url.removeprefix("http://"))
            hanging = apprise("hanging", nowhere, 0.5)
            assert (await sent(courier, good)).error == "", "apprise is loaded"
            lost = await asyncio.gather(*(sent(courier, hanging) for _ in range(CALLS)))
            assert {one.error for one in lost} == {"no answer in 0.5 s"}
            answers = await asyncio.gather(*(sent(courier, good) for _ in range(CALLS)))
            assert [one.error for one in answers] == [""] * CALLS
            refused = await sent(courier, hanging)
            assert refused.error == f"{CALLS} earlier calls hang; no other starts before one of them ends"
            assert (refused.meaning, refused.took_s) == (RetryDecision.FAILED, 0.0)
            mended = apprise("hanging", there.url.removeprefix("http://"))
            assert (await sent(courier, mended)).error == "", "a reload with another URL is heard"
            over.set()
            await reached(lambda: caplog.text.count("delivery-hangs-no-longer") == CALLS)
            assert (await sent(courier, hanging)).error == "apprise did not deliver it"

    asyncio.run(story())
    assert f"delivery-hangs receiver=hanging calls={CALLS} most={CALLS}" in caplog.text


def test_a_call_that_waits_for_room_is_sent_and_not_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alerts.delivery.blocking.CALLS", 1)

    async def story() -> None:
        async with service(lambda *_: web.Response()) as there, Courier() as courier:
            good = apprise("good", there.url.removeprefix("http://"))
            answers = await asyncio.gather(*(sent(courier, good) for _ in range(4)))
            assert [one.error for one in answers] == [""] * 4
            assert len(there.accepted) == 4

    asyncio.run(story())


PROGRAM = """
import asyncio, time
from alerts.delivery.blocking import BlockingCalls
from alerts.routing import Receiver
receiver = Receiver("x", "json://127.0.0.1/", format="apprise", timeout_s=0.1)
print(asyncio.run(BlockingCalls().run(receiver, lambda: time.sleep(3600))).error, flush=True)
"""


def test_a_call_that_hangs_does_not_keep_the_process_from_ending() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "no answer in 0.1 s\n"
