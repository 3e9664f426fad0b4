"""The rival of rules-python: W30 in plain Python, event by event.

The same rules, windows, panes and verdicts as the engine: values are judged when a pane closes, after what left the
window and what came in it, and a rule fires for a key when its value rises above the threshold.

Why this is the best form that we know: rules are indexed by type, so that an event visits only its candidates; each
of them tests the size inline, and its work is one update of a dict or a set (keys are fields of the event, taken by
position). Indexing the one constant of this workload, too (small and big messages apart), made it up to a third
faster, but no rule engine could do that for filters that it does not know beforehand. Everything else is done once a
pane and key, not once an event: windows are running numbers, panes wait in a deque until they leave, a distinct count
keeps the latest pane of each (key, value). Events come as ready tuples with interned texts; making them is not
measured.

Alone: python -m benchmarks.rivals.pure_python
"""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Sequence

from benchmarks.w30 import BIG, KEYS, SECOND, TYPES, Alert, Event, Key, Rule, key_text, rules, workload

_FIELD: dict[Key, int] = dict(zip(KEYS, (3, 4, 5), strict=True))  # positions in an Event
PlainKey = str | int
Pair = tuple[PlainKey, int]


class Window:
    """A rule with its running values; `firing` are the keys above the threshold at the latest close."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.values: dict[PlainKey, int] = {}
        self.firing: set[PlainKey] = set()
        self.alerts: list[tuple[PlainKey, int]] = []

    def judge(self, key: PlainKey, value: int, pane: int) -> None:
        """Fire when the value has risen above the threshold."""
        if value > self.rule.threshold and key not in self.firing:
            self.firing.add(key)
            self.alerts.append((key, pane))

    def clear(self) -> None:
        """Remove the keys that have stopped firing."""
        values, threshold = self.values, self.rule.threshold
        self.firing -= {key for key in self.firing if values.get(key, 0) <= threshold}

    def close(self, pane: int) -> None:
        """Remove rows that left the window at this pane, add the new ones, judge."""
        raise NotImplementedError


class Sums(Window):
    """Counts and sums: what came in the open pane, by key, and the closed panes of the window."""

    def __init__(self, rule: Rule) -> None:
        super().__init__(rule)
        self.open: defaultdict[PlainKey, int] = defaultdict(int)
        self.panes: deque[tuple[int, list[tuple[PlainKey, int]]]] = deque()

    def close(self, pane: int) -> None:
        """Close a pane; the engine's order: what leaves, what comes, the verdict."""
        values, panes = self.values, self.panes
        left = bool(panes) and panes[0][0] <= pane - self.rule.over_s
        if left:
            for key, amount in panes.popleft()[1]:
                rest = values[key] - amount
                if rest:
                    values[key] = rest
                else:
                    del values[key]
        if self.open:
            came = list(self.open.items())
            self.open.clear()
            panes.append((pane, came))
            get, threshold, firing = values.get, self.rule.threshold, self.firing
            for key, amount in came:
                values[key] = value = get(key, 0) + amount
                if value > threshold and key not in firing:
                    self.judge(key, value, pane)
        if left and self.firing:
            self.clear()


class Distinct(Window):
    """Distinct values: the (key, value) pairs of the open pane, and the latest pane of each pair in the window."""

    def __init__(self, rule: Rule) -> None:
        super().__init__(rule)
        self.open: set[Pair] = set()
        self.latest: dict[Pair, int] = {}
        self.panes: deque[tuple[int, list[Pair]]] = deque()

    def close(self, pane: int) -> None:
        """Close a pane; the engine's order: what leaves, what comes, the verdict."""
        values, panes, latest = self.values, self.panes, self.latest
        left = bool(panes) and panes[0][0] <= pane - self.rule.over_s
        if left:
            old, pairs = panes.popleft()
            for pair in pairs:
                if latest[pair] == old:
                    del latest[pair]
                    values[pair[0]] -= 1
        if self.open:
            came = list(self.open)
            self.open.clear()
            panes.append((pane, came))
            get, threshold, firing = values.get, self.rule.threshold, self.firing
            for pair in came:
                if pair not in latest:
                    key = pair[0]
                    values[key] = value = get(key, 0) + 1
                    if value > threshold and key not in firing:
                        self.judge(key, value, pane)
                latest[pair] = pane
        if left and self.firing:
            self.clear()


class PurePython:
    """Runs W30 rules over events in order of time."""

    def __init__(self, chosen: Sequence[Rule]) -> None:
        self.windows: list[Sums | Distinct] = [
            Distinct(rule) if rule.measure == "distinct" else Sums(rule) for rule in chosen
        ]
        self._by_type = {type_: self._readers(type_) for type_ in TYPES}
        self._pane: int | None = None

    def _readers(self, type_: str) -> _Readers:
        mine = [own for own in self.windows if own.rule.type == type_]
        sums = [own for own in mine if isinstance(own, Sums)]
        return (
            tuple((own.open, _FIELD[own.rule.by], _floor(own.rule)) for own in sums if own.rule.measure == "count"),
            tuple((own.open, _FIELD[own.rule.by], _floor(own.rule)) for own in sums if own.rule.measure == "sum"),
            tuple((own.open, _FIELD[own.rule.by], _floor(own.rule)) for own in mine if isinstance(own, Distinct)),
        )

    def take(self, events: Sequence[Event]) -> None:
        """Take events; panes before the last event's are closed."""
        if not events:
            return
        by_type = self._by_type
        if self._pane is None:
            self._pane = events[0][0] // SECOND
        end = (self._pane + 1) * SECOND
        for event in events:
            if event[0] >= end:
                self._close(event[0] // SECOND)
                end = (event[0] // SECOND + 1) * SECOND
            counts, sums, distincts = by_type[event[1]]
            size = event[2]
            for numbers, field, floor in counts:
                if size > floor:
                    numbers[event[field]] += 1
            for numbers, field, floor in sums:
                if size > floor:
                    numbers[event[field]] += size
            for pairs, field, floor in distincts:
                if size > floor:
                    pairs.add((event[field], event[6]))

    def finish(self) -> None:
        """Close the last pane."""
        if self._pane is not None:
            self._close(self._pane + 1)

    def _close(self, until: int) -> None:
        assert self._pane is not None
        for pane in range(self._pane, until):
            for window in self.windows:
                window.close(pane)
        self._pane = until

    def alerts(self) -> set[Alert]:
        """All rising edges so far."""
        return {(own.rule.name, key_text(own.rule.by, key), pane) for own in self.windows for key, pane in own.alerts}


_Numbers = tuple[tuple[defaultdict[PlainKey, int], int, int], ...]
_Readers = tuple[_Numbers, _Numbers, tuple[tuple[set[Pair], int, int], ...]]


def _floor(rule: Rule) -> int:
    """Messages above this size pass the rule's filter."""
    return BIG if rule.only_big else -1


def main() -> None:
    """Print the rate at 500 and 5,000 events a second of event time."""
    for density in (500, 5_000):
        rival, events = PurePython(rules(density)), workload(400_000, density).events(0, 400_000)
        start = time.process_time()
        rival.take(events)
        rival.finish()
        rate = len(events) / (time.process_time() - start)
        print(f"density {density}: {rate:,.0f} events/s, {len(rival.alerts())} alerts")


if __name__ == "__main__":
    main()
