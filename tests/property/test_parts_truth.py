"""Several sources of different kinds: the same incidents to the byte, however they interleave, are cut or killed."""

from __future__ import annotations

import itertools
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import asdict

from alerts.incident import IncidentChange
from alerts.render import as_line
from tests.support.events import SECOND, batch
from tests.support.rulesets import plans
from watchdog.core.batch import Batch, Slice
from watchdog.core.kinds import ALL_KINDS
from watchdog.core.source import END_OF_TIME_NS
from watchdog.engine.engine import Engine
from watchdog.pipeline.pipeline import Pipeline

UNTIL = 120
KINDS: Mapping[str, frozenset[str]] = {
    "capture": frozenset({"net:inbound_message", "net:inbound_connection", "source:gap"}),
    "log": frozenset({"log:connection_accepted", "node:started", "source:gap"}),
    "snapshots": frozenset({"rpc:mempool", "node:started", "source:gap"}),
}
RULES = plans("""
rules:
  many:
    {title: many, attack: message-anomaly, severity: info, on: net:inbound_message, by: [peer_addr], over: 10s,
     pane: 1s, measure: {n: count()}, fire: n > 2, escalate: {high: n > 4}, resolve_after: 20s, summary: "{n}"}
  silent:
    {title: silent, attack: chain, severity: info, on: net:inbound_message, over: 15s, pane: 5s,
     measure: {n: count()}, fire: flat(n), resolve_after: 20s, summary: "nothing for {over}"}
  accepted:
    {title: accepted, attack: resource, severity: info, on: [net:inbound_connection, log:connection_accepted],
     by: [peer_addr], over: 20s, pane: 2s, measure: {n: count()}, fire: n > 1, resolve_after: 20s, summary: "{n}"}
  unheard:
    {title: unheard, attack: resource, severity: info, on: [net:inbound_connection, log:connection_accepted],
     over: 15s, pane: 5s, measure: {n: count()}, fire: flat(n), resolve_after: 20s, summary: "{over}"}
  full:
    {title: full, attack: resource, severity: info, on: rpc:mempool, over: 20s, pane: 5s,
     measure: {most: max(txs)}, fire: most > 50, resolve_after: 20s, summary: "{most}"}
  started:
    {title: started, attack: node, severity: info, on: node:started, over: 20s, pane: 5s,
     measure: {n: count()}, fire: n > 0, resolve_after: 20s, summary: "{n}"}
  lost:
    {title: lost, attack: data, severity: info, on: source:gap, over: 20s, pane: 5s,
     measure: {n: count()}, fire: n > 0, resolve_after: 20s, summary: "{n}"}
  nobodys:
    {title: nobody gives it, attack: chain, severity: info, on: chain:tip, over: 15s, pane: 5s,
     measure: {n: count()}, fire: flat(n), resolve_after: 20s, summary: "nothing"}
""")
Row = dict[str, Any]
ROW = st.fixed_dictionaries(
    {
        "t": st.integers(0, UNTIL - 20),
        "peer_addr": st.sampled_from(["1.2.3.4", "5.6.7.8"]),
        "txs": st.integers(0, 100),
        "for": st.integers(0, 30),
        "pick": st.integers(0, 7),
    }
)
ROWS = st.fixed_dictionaries({name: st.lists(ROW, max_size=30) for name in KINDS})


def batches_of(source: str, rows: Sequence[Row]) -> list[Batch]:
    """The rows as events of the kinds of a source; now and then one is a gap or a start of the node."""
    common = sorted(KINDS[source] - {"source:gap", "node:started"})
    by_kind: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        rare = {0: "source:gap", 1: "node:started"}.get(row["pick"], "")
        kind = rare if rare in KINDS[source] else common[row["pick"] % len(common)]
        before = row["for"] if row["txs"] < 50 else 0  # some gaps are only found at their end
        span = {"from_ns": (row["t"] - before) * SECOND, "to_ns": (row["t"] - before + row["for"]) * SECOND, "lost": 1}
        by_kind[kind].append({**row, **span} if kind == "source:gap" else row)
    return [batch(kind, found, source=source) for kind, found in by_kind.items()]


