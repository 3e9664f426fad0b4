"""Announcements to live pages: each has a bounded queue; a page that is too slow is dropped, and counted."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping

from watchdog.service.view import Announcement

MOST_WATCHERS = 64


class Watcher:
    """One connected page; a `Subscription`."""

    def __init__(self, hub: Hub, limit: int) -> None:
        self._hub, self._limit = hub, limit
        self._waiting: deque[Announcement] = deque()
        self._news = asyncio.Event()
        self._dropped = False

    async def next(self, timeout_s: float) -> Announcement | None:
        """Return the next announcement; None when none came in time, or after a drop."""
        if not self._waiting and not self._dropped:
            self._news.clear()
            try:
                async with asyncio.timeout(timeout_s):
                    await self._news.wait()
            except TimeoutError:
                return None
        return None if self._dropped or not self._waiting else self._waiting.popleft()

    @property
    def dropped(self) -> bool:
        """Whether it was dropped."""
        return self._dropped

    @property
    def waiting(self) -> int:
        """Number of announcements not fetched yet."""
        return len(self._waiting)

    def close(self) -> None:
        """Leave the hub."""
        self._hub.leave(self)

    def give(self, announcement: Announcement) -> bool:
        """Queue an announcement; False when the queue is full, and the watcher is dropped."""
        if len(self._waiting) >= self._limit:
            self.drop()
            return False
        self._waiting.append(announcement)
        self._news.set()
        return True

    def drop(self) -> None:
        """Drop the watcher, and wake it."""
        self._dropped = True
        self._waiting.clear()
        self._news.set()


class Hub:
    """All watchers; belongs to the event loop."""

    def __init__(self, limit: int) -> None:
        self.limit = limit  # announcements that wait for one watcher
        self._watchers: set[Watcher] = set()
        self.announced = 0
        self.dropped = 0

    @property
    def watchers(self) -> int:
        """Number of watchers."""
        return len(self._watchers)

    @property
    def deepest(self) -> int:
        """Number of announcements that wait for the slowest watcher."""
        return max((one.waiting for one in self._watchers), default=0)

    def join(self) -> Watcher | None:
        """Return a new watcher; None when there are `MOST_WATCHERS`."""
        if len(self._watchers) >= MOST_WATCHERS:
            return None
        watcher = Watcher(self, self.limit)
        self._watchers.add(watcher)
        return watcher

    def leave(self, watcher: Watcher) -> None:
        """Remove a watcher; a second call does nothing."""
        self._watchers.discard(watcher)

    def announce(self, event: str, data: Mapping[str, object]) -> None:
        """Send to all watchers; drop those whose queue is full."""
        self.announced += 1
        announcement = Announcement(self.announced, event, data)
        for watcher in list(self._watchers):
            if not watcher.give(announcement):
                self.dropped += 1
                self.leave(watcher)

    def close(self) -> None:
        """Drop all watchers: the service ends."""
        for watcher in list(self._watchers):
            watcher.drop()
            self.leave(watcher)
