"""python -m benchmarks.fleet_service MINUTES FOLDER: the engines of a service for several nodes, on a virtual clock.

Standard input is the list that fleet_nodes prints. Everything is what `watchdog run` builds (pollers, feeds, engines of
all shipped rules, the fleet's engine, checkpoints, writer, database) except sender, page and API. The pollers pause
together; then each engine takes what there is, and the clock moves by a second. Prints CPU seconds of the minutes, the
peak of memory in bytes, and what was done.
"""

from __future__ import annotations

import json
import random
import resource
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.rpc_addrman import FIRST_S
from watchdog.core.text import counted
from watchdog.service.assembly import ServiceParts, build
from watchdog.service.config.read import load_config
from watchdog.service.engine_thread import EngineLoop
from watchdog.sources.rpc import polled_source
from watchdog.sources.rpc.poller import Timing

STRIDE_S: Final = 1.0  # the heartbeat of a poller, and the pause of an engine at rest
LIMIT_S: Final = 120.0  # of real time, for one round of all pollers


class Lockstep:
    """The virtual clock of pollers and engines. Its own thread moves it while all pollers wait."""

    def __init__(self, pollers: int) -> None:
        self.now_s = float(FIRST_S)
        self._pause, self._ended = threading.Barrier(pollers + 1), False
        self._random = random.Random(3).random

    def monotonic(self) -> float:
        """Return the time now."""
        return self.now_s

    def sleep(self, seconds: float) -> None:
        """Never wait: nothing that the benchmark runs sleeps by this clock."""
        raise AssertionError(f"a pause of {seconds} s")

    def wall_ns(self) -> int:
        """Return the wall clock."""
        return round(self.now_s * 1e9)

    def timing(self, **_: object) -> Timing:
        """Return the clocks of a poller."""
        return Timing(self.wall_ns, self.monotonic, self._wait, self._random)

    def gather(self) -> None:
        """Wait until all pollers pause."""
        self._pause.wait(LIMIT_S)

    def move(self) -> None:
        """Let the pollers run, a stride later."""
        self.now_s += STRIDE_S
        self._pause.wait(LIMIT_S)

    def end(self) -> None:
        """Stop all pollers."""
        self._ended = True
        self._pause.wait(LIMIT_S)

    def _wait(self, stopping: threading.Event, _seconds: float) -> None:
        if self._ended:
            stopping.wait(LIMIT_S)
            return
        self._pause.wait(LIMIT_S)
        self._pause.wait(LIMIT_S)


def run(parts: ServiceParts, clock: Lockstep, minutes: float) -> None:
    """Let the minutes pass."""
    end_s = clock.now_s + 60 * minutes
    while clock.now_s < end_s:
        clock.gather()
        for loop in parts.nodes.loops:
            _rested(loop, clock)
        clock.move()
    clock.gather()


def _rested(loop: EngineLoop, clock: Lockstep) -> None:
    """Let an engine take what there is; a command wakes it, so that its rest does not wait in real time."""
    loop.orders.put(_nothing)
    loop.step()
    while loop.counts.idle_s != clock.now_s:
        loop.step()


def _nothing() -> None:
    """Stand for a command."""


def configure(folder: Path, places: Sequence[tuple[str, str]]) -> Path:
    """Write the configuration of these nodes."""
    nodes = "".join(
        f"  n{number}: {{sources: [{{rpc: '{url}', cookie: '{cookie}'}}]}}\n"
        for number, (url, cookie) in enumerate(places)
    )
    path = folder / "watchdog.yaml"
    path.write_text(f"start: now\nnodes:\n{nodes}")
    return path


def main() -> None:
    """Measure, and print one JSON object."""
    minutes, folder = float(sys.argv[1]), Path(sys.argv[2])
    places = json.loads(sys.stdin.read())
    config = load_config(configure(folder, places))
    clock = Lockstep(len(places))
    setattr(polled_source, "Timing", clock.timing)  # noqa: B010 - the pollers of this process take this clock
    parts = build(config, clock=clock, wall_ns=clock.wall_ns, stored=lambda _records: None)
    parts.writer.start()
    begun_s = time.process_time()
    run(parts, clock, minutes)
    used_s = time.process_time() - begun_s
    requests = [channel.source.counters["requests"] for loop in parts.nodes for channel in loop.feed.channels]  # type: ignore[union-attr]
    checkpoints = sum(loop.counts.checkpoints for loop in parts.nodes.loops)
    done = f"{counted(sum(requests), 'request')}, {counted(checkpoints, 'checkpoint')}"
    clock.end()
    for loop in parts.nodes.loops:
        loop.feed.close()
    parts.writer.finish()
    parts.writer.join(LIMIT_S)
    parts.close()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"cpu_s": used_s, "peak": peak, "requests": min(requests), "done": done}))


if __name__ == "__main__":
    main()
