"""The headers of a request to a receiver: ours, and below them those that the receiver's settings name."""

from __future__ import annotations

from collections.abc import Mapping

from watchdog.core.release import VERSION

SIGNED_PREFIX = "webhook-"
"""Standard Webhooks names its headers so; a receiver could take others of this kind for signed ones."""
_OURS = frozenset({"host", "content-length", "content-type", "transfer-encoding", "connection", "user-agent"})


def is_ours(name: str) -> bool:
    """Return whether only we say what this header holds: it names us, frames the body, or belongs to the signature."""
    lower = name.lower()
    return lower in _OURS or lower.startswith(SIGNED_PREFIX)


def request_headers(
    extra: Mapping[str, str], signed: Mapping[str, str], of_format: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return a receiver's own headers below ours: they cannot replace a signature or how the body is framed.

    of_format: what the receiver's format demands, such as its content type.
    """
    kept = {name: value for name, value in extra.items() if not is_ours(name)}
    ours = {"Content-Type": "application/json", "User-Agent": f"bitcoin-watchdog/{VERSION}"}
    return {**kept, **ours, **(of_format or {}), **signed}
