"""Puts the shipped detectors beside river's on the open recordings: `python -m benchmarks.detectors`.

Writes the table between the marks in docs/DETECTORS.md; takes about two minutes. What is compared:

- single series, one count a minute: `anomalous` by both laws, river's GaussianScorer and PageHinkley. All judge before
  they learn, look upwards only, share the effect floor, and are silent for 30 minutes. A series that is frozen while it
  is odd is part of `anomalous`; river's detectors learn through.
- vectors of netblocks, 26 counts of 10 minutes each minute: the shipped rule `netblock-unlike-others`, and river's
  half-space trees on the same numbers, scaled by the same floors, with four seeds. Their threshold is the highest score
  of open-1, which holds no attack.

A label is found when an episode of alarms begins inside it or within 10 minutes after its end; alarms less than 10
minutes apart are one episode. Stalled blocks are left out: nothing rises. Quiet time is outside of all labels, benign
ones too.
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from benchmarks.changed import changed_alarms
from benchmarks.recordings import RECORDINGS
from detectors.baseline import Baseline, Learnt
from detectors.laws import CountLaw, LevelLaw
from detectors.windows import Floats
from rules.load import PACKS
from watchdog.core.batch import Batch, Strings
from watchdog.core.plan import ComparisonPlan
from watchdog.core.source import SourceOptions
from watchdog.engine import verdict
from watchdog.engine.comparisons import compare
from watchdog.engine.panes import PaneCells
from watchdog.offline.labels import Label, read_labels
from watchdog.offline.replay import ReplayOptions, replay
from watchdog.sources.registry import open_sources

PAGE: Final = Path(__file__).parents[1] / "docs" / "DETECTORS.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
MINUTE_NS: Final = 60_000_000_000
GRACE, WARMUP = 10, 30  # minutes
FLOOR: Final = 5.0
PROMISE: Final = 1 / 43_200  # false findings a minute: 1 per 30d
ARL: Final = 8.8  # deviations; PageHinkley at a delta of 0.5 then alarms once in 43,200 samples of normal noise
SEEDS, TREES_WARM = (1, 2, 3, 7), 250  # the latter in rows
DEAF: Final = ("stalled_blocks", "block_withholding")
TYPES: Final = (
    "addr",
    "addrv2",
    "inv",
    "getdata",
    "tx",
    "notfound",
    "ping",
    "headers",
    "getheaders",
    "getaddr",
    "sendcmpct",
    "feefilter",
    "getblocktxn",
    "mempool",
)
KINDS: Final = (
    "net:inbound_connection",
    "net:outbound_connection",
    "net:closed_connection",
    "net:evicted_inbound_connection",
    "net:misbehaving_connection",
)


Vectors = dict[int, tuple[tuple[int, ...], Floats]]
"""By minute, the slots of netblocks and their 26 counts as log1p(count / floor)."""


@dataclass(slots=True)
class Recording:
    """One recording. first: its first minute. series: by name, counts a minute. vectors: by minute and netblock."""

    name: str
    labels: tuple[Label, ...]
    first: int
    series: dict[str, Floats]
    vectors: Vectors
    odd: dict[str, set[int]]  # minutes in which a shipped rule finds a peer, or a netblock, odd

    @property
    def minutes(self) -> int:
        """How long it is."""
        return len(next(iter(self.series.values())))

    def quiet(self) -> NDArray[np.bool_]:
        """Return, by minute, whether no label covers it, grace included."""
        at = (self.first + np.arange(self.minutes)) * 60.0
        covered = np.zeros(self.minutes, np.bool_)
        for label in self.labels:
            covered |= (at >= label.start - 60) & (at <= label.end + GRACE * 60)
        return ~covered


@dataclass(slots=True)
class Score:
    """What one detector found in all recordings. us: microseconds of the processor a sample, by recording."""

    name: str
    found: int = 0
    labels: int = 0
    false: int = 0
    quiet_days: float = 0.0
    us: list[float] = field(default_factory=list)

    def add(self, recording: Recording, alarms: Sequence[Sequence[int]], streams: int) -> None:
        """Add the alarms of one recording, as minutes from its beginning, by stream. streams: how many there are."""
        starts = [begin for stream in alarms for begin in episodes(stream)]
        for label in attacks(recording):
            span = (label.start // 60 - recording.first, label.end // 60 - recording.first + GRACE)
            self.found += any(span[0] <= begin <= span[1] for begin in starts)
            self.labels += 1
        quiet = recording.quiet()
        self.false += sum(bool(quiet[begin]) for begin in starts)
        self.quiet_days += float(quiet.sum()) / 1_440 * streams


def attacks(recording: Recording) -> list[Label]:
    """Return the labels that a detector of rises can find."""
    return [label for label in recording.labels if not label.benign and label.attack not in DEAF]


def episodes(minutes: Sequence[int]) -> Iterator[int]:
    """Yield the first minute of each episode of alarms."""
    last = -GRACE - 1
    for minute in sorted(minutes):
        if minute - last > GRACE:
            yield minute
        last = minute


# ---- the recordings


def read(folder: Path) -> Recording:
    """Read one recording: the series from its events, the vectors from the rule that compares netblocks."""
    counts: dict[str, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for source in open_sources([f"recording:{folder}"], SourceOptions()):
        while not source.ended:
            found = source.poll()
            for batch in found.batches if found else ():
                count(batch, counts)
        source.close()
    minutes = [minute for own in counts.values() for minute in own]
    first, last = min(minutes), max(minutes)
    series = {}
    for name in (*TYPES, *KINDS, "unasked"):
        column = np.zeros(last - first)  # without the last minute, in which the recording ends
        for minute, number in counts[name].items():
            if minute < last:
                column[minute - first] = number
        series[name] = column
    vectors, odd = compared(folder)
    labels = read_labels(folder / "labels.json")
    return Recording(
        folder.name, labels, first, series, vectors, {name: {at - first for at in own} for name, own in odd.items()}
    )


def count(batch: Batch, counts: dict[str, dict[int, int]]) -> None:
    """Count the rows of a batch by minute, in the series that they belong to."""
    minutes = batch.time_ns // MINUTE_NS
    if batch.kind in KINDS:
        add(counts[batch.kind], minutes, np.ones(batch.rows))
    elif batch.kind == "net:inbound_message":
        types = batch.columns["type"]
        assert isinstance(types, Strings)
        for code, type_ in enumerate(types.values):
            if type_ in TYPES:
                add(counts[type_], minutes[types.codes == code], np.ones(int((types.codes == code).sum())))
    elif batch.kind == "p2p:addr":
        flow, entries = batch.columns["flow"], np.asarray(batch.columns["entries"], float)
        assert isinstance(flow, Strings)
        received = flow.codes == (flow.values.index("received") if "received" in flow.values else -1)
        unasked = received & ~np.asarray(batch.columns["solicited"], np.bool_)
        add(counts["unasked"], minutes[unasked], entries[unasked])


def add(own: dict[int, int], minutes: NDArray[Any], numbers: Floats) -> None:
    """Add numbers to their minutes."""
    for minute in np.unique(minutes).tolist():
        own[minute] += int(numbers[minutes == minute].sum())


def compared(folder: Path) -> tuple[Vectors, dict[str, set[int]]]:
    """Replay the rules that compare keys; return the netblocks' vectors in floors, and the odd minutes."""
    vectors: Vectors = {}
    odd: dict[str, set[int]] = {"peers": set(), "netblocks": set()}

    def noted(
        plans: Sequence[ComparisonPlan],
        cells: PaneCells,
        named: dict[str, NDArray[Any]],
        thresholds: Mapping[str, float],
    ) -> None:
        compare(plans, cells, named, thresholds)
        for plan in plans if len(cells.slots) else ():
            minute = int(cells.panes[0])
            if named[plan.name].any():
                odd["netblocks" if plan.among is None else "peers"].add(minute)
            if plan.among is None:  # of the two rules only the one for peers has groups
                columns = [np.broadcast_to(value(named), cells.slots.shape) for _, value, _ in plan.values]
                floors, live = np.array([floor for _, _, floor in plan.values]), cells.live > 0
                scaled = np.log1p(np.stack(columns, axis=1)[live] / floors)
                vectors[minute] = (tuple(cells.slots[live].tolist()), scaled)

    with patch.object(verdict, "compare", noted):  # the engine's own call, for as long as the replay lasts
        replay([f"recording:{folder}"], ReplayOptions(rules=[PACKS / "unlike-others.yaml"], packs=False))
    return vectors, odd


