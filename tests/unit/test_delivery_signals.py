"""Signals: messages beside the outbox that concern no case, such as the coming end of a silence."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest
from aiohttp import web

from alerts.delivery.encoding import SILENCE_ENDING, TEST
from alerts.delivery.formats import signal_bodies
from alerts.delivery.message import signal_words
from alerts.delivery.sender import Sender
from alerts.delivery.signals import STATEFUL, WAITING, SignalQueue, hears
from alerts.routing import FORMATS
from tests.support.delivery import MemoryOutbox, Seen, VirtualClock, receiver_at, running, target, until

DATA = {"silence": "4", "author": "anna", "node": "alice", "text": "silence 4 by anna ends at 12:00 UTC: spy"}


def test_receivers_of_cases_get_it_once_and_others_do_not() -> None:
    async def run() -> None:
        async with target() as there:
            team = receiver_at(there.url)
            others = [
                replace(team, name="old", about="incidents"),
                replace(team, name="pager", format="pagerduty"),
                replace(team, name="off", enabled=False),
                replace(team, name="bob", nodes=("bob",)),
            ]
            sender = Sender(MemoryOutbox(), [team, *others])
            async with running(sender):
                sender.signals.put(SILENCE_ENDING, DATA)
                await until(lambda: len(there.seen) == 1)
                sender.signals.put(SILENCE_ENDING, {**DATA, "silence": "5"})
                await until(lambda: len(there.seen) == 2)
            bodies = [json.loads(one.body) for one in there.seen]
            assert [body["data"]["silence"] for body in bodies] == ["4", "5"]
            assert {body["type"] for body in bodies} == {SILENCE_ENDING}

    asyncio.run(run())


def test_a_receiver_that_fails_keeps_no_other_from_hearing_it(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        async with target(500) as broken, target() as there:
            receivers = [receiver_at(broken.url, name="broken"), receiver_at(there.url, name="works")]
            sender = Sender(MemoryOutbox(), receivers)
            async with running(sender):
                sender.signals.put(SILENCE_ENDING, DATA)
                await until(lambda: len(there.accepted) == 1)

    asyncio.run(run())
    assert any("receiver=broken" in line and "fate=failed" in line for line in caplog.messages)


def test_a_receiver_that_is_slow_keeps_no_other_waiting() -> None:
    async def run() -> None:
        over = asyncio.Event()

        async def hang(_request: web.Request, _seen: Seen) -> web.StreamResponse:
            await over.wait()
            return web.Response()

        async with target(reply=hang) as slow, target() as there:
            receivers = [receiver_at(slow.url, name="slow", timeout_s=600.0), receiver_at(there.url, name="works")]
            sender = Sender(MemoryOutbox(), receivers)
            async with running(sender):
                sender.signals.put(SILENCE_ENDING, DATA)
                await until(lambda: len(there.accepted) == 1 and len(slow.seen) == 1)
                over.set()

    asyncio.run(run())


def test_a_signal_shows_addresses_as_notices_do() -> None:
    data = {**DATA, "matcher": "party 198.51.100.7", "text": "silence 4 by anna ends: party 198.51.100.7"}
    for form in FORMATS:
        own = {"from": ("a@example.org",), "to": ("b@example.org",), "chat": ("-1",)}
        receiver = replace(receiver_at("https://example.org/"), format=form, own=own, redact="subnet")
        sent = b"".join(signal_bodies(SILENCE_ENDING if form not in STATEFUL else TEST, receiver, 0, data))
        assert b"198.51.100.7" not in sent, form
        assert b"198.51.0.0/16" in sent, form


def test_what_cannot_wait_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    queue = SignalQueue(VirtualClock())
    for _ in range(WAITING + 1):
        queue.put(SILENCE_ENDING, DATA)
    assert [line for line in caplog.messages if "fate=dropped" in line] != []


def test_a_signal_without_a_node_is_for_all() -> None:
    bob = receiver_at("https://example.org/", nodes=("bob",))
    assert hears(bob, "")
    assert hears(bob, "bob")
    assert not hears(bob, "alice")


def test_people_read_its_text() -> None:
    assert signal_words(SILENCE_ENDING, DATA, str).first == DATA["text"]
