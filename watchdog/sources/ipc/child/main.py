"""The child's process: two pipes and one event loop. It ends with the node, at SIGTERM, and with its parent."""

from __future__ import annotations

import argparse
import asyncio
import os
import queue
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NoReturn

import capnp

from watchdog.sources.ipc.child.session import ChildPlan, NodeSession
from watchdog.sources.ipc.pipe import (
    Ask,
    BrokenPipeFrameError,
    Closed,
    FromChild,
    NotYet,
    Said,
    Tip,
    frame,
    next_from_parent,
)

LEAVE_S: Final = 10.0
"""From the request to end until the process ends without having left the node in order."""
ROOM_BYTES: Final = 8 << 20
"""In the queue of the pipe: beyond it no events are added, only answers."""


class Pipe:
    """The pipe to the parent: a thread writes, so that a slow parent never blocks the node's callbacks."""

    def __init__(self) -> None:
        self._frames: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._waiting = 0
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._write, name="pipe", daemon=True)
        self._thread.start()

    def send(self, message: FromChild) -> None:
        """Queue a message; a tip or a line for the log only while there is room."""
        if isinstance(message, Tip | Said | NotYet) and not self.has_room():
            return
        made = frame(message)
        with self._lock:
            self._waiting += len(made)
        self._frames.put(made)

    def has_room(self) -> bool:
        """Return whether the parent reads as fast as the node reports."""
        return self._waiting < ROOM_BYTES

    def close(self, timeout_s: float) -> None:
        """Write what waits, for a bounded time."""
        self._frames.put(None)
        self._thread.join(timeout_s)

    def _write(self) -> None:
        while (made := self._frames.get()) is not None:
            try:
                sys.stdout.buffer.write(made)
                sys.stdout.buffer.flush()
            except OSError:  # the parent is gone; its end of the other pipe says so, too
                return
            with self._lock:
                self._waiting -= len(made)


class Child:
    """Runs one session. Made inside the event loop."""

    def __init__(self, plan: ChildPlan) -> None:
        self._loop = asyncio.get_running_loop()
        self._pipe = Pipe()
        self._session = NodeSession(plan, self._pipe.send, self._pipe.has_room)
        self._stopping = asyncio.Event()
        self._calls: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Serve until the node ends the connection, or the parent wants no more; then leave in order."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            self._loop.add_signal_handler(number, self._stop)
        threading.Thread(target=self._read, name="requests", daemon=True).start()
        serving = asyncio.create_task(self._session.run())
        stopped = asyncio.create_task(self._stopping.wait())
        await asyncio.wait({serving, stopped}, return_when=asyncio.FIRST_COMPLETED)
        end_within(LEAVE_S)
        closed = serving.result() if serving.done() else Closed("stopped", "")
        for task in (serving, stopped, *self._calls):
            task.cancel()
        await asyncio.gather(serving, stopped, *self._calls, return_exceptions=True)
        await self._session.leave()
        self._pipe.send(closed)
        self._pipe.close(1.0)

    def _stop(self) -> None:
        self._stopping.set()

    def _read(self) -> None:
        """Read requests, in a thread; their end is that of the parent."""
        try:
            while (ask := next_from_parent(sys.stdin.buffer.read)) is not None:
                self._loop.call_soon_threadsafe(self._take, ask)
        except (BrokenPipeFrameError, OSError) as error:
            sys.stderr.write(f"{error}\n")
        end_within(LEAVE_S)  # here, too: the event loop may hang
        self._loop.call_soon_threadsafe(self._stop)

    def _take(self, ask: Ask) -> None:
        task = asyncio.create_task(self._session.answer(ask))
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)


def end_within(seconds: float) -> None:
    """End the process after this time, whatever the event loop does: a node that hangs must not keep it for ever."""
    timer = threading.Timer(seconds, os._exit, args=(3,))
    timer.daemon = True
    timer.start()


def main(arguments: Sequence[str]) -> NoReturn:
    """Run until the connection ends."""
    parser = argparse.ArgumentParser(prog="watchdog.sources.ipc.child")
    parser.add_argument("socket", type=Path)
    parser.add_argument("--subscribe", action="store_true")
    parser.add_argument("--kinds", default="", help="kinds of events that something reads, joined by commas")
    options = parser.parse_args(arguments)
    plan = ChildPlan(options.socket, options.subscribe, frozenset(filter(None, options.kinds.split(","))))
    asyncio.run(capnp.run(_serve(plan)))
    sys.stderr.flush()
    os._exit(0)  # a thread still reads standard input, which no interpreter that ends in order could take from it


async def _serve(plan: ChildPlan) -> None:
    await Child(plan).run()
