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
from watchdog.sources.capture.cut import Cut, Damage
from watchdog.sources.capture.damage import DamageLog, torn_tails
from watchdog.sources.capture.files import EARLIEST_US, END_US, CaptureFile
from watchdog.sources.capture.followed import FollowedFiles
from watchdog.sources.capture.tree import CaptureTree

TARGET_MESSAGES: Final = 20_000  # of one cut
SPAN_LIMIT_US: Final = 900_000_000  # event time of one cut; less than the silence that closes a connection
FIRST_SPAN_US: Final = 60_000_000
MEMORY_LIMIT: Final = 64 * 1024 * 1024  # bytes read ahead, all files together
STEP_MIN: Final = 16 * 1024
STEP_MAX: Final = 256 * 1024
PATIENCE_US: Final = 5_000  # of event time, see `CaptureMerge.cut`


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
        """Take over the position; no file is touched before `open`.

        position: from `position`, or None for the start; PositionError when it is damaged. latest_ns: the latest time
        that a record may have now. path: the tree's, for messages. believed_ns: later times in the position came from a
        wrong clock: they are dropped, the places in the files kept. since_us: without a position, records written
        before are skipped.
        """
        self.damage = DamageLog(path)
        self._tree = tree
        self._latest_ns = latest_ns
        self._follow = follow
        skip_us = since_us if follow and position is None else 0
        self.files = FollowedFiles(tree, follow, self._latest_us, self.damage, skip_us)
        self._heap: list[tuple[int, int, CaptureFile]] = []
        self._pushed = 0
        self._span_us = FIRST_SPAN_US
        self._behind = True
        self.caught_up = False  # whether the last cut of a followed tree left no record that could be given yet
        if position is not None:
            self.files.resume(position, believed_ns // 1_000)
            span = position.get("span_us")
            if not isinstance(span, int):
                raise PositionError("position of a capture source is damaged: expected files, taken_us and span_us")
            self._span_us = max(1, min(span, SPAN_LIMIT_US))

    def open(self) -> None:
        """Look at every file of the tree, and read ahead when following; called once, before the first `cut`."""
        self.files.watch()
        self._refresh()
        self.files.report_missing()
        self.files.growth.stale = True
        self._read_ahead()

    def cut(self, refresh: bool = True) -> Cut | None:
        """Return the next stretch of event time, or None when nothing is left (yet)."""
        ceiling = END_US
        if self._follow and self._behind and self.files.bytes_total - self.files.bytes_taken < MEMORY_LIMIT:
            self._read_ahead()
        if self._follow and not self._behind:
            seen = self.files.seen_us
            news = self._refresh() if refresh else False
            self._read_ahead()
            if not self._behind:
                # What is new may still be overtaken: by a file that was looked at earlier, by a thread of the node
                # between its time stamp and its write. So the newest milliseconds wait for one more look.
                ceiling = (max(seen, self.files.seen_us - PATIENCE_US) if news else self.files.seen_us) + 1
                waiting = self.files.growth.oldest
                if waiting is not None:  # folders that wait for their turn are known up to that look only
                    ceiling = min(ceiling, waiting.seen_us + 1)
        result = self._cut(ceiling)
        if self._behind:
            self.files.growth.stale = True
            self._behind = any(not file.exhausted for _, _, file in self._heap)
        self.caught_up = self._follow and not self._behind and not (self._heap and self._heap[0][0] < ceiling)
        return result

    def close(self) -> None:
        """Release the kernel's watches of a followed tree; a second call does nothing."""
        self.files.growth.close()

    @property
    def given_ago_s(self) -> float | None:
        """Age of the time up to which all has been given; None while records wait to be given."""
        if self._heap:
            return None
        return 0.0 if self.files.growth.oldest is None else time.monotonic() - self.files.growth.oldest.at_s

    @property
    def empty(self) -> bool:
        """Whether every known record was taken."""
        return not self._heap

    def tails(self) -> list[Damage]:
        """Return the files that end in a torn record; for the end of a finite read."""
        return torn_tails(self.files, self.files.last_us)

    def nothing_plausible(self) -> str:
        """Return the fault of a finite tree without any plausible time; empty for any other."""
        return self.damage.nothing_plausible(self.files.last_us)

    def position(self) -> dict[str, object]:
        """Return where to resume, JSON-able: the bytes taken of each file, and the time before which all was taken."""
        return {"files": self.files.marks.saved(), "taken_us": self.files.skip_us, "span_us": self._span_us}

    def _refresh(self) -> bool:
        """Queue the files that have grown; return whether there was any."""
        news = False
        for file, followed in self.files.grown():
            news = True
            self._queue(file, at_once=followed)
        return news

    def _queue(self, file: CaptureFile, *, at_once: bool) -> None:
        """Queue a file that grew. at_once: read a short piece, to know its time without reading it twice."""
        if file.queued or not self.files.wanted(file):
            return
        if at_once and file.size - file.offset <= STEP_MIN:
            self._fill(file, END_US, STEP_MIN)
        following = file.next_us
        self._push(file, self._peek(file) if following is None else following)

    def _peek(self, file: CaptureFile) -> int:
        """Return the merge time of the next record, or a time before it."""
        time_us = file.peek(self._tree)
        self.files.report_replaced(file)
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
        """Read all unread records into memory when following, unless they are a backlog."""
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
        self.files.report_replaced(file)
        if file.implausible:
            self.damage.add(file, file.implausible_us, file.implausible, IMPLAUSIBLE)
            self.damage.left_out += file.implausible
            file.implausible = 0
        if file.torn and not was_torn:
            self.damage.add(file, file.known_us, 0, "impossible-record")
        if not self._follow:
            self.damage.note(file)
        self.files.seen_us = max(self.files.seen_us, file.known_us)
        return full

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
            until = min(until, self.files.seen_us + 1)
        result = Cut({}, min(until, end), self.damage.take(start or self.files.last_us))
        for file in sorted(chosen, key=lambda one: one.folder):  # so that equal times have one order, always
            self._take(file, end, result)
        self.files.skip_us = max(self.files.skip_us, result.until_us)
        return result

    def _fitting(self, chosen: list[CaptureFile], start: int, end: int) -> int:
        """Return an end time that keeps the cut near its target, and set the span of the next cut."""
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
            self.files.mark(file)
            self.files.last_us = max(self.files.last_us, file.clock_us)
        self.files.bytes_taken += file.offset - before
        following = file.next_us
        if following is not None:
            self._push(file, following)
        elif not file.exhausted:
            self._push(file, file.clock_us)
