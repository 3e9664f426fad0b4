"""replay-polls: 8,000 polls of one RPC through all shipped rules, against the same with a slice for each poll.

A poll is one row. Closing panes has a cost for each slice, so a replay joins rounds; a service that
follows the file takes each as it comes. Both sides must report the same incidents.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

from alerts.render import as_line
from benchmarks.rounds import Row, Settings, by_cost, cpu_seconds, in_turns
from rules.load import RuleSet, load
from watchdog.core.batch import Slice
from watchdog.core.source import SourceOptions
from watchdog.engine.coverage import wanted_kinds
from watchdog.engine.engine import Engine
from watchdog.pipeline.pipeline import Pipeline
from watchdog.sources.rpc import snapshots_source as snapshots

POLLS, QUICK = 8_000, 800
FIRST_S = 1_768_212_000
GATE = 10.0


def measure(settings: Settings) -> list[Row]:
    """CPU seconds of a replay; the rules are compiled beforehand."""
    polls = QUICK if settings.quick else POLLS
    rules = load([], packs=True)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "snapshots.jsonl"
        path.write_text("".join(_poll(second) for second in range(polls)), encoding="utf-8")
        told: dict[bool, str] = {}

        def side(*, joined: bool) -> Callable[[int], float]:
            def replay(_: int) -> float:
                def work() -> None:
                    told[joined] = _replayed(str(path), rules, joined=joined)

                before = snapshots.MAX_ROUNDS
                snapshots.MAX_ROUNDS = 1
                try:
                    return cpu_seconds(work)
                finally:
                    snapshots.MAX_ROUNDS = before

            return replay

        measured = in_turns(settings.rounds, side(joined=True), side(joined=False))
    if told[True] != told[False] or not (told[True] or settings.quick):
        raise AssertionError("joined rounds give other incidents than single ones")
    note = f"{polls:,} polls of getblockchaininfo, one a second"
    return [by_cost("replay-polls", measured, "s", "a slice for each poll", gate=GATE, note=note)]


def _poll(second: int) -> str:
    """One answer; the tip never changes, so a rule fires after an hour."""
    result = {"chain": "main", "blocks": 900_000, "headers": 900_000, "bestblockhash": "00" * 32, "time": FIRST_S}
    answer = {**result, "verificationprogress": 1, "initialblockdownload": False}
    return json.dumps({"time": FIRST_S + second, "kind": "getblockchaininfo", "result": answer}) + "\n"


def _replayed(path: str, rules: RuleSet, *, joined: bool) -> str:
    """Return the incidents as lines."""
    source = snapshots.SnapshotsSource(path, SourceOptions(wanted=wanted_kinds(rules.plans), at_once=joined))
    course = Pipeline(Engine(rules.plans, {source.name: source.kinds}))
    found: Slice | None
    while not source.ended:
        found = source.poll()
        if found is not None:
            course.process(found)
    source.close()
    course.finish()
    return "".join(f"{as_line(one, '')}\n" for one in course.books.incidents())