# ---- single series


def baseline_alarms(recording: Recording, baseline: Baseline) -> tuple[list[list[int]], float]:
    """Return the odd minutes by series, and microseconds of this process a sample."""
    table = np.stack(list(recording.series.values()))
    slots = np.arange(len(table))
    baseline.reserve(len(slots))
    alarms: list[list[int]] = [[] for _ in slots]
    begun = time.process_time()
    for minute in range(recording.minutes):
        odd, _ = baseline.judge(slots, table[:, minute])
        baseline.learn(slots, table[:, minute], ~odd)
        for slot in np.flatnonzero(odd).tolist():
            alarms[slot].append(minute)
    return alarms, (time.process_time() - begun) / table.size * 1e6


def level() -> Baseline:
    """Return `anomalous(n, floor=5)`."""
    return Baseline(5.0, FLOOR, 1 - 2 ** (-1 / 360), WARMUP, up=True, law=LevelLaw(FLOOR), freeze=360)


def counting() -> Baseline:
    """Return `anomalous(n, law="counts", floor=5)` with a budget of 1 per 30d."""
    return Baseline(-np.log10(PROMISE), FLOOR, 1 - 2 ** (-1 / 360), WARMUP, up=True, law=CountLaw(), freeze=360)


def gaussian_alarms(recording: Recording) -> tuple[list[list[int]], float]:
    """Run river's GaussianScorer on each series; the threshold is the promise."""
    from river.anomaly import GaussianScorer  # noqa: PLC0415 - only this command needs river

    alarms, begun = [], time.process_time()
    for values in recording.series.values():
        scorer: Any = GaussianScorer(grace_period=WARMUP)
        own = []
        for minute, value in enumerate(values.tolist()):
            far = value - scorer.gaussian.mu >= FLOOR and minute >= WARMUP
            if scorer.score_one(None, value) > 1 - PROMISE and far:
                own.append(minute)
            scorer.learn_one(None, value)
        alarms.append(own)
    return alarms, (time.process_time() - begun) / sum(map(len, recording.series.values())) * 1e6


