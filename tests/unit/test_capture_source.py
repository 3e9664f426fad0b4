"""Capture files to events: merging, connections, torn files, following, resuming."""

from __future__ import annotations

import json
import resource
import shutil
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.capture_files import (
    MINUTE_US,
    SECOND_US,
    START_US,
    addr_payload,
    append,
    column,
    events,
    handshake,
    read_all,
    record,
)
from watchdog.core.batch import Slice
from watchdog.core.errors import SourceError, StateError
from watchdog.core.kinds import check_batch
from watchdog.core.source import END_OF_TIME_NS, SourceOptions
from watchdog.sources import capture_merge
from watchdog.sources.capture import KINDS, CaptureSource

PEER = "8.8.8.8_50000"
OTHER = "[2a01_4f8__2]_8333"


def slices_of(root: Path, options: SourceOptions | None = None) -> list[Slice]:
    return read_all(CaptureSource(str(root), options or SourceOptions()))


def follower(root: Path, position: Mapping[str, object] | None = None) -> CaptureSource:
    return CaptureSource(str(root), SourceOptions(follow=True, position=position))


def drained(source: CaptureSource) -> list[Slice]:
    """Everything a following source has until two polls bring nothing."""
    found: list[Slice] = []
    quiet = 0
    while quiet < 2:
        slice_ = source.poll()
        quiet = quiet + 1 if slice_ is None else 0
        if slice_ is not None:
            found.append(slice_)
    return found


def ping(time_us: int, nonce: int = 7) -> bytes:
    return record(time_us, "ping", nonce.to_bytes(8, "little"))


def pong(time_us: int, nonce: int = 7) -> bytes:
    return record(time_us, "pong", nonce.to_bytes(8, "little"))


def test_messages_of_all_files_come_in_time_order(tmp_path: Path) -> None:
    for at in range(40):
        folder = f"8.8.{at}.8_50000"
        append(tmp_path, folder, True, b"".join(ping(START_US + at + 100 * step) for step in range(30)))
        append(tmp_path, folder, False, b"".join(pong(START_US + at + 100 * step + 50) for step in range(30)))
    slices = slices_of(tmp_path)
    received, sent = column(slices, "net:inbound_message", "time_ns"), column(slices, "net:outbound_message", "time_ns")
    assert received == sorted(received, key=str)
    assert len(received) == len(sent) == 1200
    assert sent == sorted(sent, key=str)


def test_every_batch_is_as_the_catalogue_says(tmp_path: Path) -> None:
    handshake(tmp_path, PEER, START_US, inbound=True)
    handshake(tmp_path, OTHER, START_US + SECOND_US, inbound=False)
    for received in (False, True):
        data = [
            record(START_US + 2 * SECOND_US, type_, addr_payload(3)) for type_ in ("addr", "getaddr", "x\x01y", "inv")
        ]
        append(tmp_path, PEER, received, b"".join(data) + ping(START_US + 3 * SECOND_US))
    append(tmp_path, PEER, True, pong(START_US + 4 * SECOND_US) + bytes(9))
    kinds = set()
    for slice_ in slices_of(tmp_path):
        for batch in slice_.batches:
            check_batch(batch)
            kinds.add(batch.kind)
    assert (
        {"net:inbound_connection", "net:outbound_connection", "p2p:addr", "p2p:unknown", "source:gap"} <= kinds <= KINDS
    )


def test_who_speaks_first_opened_the_connection(tmp_path: Path) -> None:
    handshake(tmp_path, PEER, START_US, inbound=True)
    handshake(tmp_path, "9.9.9.9_50000", START_US, inbound=False)
    slices = slices_of(tmp_path)
    assert column(slices, "net:inbound_connection", "peer") == ["8.8.8.8:50000"]
    assert column(slices, "net:outbound_connection", "peer") == ["9.9.9.9:50000"]


