"""Events files: what was written comes back; what is damaged is noticed, never guessed."""

from __future__ import annotations

import os
import struct
import tempfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.support.archive_batches import SLICES, START_NS, batch_of, content, contents, slice_of
from watchdog.archive import codec, frames, index, narrow, writer
from watchdog.archive.reader import EventsFile
from watchdog.archive.writer import EventsWriter
from watchdog.core.batch import Batch, Slice, Strings
from watchdog.core.errors import SourceError, StateError


def write_all(path: Path, pieces: list[Slice], level: int = 1) -> None:
    with EventsWriter(path, ("test:a",), level=level) as out:
        for piece in pieces:
            out.write(piece)


def read_all(path: Path, *, strict: bool = False) -> list[Slice]:
    with EventsFile(path, strict=strict) as file:
        return list(file.slices())


def write_many(out: EventsWriter, count: int) -> None:
    for number in range(count):
        out.write(slice_of(number))


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "a.events"
    write_all(path, [slice_of(number) for number in range(12)])
    return path


@settings(max_examples=60, deadline=None)
@given(st.lists(SLICES, max_size=4), st.sampled_from([0, 1, 3]))
def test_all_types_of_columns_come_back_bit_for_bit(pieces: list[Slice], level: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.events"
        write_all(path, pieces, level)
        assert contents(read_all(path, strict=True)) == contents(pieces)


def test_slices_keep_watermark_position_and_source(written: Path) -> None:
    pieces = read_all(written)
    assert [(piece.source, piece.until_ns, dict(piece.position)) for piece in pieces] == [
        ("test:a", START_NS + (number + 1) * 100 * 10**9, {"offset": number}) for number in range(12)
    ]


def test_only_wanted_kinds_are_read(written: Path) -> None:
    with EventsFile(written, {"log:tip"}) as file:
        pieces = list(file.slices())
    assert {batch.kind for piece in pieces for batch in piece.batches} == {"log:tip"}
    assert len(pieces) == 12


@given(
    st.sampled_from(["<i4", "<i8", "<u2", "<u4", "<u8"]).flatmap(
        lambda typ: st.lists(
            st.integers(int(np.iinfo(typ).min), int(np.iinfo(typ).max)) | st.integers(0, 9).map(lambda n: n * 1000),
            max_size=9,
        ).map(lambda values: np.array(values, typ))
    )
)
def test_narrow_columns_widen_to_the_same_numbers(column: NDArray[np.generic]) -> None:
    data, *form = narrow.narrow(column)
    back = narrow.widen(data, column.dtype, len(column), (form[0], form[1], form[2]))
    assert back.dtype == column.dtype
    assert back.tolist() == column.tolist()


def test_times_on_whole_seconds_take_one_byte_each() -> None:
    times = 1_768_000_000_000_000_000 + np.arange(200) * 10**9
    assert narrow.narrow(times)[1:] == (1, 1_768_000_000_000_000_000, 10**9)


def test_dictionaries_shrink_to_the_strings_in_use() -> None:
    values = tuple(f"peer{number}" for number in range(1000))
    batch = Batch(
        "x", "n", "s", {"time_ns": np.zeros(3, np.int64), "peer": Strings(np.array([7, 900, 7], np.int32), values)}
    )
    back = codec.decode_block(codec.encode_block(batch))
    assert back.strings("peer").values == ("peer7", "peer900")
    assert back.strings("peer").tolist() == ["peer7", "peer900", "peer7"]


def test_lone_surrogates_become_escapes() -> None:
    batch = Batch("x", "n", "s", {"time_ns": np.zeros(1, np.int64), "peer": Strings.of(["a\ud800"])})
    assert codec.decode_block(codec.encode_block(batch)).strings("peer").tolist() == ["a\\ud800"]


def test_large_batches_are_split_and_stay_in_order(tmp_path: Path) -> None:
    rows = writer.MAX_ROWS + 10
    batch = Batch("x", "n", "s", {"time_ns": np.arange(rows)})
    write_all(tmp_path / "a", [Slice("s", (batch,), 5)])
    (piece,) = read_all(tmp_path / "a")
    assert [part.rows for part in piece.batches] == [(rows + 1) // 2, rows // 2]
    assert (np.concatenate([part.time_ns for part in piece.batches]) == np.arange(rows)).all()


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_flipped_bytes_give_whole_slices_or_an_error_never_wrong_rows(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.events"
        write_all(path, [slice_of(number, 6) for number in range(4)])
        raw = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 3))):
            raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
        path.write_bytes(raw)
        check_prefix(path)


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 1 << 20))
def test_cut_files_give_the_whole_blocks_before_the_cut(where: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.events"
        write_all(path, [slice_of(number, 6) for number in range(4)])
        os.truncate(path, where % path.stat().st_size)
        check_prefix(path)


def check_prefix(path: Path) -> None:
    """Batches that are read must be the first ones written; seeking must not fail either."""
    expected = [content(batch) for number in range(4) for batch in slice_of(number, 6).batches]
    try:
        batches = [content(batch) for piece in read_all(path) for batch in piece.batches]
    except SourceError:
        return
    assert batches == expected[: len(batches)]
    with EventsFile(path) as file:
        file.seek(250 * 10**9)
        late = [content(batch) for piece in file.slices() for batch in piece.batches]
        assert all(batch in expected for batch in late)


def test_a_torn_file_says_where_and_strict_reading_raises(written: Path) -> None:
    with EventsFile(written) as file:
        ends = [file.offset for _ in file.slices()]
    kept = written.read_bytes()
    for more, reason in ((5, "the frame header is cut off"), (100, "the file ends inside of a frame")):
        os.truncate(written, ends[5] + more)
        with EventsFile(written) as file:
            assert len(list(file.slices())) == 6
            assert file.torn_at is not None
            assert file.torn_at.offset == ends[5]
        with pytest.raises(SourceError, match=f"torn at byte {ends[5]}: {reason}"):
            read_all(written, strict=True)
        with written.open("ab") as whole:
            whole.write(kept[whole.tell() :])


def test_a_whole_file_is_not_torn(written: Path) -> None:
    with EventsFile(written) as file:
        assert len(list(file.slices())) == 12
        assert file.torn_at is None


@pytest.mark.parametrize("lost", [1, 30, 500, 5_000])
def test_appending_after_a_crash_goes_on_behind_the_last_whole_slice(written: Path, lost: int) -> None:
    os.truncate(written, written.stat().st_size - lost)
    with EventsFile(written) as file:
        whole = file.scan().end
    with EventsWriter(written, append=True) as out:
        assert out.size == whole
        out.write(slice_of(77))
    pieces = read_all(written, strict=True)
    expected = [slice_of(number) for number in [*range(len(pieces) - 1), 77]]
    assert contents(pieces) == contents(expected)
    assert lost > 400 or len(pieces) == 13


def test_appending_to_a_closed_file_replaces_its_index(written: Path) -> None:
    for number in (12, 13):
        with EventsWriter(written, ("test:a",), append=True) as out:
            out.write(slice_of(number))
    assert contents(read_all(written, strict=True)) == contents([slice_of(number) for number in range(14)])


def test_a_file_is_never_overwritten_or_written_twice_at_once(written: Path) -> None:
    with pytest.raises(StateError, match="exists already"):
        EventsWriter(written)
    with EventsWriter(written, append=True), pytest.raises(StateError, match="another process writes it"):
        EventsWriter(written, append=True)


def test_appending_to_another_kind_of_file_leaves_it_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not ours, and longer than a header")
    with pytest.raises(StateError, match=r"cannot append: .* is not an events file"):
        EventsWriter(path, append=True)
    assert path.read_text() == "not ours, and longer than a header"


def test_a_full_disk_leaves_a_readable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, room = os.pwrite, [9_000]

    def pwrite(file: int, data: memoryview, offset: int) -> int:
        if room[0] == 0:
            raise OSError(28, "No space left on device")
        room[0] -= (count := min(room[0], len(data)))
        return real(file, data[:count], offset)

    monkeypatch.setattr(os, "pwrite", pwrite)
    out = EventsWriter(tmp_path / "a")
    with pytest.raises(StateError, match=r"cannot write '.*a': no space left on device"):
        write_many(out, 100)
    out.close()
    monkeypatch.undo()
    batches = [content(batch) for piece in read_all(tmp_path / "a", strict=True) for batch in piece.batches]
    expected = [content(batch) for number in range(100) for batch in slice_of(number).batches]
    assert batches
    assert batches == expected[: len(batches)]


@pytest.mark.parametrize("with_index", [True, False])
def test_seeking_starts_at_the_slice_that_holds_the_time(
    tmp_path: Path, with_index: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "STRETCH", 1)
    path = tmp_path / "a"
    write_all(path, [slice_of(number) for number in range(12)], level=0)
    with EventsFile(path) as file:
        if not with_index:
            os.truncate(path, file.whole().end)
        every = sum(1 for _ in file.slices())
    with EventsFile(path) as file:
        file.seek(slice_of(9).batches[0].time_ns[0])
        pieces = list(file.slices())
        assert [piece.until_ns for piece in pieces][-1] == START_NS + 1_200 * 10**9
        assert (len(pieces), every) == (3, 12)
        file.seek(2 * START_NS)
        assert list(file.slices()) == []


def test_reading_resumes_behind_any_slice(written: Path) -> None:
    with EventsFile(written) as file:
        file.next_slice()
        offset = file.offset
        rest = list(file.slices())
    with EventsFile(written) as file:
        file.resume(offset)
        assert contents(list(file.slices())) == contents(rest)
        assert file.sources == ("test:a",)
        with pytest.raises(SourceError, match=f"cannot resume at byte {offset + 1}"):
            file.resume(offset + 1)


def forged_frame(**changes: int) -> bytes:
    """A frame header with right checksums and any sizes."""
    values = {"stored": 8, "size": 8, "rows": 1} | changes
    head = struct.pack(
        "<4sBBHIIIIqqI", b"BWFR", frames.BLOCK, changes.get("flags", 0), 0, values["stored"], values["size"],
        values["rows"], 0, 0, 0, zlib.crc32(bytes(8)),
    )  # fmt: skip
    return head + struct.pack("<I", zlib.crc32(head)) + bytes(8)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"stored": 0xFFFFFFFF}, "more than"),
        ({"size": 0xFFFFFFFF}, "more than"),
        ({"stored": frames.MAX_PAYLOAD}, "ends inside"),
        ({"size": 16}, "contradict"),
        ({"flags": frames.COMPRESSED}, "cannot be decompressed|has another size"),
        ({}, "message"),
    ],
)
def test_sizes_are_checked_before_memory_is_taken(tmp_path: Path, changes: dict[str, int], reason: str) -> None:
    path = tmp_path / "a"
    path.write_bytes(frames.file_header() + forged_frame(**changes))
    with pytest.raises(SourceError, match=reason):
        read_all(path, strict=True)


