"""What a line of our own log looks like: its time is UTC and says so, as times of incidents, API and commands are."""

from __future__ import annotations

import json
import logging
import time
from typing import Final

FORMS: Final = ("text", "json")
"""Values of the key `log_format`."""


class LogForm(logging.Formatter):
    """`2026-01-31T12:00:00.123Z WARNING watchdog.sources: text`, in whatever time zone the service runs."""

    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
        self.converter = time.gmtime


class JsonLogForm(LogForm):
    """One JSON object a line: time, level, logger, message; further fields of a record, and `error` for a traceback.

    A record has further fields as `extra={"facts": {...}}`: text, numbers and flags. They never replace the first four.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, in ASCII and without a line break."""
        facts: object = getattr(record, "facts", None)
        fields: dict[str, object] = {
            "time": self.formatTime(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if isinstance(facts, dict):
            fields = {**facts, **fields}
            fields = {**{name: fields[name] for name in ("time", "level", "logger", "message")}, **fields}
        if record.exc_info:
            fields["error"] = self.formatException(record.exc_info)
        return json.dumps(fields, default=str)


def form_named(name: str) -> logging.Formatter:
    """Return the form of a value of `log_format`."""
    return JsonLogForm() if name == "json" else LogForm()
