"""The state of a poller's link to its node: answers, failures, and the pause after one."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from watchdog.core.episode import Episode
from watchdog.core.text import printable
from watchdog.sources.rpc.errors import RpcError
from watchdog.sources.rpc.methods import SINCE

FIRST_PAUSE_S, LAST_PAUSE_S = 1.0, 60.0
STEP_S: Final = 10.0  # the clock of a node is set when it moves this much more or less than a monotonic clock
SHOWN_S: Final = 60.0  # how long a step is shown: checks ask each second
DOWN_S: Final = 30.0  # a link without an answer for longer is reported as a gap; as long as the feed's own DOWN_S
BUCKETS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_LOG = logging.getLogger("watchdog.sources")


@dataclass(slots=True)
class CallCounts:
    """What one method has cost. buckets: requests by upper bound of BUCKETS_S, the last beyond all of them."""

    requests: int = 0
    seconds: float = 0.0
    errors: Counter[str] = field(default_factory=Counter)
    buckets: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS_S) + 1))

    def note(self, took_s: float) -> None:
        """Count a request, answered or abandoned."""
        self.requests += 1
        self.seconds += took_s
        self.buckets[next((i for i, bound in enumerate(BUCKETS_S) if took_s <= bound), len(BUCKETS_S))] += 1


class NodeLink:
    """Belongs to the poller's thread; others may read its attributes.

    trouble: why the node gives nothing now, empty while it answers. refused: since uptime was last taken, a connection
    was refused or the cookie changed. counts: by method. refusal: how the node refuses a single method.
    """

    def __init__(self, name: str, refusal: str = "HTTP 403") -> None:
        self.name, self.refusal = name, refusal
        self.trouble = ""
        self.leaving = False  # the source is being closed: a call that this ends is no failure to be logged
        self.refused = False
        self.answered = False  # since the link was made or last broke
        self.counts: dict[str, CallCounts] = {}
        self.forbidden: frozenset[str] = frozenset()  # methods that the node refuses with 403
        self.absent: frozenset[str] = frozenset()  # methods that this version of the node lacks
        self.resume_s = 0.0
        self.clock_step = ("", 0.0)  # by how much the node's clock was set, in words, and when (monotonic)
        self._clock: tuple[float, float] | None = None  # the node's clock and a monotonic one, at the last answer
        self.failed_s: float | None = None  # since when there is no answer
        self._pause_s = FIRST_PAUSE_S
        self._episode = Episode()
        self._method_episodes: dict[str, Episode] = {}

    def note(self, method: str, took_s: float, error: RpcError | None = None) -> None:
        """Count a request."""
        counts = self.counts.setdefault(method, CallCounts())
        counts.note(took_s)
        if error is not None:
            counts.errors[error.reason] += 1

    def works(self, method: str, now_s: float) -> None:
        """Note that a call was answered. The pause after a failure stays: another call of the round may fail again."""
        self.forbidden, self.absent = self.forbidden - {method}, self.absent - {method}
        if method in self._method_episodes:
            self._method_episodes[method].worked(now_s)

    def holds(self, now_s: float) -> None:
        """Note that no call of a round broke the link."""
        if self.trouble:
            _LOG.info("source %s: the node answers", printable(self.name))
        self.trouble, self.failed_s, self.answered = "", None, True
        self._pause_s, self.resume_s = FIRST_PAUSE_S, 0.0
        self._episode.worked(now_s)

    def breaks(self, why: str, now_s: float, least_s: float = 0.0) -> None:
        """Note that no call is answered: try again after a pause that doubles each time, and is at least this long."""
        self.failed_s = now_s if self.failed_s is None else self.failed_s
        self.trouble, self.answered = printable(why), False
        self.resume_s = now_s + max(self._pause_s, least_s)
        self._pause_s = min(2 * self._pause_s, LAST_PAUSE_S)
        if not self.leaving and self._episode.failed(self.trouble):
            _LOG.warning("source %s: %s; retrying", printable(self.name), self.trouble)

    def complain(self, method: str, text: str) -> None:
        """Log the failure of one method, once an episode."""
        if self._method_episodes.setdefault(method, Episode()).failed(text):
            _LOG.warning("source %s: %s", printable(self.name), printable(text))

    def shut(self, method: str, *, forbidden: bool) -> None:
        """Note that a method is refused or absent; log it the first time."""
        known = self.forbidden if forbidden else self.absent
        if method in known:
            return
        if forbidden:
            self.forbidden = known | {method}
            _LOG.info("source %s: the node refuses %s (%s)", printable(self.name), method, self.refusal)
        else:
            self.absent = known | {method}
            since = f" before {SINCE[method]}" if method in SINCE else ""
            _LOG.info("source %s: the node has no %s%s", printable(self.name), method, since)

    def note_clock(self, clock_s: float, now_s: float) -> None:
        """Compare the node's clock with a monotonic one; a step is not a restart, and is reported as `data-clock`."""
        before, self._clock = self._clock, (clock_s, now_s)
        if before is None:
            return
        step_s = clock_s - before[0] - (now_s - before[1])
        if abs(step_s) > STEP_S:
            ahead = "ahead" if step_s > 0 else "back"
            self.clock_step = (f"the clock of the node was set {ahead} by {abs(step_s):.0f} seconds", now_s)
            _LOG.warning("source %s: %s", printable(self.name), self.clock_step[0])

    def is_down(self, now_s: float) -> bool:
        """Whether there was no answer for DOWN_S."""
        return self.failed_s is not None and now_s - self.failed_s >= DOWN_S