def test_a_compressed_frame_cannot_grow_beyond_its_declared_size() -> None:
    import zstandard

    packed = zstandard.ZstdCompressor().compress(bytes(50 << 20))
    body = packed.ljust(frames.padded(len(packed)), b"\0")
    frame = frames.Frame(frames.BLOCK, frames.COMPRESSED, len(packed), 64, 1, 0, 0, 0, zlib.crc32(body))
    with pytest.raises(frames.DamagedFrameError, match="another size"):
        frames.unpack_payload(frame, body, frames.new_unpacker())


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_hostile_messages_behind_right_checksums_never_break_the_reader(data: st.DataObject) -> None:
    raw = bytearray(codec.encode_block(batch_of("p2p:addr_entry", 5, 3)))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    for decode in (codec.decode_block, codec.decode_info, codec.decode_slice_end, codec.decode_index):
        try:
            found = decode(bytes(raw))
        except SourceError:
            continue
        if isinstance(found, Batch):
            assert {len(column) for column in found.columns.values()} <= {found.rows}
            for column in found.columns.values():
                column if isinstance(column, np.ndarray) else column.tolist()


@pytest.mark.parametrize(
    ("raw", "message"),
    [(b"", "is not an events file"), (b"BWEVENTS" + bytes(16), "fails its checksum"), (b"\x1f\x8b" * 40, "is not an")],
)
def test_other_files_are_refused(tmp_path: Path, raw: bytes, message: str) -> None:
    (tmp_path / "a").write_bytes(raw)
    with pytest.raises(SourceError, match=message):
        EventsFile(tmp_path / "a")