def _slices(source: str, rows: Sequence[Row], chance: random.Random) -> list[Slice]:
    """The rows cut at random; the last slice has the end of time."""
    marks = sorted({0, UNTIL, *(chance.randrange(UNTIL) for _ in range(chance.randrange(8)))})
    parts = [
        (start, stop, [row for row in rows if start <= row["t"] < stop]) for start, stop in itertools.pairwise(marks)
    ]
    found = [Slice(source, tuple(batches_of(source, inside)), stop * SECOND) for _, stop, inside in parts]
    return [*found, Slice(source, (), END_OF_TIME_NS)]


def mixed(rows: Mapping[str, Sequence[Row]], seed: int) -> list[Slice]:
    """Slices of all sources in any order; each source keeps its own."""
    chance = random.Random(seed)
    queues = [_slices(name, given, chance) for name, given in rows.items()]
    mixed = []
    while any(queues):
        mixed.append(chance.choice([queue for queue in queues if queue]).pop(0))
    return mixed


def _run(slices: Sequence[Slice], sources: Mapping[str, Any] = KINDS, kills: random.Random | None = None) -> Any:
    """Incidents as lines, the changes of each, and the counts; killed and resumed where the dice say so."""
    told: dict[str, list[IncidentChange]] = defaultdict(list)

    def tell(changes: Sequence[IncidentChange]) -> None:
        for change in changes:
            told[change.id].append(change)

    course = Pipeline(Engine(RULES, sources), tell)
    for part in slices:
        course.process(part)
        if kills is not None and kills.random() < 0.5:
            saved = course.checkpoint("rules", list(sources), "")
            course = Pipeline(Engine(RULES, sources), tell)
            assert not course.resume(saved), "the same rules keep their state"
    course.finish()
    lines = [as_line(one, one.rule) for one in course.books.incidents()]
    statistics = course.engine.statistics
    return lines, dict(told), (dict(statistics.events), dict(statistics.late), statistics.findings, course.engine.lost)


@given(rows=ROWS, seed=st.integers(0, 10_000))
@settings(deadline=None)
def test_interleaving_cuts_and_kills_change_no_byte(rows: dict[str, list[Row]], seed: int) -> None:
    whole = _run(mixed(rows, 0))
    assert _run(mixed(rows, seed)) == whole
    assert _run(mixed(rows, seed + 1), kills=random.Random(seed)) == whole
    assert whole[2][0].get("source:gap", 0) == whole[2][3], "a gap that several parts see is lost once"


@given(rows=ROWS, seed=st.integers(0, 10_000))
@settings(deadline=None)
def test_what_a_part_says_depends_on_its_own_sources_only(rows: dict[str, list[Row]], seed: int) -> None:
    starts = {name: [row for row in rows[name] if row["pick"] == 1] for name in ("log", "snapshots")}
    whole, told = _run(mixed(rows, seed)), _run(mixed({**rows, **starts}, seed))
    alone = _run(mixed({**rows, "log": [], "snapshots": []}, seed))
    assert _of(whole, ("many", "silent")) == _of(told, ("many", "silent")), "of others only starts of the node matter"
    assert _of(whole, ("many",)) == _of(alone, ("many",)), "and only where silence counts"
    few = _run(mixed({**rows, "capture": []}, seed))
    assert _of(whole, ("full",)) == _of(few, ("full",))


def _of(result: Any, rules: Sequence[str]) -> list[str]:
    return [line for line in result[0] if any(f'"rule":"{rule}"' in line for rule in rules)]


@given(rows=ROWS, seed=st.integers(0, 10_000))
@settings(deadline=None)
def test_parts_say_what_one_engine_over_all_sources_says(rows: dict[str, list[Row]], seed: int) -> None:
    """Without losses and starts, which a part only counts where they are its own, findings are those of one engine."""
    plain = {name: [row for row in given if row["pick"] > 1] for name, given in rows.items()}
    together, apart = (
        _opened(_run(mixed(plain, seed), dict.fromkeys(KINDS, ALL_KINDS))),
        _opened(_run(mixed(plain, seed))),
    )
    assert [one for one in together if one[0] in ("many", "accepted", "full")] == [
        one for one in apart if one[0] in ("many", "accepted", "full")
    ]


def _opened(result: Any) -> list[tuple[str, str]]:
    changes = [asdict(change) for told in result[1].values() for change in told]
    names = {line.split('"id":"')[1].split('"')[0]: line.split('"rule":"')[1].split('"')[0] for line in result[0]}
    return sorted((names[one["id"]], str(one["time_ns"])) for one in changes if one["reason"] == "opened")
