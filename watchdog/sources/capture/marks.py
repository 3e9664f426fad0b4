"""The resume position of a capture tree: for each folder the places in its two files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from watchdog.core.errors import PositionError
from watchdog.sources.capture.files import NO_MARK, CaptureFile

MARKED_FOLDERS: Final = 10_000  # named in a position; older ones are found again by time
_UNKNOWN: Final = (0, 0, 0, 0, NO_MARK, NO_MARK)  # offset and clock_us of the sent and the received file, their marks


class Marks:
    """The byte after the last record taken of each file; the longest silent folders are forgotten."""

    def __init__(self, saved: object = None) -> None:
        """Read `saved` as the property `saved` returned it; StateError when it is damaged."""
        self._marks: dict[str, list[int]] = {}
        if saved is None:
            return
        if not isinstance(saved, Mapping):
            raise PositionError("position of a capture source is damaged: expected files, taken_us and span_us")
        for folder, mark in saved.items():
            sound = isinstance(mark, list | tuple) and all(isinstance(n, int) for n in mark)
            if not sound or len(mark) not in (4, 6):  # 4: as it was before there were marks of the bytes
                raise PositionError(f"position of a capture source is damaged at folder {str(folder)!r}")
            self._marks[str(folder)] = [*mark, *_UNKNOWN[len(mark) :]]

    def __contains__(self, folder: str) -> bool:
        """Return whether something was taken of the folder, as far as that is remembered."""
        return folder in self._marks

    def place(self, folder: str, received: bool) -> tuple[int, int, int]:
        """Return offset, clock_us and mark of one file (see `CaptureFile`)."""
        mark = self._marks.get(folder, _UNKNOWN)
        return mark[2 * received], mark[2 * received + 1], mark[4 + received]

    def last_us(self, folder: str) -> int:
        """Merge time of the last record taken of a folder, 0 for none."""
        mark = self._marks.get(folder, _UNKNOWN)
        return max(mark[1], mark[3])

    def note(self, file: CaptureFile) -> None:
        """Note how far the file was taken."""
        mark = list(self._marks.pop(file.folder, _UNKNOWN))
        mark[2 * file.received : 2 * file.received + 2] = (file.offset, file.clock_us)
        mark[4 + file.received] = file.mark
        self._marks[file.folder] = mark
        if len(self._marks) > MARKED_FOLDERS:
            del self._marks[next(iter(self._marks))]

    def remove(self, folder: str) -> None:
        """Remove a folder that is gone."""
        self._marks.pop(folder, None)

    def forget_after(self, believed_us: int) -> None:
        """Forget merge times after this one; the places in the files stay."""
        for mark in self._marks.values():
            mark[1], mark[3] = (time_us if time_us <= believed_us else 0 for time_us in (mark[1], mark[3]))

    def without(self, folders: Iterable[str]) -> list[str]:
        """Return the names that are not among `folders`, sorted."""
        return sorted(self._marks.keys() - set(folders))

    def saved(self) -> dict[str, list[int]]:
        """Return the state, JSON-able."""
        return dict(self._marks)

    @property
    def newest_us(self) -> int:
        """Merge time of the last record of all, 0 for none."""
        return max(map(self.last_us, self._marks), default=0)
