"""What the node calls while we are subscribed. It waits for each return, so these only copy, and never raise.

An exception in one of them would come back to a thread of the node that expects none.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Coroutine
from typing import Any, Final

import capnp

from watchdog.sources.ipc.child.buffers import Buffers
from watchdog.sources.ipc.child.schemas import CHAIN, NODE, PROXY, TRACING
from watchdog.sources.ipc.records import BLOCK, COIN, CONNECTIONS, FLUSH, HASH_BYTES, TIP_UPDATE, TX

ADDED: Final = -1
_HEADER: Final = 80  # bytes of a block before the count of its transactions
_BAD: Final = (capnp.KjException, struct.error, ValueError, OverflowError, TypeError, AttributeError)
"""What reading a field of a message raises, and packing an impossible value."""
Callback = Callable[[Any, Any], Coroutine[Any, Any, None]]


def _counted(kind: str) -> Callable[[Callable[[Any, Any], None]], Callback]:
    """Make a callback of a plain function; an event that it cannot read is counted as lost."""

    def made(read: Callable[[Any, Any], None]) -> Callback:
        @functools.wraps(read)
        async def called(self: Any, call: Any) -> None:
            try:
                read(self, call.params)
            except _BAD:
                self.buffers.unreadable(kind)

        return called

    return made


class Thread(PROXY.Thread.Server):  # type: ignore[misc] # pycapnp's classes have no types
    """A thread in name only: all callbacks run in the one event loop."""

    async def getName(self, **_: Any) -> str:  # noqa: N802 - the name on the wire
        """Return its name."""
        return "watchdog"


class ThreadMap(PROXY.ThreadMap.Server):  # type: ignore[misc]
    """Gives the node the threads that it asks for before its first callback."""

    async def makeThread(self, **_: Any) -> Thread:  # noqa: N802
        """Return a thread."""
        return Thread()


class Notifications(CHAIN.ChainNotifications.Server):  # type: ignore[misc]
    """Chain's notifications."""

    def __init__(self, buffers: Buffers) -> None:
        self.buffers = buffers

    async def destroy(self, **_: Any) -> None:
        """Take note of nothing: the node drops its side."""

    async def updatedBlockTip(self, **_: Any) -> None:  # noqa: N802
        """Count a new tip; the block itself was announced."""
        self.buffers.add(TIP_UPDATE, self.buffers.now_ns())

    @_counted("chain:tx_added")
    def transactionAddedToMempool_context(self, params: Any) -> None:  # noqa: N802
        """Note a transaction."""
        self._tx("chain:tx_added", params.tx, ADDED)

    @_counted("chain:tx_removed")
    def transactionRemovedFromMempool_context(self, params: Any) -> None:  # noqa: N802
        """Note a transaction and Core's reason."""
        self._tx("chain:tx_removed", params.tx, params.reason)

    @_counted("chain:block_connected")
    def blockConnected_context(self, params: Any) -> None:  # noqa: N802
        """Note a block; `historical`: below an assumed snapshot."""
        self._block("chain:block_connected", params.block, historical=params.role.historical)

    @_counted("chain:block_disconnected")
    def blockDisconnected_context(self, params: Any) -> None:  # noqa: N802
        """Note a block that left the active chain."""
        self._block("chain:block_disconnected", params.block, historical=False)

    @_counted("chain:flushed")
    def chainStateFlushed_context(self, params: Any) -> None:  # noqa: N802
        """Note that the chain state was written."""
        now_ns = self.buffers.now_ns()
        self.buffers.add("chain:flushed", now_ns, FLUSH.pack(now_ns, params.role.validated, params.role.historical))

    def _tx(self, kind: str, data: Any, reason: int) -> None:
        now_ns, raw = self.buffers.now_ns(), bytes(data)
        self.buffers.add(kind, now_ns, TX.pack(now_ns, reason, len(raw)), raw)

    def _block(self, kind: str, block: Any, *, historical: bool) -> None:
        now_ns, data = self.buffers.now_ns(), block.data
        record = BLOCK.pack(
            now_ns,
            _hash(block.hash),
            _hash(block.prevHash),
            block.height,
            transactions_of(bytes(data[_HEADER : _HEADER + 9])),
            len(data),
            historical,
        )
        self.buffers.add(kind, now_ns, record)


class UtxoTrace(TRACING.UtxoCacheTrace.Server):  # type: ignore[misc]
    """The trace of the coins cache. It has no context: these run on the node's own event loop."""

    def __init__(self, buffers: Buffers) -> None:
        self.buffers = buffers

    async def destroy(self, **_: Any) -> None:
        """Take note of nothing."""

    @_counted("utxocache:add")
    def add_context(self, params: Any) -> None:
        """Note a coin that came."""
        self._coin("utxocache:add", params.utxoInfo)

    @_counted("utxocache:spent")
    def spend_context(self, params: Any) -> None:
        """Note a coin that was spent."""
        self._coin("utxocache:spent", params.utxoInfo)

    @_counted("utxocache:uncache")
    def uncache_context(self, params: Any) -> None:
        """Note a coin that was dropped unspent."""
        self._coin("utxocache:uncache", params.utxoInfo)

    def _coin(self, kind: str, info: Any) -> None:
        now_ns, value_sat = self.buffers.now_ns(), info.value
        record = COIN.pack(now_ns, _hash(info.outpointHash), info.outpointN, info.height, value_sat, info.isCoinbase)
        self.buffers.add(kind, now_ns, record, value_sat=value_sat)


class ConnectionCounts(NODE.NotifyNumConnectionsChangedCallback.Server):  # type: ignore[misc]
    """The number of connections, whenever it changes."""

    def __init__(self, buffers: Buffers) -> None:
        self.buffers = buffers

    async def destroy(self, **_: Any) -> None:
        """Take note of nothing."""

    @_counted("node:connections")
    def call_context(self, params: Any) -> None:
        """Note the number."""
        now_ns = self.buffers.now_ns()
        self.buffers.add("node:connections", now_ns, CONNECTIONS.pack(now_ns, params.newNumConnections))


def transactions_of(raw: bytes) -> int:
    """Return how many transactions a block has, by the number behind its header; 0 where the block is not there."""
    if not raw:
        return 0
    size = {0xFD: 2, 0xFE: 4, 0xFF: 8}.get(raw[0], 0)
    value = int.from_bytes(raw[1 : 1 + size], "little") if size else raw[0]
    return min(value, (1 << 32) - 1)


def _hash(data: Any) -> bytes:
    raw = bytes(data)
    if len(raw) != HASH_BYTES:
        raise ValueError("a hash has 32 bytes")
    return raw