@pytest.mark.parametrize(
    ("folder", "asked", "direction"),
    [("8.8.8.8_50000", False, "in"), ("8.8.8.8_8333", False, "out"), ("8.8.8.8_50000", True, "out")],
    ids=["ephemeral-port", "listening-port", "we-send-getaddr"],
)
def test_with_equal_timestamps_other_evidence_decides(tmp_path: Path, folder: str, asked: bool, direction: str) -> None:
    handshake(tmp_path, folder, START_US, inbound=True, reply_us=0)
    if asked:
        append(tmp_path, folder, False, record(START_US, "getaddr"))
    assert set(column(slices_of(tmp_path), "p2p:version", "direction")) == {direction}


def test_a_peer_that_skips_the_handshake_is_inbound(tmp_path: Path) -> None:
    append(tmp_path, PEER, True, ping(START_US))
    assert column(slices_of(tmp_path), "net:inbound_message", "direction") == ["in"]


def test_a_second_version_that_we_send_is_a_new_connection(tmp_path: Path) -> None:
    for at in range(3):
        handshake(tmp_path, OTHER, START_US + at * MINUTE_US, inbound=False)
        append(tmp_path, OTHER, True, ping(START_US + at * MINUTE_US + SECOND_US))
    slices = slices_of(tmp_path)
    assert column(slices, "net:outbound_connection", "conn") == [0, 1, 2]
    assert column(slices, "net:outbound_connection", "connections") == [1, 1, 1]
    assert column(slices, "net:closed_connection", "lived_s") == [1, 1]
    assert column(slices, "net:inbound_message", "conn") == [0, 0, 1, 1, 2, 2]
    assert column(slices, "net:inbound_message", "age_s") == [0, 1, 0, 1, 0, 1]


def test_an_inbound_peer_that_comes_back_begins_with_its_own_version(tmp_path: Path) -> None:
    for at in range(2):
        handshake(tmp_path, PEER, START_US + at * MINUTE_US, inbound=True, reply_us=300)
    slices = slices_of(tmp_path)
    assert column(slices, "net:inbound_message", "conn") == [0, 1]
    assert column(slices, "net:inbound_connection", "connections") == [1, 1]


def test_a_version_that_the_peer_repeats_is_no_new_connection(tmp_path: Path) -> None:
    handshake(tmp_path, PEER, START_US, inbound=True)
    append(tmp_path, PEER, True, record(START_US + SECOND_US, "version", bytes(85)) * 3)
    assert column(slices_of(tmp_path), "net:inbound_connection", "conn") == [0]


def test_twenty_silent_minutes_end_a_connection_when_they_are_over(tmp_path: Path) -> None:
    handshake(tmp_path, PEER, START_US, inbound=True)
    handshake(tmp_path, OTHER, START_US, inbound=False)
    for minute in range(1, 40):
        append(tmp_path, OTHER, True, ping(START_US + minute * MINUTE_US))
    slices = slices_of(tmp_path)
    assert column(slices, "net:closed_connection", "peer") == ["8.8.8.8:50000"]
    assert column(slices, "net:closed_connection", "time_ns") == [(START_US + 50_000 + 20 * MINUTE_US) * 1000]
    for slice_ in slices:
        for batch in slice_.batches:
            assert batch.time_ns.min() >= START_US * 1000


def test_no_row_is_behind_the_watermark_of_the_slices_before(tmp_path: Path) -> None:
    handshake(tmp_path, PEER, START_US, inbound=True)
    append(tmp_path, OTHER, True, b"".join(ping(START_US + at * MINUTE_US) for at in range(300)))
    watermark = 0
    for slice_ in slices_of(tmp_path):
        for batch in slice_.batches:
            assert int(batch.time_ns.min()) >= watermark, batch.kind
        watermark = slice_.until_ns
    assert watermark == END_OF_TIME_NS


def test_the_addr_bucket_follows_the_connection(tmp_path: Path) -> None:
    handshake(tmp_path, OTHER, START_US, inbound=False)
    append(tmp_path, OTHER, False, record(START_US + 60_000, "getaddr"))
    append(tmp_path, OTHER, True, record(START_US + SECOND_US, "addr", addr_payload(600)))
    append(tmp_path, OTHER, True, record(START_US + SECOND_US, "addr", addr_payload(600)))
    slices = slices_of(tmp_path)
    assert column(slices, "p2p:addr", "processed") == [600, 401]
    assert column(slices, "p2p:addr", "beyond_limit") == [0, 199]
    assert column(slices, "p2p:addr", "solicited") == [True, False]
    assert column(slices, "p2p:getaddr", "repeat") == [1]


