"""The files of a capture tree as they grow, appear and vanish; what was read of each is marked for resuming."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from watchdog.core.errors import PositionError
from watchdog.sources.capture.connections import SILENCE_US
from watchdog.sources.capture.damage import PRUNED, REMOVED, REPLACED, DamageLog
from watchdog.sources.capture.files import NO_MARK, CaptureFile
from watchdog.sources.capture.growth import Growth
from watchdog.sources.capture.marks import Marks
from watchdog.sources.capture.prune import Pruner
from watchdog.sources.capture.seek import START, PassedOver
from watchdog.sources.capture.tree import CaptureTree

MOST_REMOVED: Final = 65_536  # names of removed folders that are remembered


class FollowedFiles:
    """The files of one tree; belongs to its merge.

    latest_us: the latest time that a record may have now. skip_us: records before it were taken, or are skipped.
    seen_us: the latest time read so far; last_us: the latest time taken. Both are set by the merge.
    """

    def __init__(
        self, tree: CaptureTree, follow: bool, latest_us: Callable[[], int], damage: DamageLog, skip_us: int
    ) -> None:
        self._tree, self._follow, self._latest_us, self._damage = tree, follow, latest_us, damage
        self._files: dict[str, tuple[CaptureFile, CaptureFile]] = {}
        self.growth = Growth(None)
        self.marks = Marks()
        self.passed = PassedOver(tree)
        self.skip_us = skip_us
        self.seen_us = self.last_us = 0
        self._looked = False
        self._removed: dict[str, None] = {}
        self.bytes_total = self.bytes_taken = 0

    def resume(self, position: Mapping[str, object], believed_us: int) -> None:
        """Take over the marks of a position, without times after `believed_us`; PositionError when it is damaged."""
        taken = position.get("taken_us")
        if "files" not in position or not isinstance(taken, int):
            raise PositionError("position of a capture source is damaged: expected files, taken_us and span_us")
        self.marks = Marks(position["files"])
        self.marks.forget_after(believed_us)
        self.last_us = self.marks.newest_us
        if taken > believed_us:  # believed up to here only; files that the position does not name are older than that
            taken = self.last_us
        self.skip_us = taken
        self.seen_us = max(0, taken - 1)  # all before that time was taken

    def watch(self) -> None:
        """Ask the kernel for notices of growth, when following."""
        if self._follow:
            self.growth = Growth(self._tree.notices())

    def __iter__(self) -> Iterator[CaptureFile]:
        return (file for pair in self._files.values() for file in pair)

    def grown(self) -> Iterator[tuple[CaptureFile, bool]]:
        """Look for new folders and for growth; yield each file that grew, and whether it did while followed.

        The caller queues a file before it takes the next one.
        """
        self.growth.begin(self.seen_us)
        new = self._tree.folders()
        for folder in self._tree.gone():
            self._remove(folder)
        for folder in new:
            self._files[folder] = (self._file(folder, False), self._file(folder, True))
            self.growth.add(folder)
            for file in self._files[folder]:
                if self._grew(file):
                    yield file, False
        self._looked = True
        if self._follow:
            for folder, received in self.growth.due():
                file = self._files[folder][received]
                if self._grew(file):
                    yield file, True
                    self.growth.grew(folder)

    def report_replaced(self, file: CaptureFile) -> None:
        """Report a file that is not the one read before, unless it was idle for long and is gone."""
        if file.replaced_us < 0:
            return
        if file.size or file.unread or self._lately(file.replaced_us):
            self._damage.add(file, file.replaced_us, 0, REPLACED if file.size else REMOVED)
        file.replaced_us = -1
        if file.next_us is None:
            self.mark(file)

    def report_missing(self) -> None:
        """Report folders that were being written at the time of the position and no longer exist."""
        for folder in self.marks.without(self._files):
            last_us = self.marks.last_us(folder)
            self.marks.remove(folder)
            if self._lately(last_us):
                self._damage.add_missing(folder, last_us)

    def mark(self, file: CaptureFile) -> None:
        """Mark how far a file was taken, unless its folder is gone."""
        known = self._files.get(file.folder)
        if known is not None and known[file.received] is file:
            self.marks.note(file)

    def prune(self, pruner: Pruner) -> None:
        """Remove files that were read; a late write of the node is reported as damage."""
        done = pruner.run(self)
        for file in done.removed:
            self._forget(file)
        for file in done.lost:
            self._damage.add(file, max(file.clock_us, 1), 0, PRUNED)

    def wanted(self, file: CaptureFile) -> bool:
        """Return whether anything of a file is left to give: not when all of it was written before `skip_us`."""
        return not (file.exhausted and file.folder not in self.marks)

    def _file(self, folder: str, received: bool) -> CaptureFile:
        """Return a file at its marked place; without a mark, behind the records before `skip_us`.

        A folder that appears while the tree is followed is read whole. Its records may be older than those taken: the
        node's clock was set back, or a write was late. They are merged behind what was taken.
        """
        if folder in self.marks:
            return CaptureFile(folder, received, self.marks.place(folder, received))
        if self._follow and self._looked and folder not in self._removed:
            return CaptureFile(folder, received, (0, max(0, self.skip_us - 1), NO_MARK))
        place = self.passed.place(folder, received, self.skip_us, self._latest_us()) if self._follow else START
        return CaptureFile(folder, received, place, self.skip_us)

    def _grew(self, file: CaptureFile) -> bool:
        before = file.size
        size, changed_ns = self._tree.state(file.folder, file.received)
        if size == before and changed_ns == file.changed_ns:
            return False
        grew = file.grow(self._tree, size, changed_ns)
        self.report_replaced(file)
        if not grew:
            return False
        self.bytes_total += file.size - before
        if not before:
            self.bytes_taken += min(file.offset, file.size)
        return True

    def _remove(self, folder: str) -> None:
        """Forget a folder that is gone; records read from it are still given."""
        for file in self._files[folder]:
            file.grow(self._tree, 0, 0)
            self.report_replaced(file)
        del self._files[folder]
        self._removed[folder] = None  # it may come back as it was, after a remount
        if len(self._removed) > MOST_REMOVED:
            del self._removed[next(iter(self._removed))]
        self.marks.remove(folder)
        self.growth.remove(folder)

    def _forget(self, file: CaptureFile) -> None:
        """Begin a removed file again at its start, where its next record will be."""
        fresh = CaptureFile(file.folder, file.received, (0, file.clock_us, NO_MARK))
        fresh.continued = fresh.given = True
        sent, received = self._files[file.folder]
        self._files[file.folder] = (sent, fresh) if file.received else (fresh, received)
        if file.folder in self.marks:
            self.marks.note(fresh)
        self.bytes_total -= file.size
        self.bytes_taken -= file.size

    def _lately(self, time_us: int) -> bool:
        """Return whether a connection whose last message has this time may still be open."""
        return max(self.seen_us, self.last_us) - time_us < SILENCE_US
