"""Findings about our own input by the wall clock: no events, wrong times, unread lines.

A rule is asked when event time passes, and event time does not pass where the input fails. So these checks are asked by
the engine's thread every second or so, and what they find goes into a book of its own as ordinary findings.
"""

from __future__ import annotations

import json
import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from alerts.fingerprint import key_text
from watchdog.core.core_constants import PING_INTERVAL_S
from watchdog.core.finding import Finding
from watchdog.core.own_rules import (
    DATA_CLOCK,
    DATA_UNRECORDED,
    LOG_UNREAD,
    OWN_RULES,
    SOURCE_FLAPPING,
    SOURCE_SILENT,
    SOURCE_SLOW,
    SOURCE_SWITCHED,
)
from watchdog.core.plan import RulePlan
from watchdog.core.source import ClockStepping, FormCounting, MessageCounting, Refused, Stretching
from watchdog.core.text import printable
from watchdog.service.channel import Channel
from watchdog.service.followed_sources import FollowedSources
from watchdog.service.in_force import AWAY_S
from watchdog.service.loop_feed import FeedState
from watchdog.service.recorder import NodeRecorder

LONGEST = 4_096  # characters of a line of the log
_LOG = logging.getLogger("watchdog.sources")
EVERY_S = 1.0
SILENT_S = 5.0 * PING_INTERVAL_S  # the node pings each peer once in PING_INTERVAL_S
UNREAD_LEAST, UNREAD_SHARE, UNREAD_S = 5, 0.2, 3_600.0
SAMPLE_S = 60.0  # between two looks at the counts of lines
RESTARTS_MOST, RESTARTS_S = 10, 3_600.0


@dataclass(frozen=True, slots=True)
class Condition:
    """The judgement of a check about one key. holds: None while unknown, which changes nothing."""

    rule: str
    key: Mapping[str, str]
    holds: bool | None
    summary: str = ""
    measures: Mapping[str, int | float] = field(default_factory=dict)


Probe = Callable[[float], Iterator[Condition]]
"""Called with monotonic seconds; a condition for each key that it knows."""


class SelfWatch:
    """All checks. The book knows what fires, so a restart continues with it.

    A key that no check names (its source was removed from the configuration) stops firing.
    """

    def __init__(self, node: str, checks: Sequence[Probe]) -> None:
        self._node, self._checks = node, tuple(checks)
        self._asked_s: float | None = None

    def due(self, now_s: float) -> bool:
        """Return whether to run the checks now; at most once each `EVERY_S`."""
        if self._asked_s is not None and now_s - self._asked_s < EVERY_S:
            return False
        self._asked_s = now_s
        return True

    def findings(self, firing: AbstractSet[tuple[str, str]], now_s: float, wall_ns: int) -> list[Finding]:
        """Return the changes since `firing`: rules and keys (as text) for which the book holds an open condition."""
        changes, named = [], set()
        for condition in (condition for check in self._checks for condition in check(now_s)):
            name = (condition.rule, key_text(condition.key))
            named.add(name)
            if condition.holds is not None and condition.holds != (name in firing):
                changes.append(self._finding(condition, wall_ns))
        gone = sorted(firing - named)
        return changes + [self._finding(Condition(rule, _key(text), holds=False), wall_ns) for rule, text in gone]

    def _finding(self, condition: Condition, wall_ns: int) -> Finding:
        rule = OWN_RULES[condition.rule]
        return Finding(
            rule=rule.id,
            attack="data",
            severity=rule.severity,
            node=self._node,
            change="fire" if condition.holds else "clear",
            time_ns=wall_ns,
            since_ns=wall_ns,
            key=condition.key,
            incident=condition.key,
            entities=(),
            measures=condition.measures,
            summary=condition.summary,
            resolve_after_ns=rule.resolve_after_ns,
            maturity="stable",
        )


def _key(text: str) -> dict[str, str]:
    return {str(name): str(value) for name, value in json.loads(text).items()}


def clock_check(feed: FeedState) -> Probe:
    """Make the check `data-clock`. After a restart a clock is unknown until the source gives an event."""

    def check(_now_s: float) -> Iterator[Condition]:
        faults = feed.clock_faults
        for channel in feed.channels:
            name, fault = printable(channel.name), faults.get(channel.name)
            source: object = channel.source
            step = source.clock_step if isinstance(source, ClockStepping) else ""
            holds = True if fault or step else False if channel.heard_s is not None or channel.ended else None
            text = f"{name} is not judged: {fault}" if fault else f"{name}: {step}"
            yield Condition(DATA_CLOCK, {"source": name}, holds, text)

    return check


def silence_check(feed: FeedState, begun_s: float) -> Probe:
    """Make the check `source-silent`. begun_s: when the service began to run."""

    def check(now_s: float) -> Iterator[Condition]:
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
            yield Condition(SOURCE_SILENT, {"source": name}, holds, text, {"minutes": minutes})

    return check


def _without_net_s(channel: Channel, begun_s: float, now_s: float) -> float:
    """Return the seconds since a log's last line of the category `net`; 0 for other sources."""
    source: object = channel.source
    if not isinstance(source, FormCounting):
        return 0.0
    lines = source.net_lines
    if lines != channel.net_lines:
        channel.net_s = now_s if lines else channel.net_s
        channel.net_lines = lines
    return now_s - (begun_s if channel.net_s is None else channel.net_s)


