"""Findings about our own input by the wall clock: no events, wrong times, unread lines.

A rule is asked when event time passes, and event time does not pass where the input fails. So these checks are asked by
the engine's thread every second or so, and what they find goes into a book of its own as ordinary findings.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from alerts.fingerprint import key_text
from watchdog.core.finding import Finding
from watchdog.core.own_rules import DATA_CLOCK, LOG_UNREAD, OWN_RULES, SOURCE_FLAPPING, SOURCE_SILENT
from watchdog.core.source import FormCounting
from watchdog.core.text import printable
from watchdog.service.channel import Channel
from watchdog.service.feed import Feed

EVERY_S = 1.0
SILENT_S = 600.0  # the node pings each peer every 2 minutes (Bitcoin Core src/net_processing.cpp, PING_INTERVAL)
UNREAD_LEAST, UNREAD_SHARE, UNREAD_S = 5, 0.2, 3_600.0
SAMPLE_S = 60.0  # between two looks at the counts of lines
RESTARTS_MOST, RESTARTS_S = 10, 3_600.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check says of one key. holds: None while it cannot be known, which leaves things as they are."""

    rule: str
    key: Mapping[str, str]
    holds: bool | None
    summary: str = ""
    measures: Mapping[str, int | float] = field(default_factory=dict)


Check = Callable[[float], Iterator[Verdict]]
"""Called with monotonic seconds; a verdict for each key that it knows."""


class SelfWatch:
    """All checks. What fires is known to the book, so a restart goes on with it.

    A key that no check names (its source is not configured any longer) no longer fires.
    """

    def __init__(self, node: str, checks: Sequence[Check]) -> None:
        self._node, self._checks = node, tuple(checks)
        self._asked_s: float | None = None

    def due(self, now_s: float) -> bool:
        """Whether it is time to ask; at most once each `EVERY_S`."""
        if self._asked_s is not None and now_s - self._asked_s < EVERY_S:
            return False
        self._asked_s = now_s
        return True

    def findings(self, firing: AbstractSet[tuple[str, str]], now_s: float, wall_ns: int) -> list[Finding]:
        """What has changed since `firing`: rules and keys (as text) for which the book holds an open condition."""
        found, named = [], set()
        for verdict in (verdict for check in self._checks for verdict in check(now_s)):
            name = (verdict.rule, key_text(verdict.key))
            named.add(name)
            if verdict.holds is not None and verdict.holds != (name in firing):
                found.append(self._finding(verdict, wall_ns))
        gone = sorted(firing - named)
        return found + [self._finding(Verdict(rule, _key(text), holds=False), wall_ns) for rule, text in gone]

    def _finding(self, verdict: Verdict, wall_ns: int) -> Finding:
        rule = OWN_RULES[verdict.rule]
        return Finding(
            rule=rule.id,
            attack="data",
            severity=rule.severity,
            node=self._node,
            change="fire" if verdict.holds else "clear",
            time_ns=wall_ns,
            since_ns=wall_ns,
            key=verdict.key,
            incident=verdict.key,
            entities=(),
            measures=verdict.measures,
            summary=verdict.summary,
            resolve_after_ns=rule.resolve_after_ns,
            maturity="stable",
        )


def _key(text: str) -> dict[str, str]:
    return {str(name): str(value) for name, value in json.loads(text).items()}


def clock_check(feed: Feed) -> Check:
    """`data-clock`. After a restart nothing is known of a clock before the source has given an event."""

    def check(_now_s: float) -> Iterator[Verdict]:
        faults = feed.clock_faults
        for channel in feed.channels:
            name, fault = printable(channel.name), faults.get(channel.name)
            holds = True if fault else False if channel.heard_s is not None or channel.ended else None
            yield Verdict(DATA_CLOCK, {"source": name}, holds, f"{name} is not judged: {fault}")

    return check


