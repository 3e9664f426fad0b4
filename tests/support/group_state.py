"""The state of a source group inside a checkpoint, to be spoiled by tests."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from detectors.state import State
from watchdog.engine.checkpoint import pack, unpack


def with_group_state(blob: bytes, change: Callable[[State], object]) -> bytes:
    """Return the checkpoint with the state of its last source group changed in place by `change`."""
    state = unpack(blob)
    group = unpack(state["parts"][-1]["engine"].tobytes())
    change(group)
    state["parts"][-1]["engine"] = np.frombuffer(pack(group), np.uint8)
    return pack(state)
