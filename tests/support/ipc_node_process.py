"""The process of `tests.support.ipc_node.IpcNode`: a node's IPC socket in pycapnp, moved by lines of JSON on its input.

It counts what a client does. With `fragile` it ends, as the tracing proof of concept did, when a client disappears
while it is subscribed.
"""
# ruff: noqa: N802, N803, ASYNC109, ASYNC110, T201 - names of the wire; orders of the test arrive at any time

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import capnp

from tests.support.ipc_wire import INITS, write_schemas

Json = Any
_FOLDER = tempfile.TemporaryDirectory(prefix="ipc-schema-")
LAYOUT = sys.argv[2] if len(sys.argv) > 2 else "v31-rpc"
write_schemas(Path(_FOLDER.name), LAYOUT)


def _load(name: str) -> Any:
    return capnp.load(f"{_FOLDER.name}/{name}.capnp", imports=[_FOLDER.name])


PROXY: Any = _load("proxy")
INIT: Any = _load("init")
RPC: Any = _load("rpc")
MINING: Any = _load("mining")
HANDLER: Any = _load("handler")
CHAIN: Any = _load("chain")
NODE: Any = _load("node")
TRACING: Any = _load("tracing")


class World:
    """The state of the node, and what clients did to it."""

    def __init__(self, answers: dict[str, Json]) -> None:
        self.answers = answers
        self.height, self.branch = 100, 0
        self.changed = asyncio.Event()
        self.ibd = False
        self.warmup = self.delay_s = 0.0
        self.hanging: set[str] = set()
        self.garbage = ""
        self.huge = 0
        self.fragile = False
        self.counts: Counter[str] = Counter()
        self.subscribers: dict[str, list[Any]] = {"chain": [], "coins": [], "connections": []}
        self.open = 0

    def tip(self) -> bytes:
        return bytes([self.branch]) * 16 + self.height.to_bytes(16, "little")

    async def rpc(self, method: str, params: list[Json]) -> tuple[str, Json]:
        """Return ("result", value) or ("error", object), as slowly as the test wants."""
        self.counts[f"rpc:{method}"] += 1
        while method in self.hanging or "*" in self.hanging:
            await asyncio.sleep(0.05)
        await asyncio.sleep(self.delay_s)
        if self.warmup > 0:
            self.warmup -= 1
            return "error", {"code": -28, "message": "Loading block index…"}
        if method not in self.answers:
            return "error", {"code": -32601, "message": "Method not found"}
        if self.huge:
            return "result", "x" * self.huge
        return "result", self.answers[method]


class Thread(PROXY.Thread.Server):  # type: ignore[misc]
    """A worker thread, by name only."""

    async def getName(self, **_: Any) -> str:
        return "fake"


class ThreadMap(PROXY.ThreadMap.Server):  # type: ignore[misc]
    """Makes worker threads, and counts them."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def makeThread(self, name: str, **_: Any) -> Thread:
        self.world.counts["threads"] += 1
        return Thread()


class Rpc(RPC.Rpc.Server):  # type: ignore[misc]
    """JSON-RPC in one text."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def executeRpc(self, request: str, user: str, **_: Any) -> str:
        if self.world.garbage:
            return self.world.garbage
        asked = json.loads(request)
        assert user == "watchdog"
        which, value = await self.world.rpc(asked["method"], asked["params"])
        return json.dumps({"result": None, "error": None, "id": asked["id"]} | {which: value})


class Node(NODE.Node.Server):  # type: ignore[misc]
    """JSON-RPC in parts, and the count of connections."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def executeRpc(self, command: str, params: str, **_: Any) -> tuple[str, str, str]:
        which, value = await self.world.rpc(command, json.loads(params))
        if self.world.garbage:
            return "", "", self.world.garbage
        return "", json.dumps(value) if which == "error" else "", json.dumps(value) if which == "result" else ""

    async def handleNotifyNumConnectionsChanged(self, callback: Any, **_: Any) -> Handler:
        return Handler(self.world, "connections", callback)


class Mining(MINING.Mining.Server):  # type: ignore[misc]
    """The tip. A node that is still loading would end at any of these, so they count what comes too early."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.interrupted = False

    async def isTestChain(self, **_: Any) -> bool:
        return True

    async def getTip(self, **_: Any) -> tuple[Any, bool]:
        self.world.counts["getTip"] += 1
        self.world.counts["early"] += self.world.warmup > 0
        while "getTip" in self.world.hanging:
            await asyncio.sleep(0.05)
        return {"hash": self.world.tip(), "height": self.world.height}, True

    async def waitTipChanged(self, currentTip: bytes, timeout: float, **_: Any) -> Any:
        self.world.counts["waitTipChanged"] += 1
        current = bytes(currentTip)  # the view dies with its message
        while "waitTipChanged" in self.world.hanging:
            await asyncio.sleep(0.05)
        if self.world.garbage:
            return {"hash": b"short", "height": -7}
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout / 1e3
        while current == self.world.tip() and not self.interrupted and loop.time() < end:
            await asyncio.sleep(0.02)
        return {"hash": self.world.tip(), "height": self.world.height}

    async def interrupt(self, **_: Any) -> None:
        self.world.counts["interrupt"] += 1
        self.interrupted = True


class Handler(HANDLER.Handler.Server):  # type: ignore[misc]
    """One subscription."""

    def __init__(self, world: World, which: str, callback: Any) -> None:
        self.world, self.which, self.callback = world, which, callback
        world.subscribers[which].append(callback)
        world.counts[f"subscribed:{which}"] += 1
        world.open += 1

    async def disconnect(self, **_: Any) -> None:
        self.world.counts["disconnected"] += 1
        while "disconnect" in self.world.hanging:
            await asyncio.sleep(0.05)
        self.world.subscribers[self.which].remove(self.callback)
        self.world.open -= 1

    async def destroy(self, **_: Any) -> None:
        self.world.counts["destroyed"] += 1


