"""Replays: event time to incidents, paced, interrupted and resumed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from watchdog.core.errors import RuleError, SourceError, StateError
from watchdog.core.source import END_OF_TIME_NS
from watchdog.offline.replay import Progress, ReplayOptions, ReplayResult, replay
from watchdog.pipeline.atomic_file import check_place, write_whole
from watchdog.pipeline.checkpoint import MAGIC, Checkpoint, read_checkpoint, write_checkpoint
from watchdog.pipeline.clock import Pace
from watchdog.sources.rpc import snapshots_source as snapshots

START = 1_768_212_000
RULES = """
rules:
  full-mempool:
    title: Mempool is full
    attack: resource
    severity: warning
    on: rpc:mempool
    by: []
    measure:
      most: max(txs)
    over: 2m
    fire: most > 100
    resolve_after: 5m
    escalate:
      high: most > 1000
    summary: "{most} transactions wait"
    evidence: 4
"""


class VirtualClock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "rules.yaml"
    path.write_text(RULES)
    return path


@pytest.fixture
def source(tmp_path: Path) -> str:
    """Ninety minutes of a mempool that fills twice, polled each minute."""
    path = tmp_path / "snapshots.jsonl"
    sizes = dict.fromkeys(range(20, 30), 500) | dict.fromkeys(range(60, 64), 2000)
    lines = [
        {
            "time": START + 60 * minute,
            "kind": "getmempoolinfo",
            "result": {
                "loaded": True,
                "size": sizes.get(minute, 10),
                "bytes": 1,
                "usage": 1,
                "maxmempool": 300_000_000,
            },
        }
        for minute in range(90)
    ]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return f"snapshots:{path}"


def options(rules: Path, **other: Path | float) -> ReplayOptions:
    checkpoint, speed = other.get("checkpoint"), other.get("speed")
    return ReplayOptions(
        rules=[rules],
        packs=False,
        checkpoint=checkpoint if isinstance(checkpoint, Path) else None,
        speed=speed if isinstance(speed, float) else None,
    )


def test_a_replay_gives_incidents_by_opening_time(rules: Path, source: str) -> None:
    result = replay([source], options(rules))
    first, second = (json.loads(line) for line in result.lines().splitlines())
    assert (first["severity"], second["severity"]) == ("warning", "high")
    assert START + 20 * 60 <= first["opened"] <= START + 22 * 60
    assert first["resolved"] - first["cleared"] == 300
    assert second["summary"] == "2000 transactions wait"
    assert [event["kind"] for event in second["evidence"]][:1] == ["rpc:mempool"]
    assert (result.finished, result.events) == (True, 90)
    assert first["title"] == "Mempool is full"


def test_progress_tells_share_time_events_and_incidents(rules: Path, source: str) -> None:
    steps: list[Progress] = []
    replay([source], options(rules), progress=steps.append)
    assert steps[-1].share == 1.0
    assert steps[-1].events == 90
    assert steps[-1].time_ns == (START + 89 * 60) * 1_000_000_000


def _interrupted(source: str, chosen: ReplayOptions, after: int) -> ReplayResult:
    """Stop after so many slices."""
    seen = 0

    def count(_: Progress) -> None:
        nonlocal seen
        seen += 1

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(snapshots, "JOINED_ROUNDS", 10)
        return replay([source], chosen, progress=count, stopped=lambda: seen >= after)


@pytest.mark.parametrize("after", [1, 2, 3])
def test_an_interrupted_replay_goes_on_exactly(tmp_path: Path, rules: Path, source: str, after: int) -> None:
    whole = replay([source], options(rules)).lines()
    chosen = options(rules, checkpoint=tmp_path / "state")
    steps = 1
    while not (result := _interrupted(source, chosen, after)).finished:
        assert (tmp_path / "state").exists()
        assert (steps := steps + 1) < 1000
    assert result.lines() == whole
    assert not (tmp_path / "state").exists()


def test_a_checkpoint_of_other_rules_or_sources_is_refused(tmp_path: Path, rules: Path, source: str) -> None:
    chosen = options(rules, checkpoint=tmp_path / "state")
    assert not _interrupted(source, chosen, 1).finished
    copy = tmp_path / "other.jsonl"
    copy.write_bytes(Path(source.partition(":")[2]).read_bytes())
    with pytest.raises(StateError, match=r"was made with sources '.*', now '.*other.jsonl'; remove it"):
        replay([f"snapshots:{copy}"], chosen)
    rules.write_text(RULES.replace("> 100\n", "> 200\n"))
    with pytest.raises(StateError, match="was made with rules"):
        replay([source], chosen)


def test_wrong_input_is_one_error(tmp_path: Path, rules: Path) -> None:
    with pytest.raises(SourceError, match="no such file"):
        replay([f"snapshots:{tmp_path / 'nope'}"], options(rules))
    with pytest.raises(RuleError):
        replay([f"snapshots:{rules}"], options(tmp_path / "nope.yaml"))


def test_a_paced_replay_takes_event_time_divided_by_the_speed(rules: Path, source: str) -> None:
    clock = VirtualClock()
    result = replay([source], options(rules, speed=60.0), clock=clock)
    assert result.finished
    assert 0 <= clock.now - 1000 <= 91


def test_pace_waits_until_event_time_is_due_and_not_for_the_end_of_time() -> None:
    clock = VirtualClock()
    pace = Pace(2.0, clock)
    for second in (0, 10, 5, 30):
        pace.wait(START * 1_000_000_000 + second * 1_000_000_000, lambda: False)
    assert clock.now == pytest.approx(1015.0)
    pace.wait(END_OF_TIME_NS, lambda: False)
    pace.wait((START + 10_000) * 1_000_000_000, lambda: True)
    assert clock.now == pytest.approx(1015.0)


CHECKPOINT = Checkpoint("r", ("s",), "node", "", {"s": {"offset": 7}}, b"engine", b"book", 3, 1, 2)


def test_a_checkpoint_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "state", CHECKPOINT)
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o600, "it has addresses of peers"
    assert read_checkpoint(tmp_path / "state") == CHECKPOINT
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda raw: raw[:-1], "wrong checksum"),
        (lambda raw: raw[:-3] + b"xyz", "wrong checksum"),
        (lambda raw: raw.replace(MAGIC, b"watchdog checkpoint 9\n"), "not a checkpoint of this version"),
        (lambda _: b"", "not a checkpoint of this version"),
    ],
)
def test_a_damaged_checkpoint_is_refused(tmp_path: Path, damage: object, reason: str) -> None:
    path = tmp_path / "state"
    write_checkpoint(path, CHECKPOINT)
    assert callable(damage)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(StateError, match=rf"checkpoint '.*state': {reason}.*remove it to start over"):
        read_checkpoint(path)


def test_a_file_that_cannot_be_written_leaves_the_old_one_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out"
    write_whole(path, b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*out'"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


def test_a_place_that_cannot_be_written_is_found_early(tmp_path: Path) -> None:
    check_place(tmp_path / "fine")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OSError, match=r"No such file or directory: '.*nowhere/out'"):
        check_place(tmp_path / "nowhere" / "out")
    with pytest.raises(IsADirectoryError):
        check_place(tmp_path)
