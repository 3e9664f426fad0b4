"""What the formats share: times, JSON, and harmless texts. The same values give the same bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime

from watchdog.core.text import printable

HEARTBEAT = "watchdog.heartbeat"
TEST = "watchdog.test"
SILENCE_ENDING = "watchdog.silence_ending"
NOT_YET = "0001-01-01T00:00:00Z"  # Go's zero time
TEXT_LIMIT = 1_000  # characters of an annotation: chat services cut or refuse longer ones
SIGNAL_NAMES = {HEARTBEAT: "WatchdogHeartbeat", TEST: "WatchdogTest"}
"""Names of the alerts that heartbeats and tests are to Alertmanager."""


def rfc3339(time_ns: int) -> str:
    """Return a time in UTC with microseconds: `2026-05-04T03:02:01.000000Z`."""
    moment = datetime.fromtimestamp(time_ns // 1_000_000_000, UTC).replace(microsecond=time_ns // 1_000 % 1_000_000)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ") if moment.year >= 1000 else NOT_YET


def encode(message: object) -> bytes:
    """Encode JSON in ASCII without spaces: what peers sent can neither break a line nor steer a terminal."""
    return json.dumps(message, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode("ascii")


def texts(values: Mapping[str, object]) -> dict[str, str]:
    """Return harmless texts of what is there."""
    return {name: printable(str(value), TEXT_LIMIT) for name, value in values.items() if value not in (None, "")}


def compact(values: Mapping[str, object]) -> dict[str, object]:
    """Return what is there: neither None nor empty."""
    return {name: value for name, value in values.items() if value not in (None, "", [], {}, ())}


def nanoseconds(seconds: object) -> int | None:
    """Return a time of an incident object in ns, to the microsecond; None for what is no time."""
    return round(seconds * 1e6) * 1_000 if isinstance(seconds, int | float) else None
