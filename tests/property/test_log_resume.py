"""However a debug.log grows, is cut and resumed: the same events. Whatever is in it: no error."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.catalogue import check_batch
from watchdog.core.batch import Batch
from watchdog.core.errors import SourceError
from watchdog.core.source import SourceOptions
from watchdog.sources.log import source as debuglog
from watchdog.sources.log.source import DebugLogSource

WORDS = [
    "[net] trying v1 connection 136.43.7.{n}:8333 lastseen=4.0hrs",
    "[net] Making feeler connection to 136.43.7.{n}:8333",
    "[net] Added connection to 136.43.7.{n}:8333 peer={n}",
    "[net] connection from 136.43.7.{n}:8333 accepted",
    "New outbound-full-relay peer connected: transport: v1, version: 70016, blocks=137 peer={n}",
    "[net] New inbound peer connected: transport: v1, version: 70016, blocks=137 peer={n} peeraddr=136.43.7.{n}:8333",
    "[net] Received addr: 10 addresses (1 processed, 9 rate-limited) from peer={n}",
    "[net] socket closed, disconnecting peer={n} peeraddr=136.43.7.{n}:8333",
    "[net] feeler connection completed, disconnecting peer={n} peeraddr=136.43.7.{n}:8333",
    "[net] selected inbound connection for eviction, disconnecting peer={n} peeraddr=136.43.7.{n}:8333",
    "[net] Resetting socket for peer={n} peeraddr=136.43.7.{n}:8333",
    "[net] Cleared nodestate for peer={n}",
    "[net] Misbehaving: peer={n}: addr message size = 1001",
    "[addrman] Added 136.43.{n}.1:8333 to new[7][{n}]",
    "[addrman] Added 1 addresses (of 2) from 136.43.7.{n}: 1 tried, 2 new",
    "[net] sending inv (37 bytes) peer={n}",
    "Bitcoin Core version v30.99.0 (release build)",
    "Shutdown done",
    "a line that goes on\nin the next one",
]
ACTIONS = st.lists(st.tuples(st.sampled_from(WORDS), st.integers(0, 5)), max_size=80)


def text_of(actions: list[tuple[str, int]]) -> bytes:
    lines = [
        f"2026-01-21T12:{second // 60:02}:{second % 60:02}.000061Z {word.format(n=number)}\n"
        for second, (word, number) in enumerate(actions)
    ]
    return "".join(lines).encode()


def rows_of(batches: list[Batch]) -> dict[str, list[tuple[object, ...]]]:
    """Rows by kind in their order, whatever the batches were."""
    rows: dict[str, list[tuple[object, ...]]] = {}
    for batch in batches:
        check_batch(batch)
        names = sorted(batch.columns)
        values = zip(*(batch.columns[name].tolist() for name in names), strict=True)
        rows.setdefault(batch.kind, []).extend((batch.boot_ns, *row) for row in values)
    return rows


def read_all(source: DebugLogSource) -> tuple[list[Batch], Mapping[str, object]]:
    batches: list[Batch] = []
    position: Mapping[str, object] = {}
    while not source.ended:
        slice_ = source.poll()
        assert slice_ is not None
        batches += slice_.batches
        position = slice_.position
    return batches, position


def read_file(path: Path) -> dict[str, list[tuple[object, ...]]]:
    return rows_of(read_all(DebugLogSource(str(path), SourceOptions()))[0])


@given(actions=ACTIONS, cuts=st.lists(st.integers(0, 8_000), max_size=4))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_log_read_in_pieces_with_restarts_gives_the_same_events(
    tmp_path: Path, actions: list[tuple[str, int]], cuts: list[int]
) -> None:
    data = text_of(actions)
    path = tmp_path / "debug.log"
    path.write_bytes(data)
    whole = read_file(path)
    position: Mapping[str, object] | None = None
    batches: list[Batch] = []
    path.write_bytes(b"")
    for cut in [*sorted(min(cut, len(data)) for cut in cuts), len(data)]:
        with path.open("r+b") as file:
            file.write(data[:cut])
        source = DebugLogSource(str(path), SourceOptions(position=position))
        more, last = read_all(source)
        batches += more
        position = json.loads(json.dumps(last))
    assert rows_of(batches) == whole


@given(actions=ACTIONS, cuts=st.lists(st.integers(0, 8_000), max_size=6))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_followed_log_gives_the_same_events_however_it_grows(
    tmp_path: Path, actions: list[tuple[str, int]], cuts: list[int]
) -> None:
    data = text_of(actions)
    path = tmp_path / "debug.log"
    path.write_bytes(data)
    whole = read_file(path)
    path.write_bytes(b"")
    source = DebugLogSource(str(path), SourceOptions(follow=True))
    batches: list[Batch] = []
    for cut in [*sorted(min(cut, len(data)) for cut in cuts), len(data)]:
        with path.open("r+b") as file:
            file.write(data[:cut])
        idle = 0
        while idle < 3:
            slice_ = source.poll()
            idle += slice_ is None
            batches += slice_.batches if slice_ is not None else ()
    source.close()
    assert rows_of(batches) == whole


@given(actions=ACTIONS, chunk=st.integers(3_500, 6_000))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_the_size_of_what_is_read_at_once_does_not_matter_nor_does_compression(
    tmp_path: Path, actions: list[tuple[str, int]], chunk: int
) -> None:
    path = tmp_path / "debug.log"
    path.write_bytes(text_of(actions))
    whole = read_file(path)
    packed = tmp_path / "debug.log.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(debuglog, "CHUNK", chunk)
        assert read_file(path) == whole
        assert read_file(packed) == whole


def read_whatever(path: Path) -> None:
    """Read to the end; the only error is that no line has a time, and then there was no event either."""
    source, batches, fault = DebugLogSource(str(path), SourceOptions()), 0, ""
    try:
        while not source.ended:
            slice_ = source.poll()
            assert slice_ is not None
            batches += len(slice_.batches)
    except SourceError as error:
        fault = str(error)
    told = r"no line begins with a time|without a time|none of its [\d,]+ lines"
    assert not fault or (not batches and re.search(told, fault))


@pytest.mark.fuzz
@given(data=st.binary(max_size=2_000))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_random_bytes_are_no_error(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "debug.log"
    path.write_bytes(data)
    read_whatever(path)


@pytest.mark.fuzz
@given(
    actions=ACTIONS,
    changes=st.lists(st.tuples(st.integers(0, 8_000), st.binary(min_size=1, max_size=6)), max_size=8),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
def test_damaged_lines_are_no_error(
    tmp_path: Path, actions: list[tuple[str, int]], changes: list[tuple[int, bytes]]
) -> None:
    data = bytearray(text_of(actions))
    for place, piece in changes:
        data[place : place + len(piece)] = piece
    path = tmp_path / "debug.log"
    path.write_bytes(bytes(data))
    read_whatever(path)
