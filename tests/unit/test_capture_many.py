"""Trees with more folders than are watched: what comes back after long is found late, and nothing overtakes it."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from tests.support.capture_files import SECOND_US, START_US, append, column, drained, follower, ping
from tests.support.scripted_feed import VirtualClock
from watchdog.core.batch import Slice
from watchdog.core.source import SourceOptions
from watchdog.service.feed import Feed
from watchdog.sources.capture import growth as capture_growth
from watchdog.sources.capture import merge as capture_merge
from watchdog.sources.capture import notices as capture_notices
from watchdog.sources.capture.notices import Notices
from watchdog.sources.capture.source import CaptureSource

FOLDERS = 40
IN_TURN = 3
BUSY = "9.9.9.9_8333"
STEP_US = SECOND_US // 4


def folder(number: int) -> str:
    return f"8.8.8.{number}_50000"


@pytest.fixture(autouse=True, params=["told", "untold"])
def few(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five folders are watched, or looked at in each poll where the kernel tells nothing; three others in turn."""
    monkeypatch.setattr(capture_growth, "WATCHED_IN_TURN", IN_TURN)
    monkeypatch.setattr(capture_growth, "WATCHED_FOLDERS", 5)
    monkeypatch.setattr(capture_notices, "WATCH_LIMIT", 5)
    if request.param == "untold":
        monkeypatch.setattr(Notices, "start", lambda root: None)


def tree(root: Path) -> CaptureSource:
    """A source that has given what the folders hold by now."""
    for number in range(FOLDERS):
        append(root, folder(number), True, ping(START_US + number))
    append(root, BUSY, True, ping(START_US + FOLDERS))
    source = follower(root)
    assert len(times(drained(source))) == FOLDERS + 1
    return source


def times(found: list[Slice]) -> list[int]:
    values = column(found, "net:inbound_message", "time_ns")
    return [value for value in values if isinstance(value, int)]


def given_ago(source: CaptureSource) -> float | None:
    return source.given_ago_s


def rounds() -> int:
    """Polls until each folder had its turn, and one more for what waits for a second look."""
    return FOLDERS // IN_TURN + 3


def test_nothing_comes_after_the_watermark_has_passed_it(tmp_path: Path) -> None:
    chosen = random.Random(5)
    source = tree(tmp_path)
    written: list[int] = []
    found: list[Slice] = []
    promised = 0
    now = START_US + SECOND_US
    for step in range(300):
        names = [BUSY, folder(chosen.randrange(FOLDERS))] if step < 250 else [BUSY]
        names += [f"7.7.7.{step}_50000"] * (step % 20 == 0)
        for name in names:
            now += STEP_US // 3
            append(tmp_path, name, True, ping(now))
            written.append(now * 1000)
        while (slice_ := source.poll()) is not None:
            assert min(times([slice_]), default=promised) >= promised, "late"
            promised = slice_.until_ns
            found.append(slice_)
    for _ in range(2 * rounds()):
        found += drained(source)
    assert sorted(times(found)) == written
    assert times(found) == sorted(times(found))


def test_what_waits_is_bounded_by_one_round_of_looks(tmp_path: Path) -> None:
    source = tree(tmp_path)
    behind = 0
    now = START_US + SECOND_US
    given = now * 1000
    for _ in range(4 * rounds()):
        now += STEP_US
        append(tmp_path, BUSY, True, ping(now))
        found = []
        while (slice_ := source.poll()) is not None:
            found.append(slice_)
        given = max([given, *times(found)])
        behind = max(behind, now * 1000 - given)
    assert behind <= rounds() * STEP_US * 1000


