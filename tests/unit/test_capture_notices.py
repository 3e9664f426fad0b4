"""The kernel's notices of growing files: reported files, dropped folders, and systems without notices."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import struct
from pathlib import Path

import pytest

from tests.support.parts import lacking
from watchdog.sources.capture import notices as capture_notices
from watchdog.sources.capture.notices import IN_Q_OVERFLOW, Notices


@pytest.fixture
def notices(tmp_path: Path) -> Notices:
    found = Notices.start(str(tmp_path))
    if found is None:
        lacking("this system has no inotify, or no room for one more reader of it")
    return found


def grow(root: Path, folder: str, name: str = "msgs_recv.dat") -> None:
    (root / folder).mkdir(exist_ok=True)
    with (root / folder / name).open("ab") as file:
        file.write(b"x")


def told(notices: Notices) -> list[tuple[str, str]]:
    found = notices.changed()
    assert found is not None
    return list(found)


def test_growth_of_watched_folders_is_told_once_in_the_order_of_the_writes(tmp_path: Path, notices: Notices) -> None:
    for folder in ("a", "b", "c"):
        grow(tmp_path, folder)
    assert notices.watch("a")
    assert notices.watch("b")
    assert told(notices) == []
    for folder in ("b", "a", "c", "b"):
        grow(tmp_path, folder)
    grow(tmp_path, "a", "msgs_sent.dat")
    assert told(notices) == [("b", "msgs_recv.dat"), ("a", "msgs_recv.dat"), ("a", "msgs_sent.dat")]
    assert told(notices) == []


def test_more_notices_than_one_read_takes_are_all_told(tmp_path: Path, notices: Notices) -> None:
    (tmp_path / "a").mkdir()
    assert notices.watch("a")
    names = [f"{at:0200}" for at in range(1000)]
    for name in names:
        grow(tmp_path, "a", name)
    assert told(notices) == [("a", name) for name in names]


@pytest.mark.parametrize("how", ["removed", "moved"])
def test_a_folder_that_goes_is_not_watched_any_more_and_may_come_back(
    tmp_path: Path, notices: Notices, how: str
) -> None:
    grow(tmp_path, "a")
    assert notices.watch("a")
    if how == "removed":
        shutil.rmtree(tmp_path / "a")
    else:
        (tmp_path / "a").rename(tmp_path / "b")
    told(notices)
    assert "a" not in notices
    assert (notices.lost(), notices.lost()) == (["a"], [])
    assert notices.watch("a"), "a missing folder does not stop the others"
    grow(tmp_path, "a")
    assert told(notices) == []
    assert notices.watch("a")
    grow(tmp_path, "a")
    assert told(notices) == [("a", "msgs_recv.dat")]


def test_beyond_the_limit_the_folder_that_was_named_longest_ago_is_given_up(
    tmp_path: Path, notices: Notices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capture_notices, "WATCH_LIMIT", 2)
    for folder in ("a", "b", "a", "c"):
        (tmp_path / folder).mkdir(exist_ok=True)
        assert notices.watch(folder)
    assert (len(notices), "a" in notices, "b" in notices, "c" in notices) == (2, True, False, True)
    assert (notices.left_out(), notices.left_out()) == (["b"], [])
    told(notices)
    for folder in ("a", "b", "c"):
        grow(tmp_path, folder)
    assert told(notices) == [("a", "msgs_recv.dat"), ("c", "msgs_recv.dat")]
    assert notices.lost() == []


def test_what_was_written_before_a_folder_had_to_make_room_is_told(
    tmp_path: Path, notices: Notices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capture_notices, "WATCH_LIMIT", 1)
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    assert notices.watch("a")
    grow(tmp_path, "a")
    assert notices.watch("b")
    assert told(notices) == [("a", "msgs_recv.dat")]
    assert notices.watch("a")
    grow(tmp_path, "a")
    assert told(notices) == [("a", "msgs_recv.dat")]


def test_two_names_of_one_folder_are_watched_under_the_last(tmp_path: Path, notices: Notices) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert notices.watch("a")
    assert notices.watch("b")
    assert ("a" in notices, "b" in notices) == (False, True)
    grow(tmp_path, "a")
    assert told(notices) == [("b", "msgs_recv.dat")]


def test_an_overflow_says_that_anything_may_have_changed(tmp_path: Path) -> None:
    reading, writing = os.pipe2(os.O_NONBLOCK)
    notices = Notices(str(tmp_path), reading, ctypes.CDLL(None))
    os.write(writing, struct.pack("iIII", -1, IN_Q_OVERFLOW, 0, 0))
    assert notices.changed() is None
    assert notices.changed() == {}
    os.close(writing)
    notices.close()


def test_the_descriptor_is_given_back(notices: Notices) -> None:
    descriptor = notices._descriptor
    os.fstat(descriptor)
    notices.close()
    notices.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_there_are_none_on_another_system_and_without_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Library:
        def __init__(self, *_: object, **__: object) -> None:
            pass

    monkeypatch.setattr(ctypes, "CDLL", Library)
    assert Notices.start(str(tmp_path)) is None
    Library.inotify_init1 = lambda *_: -1  # type: ignore[attr-defined]  # a library that has it, and a kernel without room
    assert Notices.start(str(tmp_path)) is None


def test_the_limit_of_the_kernel_is_found_out_and_said(
    tmp_path: Path, notices: Notices, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    library = notices._library

    class Small:
        """A kernel with room for four watches."""

        @staticmethod
        def inotify_add_watch(*arguments: object) -> int:
            if len(notices) >= 4:
                ctypes.set_errno(errno.ENOSPC)
                return -1
            return int(library.inotify_add_watch(*arguments))

        inotify_rm_watch = library.inotify_rm_watch

    monkeypatch.setattr(notices, "_library", Small)
    names = [f"{at:02}" for at in range(10)]
    for name in names:
        (tmp_path / name).mkdir()
        assert notices.watch(name)
    assert len(notices) == 4
    assert notices.left_out() == names[:6]
    [said] = [one.getMessage() for one in caplog.records]
    assert "only 4 peers are watched: fs.inotify.max_user_watches is reached" in said
