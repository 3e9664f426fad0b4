"""What the engine counts of itself."""

from __future__ import annotations

from collections import Counter

from detectors.state import State


class Statistics:
    """Events and late events by kind; findings. Late events were not judged, and are never hidden."""

    def __init__(self) -> None:
        self.events: Counter[str] = Counter()
        self.late: Counter[str] = Counter()
        self.findings = 0

    def state(self) -> State:
        """All counts."""
        return {"events": dict(self.events), "late": dict(self.late), "findings": self.findings}

    def restore(self, state: State) -> None:
        """Continue from `state`."""
        self.events, self.late = Counter(state["events"]), Counter(state["late"])
        self.findings = state["findings"]
