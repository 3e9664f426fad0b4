"""Capture source: kills, chunks and hostile bytes change nothing that is not damaged."""

from __future__ import annotations

import json
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.capture_files import SECOND_US, START_US, addr_payload, append, events, read_all, record
from tests.support.catalogue import check_batch
from watchdog.core.batch import Batch, Slice
from watchdog.core.errors import SourceError
from watchdog.core.source import SourceOptions
from watchdog.sources.capture import merge as capture_merge
from watchdog.sources.capture.files import walk
from watchdog.sources.capture.source import CaptureSource

FOLDERS = ("8.8.8.8_8333", "9.9.9.9_50000", "[2a01__1]_50001", "abc.onion_8333")
PAYLOADS = {
    "version": bytes(85),
    "verack": b"",
    "getaddr": b"",
    "addr": addr_payload(12),
    "ping": bytes(8),
    "pong": bytes(8),
    "headers": b"\0",
    "getheaders": (70016).to_bytes(4, "little") + b"\0" + bytes(32),
    "odd type": b"abc",
}
# folder, received, type, time since the last message in quarter seconds (silences of more than 20 minutes among them)
Step = tuple[int, bool, str, int]
STEPS = st.lists(
    st.tuples(
        st.integers(0, len(FOLDERS) - 1),
        st.booleans(),
        st.sampled_from(sorted(PAYLOADS)),
        st.sampled_from([0, 0, 1, 2, 40, 4_000, 6_000]),
    ),
    min_size=1,
    max_size=60,
)


def written(root: Path, steps: list[Step], start: int = START_US) -> int:
    """Write the messages; returns the time of the last."""
    now = start
    for folder, received, type_, gap in steps:
        now += gap * SECOND_US // 4
        append(root, FOLDERS[folder], received, record(now, type_, PAYLOADS[type_]))
    return now


@contextmanager
def small_slices(messages: int) -> Iterator[None]:
    with (
        mock.patch.object(capture_merge, "TARGET_MESSAGES", messages),
        mock.patch.object(capture_merge, "FIRST_SPAN_US", SECOND_US),
    ):
        yield


def resumed(root: Path, slice_: Slice, follow: bool = False) -> CaptureSource:
    position = json.loads(json.dumps(slice_.position))
    return CaptureSource(str(root), SourceOptions(position=position, follow=follow))


