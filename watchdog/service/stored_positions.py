"""The positions that are on disk: written by the writer's thread, read by sources that remove what was read."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from watchdog.pipeline.checkpoint import Checkpoint


class StoredPositions:
    """By node, the positions in its latest checkpoint on disk. Each is replaced as a whole, so no lock is needed."""

    def __init__(self) -> None:
        self._by_node: dict[str, Mapping[str, Mapping[str, object]]] = {}

    def note(self, checkpoint: Checkpoint) -> None:
        """Note a checkpoint that was written."""
        self._by_node[checkpoint.node] = checkpoint.positions

    def of(self, node: str) -> Callable[[str], Mapping[str, object] | None]:
        """Return what looks up the position of a source of this node; None where no checkpoint names it."""
        return lambda source: self._by_node.get(node, {}).get(source)
