"""What a line of our own log looks like: its time is UTC and says so, as times of incidents, API and commands are."""

from __future__ import annotations

import logging
import time


class LogForm(logging.Formatter):
    """`2026-01-31T12:00:00.123Z WARNING watchdog.sources: text`, in whatever time zone the service runs."""

    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
        self.converter = time.gmtime