def test_pongs_answer_pings_of_the_other_side(tmp_path: Path) -> None:
    handshake(tmp_path, PEER, START_US, inbound=True)
    append(tmp_path, PEER, False, ping(START_US + SECOND_US, 1))
    append(tmp_path, PEER, True, pong(START_US + SECOND_US + 250, 1) + pong(START_US + SECOND_US + 300, 1))
    slices = slices_of(tmp_path)
    assert column(slices, "p2p:pong", "solicited") == [True, False]
    assert column(slices, "p2p:pong", "rtt_us") == [250, -1]


def test_headers_are_solicited_once_for_each_getheaders(tmp_path: Path) -> None:
    handshake(tmp_path, PEER, START_US, inbound=True)
    locator = (70016).to_bytes(4, "little") + b"\0" + bytes(32)
    append(tmp_path, PEER, False, record(START_US + SECOND_US, "getheaders", locator))
    append(tmp_path, PEER, True, b"".join(record(START_US + at * SECOND_US, "headers", b"\0") for at in (2, 3)))
    assert column(slices_of(tmp_path), "p2p:headers", "solicited") == [True, False]


def test_a_torn_last_record_is_reported_as_a_gap_at_the_end(tmp_path: Path) -> None:
    append(tmp_path, PEER, True, ping(START_US) + ping(START_US + 1)[:-3])
    append(tmp_path, OTHER, True, ping(START_US + SECOND_US))
    slices = slices_of(tmp_path)
    assert column(slices, "source:gap", "reason") == ["torn-record"]
    assert column(slices, "source:gap", "from_ns") == [START_US * 1000]
    assert column(slices, "source:gap", "time_ns") == [(START_US + SECOND_US) * 1000]
    assert len(column(slices, "net:inbound_message", "time_ns")) == 2


@pytest.mark.parametrize(
    "bad",
    [record(START_US + 5, "inv")[:20] + (4_000_001).to_bytes(4, "little"), record(1 << 63, "inv")],
    ids=["size", "time"],
)
@pytest.mark.parametrize("behind", [2, 50])  # few records are kept one by one, many as arrays
def test_an_impossible_record_ends_its_file_but_not_the_tree(tmp_path: Path, bad: bytes, behind: int) -> None:
    append(tmp_path, PEER, True, ping(START_US) + bad + ping(START_US + 9) * behind)
    append(tmp_path, OTHER, True, ping(START_US + SECOND_US))
    slices = slices_of(tmp_path)
    assert column(slices, "source:gap", "reason") == ["impossible-record"]
    assert column(slices, "net:inbound_message", "peer") == ["8.8.8.8:50000", "[2a01:4f8::2]:8333"]


def test_the_largest_possible_message_is_read(tmp_path: Path) -> None:
    append(tmp_path, PEER, True, record(START_US, "block", bytes(4_000_000)) + ping(START_US + 1))
    assert column(slices_of(tmp_path), "net:inbound_message", "size") == [4_000_000, 8]


def test_a_following_source_waits_for_the_rest_of_a_torn_record(tmp_path: Path) -> None:
    whole = ping(START_US + 1)
    append(tmp_path, PEER, True, ping(START_US) + whole[:11])
    source = follower(tmp_path)
    assert len(column(drained(source), "net:inbound_message", "time_ns")) == 1
    append(tmp_path, PEER, True, whole[11:30])
    assert drained(source) == []
    append(tmp_path, PEER, True, whole[30:])
    found = drained(source)
    assert column(found, "net:inbound_message", "time_ns") == [(START_US + 1) * 1000]
    assert column(found, "source:gap", "reason") == []
    assert not source.ended


