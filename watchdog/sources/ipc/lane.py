"""What a node reports by itself, beside the polls: its tip, and the events of subscriptions, in an inbox of their own.

Nothing here can be read again, so a full inbox drops, and counts. The source's watermark is the least of both lanes
while there is a subscription; the time without one is a gap of the subscribed kinds.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from watchdog.core.batch import Batch, Column, Slice, Strings
from watchdog.core.source import SourceOptions
from watchdog.sources.ipc.columns import columns_of
from watchdog.sources.ipc.pipe import Events, Mark, NodeOpened, Tip
from watchdog.sources.ipc.records import FORMS
from watchdog.sources.live.inbox import Inbox

AWAY, FULL, UNREADABLE = "ipc-not-connected", "ipc-buffer-full", "ipc-unreadable"
"""Reasons of gap events."""
BEHIND_NS: Final = 1_000_000_000
"""The watermark of the polls, which a run before has left, may be this far ahead of its last event."""
MOST_TIPS: Final = 100
"""That wait for the poller's thread, which looks each second."""


class EventLane:
    """Takes the reports of a node (`watchdog.sources.ipc.client.NodeEvents`), and gives slices to the source.

    until_ns: up to which the run before has reported, 0 for a first run. boot_ns: of the node's process, set by the
    poller's thread.
    """

    def __init__(self, name: str, options: SourceOptions, until_ns: int) -> None:
        self._name, self._node, self._signal = name, options.node, options.tips
        self.inbox = Inbox(name, options.node, policy="drop")
        self.boot_ns = 0
        self._tips: deque[Tip] = deque(maxlen=MOST_TIPS)
        self._tip = b""
        self._lock = threading.Lock()
        self._kinds: tuple[str, ...] = ()
        heard_ns = max(1, until_ns - BEHIND_NS)
        self._missing = dict.fromkeys(FORMS, heard_ns) if until_ns else {}  # kinds: since when nothing is heard of them
        self._heard_ns = self._taken_ns = self._least_ns = self._promised_ns = 0
        self._position: Mapping[str, object] = options.position or {}
        self._counts: dict[str, tuple[int, int]] = {}
        self._before: dict[str, tuple[int, int]] = {}

    @property
    def counts(self) -> Mapping[str, tuple[int, int]]:
        """Events by kind, and the sum of their values in satoshi, since the source was opened; also unread ones."""
        return self._counts

    @property
    def heard(self) -> tuple[str, ...]:
        """The kinds that are subscribed now."""
        return self._kinds

    def tips(self) -> list[Tip]:
        """Return the tips since the last call."""
        return [self._tips.popleft() for _ in range(len(self._tips))]

    def take(self, polled: Slice | None, polled_ns: int) -> Slice | None:
        """Return the next slice of both lanes, None without news. polled_ns: the promise of the polls."""
        own = self.inbox.take()
        if own is None and polled is None:
            return None
        if polled is not None:
            self._position = polled.position
        with self._lock:
            if own is not None:
                self._taken_ns = own.until_ns
            before_ns = self._promised_ns
            until_ns = min(polled_ns, self._taken_ns) if self._kinds else polled_ns
            self._promised_ns = until_ns = max(until_ns, before_ns)
        if polled is None and own is not None and not own.batches and until_ns == before_ns:
            return None  # it would look like a sign of life of the polls
        batches = (*(polled.batches if polled else ()), *(own.batches if own else ()))
        caught_up = (polled is None or polled.caught_up) and (own is None or own.caught_up)
        return Slice(self._name, batches, until_ns, self._position, caught_up)

    def opened(self, opened: NodeOpened) -> None:
        """Begin with a connection."""
        self._before = dict(self._counts)
        if opened.kinds:
            self._begin(opened.kinds, opened.time_ns)

    def took(self, message: Tip | Events | Mark) -> None:
        """Take a report."""
        if isinstance(message, Tip):
            self._take_tip(message)
        elif isinstance(message, Events):
            self._put(message)
        else:
            self._take_mark(message)

    def closed(self) -> None:
        """Note that nothing is heard from now on."""
        with self._lock:
            self._missing = {**dict.fromkeys(self._kinds, self._heard_ns), **self._missing}
            self._kinds = ()

    def _take_tip(self, tip: Tip) -> None:
        self._tips.append(tip)
        if self._tip and self._tip != tip.hash:
            self._signal.ring()
        self._tip = tip.hash

    def _take_mark(self, mark: Mark) -> None:
        if mark.begun:
            self._begin(mark.begun, mark.until_ns)
        self._counts = {
            kind: (self._before.get(kind, (0, 0))[0] + count, self._before.get(kind, (0, 0))[1] + value_sat)
            for kind, (count, value_sat) in {**dict.fromkeys(self._before, (0, 0)), **mark.counts}.items()
        }
        self._heard_ns = max(self._heard_ns, mark.until_ns)
        self.inbox.heartbeat(self._heard_ns)

    def _begin(self, kinds: Sequence[str], time_ns: int) -> None:
        """Note that kinds are heard from now on, and report since when they were not."""
        with self._lock:
            fresh = [kind for kind in kinds if kind not in self._kinds]
            if not self._kinds:
                self._least_ns = self._taken_ns = self._heard_ns = max(time_ns, self._promised_ns)
            self._kinds = (*self._kinds, *fresh)
            missed: dict[int, list[str]] = {}
            for kind in fresh:
                if since_ns := self._missing.pop(kind, 0):
                    missed.setdefault(since_ns, []).append(kind)
        gaps = [self._gap(names, since_ns, self._heard_ns, 0, AWAY) for since_ns, names in missed.items()]
        self.inbox.put(gaps, self._least_ns)

    def _put(self, events: Events) -> None:
        if events.kind not in FORMS:
            return
        columns, bad = columns_of(events.kind, events.records)
        batches = [Batch(events.kind, self._node, self._name, columns, self.boot_ns)]
        times = np.maximum(batches[0].time_ns, self._least_ns)
        batches[0] = replace(batches[0], columns={**columns, "time_ns": times})
        if events.lost:
            batches.append(self._gap([events.kind], events.from_ns, events.to_ns, events.lost, FULL))
        if bad:
            batches.append(self._gap([events.kind], self._heard_ns, self._heard_ns, bad, UNREADABLE))
        self.inbox.put(batches, self._heard_ns)

    def _gap(self, kinds: Sequence[str], from_ns: int, to_ns: int, lost: int, reason: str) -> Batch:
        columns: dict[str, Column] = {
            "time_ns": np.array([max(to_ns, self._least_ns)], np.int64),
            "from_ns": np.array([min(from_ns, to_ns)], np.int64),
            "to_ns": np.array([to_ns + 1], np.int64),
            "lost": np.array([lost], np.uint64),
            "reason": Strings.of([reason]),
            "kinds": Strings.of([",".join(sorted(kinds))]),
        }
        return Batch("source:gap", self._node, self._name, columns, self.boot_ns)
