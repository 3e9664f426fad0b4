"""What a verdict reports of a key, and what it remembers of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from detectors.baseline import Path
from watchdog.core.finding import Change


@dataclass(slots=True, eq=False)  # not frozen: there is one for each finding, and a frozen one costs five times as much
class Emission:
    """What a rule reports of one key at one pane; `row` is the row of the cells."""

    slot: int
    pane: int
    since: int
    change: Change
    level: int  # 0: the rule's own severity, n: its n-th escalation
    row: int
    counted: bool = False  # the finding for what is left out has counted this key


class Held(NamedTuple):
    """A condition that holds: since which pane, how bad, and how often it was reported again.

    start: the pane from which `for` counts: `since`, later by the panes in which it paused. paused: the pane from which
    it pauses, None while it counts.
    """

    since: int
    active: int  # 0: it has not held for long enough yet, else level + 1
    bucket: int
    start: int
    paused: int | None = None

    def counted(self, pane: int, *, fires: bool) -> Held:
        """Return it with what this pane does to `for`: between fire and clear the count pauses."""
        if fires and self.paused is not None:
            return self._replace(start=self.start + pane - self.paused, paused=None)
        if not fires and self.paused is None:
            return self._replace(paused=pane)
        return self


class Rest(NamedTuple):
    """How many panes of a silence change no verdict, and what each baseline would learn of it.

    note: lets the tails of budgets take the worst scores of the first panes.
    """

    quiet: int
    paths: list[Path]
    note: Callable[[int], None]

    def follow(self, panes: int) -> None:
        """Learn of the first `panes` panes."""
        self.note(panes)
        for path in self.paths:
            path.follow(panes)
