"""Messages that fit no form are heard: as an incident of the service, and in its metrics."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from watchdog.core.source import MessageCounting
from watchdog.service.exposition import Exposition
from watchdog.service.metrics import _source_counts
from watchdog.service.self_watch import UnreadCheck

NAME = "nats:nats://127.0.0.1:4222"


class Counted:
    """A source that counts its messages, and nothing else."""

    message_counts: Mapping[str, tuple[int, int]] = {}


def channel(source: object) -> Any:
    return SimpleNamespace(name=NAME, source=source)


def test_messages_that_cannot_be_read_open_an_incident_by_subject_and_it_clears() -> None:
    source = Counted()
    assert isinstance(source, MessageCounting)
    check = UnreadCheck(SimpleNamespace(channels=[channel(source)]))
    source.message_counts = {"netmsg": (100, 0), "rpc\x1b": (0, 4)}
    assert [one.holds for one in check(10.0)] == [False, False]
    source.message_counts = {"netmsg": (110, 30), "rpc\x1b": (0, 4)}
    found = {one.key["form"]: one for one in check(20.0)}
    assert found["netmsg"].holds
    assert found["netmsg"].summary == f"{NAME}: 30 of 140 messages on 'netmsg' could not be read within an hour"
    assert not found["rpc\\x1b"].holds
    assert [one.holds for one in check(20.0 + 3_700)] == [False, False]


def test_messages_that_cannot_be_read_are_in_the_metrics() -> None:
    source = Counted()
    source.message_counts = {"netmsg": (100, 7)}
    out = Exposition()
    _source_counts(out, [({"source": NAME}, channel(source)), ({"source": "log:x"}, channel(None))])
    line = f'watchdog_source_messages_unread_total{{source="{NAME}",subject="netmsg"}} 7.0'
    assert line in out.text()