def silence_check(feed: Feed, begun_s: float) -> Check:
    """`source-silent`. begun_s: when the service began to run."""

    def check(now_s: float) -> Iterator[Verdict]:
        for channel in feed.channels:
            name = printable(channel.name)
            events_s = now_s - (begun_s if channel.heard_s is None else channel.heard_s)
            net_s = _without_net_s(channel, begun_s, now_s)
            holds: bool | None = not channel.ended and max(events_s, net_s) >= SILENT_S
            if not holds and channel.heard_s is None and not channel.ended:
                holds = None  # it has not run for long enough
            minutes = int(max(events_s, net_s) // 60)
            lacks = "no event" if events_s >= SILENT_S else "no line of the category net (is -debug=net set?)"
            why = f": {channel.error}" if channel.error else ""
            text = f"{name} has given {lacks} for {minutes} minutes{why}"
            yield Verdict(SOURCE_SILENT, {"source": name}, holds, text, {"minutes": minutes})

    return check


def _without_net_s(channel: Channel, begun_s: float, now_s: float) -> float:
    """For how long a log has had no line of the category `net`; 0 for other sources."""
    source: object = channel.source
    if not isinstance(source, FormCounting):
        return 0.0
    lines = source.net_lines
    if lines != channel.net_lines:
        channel.net_s = now_s if lines else channel.net_s
        channel.net_lines = lines
    return now_s - (begun_s if channel.net_s is None else channel.net_s)


class UnreadCheck:
    """`log-unread`: counts of the hour that has passed, by source and form."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._last: dict[tuple[str, str], tuple[int, int]] = {}
        self._hours: dict[tuple[str, str], deque[tuple[float, int, int]]] = {}

    def __call__(self, now_s: float) -> Iterator[Verdict]:
        """A verdict for each form that has had lines."""
        for channel in self._feed.channels:
            source: object = channel.source
            if isinstance(source, FormCounting):
                for form, counts in source.line_forms.items():
                    self._count((channel.name, form), counts, now_s)
        for (name, form), hour in self._hours.items():
            while hour and now_s - hour[0][0] > UNREAD_S:
                hour.popleft()
            read, unread = (sum(step[at] for step in hour) for at in (1, 2))
            holds = unread >= UNREAD_LEAST and unread >= UNREAD_SHARE * (read + unread)
            shown = printable(name)
            text = f"{shown}: {unread} of {read + unread} lines of the form '{form}' could not be read within an hour"
            yield Verdict(LOG_UNREAD, {"source": shown, "form": form}, holds, text, {"unread": unread, "read": read})

    def _count(self, name: tuple[str, str], counts: tuple[int, int], now_s: float) -> None:
        last = self._last.get(name, (0, 0))
        self._last[name] = counts
        if min(now - then for now, then in zip(counts, last, strict=True)) < 0:
            last = (0, 0)  # the source was opened again
        read, unread = counts[0] - last[0], counts[1] - last[1]
        if not read + unread:
            return
        hour = self._hours.setdefault(name, deque())
        if hour and now_s - hour[-1][0] < SAMPLE_S:
            begun_s, read_before, unread_before = hour.pop()
            hour.append((begun_s, read_before + read, unread_before + unread))
        else:
            hour.append((now_s, read, unread))


class FlapCheck:
    """`source-flapping`: restarts of each live source in the hour that has passed.

    Open incidents of an earlier run stay open until this run has counted for an hour.
    """

    def __init__(self, feed: Feed, begun_s: float) -> None:
        self._feed, self._begun_s = feed, begun_s
        self._times: dict[str, deque[float]] = {}
        self._counted: dict[str, int] = {}

    def __call__(self, now_s: float) -> Iterator[Verdict]:
        """Yield a verdict for each live source."""
        for channel in self._feed.channels:
            if not channel.live:
                continue
            times = self._times.setdefault(channel.name, deque(maxlen=RESTARTS_MOST + 1))
            times.extend([now_s] * (channel.restarts - self._counted.get(channel.name, 0)))
            self._counted[channel.name] = channel.restarts
            while times and now_s - times[0] > RESTARTS_S:
                times.popleft()
            holds: bool | None = len(times) > RESTARTS_MOST
            if not holds and now_s - self._begun_s < RESTARTS_S and not channel.ended:
                holds = None
            name = printable(channel.name)
            why = f": {channel.last_error}" if channel.last_error else ""
            text = f"{name} was restarted more than {RESTARTS_MOST} times within an hour{why}"
            yield Verdict(SOURCE_FLAPPING, {"source": name}, holds, text, {"restarts": channel.restarts})


def self_watch(node: str, feed: Feed, begun_s: float) -> SelfWatch:
    """Return the checks of a service over its feed. begun_s: when the service began, by the feed's clock."""
    return SelfWatch(
        node, (clock_check(feed), silence_check(feed, begun_s), UnreadCheck(feed), FlapCheck(feed, begun_s))
    )