def test_a_flood_of_an_address_that_comes_back_is_given_in_order(tmp_path: Path) -> None:
    source = tree(tmp_path)
    found: list[Slice] = []
    now = START_US + SECOND_US
    for number in range(0, FOLDERS, 2):
        for _ in range(20):
            now += STEP_US
            append(tmp_path, folder(number), True, ping(now))
            append(tmp_path, BUSY, True, ping(now + 1))
            slice_ = source.poll()
            found += [slice_] if slice_ is not None else []
    for _ in range(2 * rounds()):
        found += drained(source)
    assert times(found) == sorted(times(found))
    assert len(times(found)) == 2 * 20 * FOLDERS // 2


def test_silence_says_nothing_of_folders_that_wait_for_their_turn(tmp_path: Path) -> None:
    source = tree(tmp_path)
    append(tmp_path, BUSY, True, ping(START_US + SECOND_US))
    assert source.poll() is None
    assert given_ago(source) is None, "something was found"
    found: list[Slice] = []
    while not found:
        slice_ = source.poll()
        found += [slice_] if slice_ is not None else []
    assert len(times(found)) == 1
    assert [source.poll() for _ in range(rounds())] == [None] * rounds()
    before = time.monotonic()
    assert source.poll() is None
    ago = given_ago(source)
    assert ago is not None
    assert time.monotonic() - before < ago < 60
    source.close()


@pytest.mark.parametrize("number", [0, 17, 39])
def test_the_service_makes_no_promise_of_silence_for_what_was_not_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    clock = VirtualClock()
    monkeypatch.setattr(time, "monotonic", clock.monotonic)
    tree(tmp_path).close()
    feed = Feed([f"capture:{tmp_path}"], SourceOptions(follow=True), clock)
    feed.open({})
    found = drained_feed(feed)
    begun = clock.now
    for _ in range(160):  # two minutes of silence, with one message some time in it
        clock.now += 0.75
        if clock.now - begun == 30.0:
            append(tmp_path, folder(number), True, ping(START_US + FOLDERS + 30 * SECOND_US))
        before = feed.channels[0].watermark_ns
        now = drained_feed(feed)
        assert min(times(now), default=before) >= before, "late"
        found += now
    assert len(times(found)) == FOLDERS + 2
    assert feed.channels[0].watermark_ns > (START_US + 45 * SECOND_US) * 1000, "silence still becomes promises"
    feed.close()


def drained_feed(feed: Feed) -> list[Slice]:
    return list(iter(feed.next, None))


def test_where_each_poll_looks_at_all_silence_speaks_of_the_last_poll(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capture_growth, "WATCHED_IN_TURN", FOLDERS)
    monkeypatch.setattr(capture_growth, "WATCHED_FOLDERS", 2 * FOLDERS)
    source = tree(tmp_path)
    assert source.poll() is None
    assert source.given_ago_s == 0.0
    source.close()


def test_folders_that_are_removed_do_not_hold_up_the_others(tmp_path: Path) -> None:
    source = tree(tmp_path)
    for number in range(FOLDERS):
        (tmp_path / folder(number) / "msgs_recv.dat").unlink()
        (tmp_path / folder(number)).rmdir()
    for _ in range(3):
        source.poll()
    now = START_US + 60 * SECOND_US
    append(tmp_path, BUSY, True, ping(now))
    found = [slice_ for _ in range(3) if (slice_ := source.poll()) is not None]
    assert times(found) == [now * 1000]
    source.close()


def test_the_end_of_a_backlog_promises_no_more_than_was_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture_merge, "MEMORY_LIMIT", 4_000)
    monkeypatch.setattr(capture_merge, "TARGET_MESSAGES", 50)
    monkeypatch.setattr(capture_merge, "STEP_MIN", 64)
    monkeypatch.setattr(capture_merge, "STEP_MAX", 64)
    for at in range(10):
        data = b"".join(ping(START_US + at + step * SECOND_US) for step in range(200))
        append(tmp_path, folder(at), True, data)
    source = follower(tmp_path)
    last = (START_US + 9 + 199 * SECOND_US) * 1000
    assert max(slice_.until_ns for slice_ in drained(source)) <= last + 1000
    source.close()
