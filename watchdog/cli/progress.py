"""A progress bar on standard error, for terminals only."""

from __future__ import annotations

import shutil
import sys
import time
from datetime import UTC, datetime
from typing import TextIO

REDRAW_S = 0.1
BAR = 20


class ProgressBar:
    """One line that is drawn over: share, event time, events a second, incidents, time left. Silent off a terminal."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._shown = self._stream.isatty()
        self._started = time.monotonic()
        self._drawn = 0.0

    def show(self, share: float, time_ns: int | None, events: int, incidents: int, name: str = "") -> None:
        """Draw, at most ten times a second."""
        now = time.monotonic()
        if not self._shown or now - self._drawn < REDRAW_S:
            return
        self._drawn = now
        spent = max(now - self._started, 1e-3)
        moment = (
            datetime.fromtimestamp((time_ns or 0) // 1_000_000_000, UTC).strftime("%m-%d %H:%M") if time_ns else "-"
        )
        left = f"{spent / share - spent:.0f}s left" if share > 0.01 else "..."
        bar = "#" * int(share * BAR)
        text = f"{name} [{bar:<{BAR}}] {share:4.0%}  {moment}  {events / spent:,.0f}/s  {incidents} incidents  {left}"
        self._stream.write(f"\r{text.strip()[: shutil.get_terminal_size().columns - 1]}\x1b[K")
        self._stream.flush()

    def clear(self) -> None:
        """Leave an empty line for what comes next."""
        if self._shown:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
