"""The wire's schema, `watchdog/core/schema/stream.capnp`, and what both ends agree on beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import capnp

import watchdog.core.schema

SCHEMA: Any = capnp.load(str(Path(watchdog.core.schema.__path__[0]) / "stream.capnp"))  # no types: pycapnp's own
kj_loop: Final = capnp.kj_loop
"""The context in which everything of this package runs, in a thread with an asyncio loop."""
MAJOR: Final = 1
"""Two ends with different numbers refuse each other."""
MINOR: Final = 0
"""What was added since; a reader passes over what it does not know."""

WINDOW_BATCHES: Final = 8
"""Deliveries without an acknowledgement, beyond which a subscriber loses events."""
WINDOW_BYTES: Final = 8 << 20
"""The same, by their bytes; no delivery is larger, but for a single event that is."""
ACKNOWLEDGE_S: Final = 60.0
"""A subscriber that has acknowledged nothing for so long is disconnected."""
HEARTBEAT_S: Final = 1.0
SUBSCRIBERS_MOST: Final = 16
MESSAGE_WORDS: Final = 4 << 20
"""Words of 8 bytes in the largest message of either end: 32 MiB, four times the largest delivery.

The library also counts what is read twice, and an end refuses to send more than it would take. What a subscriber sends
is bounded further, by `watchdog.stream.metered`.
"""

FAULTS: Final = (capnp.KjException, UnicodeDecodeError, ValueError, OverflowError)
"""What pycapnp raises on a message that its checks refuse."""
