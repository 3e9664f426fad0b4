"""The daemon in this process, with a clock that a test moves: when it is well, and what a reload answers."""

from __future__ import annotations

from pathlib import Path

from tests.support.daemon import MovedClock, configure, hook, serve, until
from tests.support.event_loops import scenery
from watchdog.core.durations import DAY_NS
from watchdog.service.daemon import Daemon
from watchdog.service.live_view import LiveView


def test_the_heartbeat_stops_while_a_source_is_down_and_goes_on_when_it_works(tmp_path: Path) -> None:
    configure(tmp_path, sources="[log:here.log, log:debug.log]")
    (tmp_path / "here.log").write_text("")

    async def story(daemon: Daemon, clock: MovedClock) -> None:
        assert daemon.sign_of_life() is not None, "a source that is away for a moment is no alarm"
        clock.ahead += 31
        await until(lambda: daemon.sign_of_life() is None)
        scenery(lambda: (tmp_path / "debug.log").write_text(""))
        clock.ahead += 61
        await until(lambda: daemon.sign_of_life() is not None)

    serve(tmp_path, story)


def test_a_source_that_was_read_to_its_end_is_not_called_open(tmp_path: Path) -> None:
    configure(tmp_path, sources="[log:a.log, log:b.log]")
    for name in ("a.log", "b.log"):
        (tmp_path / name).write_text("")

    async def story(daemon: Daemon, _clock: MovedClock) -> None:
        def said() -> str:
            return next(one.text for one in LiveView(daemon).readiness().checks if one.name == "sources")

        assert said() == "2 open"
        daemon.engine.feed.channels[1].ended = True
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
        said = "1 rule (as before), 3 receivers (new: chat, team; changed: ops; removed: old)"
        assert (await daemon.reload())[1] == said
        configure(tmp_path, hook("ops", severity="high"))
        assert (await daemon.reload())[1] == "1 rule (as before), 1 receiver (removed: chat, team)"

    serve(tmp_path, story)