@settings(max_examples=60)
@given(STEPS, st.integers(1, 12), st.data())
def test_a_new_source_gives_exactly_what_was_not_given_yet(steps: list[Step], size: int, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder, small_slices(size):
        root = Path(folder)
        written(root, steps)
        whole = read_all(CaptureSource(folder, SourceOptions()))
        cut = data.draw(st.integers(0, len(whole) - 1))
        assert events(read_all(resumed(root, whole[cut]))) == events(whole[cut + 1 :])


@settings(max_examples=60)
@given(STEPS, STEPS, st.integers(1, 12))
def test_a_killed_follower_goes_on_where_it_was(before: list[Step], after: list[Step], size: int) -> None:
    with tempfile.TemporaryDirectory() as folder, small_slices(size):
        root = Path(folder)
        now = written(root, before)
        source = CaptureSource(folder, SourceOptions(follow=True))
        found = drained(source)
        written(root, after, now + SECOND_US)
        killed = resumed(root, found[-1], follow=True)
        assert events([*found, *drained(killed)]) == events([*found, *drained(source)])


@settings(max_examples=40)
@given(STEPS, st.integers(1, 12))
def test_the_size_of_slices_changes_no_event(steps: list[Step], size: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        written(Path(folder), steps)
        at_once = read_all(CaptureSource(folder, SourceOptions()))
        with small_slices(size):
            bit_by_bit = read_all(CaptureSource(folder, SourceOptions()))
        assert sorted(map(repr, events(bit_by_bit))) == sorted(map(repr, events(at_once)))


def drained(source: CaptureSource) -> list[Slice]:
    found: list[Slice] = []
    quiet = 0
    while quiet < 2:
        slice_ = source.poll()
        quiet = quiet + 1 if slice_ is None else 0
        if slice_ is not None:
            found.append(slice_)
    return found


DEEDS = st.lists(
    st.tuples(
        st.sampled_from(["write", "write", "remove", "truncate", "stop", "go on"]), st.integers(0, 2), st.integers(1, 9)
    ),
    max_size=30,
)


@settings(max_examples=100)
@given(DEEDS)
def test_files_that_are_replaced_are_read_whole_each_time(deeds: list[tuple[str, int, int]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        root, now = Path(name), START_US
        source: CaptureSource | None = CaptureSource(name, SourceOptions(follow=True))
        found: list[Slice] = []
        expected: list[int] = []
        unread: dict[str, list[int]] = {}
        for deed, number, count in [*deeds, ("go on", 0, 1), ("write", 0, 1)]:
            folder = FOLDERS[number]
            if deed == "stop":
                source = None
            elif deed == "go on" and source is None:
                source = (
                    resumed(root, found[-1], follow=True) if found else CaptureSource(name, SourceOptions(follow=True))
                )
            elif deed == "truncate" and (root / folder).exists():
                (root / folder / "msgs_recv.dat").write_bytes(b"")
                unread.pop(folder, None)
            elif deed == "remove":
                shutil.rmtree(root / folder, ignore_errors=True)
                unread.pop(folder, None)
            if deed in ("write", "remove", "truncate"):
                for at in range(count):
                    now += 1
                    append(root, folder, True, record(now, "ping", bytes(8 + at % 2)))
                    unread.setdefault(folder, []).append(now * 1000)
            if source is not None:
                found += drained(source)
                expected += [time for times in unread.values() for time in times]
                unread.clear()
        given_ = [time for slice_ in found for batch in slice_.batches for time in _pings(batch)]
        assert given_ == sorted(expected)


def _pings(batch: Batch) -> list[int]:
    times = batch.columns["time_ns"]
    assert isinstance(times, np.ndarray)
    return [int(time) for time in times] if batch.kind == "net:inbound_message" else []


@pytest.mark.fuzz
@settings(max_examples=150)
@given(st.binary(max_size=300), st.integers(0, 300), STEPS)
def test_no_bytes_make_the_source_fail(noise: bytes, keep: int, steps: list[Step]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        written(root, steps)
        append(root, "1.2.3.4_1", True, record(START_US, "addr", addr_payload(3))[:keep] + noise)
        append(root, "not an address_\x1b[2J", False, noise)
        slices = read_all(CaptureSource(folder, SourceOptions()))
        for slice_ in slices:
            for batch in slice_.batches:
                check_batch(batch)


@pytest.mark.fuzz
@given(st.lists(st.binary(max_size=40), max_size=20), st.binary(max_size=60), st.integers(0, 60))
def test_walking_finds_the_whole_records_and_nothing_else(payloads: list[bytes], noise: bytes, cut: int) -> None:
    whole = [record(START_US, "x", payload) for payload in payloads]
    tail = record(START_US, "y", noise)[:cut]
    starts, end, impossible = walk(b"".join(whole) + tail)
    expected = [sum(map(len, whole[:at])) for at in range(len(whole))]
    if len(tail) == 24 + len(noise):
        expected.append(sum(map(len, whole)))
    assert (starts, impossible) == (expected, False)
    assert end == sum(map(len, whole)) + (len(tail) if len(starts) > len(whole) else 0)


@pytest.mark.fuzz
@settings(max_examples=150)
@given(st.lists(st.tuples(st.integers(0, 4_000), st.integers(0, 255)), max_size=12), st.integers(0, 12_000))
def test_a_damaged_archive_reads_or_is_one_clear_error(changes: list[tuple[int, int]], keep: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        append(Path(folder) / "tree", FOLDERS[0], True, record(START_US, "ping", bytes(8)))
        path = Path(folder) / "capture.tar"
        with tarfile.open(path, "w") as tar:
            tar.add(Path(folder) / "tree", "capture")
        data = bytearray(path.read_bytes()[:keep])
        for at, value in changes:
            if at < len(data):
                data[at] = value
        path.write_bytes(data)
        said = ""
        try:
            read_all(CaptureSource(str(path), SourceOptions()))
        except SourceError as error:
            said = str(error)
        assert not said or ("capture.tar" in said and "\n" not in said)
