"""A clock that was ahead is set right while `record --follow` runs: a replay of the recording judges what follows."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.support.clock_rig import HOUR, SECOND, START
from tests.support.scripted_feed import mempool
from watchdog.archive.reader import EventsFile
from watchdog.core.batch import Slice
from watchdog.core.kinds import ALL_KINDS
from watchdog.core.moments import CLOCK, clock_reset_ns
from watchdog.offline.record import RecordOptions, RecordProgress, record
from watchdog.offline.replay import ReplayOptions, replay
from watchdog.pipeline.clock_reset import gap_of
from watchdog.pipeline.scheduler import merged

RULE = """
rules:
  attack:
    title: An attack
    attack: resource
    severity: warning
    on: log:misbehaving
    by: []
    measure: {times: count()}
    over: 10s
    fire: times >= 20
    resolve_after: 1m
    summary: s
"""
Stage = tuple[float, float, float, int]
"""When (s after START), the offsets of this machine's and of the node's clock, and how many lines the node writes."""


class Recorder:
    """Records a log that grows by one stage after each slice, until the last stage is recorded."""

    def __init__(self, folder: Path) -> None:
        self.log, self.out = folder / "debug.log", folder / "out.events"
        self.log.touch()
        self.wall_ns = START

    def run(self, stages: list[Stage], *, append: bool = False) -> None:
        left = iter(stages)
        self._write(left)

        def further(_step: RecordProgress) -> None:
            self._write(left)

        options = RecordOptions(follow=True, append=append, wall_ns=lambda: self.wall_ns)
        with pytest.raises(KeyboardInterrupt):
            record([f"log:{self.log}"], self.out, options, further)

    def _write(self, left: Iterator[Stage]) -> None:
        stage = next(left, None)
        if stage is None:
            raise KeyboardInterrupt
        at_s, machine_s, node_s, lines = stage
        self.wall_ns = START + int((at_s + machine_s) * SECOND)
        stamp = datetime.fromtimestamp(START // SECOND + at_s + node_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        with self.log.open("a") as file:
            file.write(f"{stamp} [net] Misbehaving: peer=1: spam\n" * lines)

    def resets(self) -> list[int]:
        with EventsFile(self.out, ("source:gap",), strict=True) as file:
            found = [clock_reset_ns(piece.batches) for piece in file.slices()]
        return [one for one in found if one is not None]

    def opened(self) -> list[float]:
        """When the rule's incidents opened in a replay, in s after START."""
        rules = self.out.with_name("rules.yaml")
        rules.write_text(RULE)
        told = replay([f"events:{self.out}"], ReplayOptions((rules,), packs=False))
        return [(one.opened_ns - START) / SECOND for one in told.incidents]


def story(machine_s: float, node_s: float) -> list[Stage]:
    """Both clocks as given for a minute, then right; an attack three minutes later."""
    wrong: list[Stage] = [(at, machine_s, node_s, 1) for at in (0, 20, 40, 60)]
    right: list[Stage] = [(at, 0.0, 0.0, 1) for at in (70, 90, 130, 190)]
    return [*wrong, *right, (250, 0.0, 0.0, 40), (280, 0.0, 0.0, 1)]


@pytest.mark.parametrize("off", [150.0, HOUR, 12 * HOUR, 23 * HOUR])
@pytest.mark.parametrize("both", [True, False])
@pytest.mark.parametrize("again", [0, 4, 5])
def test_an_attack_after_a_clock_was_set_back_is_in_the_replay(
    tmp_path: Path, off: float, both: bool, again: int
) -> None:
    """again: the recording is stopped before this stage and continued with --append."""
    recorder, stages = Recorder(tmp_path), story(off if both else 0.0, off)
    if again:
        recorder.run(stages[:again])
        recorder.run(stages[again:], append=True)
    else:
        recorder.run(stages)
    assert recorder.resets() == [START + 70 * SECOND]
    opened = recorder.opened()
    assert [250 <= at <= 262 for at in opened] == [True]


@pytest.mark.parametrize("node_s", [0.0, 100.0, 3_600.0, -3_600.0])
def test_a_clock_that_stays_as_it_is_resets_nothing(tmp_path: Path, node_s: float) -> None:
    recorder = Recorder(tmp_path)
    recorder.run([(at, 0.0, node_s, 40 if at == 80 else 1) for at in range(0, 200, 20)])
    assert recorder.resets() == []
    assert len(recorder.opened()) == 1


def test_rows_of_the_wrong_clock_in_the_slice_of_the_step_come_before_the_reset(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    recorder.run([(0, HOUR, HOUR, 1)])
    recorder.wall_ns = START + 40 * SECOND
    for at_s in (HOUR + 30, 40):
        stamp = datetime.fromtimestamp(START // SECOND + at_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        with recorder.log.open("a") as file:
            file.write(f"{stamp} [net] Misbehaving: peer=1: spam\n")
    recorder.run([(40, 0.0, 0.0, 0), (50, 0.0, 0.0, 1), (60, 0.0, 0.0, 1)], append=True)
    with EventsFile(recorder.out, ("log:misbehaving",), strict=True) as file:
        times = [(int(one.time_ns[0]) - START) // SECOND for piece in file.slices() for one in piece.batches]
    assert times == [3_600, 3_630, 40, 50]
    assert recorder.resets() == [START + 40 * SECOND]


class Recorded:
    """A recorded source that restarts 12 hours back, then gives a slice each second."""

    kinds = ALL_KINDS
    progress = 0.0

    def __init__(self, name: str) -> None:
        self.name = name
        reset = gap_of("node", name, (START, START), CLOCK, START)
        later = [mempool(name, second) for second in range(1, 5)]
        self._left = [Slice(name, (), START + 12 * int(HOUR) * SECOND), Slice(name, (reset,), START), *later]

    @property
    def ended(self) -> bool:
        return not self._left

    def poll(self) -> Slice | None:
        return self._left.pop(0)

    def close(self) -> None:
        """Nothing to close."""


def test_a_source_that_restarts_is_as_far_behind_as_its_reset() -> None:
    """Otherwise one of two recorded sources is read to its end, hours of it, before the other is asked."""
    times = [
        piece.until_ns
        for piece in merged([Recorded("a"), Recorded("b")])
        if clock_reset_ns(piece.batches) is None and piece.batches
    ]
    assert times[-4:] == sorted(times[-4:])
    assert [piece.source for piece in merged([Recorded("a"), Recorded("b")])] == [*"ab", *"aaaaa", *"bbbbb"]
