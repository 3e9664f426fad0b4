"""A replay of a real recording, stopped anywhere and resumed, gives the same incidents byte for byte."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from watchdog.offline.replay import Progress, ReplayOptions, ReplayResult, replay


def _until(source: str, options: ReplayOptions, slices: int) -> ReplayResult:
    seen = 0

    def count(_: Progress) -> None:
        nonlocal seen
        seen += 1

    return replay([source], options, progress=count, stopped=lambda: seen >= slices)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_stopped_anywhere_a_replay_goes_on_exactly(recordings: Path, tmp_path: Path, seed: int) -> None:
    source, dice = f"recording:{recordings / 'open-5'}", random.Random(seed)
    whole = replay([source], ReplayOptions())
    options, stops = ReplayOptions(checkpoint=tmp_path / "state"), 0
    # A resumed capture reads its past again in slices without events, so a stop must leave room for more than those.
    while not (result := _until(source, options, dice.randint(2, 6) + 8 * stops)).finished:
        stops += 1
    assert stops > 0
    assert len(whole.incidents) > 0
    assert result.lines() == whole.lines()
