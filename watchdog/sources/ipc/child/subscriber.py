"""Subscribes to a node's callbacks, and ends every subscription before the connection does.

A subscriber that disappears has ended a node ("IPC client method called after disconnect"), so `leave` is called on
every way out, and takes each handler back by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

from watchdog.sources.ipc.child.buffers import Buffers
from watchdog.sources.ipc.child.callbacks import ConnectionCounts, Notifications, UtxoTrace
from watchdog.sources.ipc.child.detect import CALL_S, Offer
from watchdog.sources.ipc.child.node_thread import CallFault, NodeThread
from watchdog.sources.ipc.records import CHAIN_KINDS, COIN_KINDS, CONNECTION_KINDS

IBD_STEP_S: Final = 60.0
"""Between two looks whether the initial block download has ended: the coins cache is traced only afterwards."""
LEAVE_S: Final = 3.0
"""For each handler that is taken back."""


class Subscriber:
    """The subscriptions of one connection. say: takes a line for the log."""

    def __init__(self, offer: Offer, line: NodeThread, buffers: Buffers, say: Callable[[str], None]) -> None:
        self._offer, self._line, self._buffers, self._say = offer, line, buffers, say
        self._handlers: list[Any] = []
        self._pending: asyncio.Task[None] | None = None

    async def begin(self) -> tuple[str, ...]:
        """Subscribe to what the node offers; return the kinds. The coins cache follows by `trace_coins`."""
        kinds: list[str] = []
        chain, node = self._offer.chain, self._offer.node
        if chain is not None and await self._take(
            "chain notifications", chain.handleNotifications, notifications=Notifications(self._buffers)
        ):
            kinds += CHAIN_KINDS
        if node is not None and await self._take(
            "connection counts", node.handleNotifyNumConnectionsChanged, callback=ConnectionCounts(self._buffers)
        ):
            kinds += CONNECTION_KINDS
        self._buffers.begin(tuple(kinds))
        return tuple(kinds)

    async def trace_coins(self) -> None:
        """Subscribe to the coins cache once the node is out of its initial block download."""
        tracing, chain = self._offer.tracing, self._offer.chain
        if tracing is None:
            return
        said = False
        while chain is not None and (await self._line.call(chain.isInitialBlockDownload, CALL_S)).result:
            if not said:
                self._say("the coins cache is traced once the initial block download has ended")
                said = True
            await asyncio.sleep(IBD_STEP_S)
        if await self._take("coins cache", tracing.traceUtxoCache, callback=UtxoTrace(self._buffers)):
            self._buffers.begin(COIN_KINDS)

    async def leave(self) -> int:
        """Take every handler back; return how many the node did not give back in time."""
        left = 0
        if self._pending is not None and not self._pending.done():
            await asyncio.wait({self._pending}, timeout=LEAVE_S)  # it was being made when we were asked to end
            left += not self._pending.done()
        while self._handlers:
            handler = self._handlers.pop()
            try:
                await self._line.call(handler.disconnect, LEAVE_S)
                await self._line.call(handler.destroy, LEAVE_S)
            except (CallFault, TimeoutError):
                left += 1
        return left

    async def _take(self, what: str, method: Callable[..., Any], **values: Any) -> bool:
        """Make one subscription; return whether the node has it.

        It is made in a task of its own: whatever ends this one, `leave` gets the handler.
        """
        self._pending = asyncio.create_task(self._subscribe(method, values))
        try:
            await asyncio.shield(self._pending)
        except CallFault as fault:
            if fault.fault == "disconnected":
                raise
            self._say(f"the node gives no {what}: {fault}")
            return False
        return True

    async def _subscribe(self, method: Callable[..., Any], values: Mapping[str, Any]) -> None:
        self._handlers.append((await self._line.call(method, CALL_S, **values)).result)
