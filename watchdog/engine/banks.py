"""What closes panes: a bank of windows that close together, or a window that closes pane by pane.

Both take rows, close panes and let the rules of their windows decide; the engine sees only `Closer`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from detectors.state import State
from watchdog.core.batch import Batch
from watchdog.core.finding import Finding
from watchdog.engine.banked_window import BankedRows, BankedWindow, BankInput
from watchdog.engine.lookback import Lookback
from watchdog.engine.measures.measure import Cost
from watchdog.engine.panes import WindowRows
from watchdog.engine.stream import StreamWindow
from watchdog.engine.window_rules import WindowRules


class Closer(Protocol):
    """Closes the panes of one or more windows and lets their rules decide."""

    @property
    def pane_ns(self) -> int:
        """Length of a pane."""

    def feed(self, batch: Batch, inputs: Sequence[WindowRows], slots: Mapping[int, NDArray[np.int32]]) -> None:
        """Add rows of a batch to the open panes of the windows.

        inputs: the rows of each window that reads the batch. slots: by grouping, the slot of each row of the batch.
        """

    def close(self, stop: int, first_ns: int, lookback: Lookback) -> list[Finding]:
        """Close all panes before `stop` and return the findings. first_ns: time of the source group's first event."""

    def cost(self) -> Cost:
        """Return what the measures hold and refused."""


class RuleBank:
    """Closes all windows of a bank together, and lets each window's rules decide."""

    def __init__(self, bank: BankInput) -> None:
        self.bank, self.pane_ns = bank, bank.pane_ns
        self._windows: list[BankedWindow] = []
        self._rules: list[WindowRules] = []

    def join(self, window: BankedWindow, rules: WindowRules) -> None:
        """Add the next window of the bank; called for each before the first rows."""
        self._windows.append(window)
        self._rules.append(rules)

    def feed(self, batch: Batch, inputs: Sequence[WindowRows], slots: Mapping[int, NDArray[np.int32]]) -> None:
        """Add rows of a batch for all windows at once."""
        self.bank.feed(batch, [BankedRows(self._windows[i.member], i.selected.rows, i.group) for i in inputs], slots)

    def close(self, stop: int, first_ns: int, lookback: Lookback) -> list[Finding]:  # noqa: ARG002 - as all closers
        """Close all panes before `stop` and return the findings."""
        for rules in self._rules:
            rules.begin(lookback)
        self.bank.close(stop, self._windows, self._rules)
        return [finding for rules in self._rules for finding in rules.take()]

    def cost(self) -> Cost:
        """Return what distinct counts hold and refused."""
        return self.bank.cost()

    def state(self) -> State:
        """Return the state of the bank's windows."""
        return self.bank.state()

    def restore(self, state: State) -> None:
        """Continue from `state`; the groupings of the windows are restored before."""
        self.bank.restore(state, self._windows)


class SteppedRules:
    """Closes one window pane by pane, and lets its rules decide."""

    def __init__(self, window: StreamWindow, rules: WindowRules) -> None:
        self._window, self._rules = window, rules
        self.pane_ns = window.pane_ns

    def feed(
        self,
        batch: Batch,  # noqa: ARG002 - as all closers
        inputs: Sequence[WindowRows],
        slots: Mapping[int, NDArray[np.int32]],
    ) -> None:
        """Add rows of a batch."""
        for rows in inputs:
            self._window.feed(rows.selected, slots[rows.group][rows.selected.rows])

    def close(self, stop: int, first_ns: int, lookback: Lookback) -> list[Finding]:
        """Close all panes before `stop` and return the findings.

        Rules on the absence of the node's own events are judged from its first event of any kind on.
        """
        if self._rules.absence_of_node and self._window.closed is None:
            self._window.hold(self._window.grouping.ensure_node_key(), first_ns // self.pane_ns)
        self._rules.begin(lookback)
        self._window.close(stop, self._rules)
        return self._rules.take()

    def cost(self) -> Cost:
        """Return what the window's measures hold and refused."""
        return self._window.measures.cost()
