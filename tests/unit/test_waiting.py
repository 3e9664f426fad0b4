"""Tests wait for states, never for a time that should be enough: where they may call sleep, and why."""

from __future__ import annotations

import ast
import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.waiting import reached, wait_until

TESTS = Path(__file__).resolve().parents[1]
WAITING = "support/waiting.py"
ALLOWED = {
    "e2e/test_alertmanager_cases.py": (1, "a time in which an alert must not expire"),
    "e2e/test_escalation.py": (3, "times by the real clock in which nothing must come"),
    "e2e/test_recorder.py": (5, "a node that speaks over seconds of real time; kills come at moments of it"),
    "e2e/test_service_faults.py": (1, "kills come at random moments of real time"),
    "e2e/test_service_silences.py": (2, "times in which nothing must open"),
    "e2e/test_tap_tracepoints.py": (2, "paces a node; the recorder may keep a batch for a moment"),
    "property/test_stream_corrupted.py": (1, "lets the server's loop run between two deliveries"),
    "support/chromium.py": (1, "polls a page of the browser, and each look is a call to it"),
    "support/daemon.py": (1, "the real clock of a service under test"),
    "support/delivery.py": (1, "lets the event loop run between two steps of the virtual clock"),
    "support/delivery_process.py": (2, "a process of its own: paces its writes, and polls its database"),
    "support/extraction.py": (1, "an event loop that polls a thread"),
    "support/ipc_node_process.py": (9, "a node in a process of its own that is slow, late or silent, as a test asks"),
    "support/producers.py": (3, "producers that pause and beat in real time are what is tested"),
    "support/receiver.py": (1, "a receiver that answers late"),
    "unit/test_channel_mail.py": (1, "a mail server whose answer drips"),
    "unit/test_delivery_client.py": (1, "a receiver whose answer drips"),
    "unit/test_delivery_keepalive.py": (1, "a time in which nothing must arrive"),
    "unit/test_extract_reader.py": (1, "the kernel counts before it is asked again"),
    "unit/test_ring.py": (1, "kills come at moments of real time"),
    "unit/test_silent_parts.py": (4, "a clock that is set by hand"),
    "unit/test_stream_hostile.py": (2, "lets the server's loop run between two steps of an attacker"),
    "unit/test_stream_stalled.py": (1, "a server whose event time does not advance"),
    "unit/test_web_limits.py": (1, "a stream with pauses"),
}
"""Calls of sleep by file: how many, and what they are instead of waiting for a state."""


def sleeps(text: str) -> Iterator[int]:
    """Lines that call `sleep` of a module."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "sleep":
            yield node.lineno


def test_nothing_sleeps_for_a_state() -> None:
    calls = {
        path.relative_to(TESTS).as_posix(): list(sleeps(path.read_text(encoding="utf-8")))
        for path in sorted(TESTS.rglob("*.py"))
    }
    assert len(calls.pop(WAITING)) == 2
    many = {name: lines for name, lines in calls.items() if len(lines) > ALLOWED.get(name, (0,))[0]}
    assert many == {}, "use tests/support/waiting.py or a virtual clock"
    assert [name for name, (count, _) in ALLOWED.items() if len(calls[name]) < count] == [], "shorten the list"


def test_waiting_gives_the_value_that_came() -> None:
    values = iter([0, "", 3])
    assert wait_until(lambda: next(values)) == 3
    values = iter([None, "x"])
    assert asyncio.run(reached(lambda: next(values))) == "x"


def test_waiting_ends_with_what_is_missing() -> None:
    with pytest.raises(AssertionError, match="the third row"):
        wait_until(lambda: False, lambda: "the third row", 0.01)
    with pytest.raises(AssertionError, match="no row"):
        asyncio.run(reached(lambda: False, "no row", 0.01))
