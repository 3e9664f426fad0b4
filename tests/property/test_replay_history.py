"""A replay that stores its incidents, killed anywhere and resumed, leaves the same history, row by row."""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path

import pytest

from watchdog.offline.replay import Progress, ReplayOptions, replay

TABLES = ("incidents", "incident_pictures", "incident_changes", "outbox", "actions", "cases", "case_aliases")


class Killed(Exception):
    """The process ends here, without a word."""


class HurriedClock:
    """A clock by which a checkpoint is due at every look."""

    def __init__(self) -> None:
        self._now = 0.0

    def monotonic(self) -> float:
        self._now += 6.0
        return self._now

    def sleep(self, seconds: float) -> None:
        raise AssertionError("a replay at full speed sleeps")


def rows(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """All that a history holds."""
    with sqlite3.connect(path) as raw:
        found = {name: raw.execute(f"SELECT * FROM {name} ORDER BY 1, 2").fetchall() for name in TABLES}
    raw.close()
    return found


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_killed_anywhere_a_replay_leaves_the_same_history(recordings: Path, tmp_path: Path, seed: int) -> None:
    source, dice = f"recording:{recordings / 'open-5'}", random.Random(seed)
    whole = replay([source], ReplayOptions(database=f"sqlite:///{tmp_path}/whole.db"))
    options = ReplayOptions(checkpoint=tmp_path / "state", database=f"sqlite:///{tmp_path}/killed.db")
    kills = life = 0

    def mortal(_: Progress) -> None:
        nonlocal life
        life -= 1
        if life < 0:
            raise Killed

    while True:
        life = dice.randint(3, 8) + 8 * kills
        try:
            result = replay([source], options, progress=mortal, clock=HurriedClock())
        except Killed:
            kills += 1
            continue
        break
    assert kills > 0
    assert result.lines() == whole.lines()
    assert rows(tmp_path / "killed.db") == rows(tmp_path / "whole.db")
    assert len(rows(tmp_path / "whole.db")["incidents"]) == len(whole.incidents) > 0
