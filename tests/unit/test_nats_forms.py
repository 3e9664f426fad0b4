"""Which form of envelope a publisher speaks: detected from its first messages, and named."""

from __future__ import annotations

import pytest

from tests.support.peer_observer import FLAT, MILLISECONDS, NOW_MS, THREADS, event, field, ping, record
from watchdog.core.batch import Batch
from watchdog.core.source import SourceOptions
from watchdog.sources.nats.decoder import EventDecoder
from watchdog.sources.nats.envelope import OTHER, open_envelope


def decoder() -> EventDecoder:
    return EventDecoder("nats:test", SourceOptions(), None, "")


def read(*messages: bytes, into: EventDecoder) -> list[Batch]:
    return into.read([("netmsg", one) for one in messages], NOW_MS * 1_000_000)


def reasons(batches: list[Batch]) -> list[str]:
    return [reason for one in batches if one.kind == "source:gap" for reason in one.strings("reason").tolist()]


def log_line(protocol: str) -> bytes:
    text = (
        field(3, field(1, "text")) if protocol == MILLISECONDS else field(3, "b-msghand") + field(4, field(1, "text"))
    )
    return event("log", record((1, 5), (2, 14)) + text, protocol=protocol)


def test_what_nothing_reads_is_counted_apart() -> None:
    reader = decoder()
    later = [event("rpc", field(7, b"\x08\x01")), field(5, b"\x08\x01") + field(10, NOW_MS), log_line(THREADS)]
    batches = read(event("p2p", field(1, field(1, 5))), *later, into=reader)
    assert batches == []
    assert reader.others == 4
    assert reader.counts == {"netmsg": (4, 0)}


def test_lines_of_the_log_tell_the_later_forms_apart() -> None:
    assert open_envelope(MILLISECONDS, log_line(THREADS)) is None
    assert open_envelope(THREADS, log_line(MILLISECONDS)) is None
    for protocol in (MILLISECONDS, THREADS):
        opened = open_envelope(protocol, log_line(protocol))
        assert opened is not None
        assert opened.branch == OTHER


def test_the_later_forms_are_named_together_until_something_tells_them_apart() -> None:
    both, one = decoder(), decoder()
    read(*[event("message", ping())] * 100, into=both)
    read(log_line(MILLISECONDS), *[event("message", ping())] * 99, into=one)
    assert (both.finder.found, one.finder.found) == ("2025-12 or 2026-01", "2025-12")


def test_a_publisher_of_another_form_among_many_is_unread_and_named(caplog: pytest.LogCaptureFixture) -> None:
    reader = decoder()
    flat = event("message", ping(), protocol=FLAT)
    read(flat, *[event("message", ping())] * 99, into=reader)
    assert reasons(read(flat, into=reader)) == ["not-an-event"]
    assert "1 of them fit another protocol" in caplog.text


def test_nonsense_at_first_does_not_decide_the_form(caplog: pytest.LogCaptureFixture) -> None:
    reader = decoder()
    read(*[b"nonsense"] * 100, into=reader)
    assert "none of the first 100 messages is an event of peer-observer" in caplog.text
    assert reader.finder.found == ""
    assert "p2p:ping" in {batch.kind for batch in read(event("message", ping()), into=reader)}
