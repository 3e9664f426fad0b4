"""A daemon in the test's own process, with a clock that the test moves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.support.event_loops import scenery
from tests.support.waiting import reached
from watchdog.service.config.read import load_config
from watchdog.service.daemon import Daemon

CONFIG = """
node: {node}
sources: {sources}
start: beginning
packs: false
rules: rules.yaml
retention: {{resolved: {resolved}}}
database: "{database}"
receivers: {{{receivers}}}
"""
RULES = """
rules:
  mempool-full:
    title: Mempool is full
    attack: resource
    severity: warning
    on: rpc:mempool
    by: []
    measure: {most: max(txs)}
    over: 10s
    fire: most > 100
"""
RECEIVER = '{name}: {{url: "https://chat.example/{path}", severity: {severity}}}'


class MovedClock:
    """The machine's monotonic clock, and what a test adds to it."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def monotonic(self) -> float:
        """Seconds."""
        return time.monotonic() + self.ahead

    def sleep(self, seconds: float) -> None:
        """Really wait."""
        time.sleep(seconds)


def configure(folder: Path, *receivers: str, sources: str = "log:debug.log", **more: str) -> None:
    """Rules and `watchdog.yaml`; more: node, resolved (how long), database."""
    facts = {"node": "alice", "resolved": "90d", "database": f"sqlite:///{folder}/watchdog.db"} | more
    scenery(lambda: (folder / "rules.yaml").write_text(RULES))
    text = CONFIG.format(sources=sources, receivers=", ".join(receivers), **facts)
    scenery(lambda: (folder / "watchdog.yaml").write_text(text))


def hook(name: str, path: str = "hook", severity: str = "info") -> str:
    """A receiver that nothing is ever sent to."""
    return RECEIVER.format(name=name, path=path, severity=severity)


def serve(folder: Path, story: Callable[[Daemon, MovedClock], Awaitable[None]]) -> None:
    """Run a daemon during the story."""

    clock = MovedClock()
    daemon = Daemon(load_config(folder / "watchdog.yaml"), clock=clock)

    async def run() -> None:
        running = asyncio.create_task(daemon.run())
        ready = asyncio.create_task(daemon.ready.wait())
        await asyncio.wait((running, ready), return_when=asyncio.FIRST_COMPLETED)
        assert daemon.ready.is_set(), "the service has ended at its start"
        try:
            await story(daemon, clock)
        finally:
            daemon.stop()
            await running

    asyncio.run(run())


async def until(true: Callable[[], bool]) -> None:
    """Wait in real time."""
    await reached(true)
