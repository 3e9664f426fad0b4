"""Damage that a merge of capture files has found and not yet handed over with a cut."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from watchdog.sources.capture.cut import Damage
from watchdog.sources.capture.files import CaptureFile
from watchdog.sources.capture.tree import RECEIVED_FILE, SENT_FILE
from watchdog.sources.faults import SourceFaults

REMOVED: Final = "file-removed"  # while it was being written, or before its end was read: its last records may be lost
PRUNED: Final = "file-pruned"  # by us, and the node wrote to it at that moment: what it wrote is lost
REPLACED: Final = "file-replaced"  # by another of its name, which is read from its start


class DamageLog:
    """Collects damage of the files of one tree; belongs to its merge.

    path: the tree's, for messages. faults: the damaged places of a finite read. left_out: records dropped because of
    their time.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self.faults = SourceFaults()
        self.left_out = 0
        self._dated: list[Damage] = []
        self._undated: dict[tuple[str, bool, str], Damage] = {}  # found before any time was known; by file and reason

    def add(self, file: CaptureFile, at_us: int, lost: int, reason: str) -> None:
        """Add damage for the next cut; without a time (0) it waits until one is known, one entry for each file."""
        damage = Damage(file.folder, at_us, at_us, lost, reason)
        if at_us:
            self._dated.append(damage)
        else:
            known = self._undated.setdefault((file.folder, file.received, reason), damage)
            known.lost += lost if known is not damage else 0

    def add_missing(self, folder: str, last_us: int) -> None:
        """Add damage for a folder of the resume position that no longer exists."""
        self._dated.append(Damage(folder, last_us, last_us, 0, REMOVED))

    def take(self, start_us: int) -> list[Damage]:
        """Hand over the damage so far, none dated before `start_us`; nothing while no time is known (0)."""
        if not start_us:
            return []
        damage = [*self._undated.values(), *self._dated]
        self._undated, self._dated = {}, []
        for one in damage:
            one.from_us = one.from_us or start_us
            one.time_us = max(one.time_us, start_us)
        return damage

    def note(self, file: CaptureFile) -> None:
        """Note damage in a file that will not grow, as soon as it is read up to it.

        A resume position from before that makes a repaired file whole again. Bitcoin Core's
        CaptureMessageToFile opens, writes and closes for each message, so the files of a stopped node end in whole
        records. A torn one means a crash, a full disk or a cut copy: damage, although it is one record only.
        """
        if file.zeros_at >= 0:
            self._fault(file, file.zeros_at, "zeros instead of a record")
            file.zeros_at = -1
        if file.torn:
            self._fault(file, file.sound_end, "impossible record")
        elif file.exhausted and file.tail:
            self._fault(file, file.sound_end, "torn record")

    def _fault(self, file: CaptureFile, offset: int, what: str) -> None:
        name = f"{self._path}/{file.folder}/{RECEIVED_FILE if file.received else SENT_FILE}"
        self.faults.note(name, f"{name} at byte {offset}: {what}")

    def nothing_plausible(self, last_us: int) -> str:
        """Return the fault of a finite tree in which no record has a plausible time; empty for any other.

        last_us: time of the latest record that was taken, 0 for none.
        """
        if last_us or not self.left_out:
            return ""
        return (
            f"{self._path}: none of its {self.left_out:,} records has a time between 2009 and tomorrow; "
            "is the clock of this machine right?"
        )


def torn_tails(files: Iterable[CaptureFile], last_us: int) -> list[Damage]:
    """Return the files that end in a torn record, for the end of a finite read; none while no time is known (0)."""
    if not last_us:
        return []
    return [
        Damage(file.folder, file.clock_us or last_us, last_us, 1, "torn-record")
        for file in files
        if file.tail and not file.torn
    ]
