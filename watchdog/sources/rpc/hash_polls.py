"""Block hashes that the fleet asks of a node: at which heights to call getblockhash, and when."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from watchdog.core.core_constants import RPC_INVALID_PARAMETER
from watchdog.sources.rpc.schedule import Interval
from watchdog.sources.rpc.spare import SpareTime

HASH_CALL: Final = "getblockhash"
KIND: Final = "rpc:block_hash"
TURN_S: Final = 60.0
AT_ONCE: Final = 2
"""Calls in one turn: at most two a node a minute."""
BEYOND_TIP: Final = RPC_INVALID_PARAMETER
"""Core's RPC_INVALID_PARAMETER: "Block height out of range". The node has no such block yet."""


class HashPolls:
    """Decides when heights are asked. heights: what the fleet wants to know; its other side is another thread.

    Belongs to the poller's thread. A turn begins a minute after the last call of the turn before, so no minute has
    more than two calls.
    """

    def __init__(self, heights: Callable[[], Sequence[int]], spare: SpareTime) -> None:
        self._heights, self._spare = heights, spare
        self._next_s = self._shut_s = 0.0

    def due(self, now_s: float, intervals: Mapping[str, Interval]) -> tuple[int, ...]:
        """Return the heights to ask now; empty when nothing is asked, or the budget has no room."""
        if now_s < max(self._next_s, self._shut_s) or not self._spare.is_free(now_s, intervals):
            return ()
        wanted = dict.fromkeys(height for height in self._heights() if height >= 0)
        return tuple(wanted)[:AT_ONCE]

    def asked(self, took_s: float, now_s: float, intervals: Mapping[str, Interval]) -> None:
        """Count a call that has ended at `now_s`."""
        self._next_s = max(self._next_s, now_s + TURN_S)
        self._spare.spend(took_s, now_s, intervals)

    def shut(self, until_s: float) -> None:
        """Ask nothing until then: the node refuses the call."""
        self._shut_s = until_s

    def open(self) -> None:
        """Ask again: the node is another process."""
        self._shut_s = 0.0