def test_a_following_source_sees_new_folders_and_files(tmp_path: Path) -> None:
    source = follower(tmp_path)
    assert drained(source) == []
    handshake(tmp_path, PEER, START_US, inbound=True)
    assert column(drained(source), "net:inbound_connection", "peer") == ["8.8.8.8:50000"]
    append(tmp_path, OTHER, True, ping(START_US + SECOND_US))
    append(tmp_path, PEER, True, ping(START_US + 2 * SECOND_US))
    assert column(drained(source), "net:inbound_message", "peer") == ["[2a01:4f8::2]:8333", "8.8.8.8:50000"]


def test_what_is_new_is_held_back_for_one_poll_so_that_others_can_catch_up(tmp_path: Path) -> None:
    append(tmp_path, PEER, True, ping(START_US))
    source = follower(tmp_path)
    drained(source)
    append(tmp_path, PEER, True, ping(START_US + 5))
    assert source.poll() is None
    append(tmp_path, OTHER, True, ping(START_US + 3))
    found = drained(source)
    assert column(found, "net:inbound_message", "time_ns") == [(START_US + 3) * 1000, (START_US + 5) * 1000]


def test_a_folder_that_is_removed_is_no_error_and_may_come_back(tmp_path: Path) -> None:
    append(tmp_path, PEER, True, ping(START_US) + ping(START_US + 1))
    append(tmp_path, OTHER, True, ping(START_US))
    source = follower(tmp_path)
    assert len(column(drained(source), "net:inbound_message", "peer")) == 3
    shutil.rmtree(tmp_path / PEER)
    append(tmp_path, OTHER, True, ping(START_US + SECOND_US))
    assert column(drained(source), "net:inbound_message", "peer") == ["[2a01:4f8::2]:8333"]
    append(tmp_path, PEER, True, ping(START_US + 2 * SECOND_US))
    assert column(drained(source), "net:inbound_message", "time_ns") == [(START_US + 2 * SECOND_US) * 1000]


def test_an_old_folder_that_grows_again_is_seen_when_its_turn_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capture_merge, "WATCHED_FOLDERS", 3)
    monkeypatch.setattr(capture_merge, "WATCHED_IN_TURN", 2)
    for at in range(20):
        append(tmp_path, f"8.8.8.{at:03}_50000", True, ping(START_US + at * SECOND_US))
    source = follower(tmp_path)
    drained(source)
    append(tmp_path, "8.8.8.005_50000", True, ping(START_US + 60 * SECOND_US))
    found = [slice_ for _ in range(20) if (slice_ := source.poll()) is not None]
    assert column(found, "net:inbound_message", "time_ns") == [(START_US + 60 * SECOND_US) * 1000]


def test_a_backlog_is_read_before_following(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture_merge, "MEMORY_LIMIT", 4_000)
    monkeypatch.setattr(capture_merge, "TARGET_MESSAGES", 50)
    for at in range(10):
        data = b"".join(ping(START_US + at + step * SECOND_US) for step in range(200))
        append(tmp_path, f"8.8.{at}.8_50000", True, data)
    source = follower(tmp_path)
    found = drained(source)
    assert len(found) > 10
    times = column(found, "net:inbound_message", "time_ns")
    assert len(times) == 2000
    assert times == sorted(times, key=str)
    append(tmp_path, OTHER, True, ping(START_US + 300 * SECOND_US))
    assert len(column(drained(source), "net:inbound_message", "time_ns")) == 1


def test_following_gives_what_reading_at_once_gives(tmp_path: Path) -> None:
    source = follower(tmp_path)
    found: list[Slice] = []
    for step in range(30):
        now = START_US + step * MINUTE_US
        handshake(tmp_path, f"8.8.{step % 7}.8_50000", now, inbound=True)
        append(tmp_path, f"8.8.{step % 7}.8_50000", True, record(now + SECOND_US, "addr", addr_payload(20)))
        found += drained(source)
    assert events(found) == events(slices_of(tmp_path))


