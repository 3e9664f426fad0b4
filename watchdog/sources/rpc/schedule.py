"""When each call to a node is due: intervals with jitter, stretched so that calls keep to a share of time.

    room = budget;  for the calls that must not wait, then the others, then the costly ones:
        stretch them by (their load / room) when their load does not fit, within LONGEST;  room -= their load

So costly calls stretch first. Calls with one interval are due together: their answers belong to one moment.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

VITAL, PLAIN, COSTLY = 0, 1, 2
LONGEST_S: Final = {VITAL: 120.0, PLAIN: 3_600.0, COSTLY: 86_400.0}
"""How far a call is stretched, by tier: without peers, chain and uptime the rules of eclipses are blind."""
JITTER: Final = 0.1  # of an interval, from the second round on
DECAY: Final = 0.8  # of the known cost at each call that takes less: one quick answer does not end a stretch
SLOW: Final = 3.0  # times its interval: a call that is stretched this far is reported
STEADY: Final = 3  # slow answers in a row until a call is reported: a node that connects a block answers late once


@dataclass(frozen=True, slots=True)
class CallRow:
    """A call that is made at intervals."""

    method: str
    interval_s: float
    tier: int = PLAIN


CALLS: Final = (
    CallRow("getblockchaininfo", 30.0, VITAL),
    CallRow("uptime", 30.0, VITAL),
    CallRow("getpeerinfo", 30.0, VITAL),
    CallRow("getnetworkinfo", 60.0),
    CallRow("getnettotals", 60.0),
    CallRow("getaddrmaninfo", 60.0),
    CallRow("getmempoolinfo", 60.0),
    CallRow("getorphantxs", 60.0),
    CallRow("getchaintips", 300.0, COSTLY),
    CallRow("getrawaddrman", 600.0, COSTLY),
)
"""In the order of a round: the chain first, since answers of another chain are not judged."""
LEAST_S, MOST_S = 10.0, 3_600.0


@dataclass(slots=True)
class _Method:
    method: str
    cost_s: float = 0.0
    latest_s: tuple[float, ...] = ()  # times of the last STEADY requests
    shut_until_s: float = 0.0  # the node refused it


@dataclass(slots=True)
class _Group:
    tier: int
    nominal_s: float
    interval_s: float
    calls: list[_Method] = field(default_factory=list)
    due_s: float = 0.0  # at once

    def open_calls(self, now_s: float) -> list[_Method]:
        return [call for call in self.calls if call.shut_until_s <= now_s]

    def steady_s(self, call: _Method) -> float:
        """Return what each of the last requests took at least; of costly calls, which are rare, the known cost."""
        return call.cost_s if self.tier == COSTLY else min(call.latest_s, default=0.0)


class Interval(NamedTuple):
    """The interval of a call in seconds: its own, and the present one, stretched or not. cost_s: what it takes."""

    nominal_s: float
    present_s: float
    cost_s: float

    @property
    def stretch(self) -> float:
        """The present interval as a multiple of its own."""
        return self.present_s / self.nominal_s


class Schedule:
    """Due times of the calls to one node, by a monotonic clock of the caller.

    intervals: seconds by method, those left out have their default; 0 turns a call off. methods: the calls that are
    read. budget: share of time that requests may take. random: 0 to 1.
    """

    def __init__(
        self, methods: frozenset[str], intervals: Mapping[str, float], budget: float, random: Callable[[], float]
    ) -> None:
        self._budget, self._random = budget, random
        groups: dict[tuple[int, float], _Group] = {}
        for row in CALLS:
            interval_s = intervals.get(row.method, row.interval_s)
            if interval_s > 0 and row.method in methods:
                group = groups.setdefault((row.tier, interval_s), _Group(row.tier, interval_s, interval_s))
                group.calls.append(_Method(row.method))
        self._groups: Sequence[_Group] = tuple(groups.values())
        self._calls = {call.method: (group, call) for group in self._groups for call in group.calls}

    def due(self, now_s: float) -> list[str]:
        """Return the calls that are due, in the order of a round, and set the time of their next round."""
        due: set[str] = set()
        for group in self._groups:
            if group.due_s <= now_s:
                due.update(call.method for call in group.open_calls(now_s))
                group.due_s = now_s + group.interval_s * (1 + JITTER * (2 * self._random() - 1))
        return [row.method for row in CALLS if row.method in due]

    def next_s(self) -> float:
        """Return when the next call is due; infinity when all are off."""
        return min((group.due_s for group in self._groups), default=float("inf"))

    def hurry(self, methods: Sequence[str], now_s: float) -> None:
        """Make calls due at once that were due but could not be made; those that are off stay off."""
        for group in [self._calls[method][0] for method in methods if method in self._calls]:
            group.due_s = min(group.due_s, now_s)

    def note(self, method: str, took_s: float, begun_s: float) -> None:
        """Take the time of a request, answered or abandoned, and stretch what no longer fits from this round on.

        What fits again comes back at once: one slow answer must not put a costly call off for a day.
        """
        group, call = self._calls[method]
        call.cost_s = max(took_s, DECAY * call.cost_s + (1 - DECAY) * took_s)
        call.latest_s = (*call.latest_s, took_s)[-STEADY:]
        before = {id(one): one.interval_s for one in self._groups}
        for one, interval_s in self._fitting(lambda _, call: call.cost_s):
            one.interval_s = interval_s
        for one in self._groups:
            if one.due_s:
                one.due_s = max(one.due_s + one.interval_s - before[id(one)], begun_s + took_s)
        group.due_s = max(group.due_s, begun_s + took_s)

    def shut(self, method: str, until_s: float) -> None:
        """Leave a call out until then: the node refuses it."""
        self._calls[method][1].shut_until_s = until_s

    def open_all(self) -> None:
        """Try every call again: the node is another process, perhaps of another version."""
        for _, call in self._calls.values():
            call.shut_until_s = 0.0

    def intervals(self) -> dict[str, Interval]:
        """Return the intervals of the calls that are made at all."""
        return {
            method: Interval(group.nominal_s, group.interval_s, call.cost_s)
            for method, (group, call) in self._calls.items()
        }

    def slow(self) -> tuple[str, float]:
        """Return the call that takes most of the time, and the largest stretch; "" while none is SLOW.

        One late answer stretches intervals for some rounds, and is not reported.
        """
        fitting = self._fitting(_Group.steady_s)
        stretch = max((interval_s / group.nominal_s for group, interval_s in fitting), default=1.0)
        if stretch < SLOW:
            return "", stretch
        loads = {method: group.steady_s(call) / group.nominal_s for method, (group, call) in self._calls.items()}
        return max(loads, key=lambda method: loads[method]), stretch

    def _fitting(self, cost: Callable[[_Group, _Method], float]) -> list[tuple[_Group, float]]:
        """Return each group with the interval that keeps all calls to the budget at these costs."""
        fitting: list[tuple[_Group, float]] = []
        room = self._budget
        for tier in (VITAL, PLAIN, COSTLY):
            groups = [group for group in self._groups if group.tier == tier]
            costs = {id(group): sum(cost(group, call) for call in group.calls) for group in groups}
            load = sum(costs[id(group)] / group.nominal_s for group in groups)
            factor = 1.0 if load <= room else load / room if room > 0 else float("inf")
            for group in groups:
                interval_s = min(group.nominal_s * factor, max(group.nominal_s, LONGEST_S[tier]))
                fitting.append((group, interval_s))
                room -= costs[id(group)] / interval_s
            room = max(0.0, room)
        return fitting
