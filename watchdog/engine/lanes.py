"""A lane with the rules of each of its windows."""

from __future__ import annotations

from collections.abc import Sequence

from detectors.state import State
from watchdog.core.finding import Finding
from watchdog.engine.lane_window import BankedWindow, BankInput
from watchdog.engine.lookback import Lookback
from watchdog.engine.window_rules import WindowRules


class RuleBank:
    """Closes all windows of a lane together, and lets each one's rules decide."""

    def __init__(self, lane: BankInput, rules: Sequence[WindowRules]) -> None:
        self._lane, self._rules = lane, list(rules)
        self._windows = [own.window for own in rules if isinstance(own.window, BankedWindow)]
        self.pane_ns = lane.pane_ns

    def close(self, stop: int, lookback: Lookback) -> list[Finding]:
        """Close all panes before `stop`; what the rules found."""
        for rules in self._rules:
            rules.begin(lookback)
        self._lane.close(stop, self._windows, self._rules)
        return [finding for rules in self._rules for finding in rules.take()]

    @property
    def pairs(self) -> int:
        """Values that distinct counts remember."""
        return self._lane.pairs

    @property
    def refused(self) -> int:
        """Values left out of distinct counts because a table was full."""
        return self._lane.refused

    def state(self) -> State:
        """The lane's windows."""
        return self._lane.state()

    def restore(self, state: State) -> None:
        """Continue from `state`."""
        self._lane.restore(state, self._windows)
