"""Of several sources that give the same kinds one is in force: its events reach the engine, those of the others do not.

    member in force   --> rows of the share, its gaps, its watermark --> the share, a source of the engine
    member that waits --> dropped

A member that gives neither event nor heartbeat for `AWAY_S` is replaced by the first in the order that does; a member
with a better place returns after `BACK_S` of health. A decision has no effect before the next slice of the new member,
so that a checkpoint in between makes it the same after a kill. See docs/adr/0024-one-source-in-force.md.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from watchdog.core.batch import Batch, Column, Slice
from watchdog.core.moments import clock_reset_ns
from watchdog.core.source import END_OF_TIME_NS
from watchdog.core.text import printable
from watchdog.engine.coverage import GAP
from watchdog.pipeline.clock_reset import gap_of
from watchdog.service.channel import not_before
from watchdog.sources.shares import Share, own_kinds, part_of_gaps, shares_of

AWAY_S: Final = 30.0
BACK_S: Final = 300.0
SWITCHED: Final = "switched"  # reason of the gap events
HEARTBEAT: Final = "source:heartbeat"
_NONE_NS: Final = -1
_LOG = logging.getLogger("watchdog.sources")

Saved = Mapping[str, tuple[str, int, int]]
"""By share, for the checkpoint: the member in force, since when nothing is known (ns; -1 for never), `floor_ns`."""


@dataclass(slots=True)
class Pulse:
    """Signs of life of one member, from poll to poll; times are monotonic seconds.

    silent_s: the first of the polls without a sign; None while it gives. healthy_s: since when it gives without being
    silent for `AWAY_S`; None when it does not, and before its first sign.
    """

    silent_s: float | None = None
    healthy_s: float | None = None

    def note(self, now_s: float, *, gave: bool, failed: bool) -> None:
        """Note a poll. failed: it cannot be read, or its clock is wrong."""
        if gave and not failed:
            self.silent_s = None
            self.healthy_s = now_s if self.healthy_s is None else self.healthy_s
            return
        self.silent_s = now_s if self.silent_s is None else self.silent_s
        if failed or self.silent(now_s):
            self.healthy_s = None

    def silent(self, now_s: float) -> bool:
        """Return whether it has given nothing for `AWAY_S`."""
        return self.silent_s is not None and now_s - self.silent_s >= AWAY_S

    def gives(self, now_s: float) -> bool:
        """Return whether it can take over: it gave something, and not too long ago."""
        return self.healthy_s is not None and not self.silent(now_s)


@dataclass(slots=True)
class Standing:
    """A share while the service runs; times in ns.

    mark_ns: promised to the engine. floor_ns: earlier events were given by the member before. gap_from_ns: since when
    nothing is known, until the new member gives its first slice; `_NONE_NS` for never. begun: the engine knows that it
    is watched. others: by member, the kinds that it gives because the one in force lacks them. untils: the latest
    watermark of each that gives.
    """

    share: Share
    current: str
    mark_ns: int = 0
    floor_ns: int = 0
    gap_from_ns: int = _NONE_NS
    begun: bool = False
    switches: int = 0
    others: Mapping[str, frozenset[str]] = field(default_factory=dict)
    untils: dict[str, int] = field(default_factory=dict)

    @property
    def first(self) -> bool:
        """Whether the member with the best place is in force."""
        return self.current == self.share.members[0]

    def kinds_of(self, member: str) -> frozenset[str]:
        """Return the kinds of the share that a member gives now; none while it is on standby."""
        if member == self.current:
            return self.share.kinds.difference(*self.others.values())
        return self.others.get(member, frozenset())

    def reached_ns(self, member: str, until_ns: int) -> int:
        """Note the watermark of a member; return the one of the share: the least of those that give."""
        self.untils[member] = until_ns
        marks = (self.untils.get(name, self.mark_ns) for name in (self.current, *self.others))
        return max(self.mark_ns, min(marks))

    def switch(self, member: str, proven_ns: int | None) -> None:
        """Put another member in force. proven_ns: the last watermark that the old one gave by itself."""
        if self.gap_from_ns == _NONE_NS and self.mark_ns:
            self.gap_from_ns = self.mark_ns if proven_ns is None else min(self.mark_ns, proven_ns)
        self.floor_ns = self.mark_ns
        self.current, self.others = member, {}
        self.untils.clear()
        self.switches += 1


class Shares:
    """The shares of one node. Belongs to the engine's thread; any thread may read `standings` and `kinds`.

    node: its name. sources: the kinds of each, by name. order: schemes that come before the others. apart: sources that
    share nothing. kinds: those that each source gives for itself, and those of each share, by the names that the engine
    knows. moved: slices with gaps that were moved up to a watermark.
    """

    def __init__(
        self,
        node: str,
        sources: Mapping[str, frozenset[str]],
        order: Sequence[str] = (),
        *,
        apart: Collection[str] = (),
    ) -> None:
        self._node = node
        shares = shares_of({name: kinds for name, kinds in sources.items() if name not in apart}, order)
        self.standings: Final = tuple(Standing(share, share.members[0]) for share in shares)
        own = {name: own_kinds(name, kinds, shares) for name, kinds in sources.items()}
        self.kinds: Final[Mapping[str, frozenset[str]]] = {**{one.name: one.kinds for one in shares}, **own}
        self.moved = 0
        self._pulses = {name: Pulse() for share in shares for name in share.members}
        self._lacks: dict[str, frozenset[str]] = dict.fromkeys(self._pulses, frozenset())
        self._shared = {name: sources[name] - own[name] for name in self._pulses}
        self._ended: set[str] = set()
        self._begun: set[str] = set()  # sources of which the engine knows that they are watched

    def note(
        self,
        name: str,
        now_s: float,
        *,
        gave: bool,
        failed: bool,
        ended: bool,
        lacks: frozenset[str] = frozenset(),
    ) -> None:
        """Note a poll of a source. lacks: the kinds that its input cannot give."""
        if name in self._pulses:
            self._lacks[name] = lacks
            self._pulses[name].note(now_s, gave=gave, failed=failed or ended)
            if ended:
                self._ended.add(name)

    def judge(self, name: str, now_s: float, proven_ns: Callable[[str], int | None]) -> bool:
        """Decide what follows from a poll of this source; return whether another source is in force now.

        proven_ns: the last watermark that a source gave by itself, by name.
        """
        changed = False
        for standing in self._of(name):
            member = self._successor(standing, name, now_s)
            if member:
                families, old = ", ".join(standing.share.families), standing.current
                standing.switch(member, proven_ns(old))
                why = "gives again" if member == name else f"{printable(old)} gives nothing"
                _LOG.warning("%s is in force for %s: %s", printable(member), families, why)
                changed = True
            self._fill(standing, now_s)
        return changed

    def _fill(self, standing: Standing, now_s: float) -> None:
        """Have other members give what the one in force lacks."""
        missing = standing.share.kinds & self._lacks[standing.current]
        others: dict[str, frozenset[str]] = {}
        for name in standing.share.members if missing else ():
            given = missing - self._lacks[name]
            if given and name != standing.current and self._pulses[name].gives(now_s):
                others[name] = given
                missing -= given
        if others != standing.others:
            standing.others = others
            standing.untils = {name: mark for name, mark in standing.untils.items() if name not in others}
            for name, kinds in others.items():
                text = printable(f"{name} gives what {standing.current} lacks: {', '.join(sorted(kinds))}", 1_000)
                _LOG.info("%s", text)

    def _successor(self, standing: Standing, name: str, now_s: float) -> str:
        """Return the member that takes over after a poll of `name`; empty for none."""
        members, current = standing.share.members, standing.current
        if name == current or current in self._ended:
            if not self._pulses[current].silent(now_s):
                return ""
            return next((one for one in members if one != current and self._pulses[one].gives(now_s)), "")
        pulse = self._pulses[name]
        better = members.index(name) < members.index(current)
        well = pulse.gives(now_s) and pulse.healthy_s is not None and now_s - pulse.healthy_s >= BACK_S
        return name if better and well else ""

    def divide(self, found: Slice) -> Slice:
        """Return the slice of a source as the engine takes it: what it gives for itself, and its part of each share."""
        if found.source not in self._pulses:
            return found
        gaps = [batch for batch in found.batches if batch.kind == GAP]
        shared: list[Slice] = []
        counted = False  # the lost events of its gaps are counted once
        for standing in self._of(found.source):
            kinds = standing.kinds_of(found.source)
            if not kinds:
                continue
            own_gaps = _parts_of(gaps, kinds, counted=not counted)
            counted = counted or bool(own_gaps)
            part = self._part(standing, found, own_gaps)
            shared += [part] if part is not None else []
        rest = [batch for batch in found.batches if batch.kind != GAP and batch.kind not in self._shared[found.source]]
        rest += _parts_of(gaps, self.kinds[found.source], counted=not counted)
        rest += self._first_sign(found, rest)
        return replace(found, batches=tuple(rest), shared=tuple(shared))

    def _first_sign(self, found: Slice, rest: Sequence[Batch]) -> list[Batch]:
        """Return a heartbeat at the first event of a source that gives nothing for itself: it counts as watched."""
        times = [int(batch.time_ns.min()) for batch in found.batches if batch.rows]
        if found.source in self._begun or not times:
            return []
        self._begun.add(found.source)
        if any(batch.rows for batch in rest):
            return []
        columns: dict[str, Column] = {"time_ns": np.array([min(times)], np.int64), "lag_ms": np.zeros(1, np.int64)}
        return [Batch(HEARTBEAT, self._node, found.source, columns)]

    def _part(self, standing: Standing, found: Slice, gaps: list[Batch]) -> Slice | None:
        """Return what a share gets from a slice of a source that gives some of its kinds; None for nothing new."""
        reset_ns = clock_reset_ns(gaps)
        if reset_ns is not None:
            standing.mark_ns, standing.floor_ns, standing.gap_from_ns = reset_ns, 0, _NONE_NS
            standing.untils.clear()
        elif any(int(batch.time_ns.min()) < standing.mark_ns for batch in gaps):
            gaps = [not_before(batch, standing.mark_ns) for batch in gaps]
            self.moved += 1
        first = found.source == standing.current
        kinds, floor_ns = standing.kinds_of(found.source), standing.floor_ns if first else standing.mark_ns
        given = (batch for batch in found.batches if batch.rows and batch.kind in kinds)
        rows = [kept for batch in given if (kept := _since(batch, floor_ns)) is not None]
        until_ns = found.until_ns
        if until_ns == END_OF_TIME_NS and not self._ended.issuperset(standing.share.members):
            until_ns = max((int(batch.time_ns.max()) for batch in rows), default=0)
        until_ns = standing.reached_ns(found.source, until_ns)
        if not rows and not gaps and until_ns == standing.mark_ns:
            return None
        if not rows and not standing.begun:  # a heartbeat shows that it is watched
            rows = [batch for batch in found.batches if batch.kind == HEARTBEAT and batch.rows]
        standing.begun |= bool(rows)
        between = self._between(standing, found.source, rows, until_ns) if first else ()
        batches = (*between, *gaps, *rows)
        standing.mark_ns = until_ns
        return Slice(standing.share.name, batches, until_ns)

    def _between(self, standing: Standing, source: str, rows: Sequence[Batch], until_ns: int) -> Sequence[Batch]:
        """Return the gap between two members once the new one gives something; nothing without a change."""
        if standing.gap_from_ns == _NONE_NS or (not rows and until_ns == standing.mark_ns):
            return ()
        first_ns = min((int(batch.time_ns.min()) for batch in rows), default=until_ns)
        span = standing.gap_from_ns, max(first_ns, standing.mark_ns)
        standing.gap_from_ns = _NONE_NS
        gap = gap_of(self._node, source, span, SWITCHED, standing.mark_ns)
        return _parts_of([gap], standing.share.kinds, counted=True)

    def promises(self) -> list[Slice]:
        """Return a slice without events for each share, to bring a new engine up to the watermarks so far."""
        return [Slice(one.share.name, (), one.mark_ns) for one in self.standings if one.mark_ns]

    def starts(self, starts: Mapping[str, int]) -> dict[str, int]:
        """Return the start of each share: the earliest of its members'. starts: of sources read for the first time."""
        return {
            one.share.name: min(starts[name] for name in one.share.members)
            for one in self.standings
            if starts.keys() >= set(one.share.members)
        }

    def covered(self, name: str) -> bool:
        """Return whether a source is on standby for all that it can give: without it, no kind is missing."""
        alone = {kind for kind in self.kinds.get(name, frozenset()) if not kind.startswith(("source:", "node:"))}
        return not alone and bool(self._of(name)) and not any(one.kinds_of(name) for one in self._of(name))

    def saved(self) -> dict[str, tuple[str, int, int]]:
        """Return the decisions for the checkpoint."""
        return {one.share.name: (one.current, one.gap_from_ns, one.floor_ns) for one in self.standings}

    def restore(self, saved: Saved, marks: Mapping[str, int]) -> None:
        """Continue from a checkpoint. marks: the engine's watermarks, by name. What no longer fits is left out."""
        for standing in self.standings:
            mark_ns = marks.get(standing.share.name, 0)
            standing.mark_ns = mark_ns if mark_ns < END_OF_TIME_NS else 0
            member, gap_from_ns, floor_ns = saved.get(standing.share.name, ("", _NONE_NS, 0))
            if member in standing.share.members:
                standing.current, standing.gap_from_ns, standing.floor_ns = member, gap_from_ns, floor_ns

    def _of(self, name: str) -> list[Standing]:
        return [one for one in self.standings if name in one.share.members]


def _parts_of(gaps: Iterable[Batch], kinds: frozenset[str], *, counted: bool) -> list[Batch]:
    parts = (part_of_gaps(batch, kinds, counted=counted) for batch in gaps if batch.rows)
    return [part for part in parts if part is not None]


def _since(batch: Batch, floor_ns: int) -> Batch | None:
    """Return the rows from this time on, None without any."""
    kept = batch.time_ns >= floor_ns
    if kept.all():
        return batch
    return batch.take(np.flatnonzero(kept)) if kept.any() else None
