"""The daemon in this process, with a clock that a test moves: when it is well, and what a reload answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from watchdog.service.config import load_config
from watchdog.service.daemon import Daemon
from watchdog.service.live_view import LiveView
from watchdog.service.settings import DAY_NS

CONFIG = """
node: {node}
sources: {sources}
packs: false
rules: rules.yaml
retention: {{resolved: {resolved}}}
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
        return time.monotonic() + self.ahead

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


def configure(folder: Path, *receivers: str, sources: str = "log:debug.log", **more: str) -> None:
    facts = {"node": "alice", "resolved": "90d"} | more
    (folder / "rules.yaml").write_text(RULES)
    text = CONFIG.format(sources=sources, receivers=", ".join(receivers), **facts)
    (folder / "watchdog.yaml").write_text(text)


def hook(name: str, path: str = "hook", severity: str = "info") -> str:
    return RECEIVER.format(name=name, path=path, severity=severity)


def serve(folder: Path, story: Callable[[Daemon, MovedClock], Awaitable[None]]) -> None:
    """Run a daemon while the story goes on."""

    async def run() -> None:
        clock = MovedClock()
        daemon = Daemon(load_config(folder / "watchdog.yaml"), clock=clock)
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
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110 (threads of the service change it, and set no event)
            await asyncio.sleep(0.02)


def test_the_heartbeat_stops_while_a_source_is_down_and_goes_on_when_it_works(tmp_path: Path) -> None:
    configure(tmp_path, sources="[log:here.log, log:debug.log]")
    (tmp_path / "here.log").write_text("")

    async def story(daemon: Daemon, clock: MovedClock) -> None:
        assert daemon.vitals() is not None, "a source that is away for a moment is no alarm"
        clock.ahead += 31
        await until(lambda: daemon.vitals() is None)
        (tmp_path / "debug.log").write_text("")
        clock.ahead += 61
        await until(lambda: daemon.vitals() is not None)

    serve(tmp_path, story)


def test_a_source_that_was_read_to_its_end_is_not_called_open(tmp_path: Path) -> None:
    configure(tmp_path, sources="[log:a.log, log:b.log]")
    for name in ("a.log", "b.log"):
        (tmp_path / name).write_text("")

    async def story(daemon: Daemon, _clock: MovedClock) -> None:
        def said() -> str:
            return next(one.text for one in LiveView(daemon).readiness().checks if one.name == "sources")

        assert said() == "2 open"
        daemon.core.engine.feed.channels[1].ended = True
        assert said() == "1 open, 1 ended"

    serve(tmp_path, story)


def test_a_restart_that_is_needed_is_not_forgotten_by_the_next_reload(tmp_path: Path) -> None:
    configure(tmp_path)
    (tmp_path / "debug.log").write_text("")

    async def story(daemon: Daemon, _clock: MovedClock) -> None:
        configure(tmp_path, node="bob", resolved="5d")
        for _ in range(2):
            ok, text = await daemon.reload()
            assert ok
            assert text.endswith("; needs a restart: node, retention")
            assert (daemon.config.node, daemon.config.retention.resolved_ns) == ("alice", 90 * DAY_NS)
        configure(tmp_path)
        assert "restart" not in (await daemon.reload())[1], "all is as at the start again"

    serve(tmp_path, story)


def test_a_reload_names_the_receivers_that_changed(tmp_path: Path) -> None:
    configure(tmp_path, hook("ops"), hook("old"))
    (tmp_path / "debug.log").write_text("")

    async def story(daemon: Daemon, _clock: MovedClock) -> None:
        assert (await daemon.reload())[1] == "1 rule (as before), 2 receivers (as before)"
        configure(tmp_path, hook("ops", severity="high"), hook("chat"), hook("team"))
        said = "1 rule (as before), 3 receivers (new: chat, team; changed: ops; gone: old)"
        assert (await daemon.reload())[1] == said
        configure(tmp_path, hook("ops", severity="high"))
        assert (await daemon.reload())[1] == "1 rule (as before), 1 receiver (gone: chat, team)"

    serve(tmp_path, story)
