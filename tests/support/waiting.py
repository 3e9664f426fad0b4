"""Waiting for a state that threads, processes or sockets reach: the only place where tests sleep for one.

A test with a virtual clock advances that clock instead. tests/unit/test_waiting.py refuses other calls of sleep, except
those that it lists with a reason.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final, TypeVar

LOOK_S: Final = 0.005  # between two looks at a condition
LIMIT_S: Final = 120.0  # far above what a slow and loaded machine needs, below the time limit of a test

T = TypeVar("T")


def wait_until(
    condition: Callable[[], T],
    missing: Callable[[], str] | str = "it did not come",
    limit_s: float = LIMIT_S,
    *,
    look_s: float = LOOK_S,
) -> T:
    """Return the first true value of `condition`, which is called every `look_s` and may assert or feed input itself.

    Raises AssertionError with `missing` when no value was true within `limit_s` seconds of real time.
    """
    end = time.monotonic() + limit_s
    while not (value := condition()):
        assert time.monotonic() < end, missing if isinstance(missing, str) else missing()
        time.sleep(look_s)
    return value


async def reached(
    condition: Callable[[], T],
    missing: Callable[[], str] | str = "it did not come",
    limit_s: float = LIMIT_S,
    *,
    look_s: float = LOOK_S,
) -> T:
    """Return the first true value of `condition` while the event loop runs; otherwise as `wait_until`."""
    end = time.monotonic() + limit_s
    while not (value := condition()):
        assert time.monotonic() < end, missing if isinstance(missing, str) else missing()
        await asyncio.sleep(look_s)
    return value
