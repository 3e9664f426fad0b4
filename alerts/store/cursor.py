"""Where a page of a list ends: opaque text for clients, a place in the order for us."""

from __future__ import annotations

import re

from watchdog.core.errors import WatchdogError

LONGEST = 64  # characters


class CursorError(WatchdogError):
    """A cursor is not one that a page has given."""


def encoded_position(position: int) -> str:
    """Return the cursor behind a row of the outbox."""
    return f"d{position:x}"


def decoded_position(cursor: str) -> int:
    """Return the position that a cursor names. CursorError: the text is not a cursor."""
    found = re.fullmatch(r"d([0-9a-f]{1,16})", cursor[:LONGEST])
    if found is None:
        raise CursorError(f"cursor {cursor[:LONGEST]!r}: not one that a page of deliveries has given")
    return min(int(found[1], 16), (1 << 63) - 1)


def encoded_place(opened_ns: int, id_: str) -> str:
    """Return the cursor behind an incident in the order of (opening time, id)."""
    return f"i{opened_ns:x}.{id_}"


def decoded_place(cursor: str) -> tuple[int, str]:
    """Return the opening time and id that a cursor names. CursorError: the text is not a cursor."""
    found = re.fullmatch(r"i(-?[0-9a-f]{1,16})\.([0-9a-f]{16})", cursor[:LONGEST])
    opened_ns = int(found[1], 16) if found else 0
    if found is None or not -(1 << 63) <= opened_ns < 1 << 63:
        raise CursorError(f"cursor {cursor[:LONGEST]!r}: not one that a page of incidents has given")
    return opened_ns, found[2]
