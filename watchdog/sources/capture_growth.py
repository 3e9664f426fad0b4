"""Which files of a followed tree to look at in a poll: what the kernel tells of, and the others in turn."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Final

from watchdog.sources.capture_notices import Notices
from watchdog.sources.capture_tree import FILES

WATCHED_FOLDERS: Final = 500  # that grew last, looked at in each poll; a node has 125 to 200 connections
WATCHED_IN_TURN: Final = 250  # of all others, in each poll: an old address that comes back is seen a little later
CHECKED_IN_TURN: Final = 4  # when the kernel tells of every folder: a check whether it does, 16 folders a second
MISSES: Final = 3  # growth that the kernel did not tell of, until it is not believed any more

Look = tuple[str, bool]  # a folder, and whether the file of received messages is meant


class Growth:
    """The folders of one tree, the longest quiet one first, and which of their files may have grown.

    With notices of the kernel a poll asks for the files that grew and a few others; without them (another system,
    no room, a file system that does not tell) for those of the folders that grew last, and of the others in turn.
    """

    def __init__(self, notices: Notices | None = None) -> None:
        self._notices = notices
        self._order: dict[str, None] = {}
        self._names: list[str] = []
        self._turn = 0
        self._checked: set[str] = set()  # looked at in turn, though the kernel watches them
        self._untold: set[str] = set()  # of those, what had grown: a notice has to follow
        self._misses = 0

    @property
    def told(self) -> bool:
        """Whether the kernel tells of growth."""
        return self._notices is not None

    def close(self) -> None:
        """Give back what the notices hold."""
        if self._notices is not None:
            self._notices.close()
            self._notices = None

    def add(self, folder: str) -> None:
        """A folder seen for the first time; look at it after this."""
        self._names.append(folder)
        self._order[folder] = None
        self._watch(folder)

    def remove(self, folder: str) -> None:
        """The folder is gone."""
        del self._order[folder]
        self._names.remove(folder)

    def grew(self, folder: str) -> None:
        """The folder has grown."""
        del self._order[folder]
        self._order[folder] = None
        if folder in self._checked:
            self._untold.add(folder)
        self._watch(folder)

    def due(self) -> list[Look]:
        """What to look at now."""
        found = None if self._notices is None else self._notices.changed()
        if self._notices is None:
            return _files([*islice(reversed(self._order), WATCHED_FOLDERS), *self._in_turn(WATCHED_FOLDERS)])
        if found is None:
            self._untold, self._checked = set(), set()
            return _files(self._order)
        looks = [(folder, FILES[name]) for folder, name in found if name in FILES]
        folders = {folder for folder, _ in looks}
        self._misses += not self._untold <= folders
        if self._misses >= MISSES:
            self.close()
            return self.due()
        some = self._in_turn(0, CHECKED_IN_TURN if len(self._notices) == len(self._names) else WATCHED_IN_TURN)
        self._untold = set()
        self._checked = {folder for folder in some if folder in self._notices and folder not in folders}
        return looks + _files(folder for folder in some if folder not in folders)

    def _in_turn(self, beyond: int, count: int = WATCHED_IN_TURN) -> list[str]:
        """The next folders of all, if there are more than `beyond`."""
        if len(self._names) <= beyond:
            return []
        first = self._turn % len(self._names)
        self._turn = first + count
        return self._names[first : first + count]

    def _watch(self, folder: str) -> None:
        if self._notices is not None and not self._notices.watch(folder):
            self.close()  # no room for all: look at them, as elsewhere


def _files(folders: Iterable[str]) -> list[Look]:
    return [(folder, received) for folder in folders for received in (False, True)]
