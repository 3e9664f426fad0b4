"""While a clock is wrong the service is blind, and its probes, numbers and heartbeat say so."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.support.daemon import MovedClock, configure, serve, until
from tests.support.event_loops import scenery
from watchdog.service.config.read import load_config
from watchdog.service.daemon import Daemon
from watchdog.service.live_view import LiveView


def poll(ahead_s: float) -> str:
    result = {"loaded": True, "size": 1, "bytes": 1, "usage": 1, "maxmempool": 300_000_000}
    return json.dumps({"time": time.time() + ahead_s, "kind": "getmempoolinfo", "result": result}) + "\n"


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def test_a_clock_that_is_wrong_is_told_by_all_who_are_asked(tmp_path: Path) -> None:
    configure(tmp_path, sources="snapshots:polls.jsonl")
    polls = tmp_path / "polls.jsonl"
    polls.write_text("")

    async def story(daemon: Daemon, clock: MovedClock) -> None:
        await until(lambda: daemon.vitals.state() == "ok")
        scenery(lambda: polls.write_text("".join(poll(7_200 + at) for at in range(25))))
        await until(lambda: daemon.vitals.state() == "blind")
        assert daemon.sign_of_life() is None
        failing = [one for one in LiveView(daemon).readiness().checks if not one.ok and one.name == "clocks"]
        assert "25 of its last 25 events have times that cannot be right" in failing[0].text
        assert 'watchdog_source_clock_wrong{source="snapshots:' in LiveView(daemon).metrics()
        scenery(lambda: append(polls, poll(0) + poll(3)))
        await until(lambda: not daemon.engine.feed.channels[0].times.fault)
        clock.ahead += 21
        await until(lambda: daemon.vitals.state() == "ok")
        assert daemon.sign_of_life() is not None

    serve(tmp_path, story)


@pytest.mark.parametrize(("text", "wanted"), [("1s", 10**9), ("1h", 3_600 * 10**9), (None, 120 * 10**9)])
def test_the_allowed_skew_is_configured(tmp_path: Path, text: str | None, wanted: int) -> None:
    configure(tmp_path)
    with (tmp_path / "watchdog.yaml").open("a") as file:
        file.write(f"clock_skew: {text}\n" if text else "")
    assert load_config(tmp_path / "watchdog.yaml").clock_skew == wanted
