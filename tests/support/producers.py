"""Producers of live sources that behave as a test needs, one of each way to run: thread, event loop, child process."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO

import numpy as np

from watchdog.core.batch import Batch, Column
from watchdog.sources.live.inbox import Inbox
from watchdog.sources.live.runners import ChildRunner, LoopRunner, Runner, ThreadRunner

SECOND_NS = 1_000_000_000
WAYS = ("thread", "loop", "child")


def batch_at(second: int, rows: int = 1, kind: str = "p2p:ping", source: str = "fake:1") -> Batch:
    columns: dict[str, Column] = {"time_ns": np.full(rows, second * SECOND_NS, np.int64)}
    return Batch(kind, "node", source, columns)


@dataclass
class Script:
    """What a producer does: hand over `batches` batches from the position on, then `then`.

    then: `end`, `fail`, `hang` (ignores every request to end) or `idle` (heartbeats until asked to end).
    """

    batches: int = 3
    rows: int = 1
    then: str = "idle"
    pause_s: float = 0.0
    released: threading.Event = field(default_factory=threading.Event)  # ends a hanging thread or loop after its test
    refused: list[bool] = field(default_factory=list)  # answers of `put` that were False

    def steps(self, position: Mapping[str, object] | None) -> Iterator[int]:
        first = int(str(position["next"])) if position else 1
        yield from range(first, self.batches + 1)


CHILD = """
import signal, sys, time
first, last, rows, then, pause_s = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], float(sys.argv[5])
if then == "hang":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
for second in range(first, last + 1):
    print(f"put {second} {rows}", flush=True)
    time.sleep(pause_s)
if then == "fail":
    sys.exit("the wire was cut")
second = last
while then in ("idle", "hang"):
    print(f"beat {second}", flush=True)
    time.sleep(0.02)
"""


Start = Callable[[Inbox, Mapping[str, object] | None], Runner]


def started(way: str, script: Script) -> Start:
    """A `Start` for this way of running."""
    return {"thread": _in_thread, "loop": _in_loop, "child": _in_child}[way](script)


def _hand_over(script: Script, inbox: Inbox, second: int) -> None:
    made = (batch_at(second, script.rows, source=inbox.name),)
    while not inbox.put(made, second * SECOND_NS, {"next": second + 1}):
        script.refused.append(True)
        if inbox.closed or inbox.policy == "drop":
            return


def _in_thread(script: Script) -> Start:
    def start(inbox: Inbox, position: Mapping[str, object] | None) -> Runner:
        def produce(inbox: Inbox, stopping: threading.Event) -> None:
            for second in script.steps(position):
                _hand_over(script, inbox, second)
                if stopping.wait(script.pause_s):
                    return
            if script.then == "fail":
                raise OSError("the wire was cut")
            ending = script.released if script.then == "hang" else stopping
            while script.then != "end" and not ending.is_set():
                inbox.heartbeat(script.batches * SECOND_NS)
                time.sleep(0.005)

        return ThreadRunner(produce, inbox)

    return start


def _in_loop(script: Script) -> Start:
    def start(inbox: Inbox, position: Mapping[str, object] | None) -> Runner:
        async def produce(inbox: Inbox) -> None:
            for second in script.steps(position):
                await asyncio.to_thread(_hand_over, script, inbox, second)
                await asyncio.sleep(script.pause_s)
            if script.then == "fail":
                raise OSError("the wire was cut")
            while script.then in {"idle", "hang"} and not script.released.is_set():
                inbox.heartbeat(script.batches * SECOND_NS)
                try:
                    await asyncio.sleep(0.005)
                except asyncio.CancelledError:
                    if script.then == "idle":
                        raise

        return LoopRunner(produce, inbox)

    return start


def _in_child(script: Script) -> Start:
    def start(inbox: Inbox, position: Mapping[str, object] | None) -> Runner:
        def read(pipe: IO[bytes], inbox: Inbox) -> None:
            for line in pipe:
                word, second, *_ = line.split()
                if word == b"put":
                    _hand_over(script, inbox, int(second))
                else:
                    inbox.heartbeat(int(second) * SECOND_NS)

        first = int(str(position["next"])) if position else 1
        numbers = [str(first), str(script.batches), str(script.rows), script.then, str(script.pause_s)]
        return ChildRunner([sys.executable, "-c", CHILD, *numbers], read, inbox)

    return start
