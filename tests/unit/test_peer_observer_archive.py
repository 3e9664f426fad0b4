"""Archives of peer-observer: both forms of their head, plain and packed, cut off, hostile, resumed and followed."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from tests.support.peer_observer import FLAT, NOW_MS, archive, event, field, ping, varint
from watchdog.core.batch import Batch, Slice
from watchdog.core.errors import PositionError, SourceError
from watchdog.core.source import END_OF_TIME_NS, SourceOptions
from watchdog.sources.nats import archive as archive_module
from watchdog.sources.nats import framing
from watchdog.sources.nats.archive import ArchiveSource
from watchdog.sources.registry import open_sources

OLD_HEAD = b"PA\x01" + bytes(13)


def pings(count: int, *, first: int = 0, protocol: str = "2025-12") -> list[bytes]:
    return [
        event("message", ping(number), protocol=protocol, time_ms=NOW_MS + number)
        for number in range(first, first + count)
    ]


def packed(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=3).compress(data)


def stored(folder: Path, data: bytes, name: str = "main.20261121-000000-000.bin") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def opened(path: Path, **options: object) -> ArchiveSource:
    (source,) = open_sources([f"peer-observer:{path}"], SourceOptions(**options))  # type: ignore[arg-type]
    assert isinstance(source, ArchiveSource)
    return source


def slices(source: ArchiveSource) -> list[Slice]:
    found: list[Slice] = []
    while not source.ended:
        slice_ = source.poll()
        if slice_ is None:
            break
        found.append(slice_)
    return found


def nonces(found: list[Slice]) -> list[int]:
    batches = [batch for one in found for batch in one.batches if batch.kind == "p2p:ping"]
    return [nonce for batch in batches for nonce in batch.numbers("nonce").tolist()]


def gaps(found: list[Slice]) -> list[tuple[str, int]]:
    batches: list[Batch] = [batch for one in found for batch in one.batches if batch.kind == "source:gap"]
    return [(batch.strings("reason").tolist()[0], int(batch.numbers("lost")[0])) for batch in batches]


@pytest.mark.parametrize("protocol", [FLAT, "2025-12"])
@pytest.mark.parametrize(("ending", "pack"), [(".bin", bytes), (".bin.zst", packed)], ids=["plain", "packed"])
def test_an_archive_is_read_to_its_end(
    tmp_path: Path, ending: str, pack: Callable[[bytes], bytes], protocol: str
) -> None:
    path = stored(tmp_path, pack(archive(pings(300, protocol=protocol))), f"main{ending}")
    source = opened(path)
    found = slices(source)
    assert nonces(found) == list(range(300))
    assert found[-1].until_ns == END_OF_TIME_NS
    assert (source.ended, source.progress, gaps(found), len(source.faults)) == (True, 1.0, [], 0)


def test_an_archive_of_the_first_weeks_is_read(tmp_path: Path) -> None:
    records = b"".join(varint(len(one)) + one for one in pings(3))
    assert nonces(slices(opened(stored(tmp_path, OLD_HEAD + records)))) == [0, 1, 2]


def test_several_frames_of_a_packed_archive_are_one_text(tmp_path: Path) -> None:
    whole = archive(pings(50))
    path = stored(tmp_path, packed(whole[:700]) + packed(whole[700:]), "main.bin.zst")
    assert nonces(slices(opened(path))) == list(range(50))


def test_a_head_with_fields_of_later_versions_is_read(tmp_path: Path) -> None:
    head = field(1, NOW_MS // 1_000) + field(2, 1)
    assert nonces(slices(opened(stored(tmp_path, archive(pings(2), head=head))))) == [0, 1]


@pytest.mark.parametrize("lost", [1, 5, 30])
def test_a_plain_archive_that_is_cut_off_gives_what_is_whole(tmp_path: Path, lost: int) -> None:
    source = opened(stored(tmp_path, archive(pings(10))[:-lost]))
    found = slices(source)
    assert nonces(found) == list(range(9))
    assert gaps(found) == [("archive-torn", 0)]
    assert len(source.faults) == 1


def test_a_packed_archive_that_is_cut_off_gives_what_is_whole(tmp_path: Path) -> None:
    data = zstandard.ZstdCompressor(level=1).compress(archive(pings(20_000)))
    source = opened(stored(tmp_path, data[: len(data) // 2], "main.bin.zst"))
    found = slices(source)
    read = nonces(found)
    assert read == list(range(len(read)))
    assert 0 < len(read) < 20_000
    assert gaps(found) == [("archive-torn", 0)]


def test_a_packed_archive_that_is_damaged_is_named(tmp_path: Path) -> None:
    data = bytearray(packed(archive(pings(20_000))))
    data[len(data) // 2 : len(data) // 2 + 60] = bytes(60)
    source = opened(stored(tmp_path, bytes(data), "main.bin.zst"))
    found = slices(source)
    assert gaps(found)[-1][0] in {"archive-torn", "not-an-event"}
    assert len(nonces(found)) < 20_000


def test_records_that_are_no_events_are_counted_and_passed_over(tmp_path: Path) -> None:
    source = opened(stored(tmp_path, archive([*pings(2), b"nonsense", b"", *pings(1, first=2)])))
    found = slices(source)
    assert nonces(found) == [0, 1, 2]
    assert gaps(found) == [("not-an-event", 2)]
    assert source.counters == {"messages": 3, "unread_messages": 2, "other_messages": 0}


def test_nonsense_at_the_start_is_reported_with_the_first_event(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_module, "RECORDS", 2)
    found = slices(opened(stored(tmp_path, archive([b"junk", b"more junk", *pings(1)]))))
    (gap,) = [batch for one in found for batch in one.batches if batch.kind == "source:gap"]
    assert (gap.time_ns.tolist(), gap.numbers("lost").tolist()) == ([NOW_MS * 1_000_000], [2])


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "it does not begin with the head of one"),
        (b"\x50", "a record of 80 bytes is cut off"),
        (b"\xff" * 40, "a record is longer than 32 MiB"),
        (b"\x80", "the length of a record is cut off"),
        (b'{"time": 1}' * 20, "it does not begin with the head of one"),
        (archive([b"nonsense", b"more"]), "none of its 2 records is an event of peer-observer"),
        (archive([event("message", ping(), time_ms=5)]), "has a time between 2009 and tomorrow"),
    ],
)
def test_what_is_no_archive_is_named(tmp_path: Path, data: bytes, why: str) -> None:
    source = opened(stored(tmp_path, data))
    with pytest.raises(SourceError, match=why):
        slices(source)
    source.close()


def test_a_length_beyond_the_limit_allocates_nothing(tmp_path: Path) -> None:
    source = opened(stored(tmp_path, archive(pings(3)) + varint((32 << 20) + 1) + bytes(100)))
    found = slices(source)
    assert nonces(found) == [0, 1, 2]
    assert gaps(found) == [("archive-torn", 0)]


def test_a_bomb_is_unpacked_a_piece_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framing, "LONGEST", 1 << 20)
    held: list[int] = []
    fill = framing.RecordFile._fill

    def watched(self: framing.RecordFile, wanted: int) -> bool:
        filled = fill(self, wanted)
        held.append(len(self._buffer))
        return filled

    monkeypatch.setattr(framing.RecordFile, "_fill", watched)
    zeros = bytes(512 << 20)
    source = opened(stored(tmp_path, packed(archive(pings(1)) + zeros), "main.bin.zst"))
    slice_ = source.poll()
    source.close()
    assert slice_ is not None
    assert max(held) <= 3 << 20


def test_reading_resumes_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_module, "RECORDS", 7)
    for name, pack in (("main.bin", bytes), ("main.bin.zst", packed)):
        path = stored(tmp_path, pack(archive(pings(40))), name)
        source = opened(path)
        first = [one for _ in range(3) if (one := source.poll()) is not None]
        source.close()
        rest = slices(opened(path, position={source.name: first[-1].position}))
        assert nonces(first) == list(range(21))
        assert nonces(rest) == list(range(21, 40))
        assert rest[0].until_ns >= first[-1].until_ns


def test_a_position_of_a_longer_file_is_refused(tmp_path: Path) -> None:
    path = stored(tmp_path, archive(pings(40)))
    source = opened(path)
    last = slices(source)[-1]
    path.write_bytes(archive(pings(2)))
    with pytest.raises(PositionError, match="it is shorter"):
        opened(path, position={source.name: last.position})
    with pytest.raises(PositionError):
        opened(path, position={source.name: {**last.position, "offset": "x"}})


def test_a_plain_archive_is_followed_while_it_grows(tmp_path: Path) -> None:
    whole = archive(pings(6))
    path = stored(tmp_path, b"")
    source = opened(path, follow=True)
    assert source.poll() is None, "the head is not there yet"
    read: list[int] = []
    for end in range(0, len(whole) + 1, 11):
        path.write_bytes(whole[:end])
        while (slice_ := source.poll()) is not None:
            read += nonces([slice_])
    path.write_bytes(whole)
    while (slice_ := source.poll()) is not None:
        read += nonces([slice_])
    assert read == list(range(6))
    assert not source.ended
    source.close()


def test_a_watermark_stays_behind_extractors_that_publish_beside_each_other(tmp_path: Path) -> None:
    source = opened(stored(tmp_path, archive([*pings(3)])), follow=True)
    slice_ = source.poll()
    assert slice_ is not None
    assert slice_.until_ns == (NOW_MS + 2) * 1_000_000 - 2_000_000_000
    source.close()


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file"):
        opened(tmp_path / "missing.bin")


def test_pipes_devices_and_folders_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.bin")
    for path in (tmp_path / "pipe.bin", Path("/dev/zero"), tmp_path):
        with pytest.raises(SourceError, match="not an ordinary file"):
            opened(path)


def test_a_file_of_zeros_is_reported_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = opened(stored(tmp_path, bytes(1_000)))
    with pytest.raises(SourceError, match="none of its 999 records"):
        slices(source)
    assert caplog.text.count("none of the first 100 messages") == 1


@given(st.binary(max_size=300), st.sampled_from([b"", OLD_HEAD, archive(pings(2))]), st.booleans())
def test_no_bytes_make_it_fail_in_another_way(tmp_path_factory: Any, tail: bytes, start: bytes, pack: bool) -> None:
    data = start + tail
    folder = tmp_path_factory.mktemp("hostile")
    source = opened(stored(folder, packed(data) if pack else data, "a.bin.zst" if pack else "a.bin"))
    with suppress(SourceError):  # any other error fails
        assert slices(source)[-1].until_ns == END_OF_TIME_NS
    source.close()
