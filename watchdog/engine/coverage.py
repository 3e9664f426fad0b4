"""What the engine knows of what it did not see: gaps, starts of the node, its own beginning."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import numpy as np

from detectors.state import State
from watchdog.core.batch import Batch
from watchdog.core.durations import DAY_NS, MINUTE_NS
from watchdog.core.kinds import FINDING_KINDS
from watchdog.core.plan import RulePlan
from watchdog.core.resolved import TELLING
from watchdog.engine.disturbed import Disturbed

GAP, LIMITED, STARTED = "source:gap", "source:limited", "node:started"
CHAIN: Final = "rpc:chain"
"""Says whether the node is in initial download; read where a rule has a detector with a budget."""
START_NS: Final = 30 * MINUTE_NS  # after a start of the node, detectors with a budget do not trust what they see
DOWNLOAD_NS: Final = 7 * DAY_NS
"""A download that lasts longer silences no detector: a node that was restarted behind its tip stays in it for as long
as its peers keep blocks back, and one whose RPC ends in it would never be seen to leave."""
ALWAYS_WANTED = frozenset({GAP, LIMITED, STARTED, "node:stopped", "source:heartbeat"})
"""Asked of every source, whatever the rules read: gaps and starts report what was not seen, the others until when."""
REMEMBERED = 100_000  # gaps and starts; beyond that the oldest are forgotten, whatever windows they overlap
LONG_AGO, FAR_AHEAD = -(1 << 62), 1 << 62


def wanted_kinds(plans: Iterable[RulePlan]) -> frozenset[str]:
    """Return the kinds that rules of one node or the engine read of sources: a source skips the work for all others."""
    own = [plan for plan in plans if plan.scope == "node"]
    guarded = {CHAIN} if any(plan.guarded for plan in own) else set()
    telling = (TELLING[name] for plan in own for name in plan.resolved)
    return ALWAYS_WANTED.union(guarded, *(plan.kinds for plan in own), *telling) - FINDING_KINDS


class Gap(NamedTuple):
    """A stretch of event time in which events of a source are missing.

    told_ns: time of the event that reports it. kinds: those missing, or beginnings of kinds; empty: all. better_ns:
    time of a later event with a better end, which replaces this one for windows that end after it; 0 without one.
    """

    from_ns: int
    to_ns: int
    told_ns: int
    kinds: tuple[str, ...] = ()
    source: str = ""
    better_ns: int = 0

    def covers(self, kinds: Iterable[str]) -> bool:
        """Return whether any of these kinds may be missing."""
        return not self.kinds or any(kind.startswith(self.kinds) for kind in kinds)


class Coverage:
    """Stretches of event time for which the input is known to be incomplete.

    A gap counts for windows that end after the event that reports it: no such window was closed before, in whatever
    slices the event came, so the answers are always the same. A gap of some kinds counts only for rules that read one
    of them. One that lasts (`source:limited`) counts until the `source:gap` with its true end comes.
    """

    def __init__(self, sources: Iterable[str] = (), behind: Iterable[str] = ()) -> None:
        """Start without coverage. sources: those that feed the rules; others are added with their first events.

        behind: the kinds of events behind findings; a gap of one of them is a gap for rules over these findings.
        """
        self._behind = tuple(behind)
        self.first_ns: int | None = None
        self.gaps: list[Gap] = []
        self.starts: list[int] = []
        self.lost = 0
        self._began: dict[str, int | None] = dict.fromkeys(sources)  # by source: its first event of any kind
        self._disturbed: dict[tuple[int, tuple[str, ...]], Disturbed] = {}  # by length of window and kinds, on demand
        self._seen: dict[tuple[str, ...], tuple[int, int, float, float]] = {}  # by kinds: the last answer of `seen`
        self._downloads: list[tuple[int, int]] = []  # initial downloads: from the first poll in one to the first after
        self._guards: tuple[Disturbed, Disturbed] | None = None  # after starts, in downloads; on demand

    def begin(self, first_ns: int, source: str = "") -> None:
        """Record that a source had an event of any kind at this time."""
        known = self._began.get(source)
        if known is None or first_ns < known:
            self._began[source] = first_ns
            self._seen.clear()
        if self.first_ns is None or first_ns < self.first_ns:
            self.first_ns = first_ns
            self._disturbed.clear()

    def see(self, batch: Batch) -> None:
        """Learn from a batch of gaps or of starts of the node; batches of other kinds change nothing."""
        if batch.kind == GAP:
            self._note(batch, "from_ns", "to_ns")
            self.lost += int(batch.numbers("lost").astype(np.int64).sum())
        elif batch.kind == LIMITED:
            self._note(batch, "time_ns", "until_ns")
        elif batch.kind == STARTED:
            self.starts = sorted({*self.starts, *batch.time_ns.tolist()})[-REMEMBERED:]
        elif batch.kind == CHAIN:
            self._see_download(batch)
        else:
            return
        self._guards = None
        self._disturbed.clear()
        self._seen.clear()

    def _see_download(self, batch: Batch) -> None:
        for time_ns, runs in zip(batch.time_ns.tolist(), batch.numbers("ibd").tolist(), strict=True):
            last = self._downloads[-1] if self._downloads else None
            running = last is not None and last[1] == FAR_AHEAD
            if runs and not running:
                self._downloads.append((time_ns, FAR_AHEAD))
            elif not runs and last is not None and running:
                self._downloads[-1] = (last[0], max(time_ns, last[0] + 1))
        self._downloads = self._downloads[-REMEMBERED:]

    def guards(self) -> tuple[Disturbed, Disturbed]:
        """Return the 30 minutes after each start of the node, and the initial downloads that polls have shown.

        Of a download the first `DOWNLOAD_NS`.
        """
        if self._guards is None:
            downloads = ((begin, min(end, begin + DOWNLOAD_NS)) for begin, end in self._downloads)
            self._guards = Disturbed((one, one + START_NS) for one in self.starts), Disturbed(downloads)
        return self._guards

    def _note(self, batch: Batch, begin: str, end: str) -> None:
        """Add the gaps of a batch; one of some kinds replaces an earlier one of its source with the same begin."""
        begins, ends = (  # within bounds to which a window can be added
            np.clip(batch.numbers(name).astype(np.int64), LONG_AGO, FAR_AHEAD).tolist() for name in (begin, end)
        )
        reported, texts = batch.time_ns.tolist(), batch.strings("kinds").tolist()
        for from_ns, to_ns, told_ns, text in zip(begins, ends, reported, texts, strict=True):
            new = Gap(from_ns, to_ns, told_ns, tuple(kind for kind in text.split(",") if kind), batch.source)
            if new.kinds:
                self.gaps = [_bettered(gap, new) for gap in self.gaps]
            self.gaps.append(new)
        self.gaps = _united(sorted(set(self.gaps)))[-REMEMBERED:]

    def forget(self, before_ns: int) -> None:
        """Forget gaps and starts that no window reaches: none begins before this time."""
        self.gaps = [gap for gap in self.gaps if gap.to_ns > before_ns]
        self.starts = [start for start in self.starts if start > before_ns]
        self._downloads = [one for one in self._downloads if one[1] > before_ns]
        self._guards = None
        self._disturbed.clear()

    def disturbed(self, over_ns: int, kinds: tuple[str, ...]) -> Disturbed:
        """Return when a window of this length over these kinds must not end: it would hold a gap or a node start."""
        key = (over_ns, kinds)
        if key not in self._disturbed:
            first_ns = -LONG_AGO if self.first_ns is None else self.first_ns
            stretches = [_stretch(gap, over_ns) for gap in self.gaps if gap.covers(self._behind or kinds)]
            stretches += [(start, start + over_ns) for start in self.starts]
            self._disturbed[key] = Disturbed([(LONG_AGO, first_ns + over_ns), *stretches])
        return self._disturbed[key]

    def seen(self, from_ns: int, to_ns: int, kinds: tuple[str, ...]) -> tuple[float, float]:
        """Return, for the window (from_ns, to_ns], the share of its watched part outside gaps, and the share watched.

        Watched is the time after the first event of every source and after the node's last start. A source without
        an event before the window's end is not watched yet, whether one has come since or not.
        """
        if to_ns <= from_ns:
            return 1.0, 1.0
        known = self._seen.get(kinds)
        if known is None or known[:2] != (from_ns, to_ns):
            begin = min(max(from_ns, self._watched_from(to_ns)), to_ns)
            missing, seen_to = 0, begin
            asked = self._behind or kinds
            for gap in self.gaps[: bisect_left(self.gaps, (to_ns,))]:
                start, end = max(gap.from_ns, seen_to), min(gap.to_ns, to_ns)
                if end > start and gap.told_ns < to_ns <= (gap.better_ns or to_ns) and gap.covers(asked):
                    missing += end - start
                    seen_to = end
            whole = 1.0 - missing / (to_ns - begin) if to_ns > begin else 1.0
            known = (from_ns, to_ns, round(whole, 6), round((to_ns - begin) / (to_ns - from_ns), 6))
            self._seen[kinds] = known
        return known[2:]

    def _watched_from(self, before_ns: int) -> int:
        """Return since when the input was watched, as far as known before this time."""
        firsts = (before_ns if first is None else first for first in self._began.values())
        started = self.starts[: bisect_left(self.starts, before_ns)][-1:]
        began_ns = before_ns if self.first_ns is None else self.first_ns
        return max([*firsts, *started], default=began_ns)

    def state(self) -> State:
        """Return all of it."""
        return {
            "first_ns": -1 if self.first_ns is None else self.first_ns,
            "gaps": [
                [gap.from_ns, gap.to_ns, gap.told_ns, ",".join(gap.kinds), gap.source, gap.better_ns]
                for gap in self.gaps
            ],
            "starts": list(self.starts),
            "lost": self.lost,
            "began": [[source, first] for source, first in self._began.items() if first is not None],
            "downloads": [list(one) for one in self._downloads],
        }

    def restore(self, state: State) -> None:
        """Continue from `state`; gaps of an older checkpoint cover all kinds."""
        self.first_ns = None if state["first_ns"] < 0 else state["first_ns"]
        self.gaps = [_gap_from(saved) for saved in state["gaps"]]
        self.starts, self.lost = [int(start) for start in state["starts"]], state["lost"]
        before = [[source, self.first_ns] for source in self._began]  # version 2 did not tell sources apart
        self._began.update({str(source): first for source, first in state.get("began", before)})
        self._downloads = [(int(begin), int(end)) for begin, end in state.get("downloads", ())]
        self._guards = None
        self._disturbed.clear()
        self._seen.clear()


def _stretch(gap: Gap, over_ns: int) -> tuple[int, int]:
    """Return the times at which a window of this length must not end, as `Disturbed` takes them."""
    end = gap.to_ns + over_ns
    return max(gap.from_ns, gap.told_ns), min(end, gap.better_ns + 1) if gap.better_ns else end


def _united(gaps: list[Gap]) -> list[Gap]:
    """Return the gaps with adjoining gaps of all kinds merged, where that changes no answer.

    A dead source reports many of them.

    Only those reported no later than they begin: another one covers nothing before its report.
    """
    united: list[Gap] = []
    last = -1  # the latest gap of all kinds among them
    for gap in gaps:
        before = united[last] if last >= 0 else None
        if before and not gap.kinds and gap.told_ns <= gap.from_ns <= before.to_ns and before.told_ns <= before.from_ns:
            united[last] = before._replace(to_ns=max(before.to_ns, gap.to_ns))
            continue
        united.append(gap)
        last = last if gap.kinds else len(united) - 1
    return united


def _bettered(gap: Gap, new: Gap) -> Gap:
    """Return the gap, marked as replaced where a later event of its source reports a better end."""
    same = (gap.source, gap.from_ns, gap.kinds) == (new.source, new.from_ns, new.kinds)
    return gap._replace(better_ns=new.told_ns) if same and not gap.better_ns and gap.told_ns < new.told_ns else gap


def _gap_from(saved: list[Any]) -> Gap:
    from_ns, to_ns, told_ns, *rest = saved
    kinds, source, better_ns = rest or ("", "", 0)
    named = tuple(kind for kind in str(kinds).split(",") if kind)
    return Gap(int(from_ns), int(to_ns), int(told_ns), named, str(source), int(better_ns))
