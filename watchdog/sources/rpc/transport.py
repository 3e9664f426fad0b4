"""The seam below the poller: what carries its calls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Transport(Protocol):
    """What carries calls to a node: HTTP, or IPC. renewals: times that it saw the node's process change."""

    renewals: int

    def ask(self, method: str, params: Sequence[object] = (), *, deadline_s: float | None = None) -> bytes:
        """Return the whole answer of a method of the allow-list, see `RpcClient.ask`. Raise RpcError."""
        ...