def test_the_position_survives_json_and_goes_on_at_the_exact_byte(tmp_path: Path) -> None:
    handshake(tmp_path, PEER, START_US, inbound=True)
    append(tmp_path, PEER, False, ping(START_US + SECOND_US, 3))
    first = drained(follower(tmp_path))
    position = json.loads(json.dumps(first[-1].position))
    append(tmp_path, PEER, True, pong(START_US + 2 * SECOND_US, 3))
    rest = drained(follower(tmp_path, position))
    assert column(rest, "net:inbound_message", "type") == ["pong"]
    assert column(rest, "net:inbound_message", "conn") == [0]
    assert column(rest, "p2p:pong", "rtt_us") == [SECOND_US]
    assert column(rest, "net:inbound_connection", "conn") == []


@pytest.mark.parametrize(
    "position",
    [{}, {"read": {}, "who": {}}, {"read": 3, "who": []}, {"who": {"open": [[1]], "counts": {}, "numbered": 0}}],
)
def test_a_damaged_position_is_refused(tmp_path: Path, position: dict[str, object]) -> None:
    append(tmp_path, PEER, True, ping(START_US))
    with pytest.raises(StateError, match="damaged"):
        follower(tmp_path, position)


def test_five_thousand_files_are_read_without_holding_them_open(tmp_path: Path) -> None:
    for at in range(2500):
        handshake(tmp_path, f"8.{at >> 8}.{at & 255}.8_50000", START_US + at * SECOND_US, inbound=True)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))
    try:
        slices = slices_of(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert column(slices, "net:inbound_connection", "conn") == list(range(2500))


def test_types_that_strangers_make_up_keep_their_names_and_cost_little(tmp_path: Path) -> None:
    data = b"".join(record(START_US + at, f"odd\x01{at:x}", b"payload") for at in range(5000))
    append(tmp_path, PEER, True, data + record(START_US + 5000, "odd\\x01"))
    slices = slices_of(tmp_path)
    names = column(slices, "p2p:unknown", "type")
    assert names[:2] == ["odd\\x010", "odd\\x011"]
    assert names[-1] == "odd\\x5cx01", "an escape cannot be forged"
    assert len(set(names)) == 5001
    assert column(slices, "net:inbound_message", "type") == names
    assert not any(column(slices, "net:inbound_message", "known"))


def test_unwanted_kinds_are_not_made(tmp_path: Path) -> None:
    handshake(tmp_path, PEER, START_US, inbound=True)
    slices = slices_of(tmp_path, SourceOptions(wanted=frozenset({"p2p:version"})))
    assert {batch.kind for slice_ in slices for batch in slice_.batches} == {"p2p:version"}


def archive(root: Path, path: Path) -> Path:
    with tarfile.open(path, "w:xz") as tar:
        tar.add(root, "capture")
    return path


def test_an_archive_gives_what_the_folder_gives(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    handshake(root, PEER, START_US, inbound=True)
    handshake(root, OTHER, START_US + SECOND_US, inbound=False)
    packed = slices_of(archive(root, tmp_path / "capture.tar.xz"))
    assert events(packed) == events(slices_of(root))


def test_a_torn_archive_is_one_clear_error(tmp_path: Path) -> None:
    handshake(tmp_path / "tree", PEER, START_US, inbound=True)
    path = archive(tmp_path / "tree", tmp_path / "capture.tar.xz")
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(SourceError, match=r"capture\.tar\.xz.*torn or corrupt"):
        slices_of(path)
    path.write_bytes(b"not an archive")
    with pytest.raises(SourceError, match="torn or corrupt"):
        slices_of(path)


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    handshake(tmp_path / "tree", PEER, START_US, inbound=True)
    path = archive(tmp_path / "tree", tmp_path / "capture.tar.xz")
    from watchdog.sources.capture_tree import ArchiveTree

    with pytest.raises(SourceError, match="unpacks to more than"):
        ArchiveTree(str(path), limit=1000)


def test_a_folder_without_capture_files_is_an_error_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no capture files"):
        slices_of(tmp_path)
    (tmp_path / "message_capture").mkdir()
    with pytest.raises(SourceError, match=r"did you mean .*message_capture"):
        slices_of(tmp_path)
    with pytest.raises(SourceError, match="no such folder"):
        slices_of(tmp_path / "nothing")
