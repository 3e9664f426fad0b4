"""Follows the node's tip: one call that the node answers at a new tip, on a worker thread of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

import capnp

from watchdog.sources.ipc.child.detect import CALL_S
from watchdog.sources.ipc.child.node_thread import CallFault, NodeThread
from watchdog.sources.ipc.pipe import Tip
from watchdog.sources.ipc.records import HASH_BYTES

WAIT_MS: Final = 30_000.0
"""For how long the node waits for a new tip before it answers with the old one."""
DEADLINE_S: Final = 60.0
PAUSE_S: Final = 0.5
"""Between two calls: a node that answers at once, as it should not, costs no more than this."""
LEAVE_S: Final = 2.0


class TipWatcher:
    """Watches the tip of a node that has Mining. send: takes each tip, the present one first."""

    def __init__(self, mining: Any, line: NodeThread, send: Callable[[Tip], None]) -> None:
        self._mining, self._line, self._send = mining, line, send
        self._waiting = False
        self._tip = b""

    async def begin(self) -> bool:
        """Report the present tip; return whether the node can. Raise CallFault when the connection is gone."""
        try:
            answer = await self._line.call(self._mining.getTip, CALL_S)
        except CallFault as fault:
            if fault.fault == "disconnected":
                raise
            return False
        if answer.hasResult:
            self._note(answer.result)
        return True

    async def run(self) -> None:
        """Report each new tip until the connection ends. Raise CallFault, TimeoutError when the node hangs."""
        while True:
            wanted = self._tip or bytes(HASH_BYTES)
            self._waiting = True
            answer = await self._line.call(self._mining.waitTipChanged, DEADLINE_S, currentTip=wanted, timeout=WAIT_MS)
            self._waiting = False
            self._note(answer.result)
            await asyncio.sleep(PAUSE_S)

    async def leave(self) -> None:
        """End the call that waits, so that the node is not left in the middle of it; not all versions can."""
        if not self._waiting:
            return
        task = asyncio.create_task(self._interrupt())
        await asyncio.wait({task}, timeout=LEAVE_S)

    async def _interrupt(self) -> None:
        try:
            await self._mining.interrupt()
        except capnp.KjException:  # an older node has no such method, and answers within WAIT_MS by itself
            return
        await self._line.idle()

    def _note(self, block: Any) -> None:
        found = bytes(block.hash)
        if len(found) == HASH_BYTES and found != self._tip:  # empty: the node is shutting down
            self._tip = found
            self._send(Tip(found, block.height, time.time_ns()))
