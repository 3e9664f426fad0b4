"""The order of checkpoints: that of a node waits until the fleet's has all that the node had reported by then.

After a kill a node reports again what followed its checkpoint, and the fleet skips what it has. What a node does not
report again must be in the fleet's checkpoint, or rules over nodes would miss it.
"""

from __future__ import annotations

from collections.abc import Mapping

from watchdog.core.finding import FLEET
from watchdog.pipeline.checkpoint import Checkpoint


class FleetOrder:
    """Decides which checkpoints are written now. Belongs to the writer's thread."""

    def __init__(self) -> None:
        self._held: dict[str, Checkpoint] = {}
        self._taken: Mapping[str, Mapping[str, int]] = {}

    def due(self, checkpoint: Checkpoint) -> list[Checkpoint]:
        """Return the checkpoints to write, in their order, now that this one is there."""
        if checkpoint.node != FLEET:
            self._held[checkpoint.node] = checkpoint
            return self._covered()
        self._taken = checkpoint.streams
        return [checkpoint, *self._covered()]

    def forget(self, node: str) -> None:
        """Drop the checkpoint of a node that was removed."""
        self._held.pop(node, None)

    def _covered(self) -> list[Checkpoint]:
        covered = [one for one in self._held.values() if self._has(one)]
        for one in covered:
            del self._held[one.node]
        return covered

    def _has(self, checkpoint: Checkpoint) -> bool:
        """Return whether the fleet's checkpoint has every row that a node had reported."""
        taken = self._taken.get(checkpoint.node, {})
        reported = checkpoint.streams.get(checkpoint.node, {})
        return all(taken.get(stream, 0) >= rows for stream, rows in reported.items())
