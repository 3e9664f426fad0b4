"""Finds out which Init a node has, by calls that answer "unimplemented" where they are wrong.

No call here can harm a node that is loading its blocks. Mining and Chain end one that is asked for its chain before it
has any, so they are called after JSON-RPC says that the node is up, or, where there is no JSON-RPC, once the socket is
`SETTLE_S` old: the node makes it just before it begins to load.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from watchdog.sources.ipc.child.calls import Caller, NodeCaller, RpcCaller, is_warming_up
from watchdog.sources.ipc.child.node_thread import CallFault, NodeThread
from watchdog.sources.ipc.child.schemas import CHAIN, MINING, NODE, RPC, TRACING
from watchdog.sources.ipc.layouts import UNKNOWN

SETTLE_S: Final = 60.0
WARMUP_STEP_S: Final = 2.0
CALL_S: Final = 10.0
Wait = Callable[[str], None]
"""Reports for what a connection waits."""


@dataclass(slots=True)
class Offer:
    """What a node has, as objects. layout: a name of `watchdog.sources.ipc.layouts`. seen: of an unknown node."""

    layout: str
    caller: Caller | None = None
    mining: Any = None
    chain: Any = None
    node: Any = None
    tracing: Any = None
    seen: list[str] = field(default_factory=list)


async def detect(init: Any, line: NodeThread, socket: Path, wait: Wait) -> Offer:
    """Return what the node has, once it is safe to ask for it. Raise CallFault, TimeoutError."""
    third = await _made(init.make3, line)
    if third is None:
        offer = await _before_v31(init, line)
    elif await _is(third.as_interface(CHAIN.Chain).destroy, line):
        offer = await _pr_ipc(init, line)
    else:
        offer = await _since_v31(init, line, third)
    if offer.caller is not None:
        await _warmed_up(offer.caller, line, wait)
    else:
        await _settled(socket, wait)
    return offer


async def _before_v31(init: Any, line: NodeThread) -> Offer:
    second = await _made(init.make2, line)
    if second is None:
        return Offer(UNKNOWN)
    return Offer("v30", mining=second.as_interface(MINING.Mining))


async def _pr_ipc(init: Any, line: NodeThread) -> Offer:
    node, chain = await _made(init.make2, line), await _made(init.make3, line)
    offer = Offer("pr-ipc", chain=None if chain is None else chain.as_interface(CHAIN.Chain))
    if node is not None:
        offer.node = node.as_interface(NODE.Node)
        offer.caller = NodeCaller(offer.node)
    return offer


async def _since_v31(init: Any, line: NodeThread, third: Any) -> Offer:
    mining = third.as_interface(MINING.Mining)
    fourth = await _made(init.make4, line)
    if fourth is None:
        return Offer("v31", mining=mining)
    rpc = RpcCaller(fourth.as_interface(RPC.Rpc))
    if await _answers(rpc, line):
        return Offer("v31-rpc", rpc, mining)
    if not await _is(fourth.as_interface(CHAIN.Chain).destroy, line):
        return Offer(UNKNOWN, mining=mining, seen=["make3", "make4"])
    return await _tracing(init, line, mining)


async def _tracing(init: Any, line: NodeThread, mining: Any) -> Offer:
    offer = Offer("tracing", mining=mining)
    chain = await _made(init.make4, line)
    offer.chain = None if chain is None else chain.as_interface(CHAIN.Chain)
    if (node := await _made(init.make5, line)) is not None:
        offer.node = node.as_interface(NODE.Node)
        offer.caller = NodeCaller(offer.node)
    if (tracing := await _made(init.make7, line)) is not None:
        offer.tracing = tracing.as_interface(TRACING.Tracing)
    return offer


async def _made(factory: Callable[..., Any], line: NodeThread) -> Any:
    """Return the object that a factory makes; None where the node has no such factory.

    Some versions make objects only once they have loaded their blocks, so this waits as long as it takes.
    """
    try:
        return (await line.call(factory, None)).result
    except CallFault as fault:
        if fault.fault == "unimplemented":
            return None
        raise


async def _is(method: Callable[..., Any], line: NodeThread) -> bool:
    """Return whether an object has this method."""
    try:
        await line.call(method, CALL_S)
    except CallFault as fault:
        if fault.fault == "unimplemented":
            return False
        raise
    return True


async def _answers(caller: Caller, line: NodeThread) -> bool:
    try:
        await caller.ask(line, "uptime", b"[]", CALL_S)
    except CallFault as fault:
        if fault.fault == "unimplemented":
            return False
        raise
    return True


async def _warmed_up(caller: Caller, line: NodeThread, wait: Wait) -> None:
    """Return once the node no longer says that it is starting."""
    while is_warming_up(await caller.ask(line, "uptime", b"[]", CALL_S)):
        wait("the node is starting")
        await asyncio.sleep(WARMUP_STEP_S)


async def _settled(socket: Path, wait: Wait) -> None:
    """Return once the socket is old enough that the node has begun to load."""
    age_s = time.time() - os.stat(socket).st_mtime  # noqa: PTH116 - of a socket that was just connected
    if 0 <= age_s < SETTLE_S:
        wait(f"the node was started {age_s:.0f} s ago; it is asked for its tip {SETTLE_S:.0f} s after its start")
        await asyncio.sleep(SETTLE_S - age_s)