class UnreadCheck:
    """`log-unread`: counts of the hour that has passed, by source and form of line, or subject of messages."""

    def __init__(self, feed: FeedState) -> None:
        self._feed = feed
        self._last: dict[tuple[str, str], tuple[int, int]] = {}
        self._hours: dict[tuple[str, str], deque[tuple[float, int, int]]] = {}
        self._messages: set[tuple[str, str]] = set()  # those of `_hours` that are no lines

    def __call__(self, now_s: float) -> Iterator[Condition]:
        """Yield a condition for each form that has had lines."""
        for channel in self._feed.channels:
            source: object = channel.source
            if isinstance(source, FormCounting):
                for form, counts in source.line_forms.items():
                    self._count((channel.name, form), counts, now_s)
            elif isinstance(source, MessageCounting):
                for subject, counts in source.message_counts.items():
                    self._messages.add((channel.name, printable(subject)))
                    self._count((channel.name, printable(subject)), counts, now_s)
        for (name, form), hour in self._hours.items():
            while hour and now_s - hour[0][0] > UNREAD_S:
                hour.popleft()
            read, unread = (sum(step[column] for step in hour) for column in (1, 2))
            holds = unread >= UNREAD_LEAST and unread >= UNREAD_SHARE * (read + unread)
            shown = printable(name)
            what = "messages on" if (name, form) in self._messages else "lines of the form"
            text = f"{shown}: {unread} of {read + unread} {what} '{form}' could not be read within an hour"
            yield Condition(LOG_UNREAD, {"source": shown, "form": form}, holds, text, {"unread": unread, "read": read})

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

    def __init__(self, feed: FeedState, begun_s: float) -> None:
        self._feed, self._begun_s = feed, begun_s
        self._times: dict[str, deque[float]] = {}
        self._counted: dict[str, int] = {}

    def __call__(self, now_s: float) -> Iterator[Condition]:
        """Yield a condition for each live source."""
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
            yield Condition(SOURCE_FLAPPING, {"source": name}, holds, text, {"restarts": channel.restarts})


class SlowCheck:
    """`source-slow`: the costliest call of each polled node while its intervals are stretched."""

    def __init__(self, feed: FeedState) -> None:
        self._feed = feed
        self._named: dict[str, set[str]] = {}

    def __call__(self, _now_s: float) -> Iterator[Condition]:
        """Yield a verdict for each call that was slow once."""
        for channel in self._feed.channels:
            source: object = channel.source
            if not isinstance(source, Stretching):
                continue
            name, (slow, stretch) = printable(channel.name), source.slow_call
            calls = self._named.setdefault(channel.name, set())
            calls |= {slow} if slow else set()
            text = f"{name}: {slow} takes so long that some calls are made up to {stretch:.3g} times less often"
            for call in sorted(calls):
                key = {"source": name, "call": call}
                yield Condition(SOURCE_SLOW, key, call == slow, text, {"stretch": round(stretch, 1)})


def switch_check(feed: FeedState) -> Probe:
    """Make the check `source-switched`: a condition for each family of kinds and the source that is asked first."""

    def check(_now_s: float) -> Iterator[Condition]:
        standings = feed.in_force.standings if isinstance(feed, FollowedSources) else ()
        replaced: dict[tuple[str, str], str] = {}
        for standing in standings:
            for family in standing.share.families:
                key = standing.share.members[0], family
                replaced[key] = replaced.get(key, "") or ("" if standing.first else standing.current)
        for (first, family), current in replaced.items():
            name, other = printable(first), printable(current)
            text = f"{name} gave nothing for {AWAY_S:.0f} s; {other} is in force for {family}"
            yield Condition(SOURCE_SWITCHED, {"source": name, "family": family}, bool(current), text)

    return check


def recording_check(recorder: NodeRecorder) -> Probe:
    """Make the check `data-unrecorded`."""

    def check(_now_s: float) -> Iterator[Condition]:
        key = {"folder": printable(str(recorder.settings.folder))}
        error = recorder.status.error
        yield Condition(DATA_UNRECORDED, key, bool(error), f"nothing is recorded: {error}")

    return check


def refusal_log(feed: FeedState, plans: Callable[[], Sequence[RulePlan]]) -> Probe:
    """Log each call that a node refuses, once, with the rules that read what it gives. It has no verdicts."""
    logged: set[tuple[str, str]] = set()

    def check(_now_s: float) -> Iterator[Condition]:
        for channel in feed.channels:
            source: object = channel.source
            refused = source.forbidden if isinstance(source, Refused) else {}
            for call in [call for name, call in logged if name == channel.name and call not in refused]:
                logged.discard((channel.name, call))
            for call, kinds in refused.items():
                if (channel.name, call) not in logged:
                    logged.add((channel.name, call))
                    rules = ", ".join(sorted(plan.id for plan in plans() if kinds.intersection(plan.kinds))) or "none"
                    text = f"the node refuses {call} (HTTP 403): add it to rpcwhitelist; rules that read it: {rules}"
                    _LOG.warning("source %s: %s", printable(channel.name), printable(text, LONGEST))
        yield from ()

    return check


def self_watch(
    node: str,
    feed: FeedState,
    begun_s: float,
    plans: Callable[[], Sequence[RulePlan]] = tuple,
    recorder: NodeRecorder | None = None,
) -> SelfWatch:
    """Return the checks of a service over its feed. begun_s: when the service began, by the feed's clock.

    plans: the rules in force, for messages. recorder: of the node, if it has one.
    """
    checks = clock_check(feed), silence_check(feed, begun_s), UnreadCheck(feed), FlapCheck(feed, begun_s)
    recording = () if recorder is None else (recording_check(recorder),)
    return SelfWatch(node, (*checks, SlowCheck(feed), switch_check(feed), *recording, refusal_log(feed, plans)))
