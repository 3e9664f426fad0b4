"""`events:FILE` as a source: the recorded slices, one watermark, exact resume, following, other versions."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from tests.support.archive_batches import START_NS, batch_of, content, slice_of
from tests.support.catalogue import check_batch
from watchdog.archive.frames import FRAME_HEADER, padded, read_header
from watchdog.archive.reader import EventsFile
from watchdog.archive.writer import EventsWriter
from watchdog.core.batch import Batch, Slice
from watchdog.core.errors import SourceError
from watchdog.core.source import END_OF_TIME_NS, Source, SourceOptions
from watchdog.sources.events_file import EventsFileSource

SECOND = 10**9


def polled(source: Source) -> list[Slice]:
    pieces = []
    while not source.ended:
        piece = source.poll()
        assert piece is not None
        pieces.append(piece)
    source.close()
    return pieces


def rows_of(pieces: list[Slice]) -> list[object]:
    return [content(batch) for piece in pieces for batch in piece.batches]


def write_all(path: Path, pieces: list[Slice], sources: tuple[str, ...] = ()) -> None:
    with EventsWriter(path, sources) as out:
        for piece in pieces:
            out.write(piece)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "a.events"
    write_all(path, [slice_of(number) for number in range(6)], ("test:a",))
    return path


def test_slices_come_back_and_the_last_one_ends_time(written: Path) -> None:
    pieces = polled(EventsFileSource(str(written), SourceOptions()))
    assert rows_of(pieces) == rows_of([slice_of(number) for number in range(6)])
    assert [piece.until_ns for piece in pieces] == [START_NS + n * 100 * SECOND for n in range(1, 7)] + [END_OF_TIME_NS]
    assert {piece.source for piece in pieces} == {f"events:{written}"}


@pytest.mark.parametrize("cut", range(8))
def test_resuming_anywhere_gives_exactly_the_rest(written: Path, cut: int) -> None:
    whole = polled(EventsFileSource(str(written), SourceOptions()))
    source = EventsFileSource(str(written), SourceOptions())
    head = [piece for piece in (source.poll() for _ in range(cut)) if piece is not None]
    position = head[-1].position if head else None
    rest = polled(EventsFileSource(str(written), SourceOptions(position=position)))
    assert rows_of(head + rest) == rows_of(whole)
    assert [piece.until_ns for piece in rest][-1] == END_OF_TIME_NS


@pytest.mark.parametrize("position", [{}, {"offset": "1"}, {"offset": 7, "until_ns": 1, "marks": {}}])
def test_a_position_of_something_else_is_refused(written: Path, position: dict[str, object]) -> None:
    with pytest.raises(SourceError, match=r"position|resume"):
        EventsFileSource(str(written), SourceOptions(position=position))


def test_watermark_is_the_least_of_the_recorded_sources(tmp_path: Path) -> None:
    pieces = [
        Slice("a", (), 10),
        Slice("b", (), 5),
        Slice("a", (), END_OF_TIME_NS),
        Slice("b", (), 30),
        Slice("b", (), END_OF_TIME_NS),
        Slice("a", (), 40),  # another session
        Slice("b", (), 20),
    ]
    write_all(tmp_path / "a", pieces, ("a", "b"))
    source = EventsFileSource(str(tmp_path / "a"), SourceOptions())
    marks = [piece.until_ns for piece in polled(source)]
    assert marks == [-(1 << 63), 5, 5, 30, 30, 40, 40, END_OF_TIME_NS]


def test_only_wanted_kinds_come(written: Path) -> None:
    pieces = polled(EventsFileSource(str(written), SourceOptions(wanted=frozenset({"log:tip"}))))
    assert {batch.kind for piece in pieces for batch in piece.batches} == {"log:tip"}


def test_following_waits_for_whole_slices(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with EventsWriter(path, ("test:a",)) as out:
        source = EventsFileSource(str(path), SourceOptions(follow=True))
        assert source.poll() is None
        out.write(slice_of(0))
        piece = source.poll()
        assert piece is not None
        assert piece.batches
        assert source.poll() is None
    assert source.poll() is None, "the index of a closed file is no slice"
    with EventsWriter(path, append=True) as out:
        out.write(slice_of(1))
        piece = source.poll()
    assert piece is not None
    assert rows_of([piece]) == rows_of([slice_of(1)])
    assert not source.ended


def test_following_a_half_written_frame_waits_and_then_reads_it(written: Path) -> None:
    raw = written.read_bytes()
    written.write_bytes(raw[:3_000])
    source = EventsFileSource(str(written), SourceOptions(follow=True))
    before = list(iter(source.poll, None))
    assert source.torn_at is not None
    with written.open("ab") as file:
        file.write(raw[3_000:])
    after = list(iter(source.poll, None))
    assert rows_of(before + after) == rows_of([slice_of(number) for number in range(6)])


def test_following_survives_a_writer_that_crashed_within_a_slice_and_wrote_it_again(written: Path) -> None:
    raw = written.read_bytes()
    with EventsFile(written) as file:
        file.next_slice()
        ends = file.offset
        file.next_slice()
        second_ends = file.offset
    written.write_bytes(raw[: second_ends - 40])  # blocks of the second slice, but not its end
    source = EventsFileSource(str(written), SourceOptions(follow=True))
    before = list(iter(source.poll, None))
    with EventsWriter(written, append=True) as out:
        assert out.size == ends
        out.write(slice_of(7))
    after = list(iter(source.poll, None))
    assert rows_of(before + after) == rows_of([slice_of(0), slice_of(7)])


def test_following_a_damaged_file_that_grows_is_an_error_in_the_end(written: Path) -> None:
    raw = bytearray(written.read_bytes())
    raw[3_000] ^= 255
    written.write_bytes(raw)
    source = EventsFileSource(str(written), SourceOptions(follow=True))

    def poll_while_it_grows() -> None:
        for _ in range(50):
            source.poll()
            with written.open("ab") as file:
                file.write(b"more")

    with pytest.raises(SourceError, match="damaged at byte"):
        poll_while_it_grows()


def test_a_torn_recording_says_so_as_a_gap(written: Path) -> None:
    os.truncate(written, 7_000)
    pieces = polled(EventsFileSource(str(written), SourceOptions()))
    gap = pieces[-1].batches[-1]
    check_batch(gap)
    assert gap.kind == "source:gap"
    assert gap.strings("reason").tolist()[0].startswith("recording torn at byte ")
    times = [int(batch.time_ns.max()) for piece in pieces for batch in piece.batches]
    assert max(times) == gap.time_ns[0]


def test_a_slice_without_its_end_is_a_gap_too(written: Path) -> None:
    with EventsFile(written) as file:
        for _ in range(3):
            file.next_slice()
        end = file.offset
    raw = written.read_bytes()
    first_block = FRAME_HEADER + padded(read_header(raw[end : end + FRAME_HEADER]).stored)
    written.write_bytes(raw[: end + first_block])
    source = EventsFileSource(str(written), SourceOptions())
    kinds = [batch.kind for batch in polled(source)[-1].batches]
    assert kinds == ["net:inbound_message", "source:gap"]
    assert source.torn_at is not None


def test_reading_from_a_time_leaves_earlier_events_out(written: Path) -> None:
    start = START_NS + 350 * SECOND
    pieces = polled(EventsFileSource(str(written), SourceOptions(), start_ns=start))
    seen = np.concatenate([batch.time_ns for piece in pieces for batch in piece.batches])
    every = np.concatenate([batch.time_ns for number in range(6) for batch in slice_of(number).batches])
    assert sorted(seen) == sorted(every[every >= start])


def test_kinds_of_a_newer_version_are_passed_over(tmp_path: Path) -> None:
    strange = Batch("p2p:quantum", "n", "s", {"time_ns": np.arange(3)})
    write_all(tmp_path / "a", [Slice("s", (strange, batch_of("log:tip", 2, 0, START_NS)), 9)])
    source = EventsFileSource(str(tmp_path / "a"), SourceOptions())
    assert [batch.kind for piece in polled(source) for batch in piece.batches] == ["log:tip"]


def test_columns_of_another_version_are_dropped_or_filled(tmp_path: Path) -> None:
    columns = dict(batch_of("log:header", 4, 1, START_NS).columns)
    del columns["peer"], columns["hash"], columns["height"]
    columns["colour"] = np.zeros(4, np.int64)
    write_all(tmp_path / "a", [Slice("s", (Batch("log:header", "n", "s", columns),), 9)])
    (batch,) = polled(EventsFileSource(str(tmp_path / "a"), SourceOptions()))[0].batches
    check_batch(batch)
    assert batch.strings("peer").tolist() == [""] * 4


@pytest.mark.parametrize(
    ("kind", "before"), [("rpc:peer", ""), ("addrman:insert", "entry_"), ("addrman:insert", "source_")]
)
def test_a_file_from_before_netblocks_gives_netgroups_and_not_one_block_of_all(
    tmp_path: Path, kind: str, before: str
) -> None:
    columns = dict(batch_of(kind, 4, 1, START_NS).columns)
    del columns[f"{before}netblock"]
    write_all(tmp_path / "a", [Slice("s", (Batch(kind, "n", "s", columns),), 9)])
    (piece, _) = polled(EventsFileSource(str(tmp_path / "a"), SourceOptions()))
    (batch,) = piece.batches
    check_batch(batch)
    assert batch.numbers(f"{before}netblock").tolist() == batch.numbers(f"{before}netgroup").tolist()
    assert len(set(batch.numbers(f"{before}netblock").tolist())) > 1


# ---- times that cannot be true ----


def dated(source: str, offsets_s: list[int], until_s: int | None = None) -> Slice:
    """One batch at these times after START_NS; `until_s` counts from it too, None: nothing is promised yet."""
    batch = batch_of("log:tip", len(offsets_s), 0, START_NS)
    columns = {**batch.columns, "time_ns": START_NS + np.array(offsets_s, np.int64) * SECOND}
    return Slice(
        source, (Batch("log:tip", "node", source, columns),), 0 if until_s is None else START_NS + until_s * SECOND
    )


def gaps_of(pieces: list[Slice]) -> list[tuple[int, int, str]]:
    """Time after START_NS in seconds, how many were lost, reason."""
    return [
        ((time - START_NS) // SECOND, lost, reason)
        for piece in pieces
        for batch in piece.batches
        if batch.kind == "source:gap"
        for time, lost, reason in zip(
            batch.time_ns.tolist(), batch.numbers("lost").tolist(), batch.strings("reason").tolist(), strict=True
        )
    ]


YEARS = 300_000_000  # seconds, nearly ten years


def test_an_event_of_the_far_future_is_quarantined_and_moves_no_watermark(tmp_path: Path) -> None:
    pieces = [dated("a", [1, 2], 2), dated("a", [3, YEARS, YEARS, 4], YEARS), dated("a", [5, 6], YEARS)]
    write_all(tmp_path / "a", pieces, ("a",))
    found = polled(EventsFileSource(str(tmp_path / "a"), SourceOptions()))
    times = [(t - START_NS) // SECOND for p in found for b in p.batches if b.kind == "log:tip" for t in b.time_ns]
    assert times == [1, 2, 3, 4, 5, 6]
    assert gaps_of(found) == [(2, 2, "implausible time")]
    assert [(piece.until_ns - START_NS) // SECOND for piece in found[:-1]] == [2, 3, 5]
    for piece, promised in zip(found[1:], found, strict=False):
        assert all((batch.time_ns >= promised.until_ns).all() for batch in piece.batches), "nothing kept is late"


def test_events_before_any_plausible_one_are_told_at_the_first(tmp_path: Path) -> None:
    write_all(tmp_path / "a", [dated("a", [-YEARS * 4]), dated("a", [YEARS, 7], 7)], ("a",))
    found = polled(EventsFileSource(str(tmp_path / "a"), SourceOptions()))
    assert gaps_of(found) == [(7, 2, "implausible time")]


def test_a_position_keeps_what_was_not_told_yet(tmp_path: Path) -> None:
    write_all(tmp_path / "a", [dated("a", [YEARS]), dated("a", [7], 7), dated("a", [YEARS], 8)], ("a",))
    whole = polled(EventsFileSource(str(tmp_path / "a"), SourceOptions()))
    for cut in range(1, 4):
        rest = polled(EventsFileSource(str(tmp_path / "a"), SourceOptions(position=whole[cut - 1].position)))
        assert rows_of(whole[:cut] + rest) == rows_of(whole)
    assert gaps_of(whole) == [(7, 1, "implausible time"), (7, 1, "implausible time")]


def test_a_recording_without_any_plausible_time_is_an_error(tmp_path: Path) -> None:
    write_all(tmp_path / "a", [dated("a", [YEARS, YEARS])], ("a",))
    with pytest.raises(SourceError, match=r"none of its 2 events has a time between 2009 and tomorrow"):
        polled(EventsFileSource(str(tmp_path / "a"), SourceOptions()))


def test_the_wall_clock_decides_what_is_future(tmp_path: Path) -> None:
    write_all(tmp_path / "a", [dated("a", [1, YEARS], YEARS)], ("a",))
    later = SourceOptions(wall_ns=lambda: START_NS + (YEARS - 86_000) * SECOND)
    assert gaps_of(polled(EventsFileSource(str(tmp_path / "a"), later))) == []
