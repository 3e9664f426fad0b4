"""Which files of a followed tree to look at in a poll: those that the kernel reports, and the others in turn."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Final

from watchdog.sources.capture.notices import Notices
from watchdog.sources.capture.tree import FILES

WATCHED_FOLDERS: Final = 500  # that grew last, looked at in each poll; a node has 125 to 200 connections
WATCHED_IN_TURN: Final = 250  # of all others, in each poll: an old address that comes back is seen a little later
CHECKED_IN_TURN: Final = 4  # of those that the kernel watches: a check of its reports, 16 folders a second
MISSES: Final = 3  # unreported growths until the kernel is no longer trusted
_LOG = logging.getLogger("watchdog.sources")

Look = tuple[str, bool]  # a folder, and whether the file of received messages is meant


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """When a poll began: the newest event time known then, and seconds of the monotonic clock."""

    seen_us: int
    at_s: float


class Growth:
    """The folders of one tree, the longest quiet one first, and which of their files may have grown.

    With notices of the kernel a poll asks for the files that grew and a few others; without them (another system,
    no room, a file system that does not tell) for those of the folders that grew last, and of the others in turn.
    What waits for its turn may hold anything that was written since the last one: see `oldest`. stale: set when a
    backlog was read in the meantime; those that wait are looked at all at once then.
    """

    def __init__(self, notices: Notices | None = None) -> None:
        self._notices = notices
        self.stale = False
        self._order: dict[str, None] = {}
        self._now = Moment(0, time.monotonic())
        self._turns: OrderedDict[str, Moment] = OrderedDict()  # not reported by the kernel; oldest look first
        self._checks: OrderedDict[str, None] = OrderedDict()
        self._checked: set[str] = set()  # looked at in turn, though the kernel watches them
        self._untold: set[str] = set()  # of those, what had grown: a notice has to follow
        self._again: list[str] = []  # watched since their last look: one more tells what came between
        self._misses = 0

    @property
    def told(self) -> bool:
        """Whether the kernel reports growth."""
        return self._notices is not None

    @property
    def oldest(self) -> Moment | None:
        """The poll since which some folder was not looked at; None when this poll has looked at all that may grow."""
        if self._notices is None and len(self._order) <= WATCHED_FOLDERS:
            return None
        first = next(iter(self._turns.values()), self._now)
        return None if first is self._now else first

    def close(self) -> None:
        """Give back what the notices hold."""
        if self._notices is not None:
            self._notices.close()
            self._notices = None

    def begin(self, seen_us: int) -> None:
        """Begin a poll. seen_us: the newest event time known."""
        self._now = Moment(seen_us, time.monotonic())

    def add(self, folder: str) -> None:
        """Add a folder seen for the first time; look at it after this."""
        self._order[folder] = None
        self._checks[folder] = None
        self._watch(folder)

    def remove(self, folder: str) -> None:
        """Remove a folder that is gone."""
        del self._order[folder], self._checks[folder]
        self._turns.pop(folder, None)
        if self._notices is not None:
            self._notices.forget(folder)

    def grew(self, folder: str) -> None:
        """Note that a folder has grown."""
        del self._order[folder]
        self._order[folder] = None
        if folder in self._checked:
            self._untold.add(folder)
        if self._notices is not None and folder not in self._notices:
            self._again.append(folder)
        self._watch(folder)

    def due(self) -> list[Look]:
        """Return the files to look at now."""
        found = None if self._notices is None else self._notices.changed()
        again = self._watch_again()
        notices = self._notices
        if (notices is not None and found is None) or (self.stale and self.oldest is not None):
            return self._all()
        if notices is None or found is None:
            recent = islice(reversed(self._order), WATCHED_FOLDERS)
            return _files([*recent, *(self._in_turn() if len(self._order) > WATCHED_FOLDERS else ())])
        looks = [(folder, FILES[name]) for folder, name in found if name in FILES]
        folders = {folder for folder, _ in looks}.union(again)
        self._misses += not self._untold <= folders
        if self._misses >= MISSES:
            self._give_up("it does not report every write")
            return self.due()
        self._untold = set()
        self._checked = {folder for folder in self._to_check() if folder in notices and folder not in folders}
        return looks + _files(dict.fromkeys([*again, *self._checked, *self._in_turn()]))

    def _watch_again(self) -> list[str]:
        """Return the folders to check once more: newly watched ones, and those whose watch has ended."""
        lost = [] if self._notices is None else self._notices.lost()
        again = [folder for folder in (*self._again, *lost) if folder in self._order]
        self._again = []
        for folder in again:
            self._turns.pop(folder, None)
            self._watch(folder)  # the name of a folder that was lost may stand for another one by now
        return again

    def _all(self) -> list[Look]:
        """Return every file. Lost notices include those of ended watches, so all watches are begun again."""
        for folder in self._order:
            if self._notices is not None and folder in self._notices:
                self._notices.forget(folder, ended=True)
                self._watch(folder)
        self._untold, self._checked, self.stale = set(), set(), False
        self._turns = OrderedDict.fromkeys(self._turns, self._now)
        return _files(self._order)

    def _in_turn(self) -> list[str]:
        """Return the folders without kernel reports that were not looked at for the longest time."""
        some = [self._turns.popitem(last=False)[0] for _ in range(min(WATCHED_IN_TURN, len(self._turns)))]
        self._turns.update(dict.fromkeys(some, self._now))
        return some

    def _to_check(self) -> list[str]:
        some = list(islice(self._checks, CHECKED_IN_TURN))
        for folder in some:
            self._checks.move_to_end(folder)
        return some

    def _watch(self, folder: str) -> None:
        """Ask the kernel to report a folder; folders that it does not report are looked at in turn."""
        if self._notices is not None:
            if not self._notices.watch(folder):
                self._give_up("it has no room for all folders (see fs.inotify.max_user_watches)")
            else:
                for quiet in self._notices.left_out():
                    self._turns.setdefault(quiet, self._now)
        if self._notices is None or folder not in self._notices:
            self._turns.setdefault(folder, self._now)

    def _give_up(self, why: str) -> None:
        """Look at the files in turn from now on, without the kernel."""
        assert self._notices is not None
        _LOG.warning("capture folder %s: notices of the kernel are not used: %s", self._notices.root, why)
        self.close()
        for folder in self._order:
            self._turns.setdefault(folder, self._now)


def _files(folders: Iterable[str]) -> list[Look]:
    return [(folder, received) for folder in folders for received in (False, True)]
