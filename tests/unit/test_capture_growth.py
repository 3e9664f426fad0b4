"""Which files a poll looks at: with notices, without, and with notices that cannot be believed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.support.capture_files import PEER, SECOND_US, START_US, append, column, drained, follower, ping
from tests.support.parts import lacking
from watchdog.core.batch import Slice
from watchdog.core.source import SourceOptions
from watchdog.sources.capture import growth as capture_growth
from watchdog.sources.capture import merge as capture_merge
from watchdog.sources.capture.growth import CHECKED_IN_TURN, MISSES, WATCHED_IN_TURN, Growth
from watchdog.sources.capture.notices import Notices
from watchdog.sources.capture.source import CaptureSource
from watchdog.sources.capture.tree import DiskTree

NAMES = [f"{at:04}" for at in range(300)]


class Told(Notices):
    """Notices that say what a test wants."""

    def __init__(self, room: int = 1 << 30, watchable: int = 1 << 30) -> None:
        self.watchable = watchable
        self.folders: set[str] = set()
        self.next: dict[tuple[str, str], None] | None = {}
        self.room, self.closed, self.root = room, False, "capture"
        self._lost, self._left_out = [], []

    def __len__(self) -> int:
        return len(self.folders)

    def __contains__(self, folder: str) -> bool:
        return folder in self.folders

    def watch(self, folder: str) -> bool:
        if len(self.folders) < self.watchable:
            self.folders.add(folder)
        return len(self.folders) <= self.room

    def forget(self, folder: str, *, ended: bool = False) -> None:
        self.folders.discard(folder)

    def changed(self) -> dict[tuple[str, str], None] | None:
        found, self.next = self.next, {}
        return found

    def close(self) -> None:
        self.closed = True


class CountingTree(DiskTree):
    """Counts how often a size is asked for."""

    asked = 0

    def state(self, folder: str, received: bool) -> tuple[int, int]:
        self.asked += 1
        return super().state(folder, received)


def growth(notices: Told | None, names: Iterable[str] = NAMES) -> Growth:
    made = Growth(notices)
    for name in names:
        made.add(name)
    return made


def test_with_notices_a_poll_looks_at_what_was_told_and_checks_few_others() -> None:
    notices = Told()
    made = growth(notices)
    notices.next = {("0007", "msgs_sent.dat"): None, ("0008", "other"): None, ("0007", "msgs_recv.dat"): None}
    looks = made.due()
    assert looks[:2] == [("0007", False), ("0007", True)]
    assert len(looks) == 2 + 2 * CHECKED_IN_TURN
    seen = {folder for _ in range(len(NAMES) // CHECKED_IN_TURN) for folder, _ in made.due()}
    assert seen == set(NAMES), "all have their turn"


def test_an_overflow_makes_it_look_at_everything_once() -> None:
    notices = Told()
    made = growth(notices)
    notices.next = None
    assert len(made.due()) == 2 * len(NAMES)
    assert len(made.due()) == 2 * CHECKED_IN_TURN


def test_folders_that_are_not_watched_are_looked_at_in_larger_turns() -> None:
    notices = Told(watchable=10)
    made = growth(notices)
    first, second = ({folder for folder, _ in made.due()} - set(NAMES[:10]) for _ in range(2))
    assert len(first) == len(second) == WATCHED_IN_TURN
    assert first | second == set(NAMES[10:])


def test_notices_that_do_not_tell_are_given_up() -> None:
    notices = Told()
    made = growth(notices)
    for _ in range(MISSES):
        assert made.told
        for folder in {folder for folder, _ in made.due()}:
            made.grew(folder)
    assert len({folder for folder, _ in made.due()}) == len(NAMES)
    assert notices.closed
    assert not made.told


def test_a_notice_that_comes_after_the_look_is_in_time() -> None:
    notices = Told()
    made = growth(notices)
    for _ in range(10 * MISSES):
        grown = {folder for folder, _ in made.due()}
        for folder in grown:
            made.grew(folder)
        notices.next = {(folder, "msgs_recv.dat"): None for folder in grown}
    assert made.told


def test_without_room_for_all_it_looks_at_them_as_elsewhere_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    notices = Told(room=10)
    made = growth(notices)
    assert notices.closed
    [said] = [record.getMessage() for record in caplog.records]
    assert "no room for all folders (see fs.inotify.max_user_watches)" in said
    assert len(made.due()) == 2 * len(NAMES)


def test_without_notices_those_that_grew_last_are_looked_at_and_the_others_in_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(capture_growth, "WATCHED_FOLDERS", 2)
    made = growth(None)
    made.grew("0003")
    made.grew("0005")
    first = made.due()
    assert [folder for folder, received in first if received][:2] == ["0005", "0003"]
    assert {folder for folder, _ in first + made.due()} == set(NAMES)


def test_a_quiet_tree_is_not_asked_file_by_file(tmp_path: Path) -> None:
    if Notices.start(str(tmp_path)) is None:
        lacking("this system has no inotify, or no room for one more reader of it")
    for at in range(200):
        append(tmp_path, f"8.8.{at}.8_50000", True, ping(START_US + at))
    tree = CountingTree(str(tmp_path))
    source = CaptureSource(str(tmp_path), SourceOptions(follow=True), tree=tree)
    drained(source)
    tree.asked = 0
    append(tmp_path, PEER, True, ping(START_US + SECOND_US))
    append(tmp_path, "8.8.77.8_50000", True, ping(START_US + SECOND_US + 1))
    found = [slice_ for _ in range(3) if (slice_ := source.poll()) is not None]
    assert len(column(found, "net:inbound_message", "time_ns")) == 2
    assert tree.asked <= 2 + 2 + 3 * 2 * CHECKED_IN_TURN
    source.close()


def test_what_is_older_than_the_newest_milliseconds_does_not_wait(tmp_path: Path) -> None:
    append(tmp_path, PEER, True, ping(START_US))
    source = follower(tmp_path)
    drained(source)
    late = START_US + 50 * capture_merge.PATIENCE_US
    append(tmp_path, PEER, True, ping(START_US + 5) + ping(late))
    first = source.poll()
    assert first is not None
    assert column([first], "net:inbound_message", "time_ns") == [(START_US + 5) * 1000]
    append(tmp_path, "9.9.9.9_50000", True, ping(late - 1))  # written late, yet not behind the promise
    found = drained(source)
    assert column(found, "net:inbound_message", "time_ns") == [(late - 1) * 1000, late * 1000]
    assert first.until_ns <= (late - 1) * 1000
    source.close()


def test_a_slice_says_whether_it_is_all_that_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture_merge, "TARGET_MESSAGES", 50)
    append(tmp_path, PEER, True, ping(START_US))
    source = follower(tmp_path)
    drained(source)
    append(tmp_path, PEER, True, b"".join(ping(START_US + at * SECOND_US) for at in range(1, 202)))
    found: list[Slice] = []
    while (slice_ := source.poll()) is not None:
        found.append(slice_)
    said = [slice_.caught_up for slice_ in found]
    assert len(said) > 3
    assert said == [False] * (len(said) - 1) + [True]
    source.close()