def page_hinkley_alarms(recording: Recording) -> tuple[list[list[int]], float]:
    """Run river's PageHinkley on the deviations of the law `level`, for a run length of 1 per 30d."""
    from river.drift import PageHinkley  # noqa: PLC0415

    alarms, spent = [], 0.0
    law = LevelLaw(FLOOR)
    for values in recording.series.values():
        known = Baseline(5.0, FLOOR, 1 - 2 ** (-1 / 360), WARMUP, up=True, law=law)
        learnt = known.series(0, values, np.ones(len(values), np.bool_), teaches=True)
        before = Learnt._make(column[:-1] for column in learnt)
        scores = law.above(values, before.mean, before.variance)
        far = (values - law.expected(before.mean) >= FLOOR) & (before.samples >= WARMUP)
        hinkley: Any = PageHinkley(delta=0.5, threshold=ARL, min_instances=WARMUP, mode="up")
        begun, own = time.process_time(), []
        for minute, score in enumerate(scores.tolist()):
            hinkley.update(score)
            if hinkley.drift_detected and far[minute]:
                own.append(minute)
        spent += time.process_time() - begun
        alarms.append(own)
    return alarms, spent / sum(map(len, recording.series.values())) * 1e6


# ---- vectors of netblocks


def tree_scores(recording: Recording, seed: int) -> tuple[dict[int, float], float]:
    """Return the highest score of river's half-space trees by minute, and microseconds a vector."""
    from river.anomaly import HalfSpaceTrees  # noqa: PLC0415

    width = next(iter(recording.vectors.values()))[1].shape[1]
    trees: Any = HalfSpaceTrees(
        n_trees=10, height=8, window_size=TREES_WARM, limits=dict.fromkeys(range(width), (0.0, 6.0)), seed=seed
    )
    highest: dict[int, float] = {}
    rows, begun = 0, time.process_time()
    for minute, (_, vectors) in sorted(recording.vectors.items()):
        for vector in np.minimum(vectors, 6.0).tolist():
            named = dict(enumerate(vector))
            if rows >= TREES_WARM:
                highest[minute - recording.first] = max(
                    highest.get(minute - recording.first, 0.0), trees.score_one(named)
                )
            trees.learn_one(named)
            rows += 1
    return highest, (time.process_time() - begun) / max(rows, 1) * 1e6


