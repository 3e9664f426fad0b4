"""An events file replays as the sources that it was recorded from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from watchdog.archive.codec import Original
from watchdog.archive.frames import BLOCK, FRAME_HEADER, VERSION, read_header, source_mark
from watchdog.archive.reader import EventsFile
from watchdog.archive.writer import EventsWriter
from watchdog.cli.main import main
from watchdog.core.batch import Batch, Column, Slice
from watchdog.core.errors import SourceError
from watchdog.core.kinds import ALL_KINDS
from watchdog.core.source import END_OF_TIME_NS, Source, SourceOptions
from watchdog.offline.record import RecordOptions, record
from watchdog.offline.replay import ReplayOptions, replay
from watchdog.pipeline.clock import SystemClock
from watchdog.service.feed import Feed
from watchdog.sources import events_file
from watchdog.sources.registry import open_sources

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "demo" / "recording"
OLD = ROOT / "tests" / "data" / "03b34e2" / "old.events"
PARTS = [
    f"capture:{DEMO / 'capture.tar.xz'}",
    f"snapshots:{DEMO / 'snapshots.jsonl.xz'}",
    f"log:{DEMO / 'debug.log.gz'}",
]
T0 = 1_768_212_000_000_000_000
SECOND = 1_000_000_000
GAP = "source:gap"


@pytest.fixture(scope="module")
def demo() -> str:
    return replay([f"recording:{DEMO}"], ReplayOptions()).lines()


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("originals") / "demo.events"
    record([f"recording:{DEMO}"], out, RecordOptions())
    return out


def tips(source: str, second: int, rows: int = 2) -> Slice:
    """A slice with tips of the chain, one a second."""
    times = T0 + (second + np.arange(rows, dtype=np.int64)) * SECOND
    columns: dict[str, Column] = {
        "time_ns": times,
        "height": np.full(rows, second, np.int32),
        "interval_s": np.zeros(rows, np.int64),
    }
    batch = Batch("chain:tip", "node", source, columns)
    return Slice(source, (batch,), T0 + (second + rows) * SECOND, {"at": second})


def written(path: Path, pieces: Sequence[Slice], *names: str, append: bool = False) -> Path:
    with EventsWriter(path, names, append=append) as out:
        for piece in pieces:
            out.write(piece)
    return path


def polled(source: Source) -> list[Slice]:
    pieces = []
    while not source.ended:
        piece = source.poll()
        assert piece is not None
        pieces.append(piece)
    source.close()
    return pieces


def times(pieces: Sequence[Slice], kind: str = "chain:tip") -> list[int]:
    found = [int(at) for one in pieces for batch in one.batches if batch.kind == kind for at in batch.time_ns]
    return [(at - T0) // SECOND for at in found]


def opened(path: Path, options: SourceOptions | None = None) -> dict[str, Source]:
    found = open_sources([f"events:{path}"], options or SourceOptions())
    return {one.name.partition("#")[2]: one for one in found}


def test_demo_replays_to_the_same_bytes(demo: str, recorded: Path) -> None:
    assert demo.count("\n") > 10
    assert replay([f"events:{recorded}"], ReplayOptions()).lines() == demo


def test_sessions_appended_one_source_after_the_other_replay_to_the_same_bytes(demo: str, tmp_path: Path) -> None:
    for part in (PARTS[2], PARTS[0], PARTS[1]):
        record([part], tmp_path / "out", RecordOptions(append=True))
    again = replay([f"events:{tmp_path / 'out'}"], ReplayOptions())
    assert (again.late, again.unseen) == ({}, [])
    assert again.lines() == demo


def test_recording_of_an_events_file_replays_to_the_same_bytes(demo: str, recorded: Path, tmp_path: Path) -> None:
    record([f"events:{recorded}"], tmp_path / "out", RecordOptions())
    assert replay([f"events:{tmp_path / 'out'}"], ReplayOptions()).lines() == demo


def test_interrupted_replay_goes_on_at_the_place_of_each_source(
    demo: str, recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events_file, "JOINED_ROWS", 10)
    chosen, source, runs = ReplayOptions(checkpoint=tmp_path / "state"), f"events:{recorded}", 1
    while True:
        left = iter(range(6))
        result = replay([source], chosen, stopped=lambda left=left: next(left, None) is None)  # type: ignore[misc]
        if result.finished:
            break
        runs += 1
    assert runs > 2
    assert result.lines() == demo


@pytest.mark.slow
@pytest.mark.golden
@pytest.mark.parametrize("name", [f"open-{number}" for number in range(1, 6)])
def test_every_recording_replays_to_the_same_bytes(recordings: Path, tmp_path: Path, name: str) -> None:
    source = f"recording:{recordings / name}"
    record([source], tmp_path / "copy", RecordOptions())
    assert replay([f"events:{tmp_path / 'copy'}"], ReplayOptions()).lines() == replay([source], ReplayOptions()).lines()


def test_sources_keep_names_kinds_and_watermarks(tmp_path: Path) -> None:
    kinds = {"a": frozenset({"chain:tip", GAP}), "b": None}
    with EventsWriter(tmp_path / "f", ("a", "b", "c"), kinds=kinds) as out:
        for piece in (tips("a", 0), tips("b", 5), tips("a", 9)):
            out.write(piece)
    found = opened(tmp_path / "f")
    assert {name: one.kinds for name, one in found.items()} == {"a": kinds["a"], "b": ALL_KINDS, "c": ALL_KINDS}
    assert [one.name for one in found.values()] == [f"events:{tmp_path / 'f'}#{name}" for name in "abc"]
    pieces = polled(found["a"])
    assert times(pieces) == [0, 1, 9, 10]
    assert [one.until_ns for one in pieces] == [T0 + 2 * SECOND, T0 + 11 * SECOND, END_OF_TIME_NS]
    assert times(polled(found["b"])) == [5, 6]
    assert times(polled(found["c"])) == []


def test_a_source_resumes_at_its_own_position(tmp_path: Path) -> None:
    pieces = [tips(name, second) for second in range(0, 40, 4) for name in ("a", "b")]
    path = written(tmp_path / "f", pieces, "a", "b")
    whole = {name: polled(one) for name, one in opened(path).items()}
    for cut in range(1, len(whole["a"])):
        name = f"events:{path}#b"
        again = opened(path, SourceOptions(position={name: whole["b"][cut - 1].position}))
        assert times(polled(again["b"])) == times(whole["b"][cut:])
        assert times(polled(again["a"])) == times(whole["a"])


def test_joined_slices_hold_the_same_rows_and_late_ones_stay_late(tmp_path: Path) -> None:
    seconds = [0, 4, 8, 2, 12, 16]  # the fourth goes back
    path = written(tmp_path / "f", [tips("a", second) for second in seconds], "a")
    one_by_one = polled(opened(path)["a"])
    joined = polled(opened(path, SourceOptions(at_once=True))["a"])
    assert times(joined) == times(one_by_one)
    assert [times([piece]) for piece in joined] == [[0, 1, 4, 5, 8, 9], [2, 3, 12, 13, 16, 17], []]
    name = f"events:{path}#a"
    rest = opened(path, SourceOptions(at_once=True, position={name: joined[0].position}))["a"]
    assert times(polled(rest)) == times(joined[1:])


def test_damage_of_one_source_leaves_the_others_whole(tmp_path: Path) -> None:
    pieces = [tips(name, second) for second in (0, 4, 8, 12) for name in ("a", "b")]
    path = written(tmp_path / "f", pieces, "a", "b")
    raw, at, blocks = bytearray(path.read_bytes()), 24, []
    while at < len(raw) and (frame := read_header(bytes(raw[at : at + FRAME_HEADER]))).type <= 3:
        if frame.type == BLOCK and frame.source == source_mark("b"):
            blocks.append(at)
        at += frame.length
    raw[blocks[1] + FRAME_HEADER] ^= 1
    path.write_bytes(raw)
    found = opened(path)
    whole, torn = polled(found["a"]), polled(found["b"])
    assert (times(whole), times(whole, GAP)) == ([0, 1, 4, 5, 8, 9, 12, 13], [])
    assert (times(torn), times(torn, GAP)) == ([0, 1], [2])


def test_a_file_cut_within_a_slice_is_torn_for_its_source(tmp_path: Path) -> None:
    path = written(tmp_path / "f", [tips("a", 0), tips("b", 0), tips("b", 4)], "a", "b")
    with EventsFile(path) as file:
        ends = [file.offset for _ in file.slices()]
    with path.open("r+b") as file_:
        file_.truncate(ends[-1] - 8)
    found = opened(path)
    assert times(polled(found["a"]), GAP) == []
    assert times(polled(found["b"]), GAP) == [5]  # the last block is whole, only its end is missing


def test_two_names_with_one_mark_are_kept_apart(tmp_path: Path) -> None:
    seen: dict[int, str] = {}
    number = 0
    while (other := seen.setdefault(source_mark(f"n{number}"), f"n{number}")) == f"n{number}":
        number += 1
    path = written(tmp_path / "f", [tips(f"n{number}", 0), tips(other, 4), tips(f"n{number}", 8)], f"n{number}", other)
    found = opened(path)
    assert times(polled(found[other])) == [4, 5]
    assert times(polled(found[f"n{number}"])) == [0, 1, 8, 9]


def test_an_older_file_is_one_source_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    (source,) = open_sources([f"events:{OLD}"], SourceOptions())
    assert (source.name, source.kinds) == (f"events:{OLD}", ALL_KINDS)
    source.close()
    assert main(["replay", f"events:{OLD}", "--out", "/dev/null"]) == 0
    assert "does not keep its sources apart and replays as one" in capsys.readouterr().err


def test_kinds_that_were_not_recorded_can_feed_no_rule(tmp_path: Path) -> None:
    record([PARTS[0]], tmp_path / "f", RecordOptions(kinds=frozenset({"p2p:ping"})))
    with EventsFile(tmp_path / "f") as file:
        (original,) = file.originals()
    assert original == Original(PARTS[0], original.kinds)
    assert original.kinds is not None
    assert {"p2p:ping", GAP} <= original.kinds
    assert "p2p:addr" not in original.kinds


def test_two_files_of_the_same_sources_go_together_and_one_twice_does_not(tmp_path: Path) -> None:
    first, second = (written(tmp_path / name, [tips("a", 0)], "a") for name in ("f", "g"))
    both = open_sources([f"events:{first}", f"events:{second}"], SourceOptions())
    assert [one.name for one in both] == [f"events:{first}#a", f"events:{second}#a"]
    for one in both:
        one.close()
    with pytest.raises(SourceError, match="given twice"):
        open_sources([f"events:{first}", f"events:{first}"], SourceOptions())


def test_a_service_follows_each_source_and_notices_a_further_one(tmp_path: Path) -> None:
    path = written(tmp_path / "f", [tips("a", 0), tips("b", 0)], "a", "b")
    feed = Feed([f"events:{path}"], SourceOptions(follow=True), SystemClock())
    feed.open({})
    assert list(feed.kinds) == [f"events:{path}#a", f"events:{path}#b"]
    found = [piece for _ in range(4) if (piece := feed.next()) is not None]
    assert {one.source for one in found} == set(feed.kinds)
    written(path, [tips("a", 4)], "a", "b", append=True)
    more = [piece for piece in (feed.next() for _ in range(4)) if piece is not None]
    assert times(more) == [4, 5]
    written(path, [tips("c", 8), tips("a", 8)], "c", append=True)
    for _ in range(4):
        feed.next()
    first, second = feed.channels
    assert "'c' was appended since the file was opened" in first.error
    assert not second.error
    first.retry_s = 0.0
    feed.next()
    assert "is new; a restart reads it" in first.error
    feed.close()


def test_a_file_without_names_has_no_originals(tmp_path: Path) -> None:
    path = written(tmp_path / "f", [tips("a", 0)])
    with EventsFile(path) as file:
        assert (file.version, file.originals()) == (VERSION, ())
    (source,) = open_sources([f"events:{path}"], SourceOptions())
    assert source.name == f"events:{path}"
    assert times(polled(source)) == [0, 1]
