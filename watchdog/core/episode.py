"""A fault that comes and goes, as one episode: reported when it begins, and when it has been over for a while.

A disk that stays full refuses large writes and takes small ones, so a line for each change would come twice a second.
"""

from __future__ import annotations

STEADY_S = 10.0
"""A fault is over after this time without a failure; longer than the longest pause between two tries."""
TEXTS_MOST = 8


class Episode:
    """Decides what to log about a fault; whether it fails now is for the caller to keep. Times: monotonic seconds."""

    __slots__ = ("_fine_s", "_steady_s", "_texts")

    def __init__(self, steady_s: float = STEADY_S) -> None:
        self._steady_s = steady_s
        self._texts: set[str] = set()  # said in this episode
        self._fine_s: float | None = None  # since when nothing has failed

    @property
    def on(self) -> bool:
        """Whether an episode has begun that is not reported as over."""
        return bool(self._texts)

    def failed(self, text: str) -> bool:
        """Note a failed try. Return whether to log it: the first of this episode, or another text (a few of them)."""
        self._fine_s = None
        if text in self._texts or len(self._texts) >= TEXTS_MOST:
            return False
        self._texts.add(text)
        return True

    def worked(self, now_s: float) -> bool:
        """Note a try that worked; otherwise as `over`."""
        if self._texts and self._fine_s is None:
            self._fine_s = now_s
        return self.over(now_s)

    def over(self, now_s: float) -> bool:
        """Return whether to log a recovery: once, when nothing has failed for a while. Call it from time to time."""
        if self._fine_s is None or now_s - self._fine_s < self._steady_s:
            return False
        self._fine_s = None
        self._texts.clear()
        return True
