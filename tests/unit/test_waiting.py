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
    "e2e/test_service_faults.py": (1, "kills come at random moments of real time"),
    "support/chromium.py": (1, "polls a page of the browser, and each look is a call to it"),
    "support/daemon.py": (1, "the real clock of a service under test"),
    "support/delivery.py": (1, "lets the event loop run between two steps of the virtual clock"),
    "support/delivery_process.py": (2, "a process of its own: paces its writes, and polls its database"),
    "support/producers.py": (3, "producers that pause and beat in real time are what is tested"),
    "support/receiver.py": (1, "a receiver that answers late"),
    "unit/test_delivery_client.py": (1, "a receiver whose answer drips"),
    "unit/test_delivery_keepalive.py": (1, "a time in which nothing must arrive"),
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