def tree_score(recordings: Sequence[Recording], seed: int) -> Score:
    """Score half-space trees of one seed; the threshold is their highest score of the first, quiet recording."""
    total = Score(f"netblocks, river HalfSpaceTrees 10x8, seed {seed}")
    highest = 0.0
    for number, recording in enumerate(recordings):
        scores, us = tree_scores(recording, seed)
        total.us.append(us)
        if number == 0:
            highest = max((score for minute, score in scores.items() if minute > WARMUP), default=0.0)
            continue
        total.add(recording, [[minute for minute, score in scores.items() if score > highest]], 1)
    return total


# ---- the table


def scored(recordings: Sequence[Recording]) -> list[Score]:
    """Run every detector over all recordings."""
    runs: Mapping[str, Callable[[Recording], tuple[list[list[int]], float]]] = {
        "series, `anomalous` by `counts`, 1 per 30d": lambda one: baseline_alarms(one, counting()),
        "series, `anomalous` by `level`, threshold 5": lambda one: baseline_alarms(one, level()),
        "series, river GaussianScorer at the same chance": gaussian_alarms,
        "series, river PageHinkley on deviations": page_hinkley_alarms,
        "series, `changed`, for information": lambda one: changed_alarms(one.series),
    }
    totals = []
    for name, run in runs.items():
        total = Score(name)
        for recording in recordings:
            alarms, us = run(recording)
            total.us.append(us)
            total.add(recording, alarms, len(recording.series))
        totals.append(total)
        print(row(total), flush=True)
    for keys in ("peers", "netblocks"):
        total = Score(f"{keys}, `unlike_others`, 1 per 30d")
        for recording in recordings:
            total.add(recording, [sorted(recording.odd[keys])], 1)
        totals.append(total)
        print(row(total), flush=True)
    for seed in SEEDS:
        totals.append(tree_score(recordings, seed))
        print(row(totals[-1]), flush=True)
    return totals


def row(total: Score) -> str:
    """Return one line of the table."""
    us = f"{np.median(total.us):.1f}" if total.us else ""
    return f"| {total.name} | {total.found} of {total.labels} | {total.false} in {total.quiet_days:.2f} | {us} |"


def table(totals: Sequence[Score]) -> str:
    """Return the table in Markdown."""
    head = "| detector | labels found | false episodes in quiet stream-days | us a sample |\n| --- | --- | --- | --- |"
    return "\n".join([head, *map(row, totals)])


def main() -> int:
    """Measure, and write the table into the page; 2 without recordings."""
    folders = sorted(RECORDINGS.glob("open-*"))
    if not folders:
        print(f"no recordings in '{RECORDINGS}'", file=sys.stderr)
        return 2
    recordings = []
    for folder in folders:
        recordings.append(read(folder))
        print(f"{folder.name}: {recordings[-1].minutes} minutes, {len(attacks(recordings[-1]))} attacks", flush=True)
    text = PAGE.read_text(encoding="utf-8")
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    if not tail:
        print(f"'{PAGE.name}' has no marks for the table", file=sys.stderr)
        return 2
    PAGE.write_text(f"{head}{BEGIN}\n{table(scored(recordings))}\n{END}{tail}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
