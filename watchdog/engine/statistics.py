"""What the engine counts of itself."""

from __future__ import annotations

from collections import Counter

import numpy as np

from detectors.state import State
from watchdog.core.batch import Batch


class Statistics:
    """Events and late events by kind; findings. Late events were not judged, and are never hidden."""

    def __init__(self) -> None:
        self.events: Counter[str] = Counter()
        self.late: Counter[str] = Counter()
        self.findings = 0

    def admit(self, batch: Batch, promised_ns: int) -> tuple[Batch, int, int] | None:
        """Count a batch; its rows from `promised_ns` on, and the times of the first and last of them.

        Earlier rows are late. None when nothing is left.
        """
        if not batch.rows:
            return None
        times = batch.time_ns
        first_ns = int(times.min())
        if first_ns < promised_ns:
            kept = np.flatnonzero(times >= promised_ns)
            self.late[batch.kind] += batch.rows - len(kept)
            if not len(kept):
                return None
            batch, times = batch.take(kept), times[kept]
            first_ns = int(times.min())
        self.events[batch.kind] += batch.rows
        return batch, first_ns, int(times.max())

    def state(self) -> State:
        """Return all counts."""
        return {"events": dict(self.events), "late": dict(self.late), "findings": self.findings}

    def restore(self, state: State) -> None:
        """Continue from `state`."""
        self.events, self.late = (
            Counter({str(kind): int(count) for kind, count in state[name].items()}) for name in ("events", "late")
        )
        self.findings = int(state["findings"])
