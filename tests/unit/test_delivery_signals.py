"""Signals: messages beside the outbox that concern no case, such as the coming end of a silence."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest

from alerts.delivery.sender import Sender
from alerts.delivery.signals import WAITING, SignalQueue, hears
from alerts.delivery.texts import SILENCE_ENDING
from alerts.delivery.wording import signal_words
from tests.support.delivery import MemoryOutbox, VirtualClock, receiver_at, running, target, until

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
