"""Calls to a node on one of its worker threads, each with a deadline.

A call that is not answered in time is not cancelled: a client that took calls back has ended nodes. It stays
outstanding, and the next call on the same thread waits for it, so a node that hangs holds one of our calls a thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Literal

import capnp

Fault = Literal["unimplemented", "disconnected", "failed"]
_FAULTS: Final[dict[str, Fault]] = {"UNIMPLEMENTED": "unimplemented", "DISCONNECTED": "disconnected"}
WORDS: Final = 12 << 20
"""Of eight bytes: the largest message that is read, and all reads of it. The largest answer has 8 Mi of them."""


class CallFault(Exception):
    """The node answered with an exception, or the connection is gone. fault: which of these."""

    def __init__(self, fault: Fault, text: str) -> None:
        super().__init__(text)
        self.fault = fault


class NodeThread:
    """One worker thread of the node. context: the first parameter of most calls, which names it."""

    def __init__(self, context: Any) -> None:
        self.context = context
        self._pending: asyncio.Task[Any] | None = None
        self._since_s = 0.0

    @property
    def stuck_s(self) -> float:
        """For how many seconds the present call has had no answer; 0.0 without one."""
        if self._pending is None or self._pending.done():
            return 0.0
        return asyncio.get_running_loop().time() - self._since_s

    async def idle(self) -> None:
        """Return once no call is outstanding."""
        while self._pending is not None and not self._pending.done():
            await asyncio.wait({self._pending})

    async def call(self, method: Callable[..., Any], deadline_s: float | None, /, **values: Any) -> Any:
        """Call a method of a node's object with this thread's context. None: wait as long as it takes.

        Raise TimeoutError at the deadline, CallFault for an exception of the node.
        """
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(deadline_s):
            await self.idle()
            self._pending = asyncio.create_task(_settle(method, (), {"context": self.context, **values}))
            self._since_s = loop.time()
            return await asyncio.shield(self._pending)


async def plain_call(method: Callable[..., Any], deadline_s: float, *values: Any) -> Any:
    """Call a method that takes no context. Raise TimeoutError at the deadline, CallFault."""
    task = asyncio.create_task(_settle(method, values, {}))
    async with asyncio.timeout(deadline_s):
        return await asyncio.shield(task)


async def _settle(method: Callable[..., Awaitable[Any]], values: tuple[Any, ...], named: Mapping[str, Any]) -> Any:
    """Make a call; what comes after the deadline is read by nothing, so its exception must not be reported as lost."""
    task = asyncio.current_task()
    assert task is not None
    task.add_done_callback(_look)
    try:
        return await method(*values, **named)
    except capnp.KjException as error:
        raise fault_of(error) from None


def _look(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()


def fault_of(error: capnp.KjException) -> CallFault:
    """Return an exception of pycapnp as ours."""
    return CallFault(_FAULTS.get(str(error.type), "failed"), str(error.description)[:500])