def test_a_newer_version_says_so(tmp_path: Path) -> None:
    head = struct.pack("<8sII", b"BWEVENTS", 3, 0)
    (tmp_path / "a").write_bytes(head + struct.pack("<I4x", zlib.crc32(head)))
    with pytest.raises(SourceError, match="has version 3 of the events format; this program reads 1 and 2"):
        EventsFile(tmp_path / "a")


def test_missing_files_and_folders_are_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"cannot read '.*none': no such file or directory"):
        EventsFile(tmp_path / "none")
    with pytest.raises(SourceError, match="is a directory"):
        EventsFile(tmp_path)


def test_the_leaking_view_of_pycapnp_is_used_nowhere() -> None:
    root = Path(__file__).parents[2]
    banned = "get_data" + "_as_view"
    places = [path for top in ("watchdog", "benchmarks", "tests") for path in (root / top).rglob("*.py")]
    assert len(places) > 10
    assert [path for path in places if banned in path.read_text()] == []


def test_reading_does_not_hold_on_to_messages(tmp_path: Path) -> None:
    """The message of each block must be released: 300 blocks of 1 MB may not stay in memory."""
    payload = codec.encode_block(Batch("x", "n", "s", {"time_ns": np.arange(125_000)}))

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    codec.decode_block(payload)
    before = resident()
    for _ in range(300):
        codec.decode_block(payload)
    assert resident() - before < 50 << 20