class Chain(CHAIN.Chain.Server):  # type: ignore[misc]
    """Notifications of the chain."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def destroy(self, **_: Any) -> None:
        self.world.counts["chain destroyed"] += 1

    async def getHeight(self, **_: Any) -> tuple[int, bool]:
        return self.world.height, True

    async def isInitialBlockDownload(self, **_: Any) -> bool:
        if "ibd" in self.world.hanging:
            raise RuntimeError("no such method here")
        return self.world.ibd

    async def handleNotifications(self, notifications: Any, **_: Any) -> Handler:
        handler = Handler(self.world, "chain", notifications)
        while "subscribe" in self.world.hanging:
            await asyncio.sleep(0.05)
        return handler


class Tracing(TRACING.Tracing.Server):  # type: ignore[misc]
    """The trace of the coins cache."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def traceUtxoCache(self, callback: Any, **_: Any) -> Handler:
        return Handler(self.world, "coins", callback)


class Other(INIT.Other.Server):  # type: ignore[misc]
    """An object of no release."""


MADE = {"Mining": Mining, "Rpc": Rpc, "Node": Node, "Chain": Chain, "Tracing": Tracing}


def factory(name: str) -> Any:
    """Return the method of Init that makes an object of this name."""

    async def make(self: Init, **_: Any) -> Any:
        self.world.counts[f"make{name}"] += 1
        if name == "WalletLoader":
            raise RuntimeError("a node would end here")
        while f"make{name}" in self.world.hanging:
            await asyncio.sleep(0.05)
        return Other() if name == "Other" else MADE[name](self.world)

    return make


async def _old(self: Init, **_: Any) -> None:
    raise RuntimeError("Old mining interface (@2) not supported. Please update your client!")


class Init(INIT.Init.Server):  # type: ignore[misc]
    """The first object; its factories are those of the layout."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def construct(self, threadMap: Any, **_: Any) -> ThreadMap:
        self.world.counts["constructed"] += 1
        while "construct" in self.world.hanging:
            await asyncio.sleep(0.05)
        return ThreadMap(self.world)


for _name in INITS[LAYOUT].values():
    setattr(Init, f"make{_name}", _old if _name == "MiningOld2" else factory(_name))


async def served(world: World, stream: Any) -> None:
    """Serve one client to its end; see whether it left without taking its subscriptions back."""
    world.counts["clients"] += 1
    open_before = world.open
    server = capnp.TwoPartyServer(stream, bootstrap=Init(world))
    await server.on_disconnect()
    world.counts["gone"] += 1
    if world.open > open_before:
        world.counts["abandoned"] += world.open - open_before
        if world.fragile:
            os._exit(134)


async def _notify(world: World, do: str, of: dict[str, Json]) -> None:
    """Call subscribers, and wait for each as a node does."""
    context = PROXY.Context.new_message()
    for callback in list(world.subscribers["chain"]):
        if do == "tx":
            await callback.transactionAddedToMempool(context=context, tx=bytes.fromhex(of["tx"]))
        elif do == "removed":
            tx = bytes.fromhex(of["tx"])
            await callback.transactionRemovedFromMempool(context=context, tx=tx, reason=of["reason"])
        elif do in ("block", "unblock"):
            block = {
                "hash": world.tip(),
                "prevHash": bytes(32),
                "height": world.height,
                "data": bytes.fromhex(of["data"]),
            }
            if "hash" in of:
                block["hash"] = bytes.fromhex(of["hash"])
            if do == "block":
                await callback.blockConnected(context=context, role={"validated": True}, block=block)
                await callback.updatedBlockTip(context=context)
            else:
                await callback.blockDisconnected(context=context, block=block)
        elif do == "flush":
            await callback.chainStateFlushed(context=context, role={"validated": True}, locator=b"")
    for callback in list(world.subscribers["connections"] if do == "connections" else ()):
        await callback.call(context=context, newNumConnections=of["number"])
    for callback in list(world.subscribers["coins"] if do == "coins" else ()):
        for number in range(of["number"]):
            info = {"outpointHash": bytes([1]) * 32, "outpointN": number, "height": 7, "value": 50, "isCoinbase": True}
            await getattr(callback, of["method"])(utxoInfo=info)


async def moved(world: World, order: dict[str, Json]) -> Json:
    """Do what the test wants; return what it asks for."""
    do = order.pop("do")
    if do == "set":
        world.hanging = set(order.pop("hanging", world.hanging))
        for name, value in order.items():
            setattr(world, name, value)
    elif do == "tip":
        world.height, world.branch = order["height"], order.get("branch", 0)
    elif do == "report":
        return {**world.counts, "open": world.open}
    elif do == "answer":
        world.answers.update(order["answers"])
    else:
        await _notify(world, do, order)
    return {}


async def main(path: str) -> None:
    """Serve until standard input ends."""
    world = World(json.loads(sys.stdin.readline()))
    server = await capnp.AsyncIoStream.create_unix_server(lambda stream: served(world, stream), path)
    print("{}", flush=True)
    async with server:
        while line := await asyncio.to_thread(sys.stdin.readline):
            try:
                answer = await asyncio.wait_for(moved(world, json.loads(line)), 30)
            except (capnp.KjException, TimeoutError) as error:
                answer = {"failed": str(error)[:300]}
            print(json.dumps(answer), flush=True)
    os._exit(0)  # as a node that is killed: clients see the end of the connection


if __name__ == "__main__":
    asyncio.run(capnp.run(main(sys.argv[1])))
