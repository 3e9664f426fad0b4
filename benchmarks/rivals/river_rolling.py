"""The rival of rules-river: W30 without distincts on river, one `utils.TimeRolling` for each rule and key.

Why this is the best form that we know: rules are found by type, and apart for small and big messages; a window is one
dictionary look-up and one `update` with one positional argument. Times are floored to the pane of 1 s. That is what the
rules mean (windows slide by panes), and it spares river most of its work: `TimeRolling` looks for what left the window,
and copies its list, only when time has moved on, so once a pane and not once an event. `stats.Sum` of ones stands for
`stats.Count`, which cannot be reverted. Verdicts are read at the close of a pane for the keys that it touched.
A window that nothing touches is not looked at, so that a condition can end late and a second alert be missed; the
first alert of each rule and key is the engine's. Events come as ready tuples with `datetime` values made beforehand.

Alone: python -m benchmarks.rivals.river_rolling
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Sequence
from typing import Any

from river import stats, utils

from benchmarks.w30 import BIG, KEYS, SECOND, TYPES, Alert, Event, Rule, key_text, rules, workload

_Moment = tuple[int, dt.datetime]  # pane and its time


class _Windows:
    """A rule with one rolling sum for each key."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.field = 3 + KEYS.index(rule.by)
        self.sizes = rule.measure == "sum"
        self.period = dt.timedelta(seconds=rule.over_s)
        self.rolling: dict[str | int, Any] = {}  # river's annotations do not pass strict
        self.touched: set[str | int] = set()
        self.firing: set[str | int] = set()
        self.alerts: list[tuple[str | int, int]] = []

    def new(self, key: str | int) -> Any:
        """Return the rolling sum of a key seen first."""
        made = self.rolling[key] = utils.TimeRolling(stats.Sum, period=self.period)
        return made

    def close(self, pane: int) -> None:
        """Judge the keys of this pane."""
        rolling, threshold, firing = self.rolling, self.rule.threshold, self.firing
        for key in self.touched:
            if rolling[key].obj.sum > threshold:
                if key not in firing:
                    firing.add(key)
                    self.alerts.append((key, pane))
            elif firing:
                firing.discard(key)
        self.touched.clear()


class RiverRolling:
    """Runs W30 rules without distincts over events in order of time."""

    def __init__(self, chosen: Sequence[Rule]) -> None:
        if any(rule.measure == "distinct" for rule in chosen):
            raise ValueError("river has no sliding distinct count")
        self._windows = [_Windows(rule) for rule in chosen]
        self._small = {type_: self._readers(type_, big=False) for type_ in TYPES}
        self._big = {type_: self._readers(type_, big=True) for type_ in TYPES}
        self._pane: int | None = None

    def _readers(self, type_: str, *, big: bool) -> list[tuple[_Windows, dict[str | int, Any], set[str | int]]]:
        mine = [own for own in self._windows if own.rule.type == type_ and (big or not own.rule.only_big)]
        return [(own, own.rolling, own.touched) for own in mine]

    def take(self, events: Sequence[Event], moments: Sequence[dt.datetime]) -> None:
        """Take events; `moments` are their panes as `datetime` (see `pane_moments`)."""
        if not events:
            return
        small, big, large = self._small, self._big, BIG
        if self._pane is None:
            self._pane = events[0][0] // SECOND
        end = (self._pane + 1) * SECOND
        for event, moment in zip(events, moments, strict=True):
            if event[0] >= end:
                self.finish()
                self._pane = event[0] // SECOND
                end = (self._pane + 1) * SECOND
            for own, rolling, touched in (big if event[2] > large else small)[event[1]]:
                key: Any = event[own.field]
                window = rolling.get(key) or own.new(key)
                window.update(event[2] if own.sizes else 1, t=moment)
                touched.add(key)

    def finish(self) -> None:
        """Close the open pane."""
        if self._pane is not None:
            for window in self._windows:
                window.close(self._pane)

    def first_alerts(self) -> set[Alert]:
        """Return the first rising edge of each rule and key."""
        return first_alerts(
            {(own.rule.name, key_text(own.rule.by, key), pane) for own in self._windows for key, pane in own.alerts}
        )


def first_alerts(alerts: set[Alert]) -> set[Alert]:
    """Return the first alert of each rule and key."""
    first: dict[tuple[str, str], int] = {}
    for rule, key, pane in alerts:
        first[rule, key] = min(pane, first.get((rule, key), pane))
    return {(rule, key, pane) for (rule, key), pane in first.items()}


def pane_moments(events: Sequence[Event]) -> list[dt.datetime]:
    """Return the start of each event's pane; equal panes share one object."""
    known: dict[int, dt.datetime] = {}
    moments = []
    for event in events:
        pane = event[0] // SECOND
        if pane not in known:
            known[pane] = dt.datetime.fromtimestamp(pane, dt.UTC).replace(tzinfo=None)  # river compares naive times
        moments.append(known[pane])
    return moments


def main() -> None:
    """Print the rate at 500 and 5,000 events a second of event time."""
    for density in (500, 5_000):
        rival, events = RiverRolling(rules(density, distinct=False)), workload(200_000, density).events(0, 200_000)
        moments = pane_moments(events)
        start = time.process_time()
        rival.take(events, moments)
        rival.finish()
        rate = len(events) / (time.process_time() - start)
        print(f"density {density}: {rate:,.0f} events/s, {len(rival.first_alerts())} first alerts")


if __name__ == "__main__":
    main()
