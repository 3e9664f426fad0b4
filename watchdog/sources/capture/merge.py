"""All files of a capture tree merged by time, in bounded memory and without open files.

A heap holds one entry for each file with something left, by the time of its next record. A cut chooses an end
time, reads the files that have records before it that far ahead, and takes everything before the end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from heapq import heappop, heappush
from typing import Final

import numpy as np

from watchdog.core.errors import PositionError
from watchdog.core.moments import IMPLAUSIBLE
from watchdog.core.source import END_OF_TIME_NS
from watchdog.sources.capture.connections import SILENCE_US
from watchdog.sources.capture.cut import Cut, Damage
from watchdog.sources.capture.files import EARLIEST_US, END_US, CaptureFile
from watchdog.sources.capture.growth import Growth
from watchdog.sources.capture.marks import Marks
from watchdog.sources.capture.seek import START, PassedOver
from watchdog.sources.capture.tree import RECEIVED_FILE, SENT_FILE, CaptureTree
from watchdog.sources.faults import SourceFaults

TARGET_MESSAGES: Final = 20_000  # of one cut
SPAN_LIMIT_US: Final = 900_000_000  # event time of one cut; less than the silence that closes a connection
FIRST_SPAN_US: Final = 60_000_000
MEMORY_LIMIT: Final = 64 * 1024 * 1024  # bytes read ahead, all files together
STEP_MIN: Final = 16 * 1024
STEP_MAX: Final = 256 * 1024
PATIENCE_US: Final = 5_000  # of event time, see `CaptureMerge.cut`
REMOVED: Final = "file-removed"  # while it was written to, or before its end was read: what came last may be lost
REPLACED: Final = "file-replaced"  # by another of its name, which is read from its start


class CaptureMerge:
    """The merge of one tree; `cut` gives the next stretch of event time."""

    def __init__(
        self,
        tree: CaptureTree,
        follow: bool,
        latest_ns: Callable[[], int],
        position: Mapping[str, object] | None = None,
        path: str = "",
        *,
        believed_ns: int = END_OF_TIME_NS,
        since_us: int = 0,
    ) -> None:
        """position: as `position` gave it, or None for the start. StateError when it is not one of ours.

        latest_ns: gives the latest time that a record may have now. path: the tree's, for messages. believed_ns: times
        in the position after this one are of a wrong clock: forgotten, and the places in the files kept. since_us:
        without a position, what was written before is passed over.
        """
        self._path = path
        self.faults = SourceFaults()  # of a finite read
        self._tree = tree
        self._latest_ns = latest_ns
        self._follow = follow
        self._files: dict[str, tuple[CaptureFile, CaptureFile]] = {}
        self._growth = Growth(tree.notices() if follow else None)
        self._heap: list[tuple[int, int, CaptureFile]] = []
        self._pushed = 0
        self._marks = Marks()
        self._span_us = FIRST_SPAN_US
        self._skip_us = since_us if follow and position is None else 0
        self._seen_us = 0
        self._last_us = 0
        self._behind = True
        self._damage: list[Damage] = []
        self._undated: dict[tuple[str, bool, str], Damage] = {}  # found before any time was known; by file and reason
        self.left_out = 0  # records, because of their time
        self.caught_up = False  # whether the last cut of a followed tree left nothing that could be given yet
        self.bytes_total = 0
        self.bytes_taken = 0
        self.passed = PassedOver(tree)
        if position is not None:
            self._resume(position, believed_ns // 1_000)
        self._refresh()
        self._tell_missing()
        self._growth.stale = True
        self._read_ahead()

    def cut(self, refresh: bool = True) -> Cut | None:
        """The next stretch, or None when nothing is there (yet)."""
        ceiling = END_US
        if self._follow and self._behind and self.bytes_total - self.bytes_taken < MEMORY_LIMIT:
            self._read_ahead()
        if self._follow and not self._behind:
            seen = self._seen_us
            news = self._refresh() if refresh else False
            self._read_ahead()
            if not self._behind:
                # What is new may still be overtaken: by a file that was looked at earlier, by a thread of the node
                # between its time stamp and its write. So the newest milliseconds wait for one more look.
                ceiling = (max(seen, self._seen_us - PATIENCE_US) if news else self._seen_us) + 1
                if self._growth.oldest is not None:  # of folders that wait for their turn, nothing is known since then
                    ceiling = min(ceiling, self._growth.oldest.seen_us + 1)
        result = self._cut(ceiling)
        if self._behind:
            self._growth.stale = True
            self._behind = any(not file.exhausted for _, _, file in self._heap)
        self.caught_up = self._follow and not self._behind and not (self._heap and self._heap[0][0] < ceiling)
        return result

    def close(self) -> None:
        """Give back what the kernel holds for a followed tree; a second call does nothing."""
        self._growth.close()

    @property
    def given_ago_s(self) -> float | None:
        """How long ago all that was written by then has been given; None when something waits to be given."""
        if self._heap:
            return None
        return 0.0 if self._growth.oldest is None else time.monotonic() - self._growth.oldest.at_s

    @property
    def empty(self) -> bool:
        """Whether all that is known of was taken."""
        return not self._heap

    def tails(self) -> list[Damage]:
        """Files that end in a torn record; for the end of a finite read."""
        last = self._last_us
        if not last:  # nothing has a time that could be told: the fault says it
            return []
        return [
            Damage(file.folder, file.clock_us or last, last, 1, "torn-record")
            for pair in self._files.values()
            for file in pair
            if file.tail and not file.torn
        ]

    def nothing_plausible(self) -> str:
        """What to say at the end of a tree in which no record has a time that can be true; "" of any other."""
        if self._last_us or not self.left_out:
            return ""
        return (
            f"{self._path}: none of its {self.left_out:,} records has a time between 2009 and tomorrow; "
            "is the clock of this machine right?"
        )

    def position(self) -> dict[str, object]:
        """Where to go on, JSON-able: the bytes taken of each file, and the time before which all was taken."""
        return {"files": self._marks.saved(), "taken_us": self._skip_us, "span_us": self._span_us}

    def _resume(self, position: Mapping[str, object], believed_us: int) -> None:
        taken, span = position.get("taken_us"), position.get("span_us")
        if "files" not in position or not isinstance(taken, int) or not isinstance(span, int):
            raise PositionError("position of a capture source is damaged: expected files, taken_us and span_us")
        self._marks = Marks(position["files"])
        self._marks.forget_after(believed_us)
        self._last_us = self._marks.newest_us
        if taken > believed_us:  # as far as is believed, and files that the position does not name are older than that
            taken = self._last_us
        self._skip_us, self._span_us = taken, max(1, min(span, SPAN_LIMIT_US))
        self._seen_us = max(0, taken - 1)  # all before that time was taken

    def _refresh(self) -> bool:
        """Look for new folders and for growth; True when there is something new."""
        news = False
        self._growth.begin(self._seen_us)
        new = self._tree.folders()
        for folder in self._tree.gone():
            self._remove(folder)
        for folder in new:
            self._files[folder] = (self._file(folder, False), self._file(folder, True))
            self._growth.add(folder)
            for file in self._files[folder]:
                news |= self._look(file)
        if self._follow:
            for folder, received in self._growth.due():
                if self._look(self._files[folder][received], at_once=True):
                    news = True
                    self._growth.grew(folder)
        return news

    def _file(self, folder: str, received: bool) -> CaptureFile:
        """A file at its place; where that is not known, behind what was given by its time, which is not read."""
        if folder in self._marks:
            return CaptureFile(folder, received, self._marks.place(folder, received))
        place = self.passed.place(folder, received, self._skip_us, self._latest_us()) if self._follow else START
        return CaptureFile(folder, received, place, self._skip_us)

    def _look(self, file: CaptureFile, *, at_once: bool = False) -> bool:
        """Whether the file grew. at_once: read what is little, to know its time without reading twice."""
        before = file.size
        size, changed_ns = self._tree.state(file.folder, file.received)
        if size == before and changed_ns == file.changed_ns:
            return False
        grew = file.grow(self._tree, size, changed_ns)
        self._tell_replaced(file)
        if not grew:
            return False
        self.bytes_total += file.size - before
        if not before:
            self.bytes_taken += min(file.offset, file.size)
        passed_over = file.exhausted and file.folder not in self._marks  # all of it: nothing of it is to be given
        if not (file.queued or passed_over):
            if at_once and file.size - file.offset <= STEP_MIN:
                self._fill(file, END_US, STEP_MIN)
            following = file.next_us
            self._push(file, self._peek(file) if following is None else following)
        return True

    def _peek(self, file: CaptureFile) -> int:
        """Merge time of the next record, or a time before it."""
        time_us = file.peek(self._tree)
        self._tell_replaced(file)
        return max(file.clock_us, time_us) if EARLIEST_US <= time_us <= self._latest_us() else file.clock_us

    def _push(self, file: CaptureFile, time_us: int) -> None:
        self._pushed += 1
        file.queued = True
        heappush(self._heap, (time_us, self._pushed, file))

    def _step(self) -> int:
        return max(STEP_MIN, min(STEP_MAX, MEMORY_LIMIT // (len(self._heap) + 1)))

    def _latest_us(self) -> int:
        return self._latest_ns() // 1_000

    def _read_ahead(self) -> None:
        """When following: hold all that is there in memory, unless it is a backlog."""
        if not self._follow:
            return
        room, step = MEMORY_LIMIT, self._step()
        for _, _, file in self._heap:
            if not file.exhausted:
                room -= file.size - file.offset
                if room < 0 or not self._fill(file, END_US, step):
                    self._behind = True
                    return
        self._behind = False

    def _fill(self, file: CaptureFile, until_us: int, step: int) -> bool:
        was_torn = file.torn
        full = file.fill(self._tree, until_us, step, self._latest_us())
        self._tell_replaced(file)
        if file.implausible:
            self._tell(file, file.implausible_us, file.implausible, IMPLAUSIBLE)
            self.left_out += file.implausible
            file.implausible = 0
        if file.torn and not was_torn:
            self._tell(file, file.known_us, 0, "impossible-record")
        if not self._follow:
            self._note(file)
        self._seen_us = max(self._seen_us, file.known_us)
        return full

    def _tell_replaced(self, file: CaptureFile) -> None:
        """Damage for a file that is not the one that was read, unless nobody wrote to it any more and it is gone."""
        if file.replaced_us < 0:
            return
        if file.size or file.unread or self._lately(file.replaced_us):
            self._tell(file, file.replaced_us, 0, REPLACED if file.size else REMOVED)
        file.replaced_us = -1
        if file.next_us is None:
            self._mark(file)

    def _remove(self, folder: str) -> None:
        """Forget a folder that is gone; what was read of it is given all the same."""
        for file in self._files[folder]:
            file.grow(self._tree, 0, 0)
            self._tell_replaced(file)
        del self._files[folder]
        self._marks.remove(folder)
        self._growth.remove(folder)

    def _tell_missing(self) -> None:
        """Damage for what was written to at the time of the position, and is not there any more."""
        for folder in self._marks.without(self._files):
            last_us = self._marks.last_us(folder)
            self._marks.remove(folder)
            if self._lately(last_us):
                self._damage.append(Damage(folder, last_us, last_us, 0, REMOVED))

    def _lately(self, time_us: int) -> bool:
        """Whether a connection that was silent since then is still open."""
        return max(self._seen_us, self._last_us) - time_us < SILENCE_US

    def _tell(self, file: CaptureFile, at_us: int, lost: int, reason: str) -> None:
        """Damage for the next cut. What has no time of its own waits until one is known, one entry for each file."""
        damage = Damage(file.folder, at_us, at_us, lost, reason)
        if at_us:
            self._damage.append(damage)
        else:
            known = self._undated.setdefault((file.folder, file.received, reason), damage)
            known.lost += lost if known is not damage else 0

    def _note(self, file: CaptureFile) -> None:
        """Tell of damage in a file that will not grow, as soon as it is read so far.

        A resume position from before that makes a repaired file whole again. Bitcoin Core (src/net.cpp,
        CaptureMessageToFile) opens, writes and closes for each message, so the files of a node that was stopped end in
        whole records. A torn one means a crash, a full disk or a cut copy: damage, although it is one record only.
        """
        if file.zeros_at >= 0:
            self._fault(file, file.zeros_at, "zeros instead of a record")
            file.zeros_at = -1
        if file.torn:
            self._fault(file, file.sound_end, "impossible record")
        elif file.exhausted and file.tail:
            self._fault(file, file.sound_end, "torn record")

    def _fault(self, file: CaptureFile, at: int, what: str) -> None:
        name = f"{self._path}/{file.folder}/{RECEIVED_FILE if file.received else SENT_FILE}"
        self.faults.note(name, f"{name} at byte {at}: {what}")

    def _dated(self, start_us: int) -> list[Damage]:
        """The damage found so far, not before the start of the cut that tells of it; none while no time is known."""
        start = start_us or self._last_us  # a file whose first time cannot be true has none
        if not start:
            return []
        damage = [*self._undated.values(), *self._damage]
        self._undated, self._damage = {}, []
        for one in damage:
            one.from_us = one.from_us or start
            one.time_us = max(one.time_us, start)
        return damage

    def _cut(self, ceiling: int) -> Cut | None:
        heap, step = self._heap, self._step()
        if not heap or heap[0][0] >= ceiling:
            return None
        start = heap[0][0]
        end = min(start + self._span_us, ceiling)
        until, held = end, 0
        chosen: list[CaptureFile] = []
        while heap and heap[0][0] < end:
            file = heappop(heap)[2]
            chosen.append(file)
            if not self._fill(file, end, step):
                end = max(file.known_us, start + 1)
                until = min(until, file.known_us)
            held += file.pending
            if held > MEMORY_LIMIT:
                end = max(start + (end - start) // 2, start + 1)
        end = self._fitting(chosen, start, end)
        if self._follow:  # the span of a backlog may lead into the future
            until = min(until, self._seen_us + 1)
        result = Cut({}, min(until, end), self._dated(start))
        for file in sorted(chosen, key=lambda one: one.folder):  # so that equal times have one order, always
            self._take(file, end, result)
        self._skip_us = max(self._skip_us, result.until_us)
        return result

    def _fitting(self, chosen: list[CaptureFile], start: int, end: int) -> int:
        """An end time that keeps the cut near its target; sets the span of the next one."""
        count, span = sum(file.count_before(end) for file in chosen), end - start
        if count > TARGET_MESSAGES * 3 // 2:
            times = [time for file in chosen for time in file.times_before(end)]
            middle = int(np.partition(np.array(times, np.int64), TARGET_MESSAGES)[TARGET_MESSAGES])
            end = max(middle, start + 1)
            self._span_us = max(1, end - start)
        elif not self._follow or self._behind:
            self._span_us = max(1, min(span * TARGET_MESSAGES // max(count, 1), span * 4, SPAN_LIMIT_US))
        else:
            self._span_us = SPAN_LIMIT_US
        return end

    def _take(self, file: CaptureFile, end: int, result: Cut) -> None:
        before = file.offset
        parts = file.take(end)
        file.queued = False
        if parts:
            pair = result.folders.setdefault(file.folder, ([], []))
            pair[file.received].extend(parts)
            self._mark(file)
            self._last_us = max(self._last_us, file.clock_us)
        self.bytes_taken += file.offset - before
        following = file.next_us
        if following is not None:
            self._push(file, following)
        elif not file.exhausted:
            self._push(file, file.clock_us)

    def _mark(self, file: CaptureFile) -> None:
        known = self._files.get(file.folder)
        if known is not None and known[file.received] is file:  # its folder may be gone
            self._marks.note(file)
