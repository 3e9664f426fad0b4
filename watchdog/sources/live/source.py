"""A live source as the feed sees it: polled like a file, while its producer runs beside the engine."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping

from watchdog.core.batch import Slice
from watchdog.core.source import SourceOptions
from watchdog.core.text import printable
from watchdog.sources.live.inbox import Inbox, Limits, Policy
from watchdog.sources.live.runners import END_S, Runner

Start = Callable[[Inbox, Mapping[str, object] | None], Runner]
"""Starts a producer at a position (None: from the present) and returns at once."""
_LOG = logging.getLogger("watchdog.sources")


class LiveSource:
    """Runs a producer and returns its batches from `poll`.

    The opener of a live row in the registry makes it; the feed polls and closes it. `poll` raises SourceError when the
    producer has failed; the feed then closes this source and opens another one at the last position, after a pause.
    Neither `poll` nor `close` waits for the producer. The watermark is the producer's own (`Inbox.put`, `heartbeat`).
    """

    def __init__(
        self,
        name: str,
        kinds: frozenset[str],
        start: Start,
        options: SourceOptions,
        *,
        policy: Policy,
        limits: Limits | None = None,
    ) -> None:
        self._name, self._kinds = name, kinds
        self._closed = False
        self._abandoned: bool | None = None
        self.inbox = Inbox(name, options.node, policy=policy, limits=limits, position=options.position)
        self._runner = start(self.inbox, options.position)

    @property
    def name(self) -> str:
        """The source as the user wrote it."""
        return self._name

    @property
    def abandoned(self) -> bool | None:
        """Whether its producer did not end within `END_S` of `close`; None before that is known."""
        return self._abandoned

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds that it can give."""
        return self._kinds

    @property
    def ended(self) -> bool:
        """Whether the producer has ended by itself and everything was taken."""
        return self.inbox.ended

    @property
    def progress(self) -> float:
        """A live source has no end to measure against: 1.0 once it has ended, else 0.0."""
        return 1.0 if self.ended else 0.0

    @property
    def counters(self) -> Mapping[str, int]:
        """Batches and rows handed over, times the producer waited, events dropped, bytes and rows that wait."""
        counts = self.inbox.counts
        waiting_bytes, waiting_rows = self.inbox.waiting
        return {
            "batches": counts.batches,
            "rows": counts.rows,
            "waits": counts.waits,
            "dropped": sum(counts.dropped.values()),
            "waiting_bytes": waiting_bytes,
            "waiting_rows": waiting_rows,
        }

    def poll(self) -> Slice | None:
        """Return the next slice, None when the producer handed over nothing new. SourceError: it has failed."""
        return self.inbox.take()

    def close(self) -> None:
        """Ask the producer to end, and return at once; a thread of its own waits `END_S` and abandons it then."""
        if self._closed:
            return
        self._closed = True
        self.inbox.close()
        self._runner.stop()
        threading.Thread(target=self._see_it_end, name=f"end of {self._name}", daemon=True).start()

    def _see_it_end(self) -> None:
        if self._runner.join(END_S):
            self._abandoned = False
            return
        _LOG.warning("source %s: did not end within %.0f s and was abandoned", printable(self._name), END_S)
        self._runner.abandon()
        self._abandoned = True
