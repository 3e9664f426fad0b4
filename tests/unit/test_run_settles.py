"""The service exempts the objects of its start from garbage collection once it is ready."""

from __future__ import annotations

import asyncio
import gc

from watchdog.cli.run import _settle


def test_objects_of_the_start_are_frozen_once_ready() -> None:
    async def ready_after_a_turn() -> tuple[int, int]:
        ready = asyncio.Event()
        settling = asyncio.create_task(_settle(ready))
        before = gc.get_freeze_count()
        ready.set()
        await settling
        return before, gc.get_freeze_count()

    gc.unfreeze()
    try:
        before, after = asyncio.run(ready_after_a_turn())
    finally:
        gc.unfreeze()
    assert before == 0
    assert after > 1_000
