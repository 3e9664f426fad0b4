"""One source in force: nothing counts twice, another takes over and gives back, on a virtual clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from alerts.fingerprint import key_text
from alerts.notice import ChangeRecord
from rules.load import load_text
from tests.support.scripted_feed import SECOND, START, Said, VirtualClock, drained, scripted
from watchdog.core.batch import Batch, Column, Slice, Strings
from watchdog.core.errors import SourceError
from watchdog.core.finding import Finding
from watchdog.core.moments import CLOCK
from watchdog.core.own_rules import SOURCE_SWITCHED
from watchdog.core.source import SourceOptions
from watchdog.engine.coverage import GAP
from watchdog.fleet.tap import Tap
from watchdog.pipeline.clock_reset import gap_of
from watchdog.service.feed import Feed
from watchdog.service.in_force import SWITCHED
from watchdog.service.live_pipeline import LivePipeline
from watchdog.service.self_watch import SelfWatch, switch_check
from watchdog.sources.registry import SCHEMES
from watchdog.sources.scheme import Scheme
from watchdog.sources.shares import shares_of

STREAM, CAPTURE = "stream:s", "capture:c"
BOTH = f"{STREAM} or {CAPTURE}"
TEXT = """
rules:
  pings:
    {title: Many pings, attack: resource, severity: warning, on: p2p:ping, by: [conn], over: 60s, pane: 1s,
     measure: {n: count()}, fire: n > 40, resolve_after: 1m, summary: "{n}"}
"""
RULES = load_text(TEXT)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Said:
    kinds = frozenset({"p2p:ping", "mempool:added", "source:gap", "source:heartbeat"})
    row = Scheme("stream", "SOCKET", SCHEMES["rpc"].open, lambda: kinds, mode="live", place_is_path=False)
    monkeypatch.setitem(SCHEMES, "stream", row)
    return scripted(monkeypatch)


def events(source: str, second: float, kind: str = "p2p:ping", until: float | None = None, rows: int = 1) -> Slice:
    time_ns = START + int(second * SECOND)
    until_ns = time_ns if until is None else START + int(until * SECOND)
    columns: dict[str, Column] = {"time_ns": np.full(rows, time_ns, np.int64), "conn": np.full(rows, 7, np.int64)}
    columns |= {"direction": Strings.constant("in", rows), "flow": Strings.constant("in", rows)}
    return Slice(source, (Batch(kind, "node", source, columns),), until_ns, {"at": second})


def beat(source: str, second: float) -> Slice:
    return Slice(source, (), START + int(second * SECOND), {"at": second})


Make = Callable[[str, float], Slice]


class World:
    """A node with scripted sources. kept: the slices that reached the engine, by second of the clock."""

    def __init__(self, said: Said, *names: str, order: tuple[str, ...] = ()) -> None:
        self.said, self.names = said, names
        for name in names:
            said.setdefault(name, [])
        self.clock, self.second = VirtualClock(), 0
        self.feed = Feed(names, SourceOptions(follow=True), self.clock, order=order)
        self.feed.open({})
        self.watch = LivePipeline(RULES, "node", self.feed.kinds)
        self.kept: list[tuple[int, Slice]] = []
        self.records: list[ChangeRecord] = []

    def run(self, seconds: int, *giving: str, make: Mapping[str, Make] | None = None) -> None:
        """Let the sources give an event a second each, or what `make` makes."""
        for _ in range(seconds):
            self.second += 1
            for name in giving:
                self.said[name].append((make or {}).get(name, events)(name, self.second))
            self.step()

    def step(self) -> None:
        for slice_ in drained(self.feed):
            self.kept += [(self.second, part) for part in slice_.parts]
            self.records += self.watch.process(slice_)
        self.clock.now += 1.0

    def batches(self, kind: str = "p2p:ping") -> list[Batch]:
        return [batch for _, part in self.kept for batch in part.batches if batch.kind == kind]

    def seconds(self, kind: str = "p2p:ping") -> list[float]:
        return [(time - START) / SECOND for batch in self.batches(kind) for time in batch.time_ns.tolist()]

    def sources(self, kind: str = "p2p:ping") -> list[str]:
        return [batch.source for batch in self.batches(kind) for _ in range(batch.rows)]

    @property
    def current(self) -> str:
        (standing,) = self.feed.in_force.standings
        return standing.current

    def switched(self) -> list[dict[str, Any]]:
        """The gap events of changes, with seconds for times."""
        found = [batch for batch in self.batches(GAP) if SWITCHED in batch.strings("reason").values]
        names = ("time_ns", "from_ns", "to_ns")
        return [
            {name: (int(batch.numbers(name)[0]) - START) / SECOND for name in names}
            | {"kinds": batch.strings("kinds").tolist()[0]}
            for batch in found
        ]


def test_common_kinds_are_a_source_of_the_engine_and_come_from_one_member(said: Said) -> None:
    world = World(said, CAPTURE, STREAM)
    world.run(50, CAPTURE, STREAM)
    assert world.current == STREAM, "the order, not the place in the file"
    assert world.seconds() == [float(one) for one in range(1, 51)]
    assert set(world.sources()) == {STREAM}
    assert set(world.watch.engine.marks) == {f"{CAPTURE} or {STREAM}", CAPTURE, STREAM}
    assert world.watch.seen["p2p:ping", STREAM] == 50
    assert ("p2p:ping", CAPTURE) not in world.watch.seen
    opened = [one.incident for one in world.records if one.change.reason.value == "opened"]
    assert [one.measures["n"] for one in opened] == [41], "41 pings of 82 by both"
    assert world.watch.pipeline.positions.keys() == {CAPTURE, STREAM}


def test_the_fleet_and_a_reload_know_the_share(said: Said) -> None:
    world = World(said, STREAM, CAPTURE)
    tap, rows = Tap("node", {"p2p:ping"}), 0

    def report(part: Slice | None, findings: Sequence[Finding]) -> None:
        nonlocal rows
        made = tap.report(world.watch.engine, part, findings)
        rows += sum(batch.rows for _, batch in made.batches) if made is not None else 0

    world.watch.after_each_step(report)
    world.run(20, STREAM, CAPTURE)
    assert rows == 20
    assert tap.counts == {BOTH: 20}
    changed = load_text(TEXT.replace("n > 40", "n > 30"))
    world.watch.change_rules(changed, world.feed.promises())
    assert world.watch.engine.marks[BOTH] == START + 20 * SECOND
    world.run(40, STREAM, CAPTURE)
    assert [one.incident.measures["n"] for one in world.records if one.change.reason.value == "opened"] == [31]


def test_findings_are_those_of_one_source_alone(said: Said) -> None:
    world = World(said, CAPTURE, STREAM)
    many: Make = lambda name, second: events(name, second, rows=1 + int(second) % 3)  # noqa: E731
    world.run(120, CAPTURE, STREAM, make={CAPTURE: many, STREAM: many})
    counts = [1 + second % 3 for second in range(1, 121)]
    first = next(at for at in range(120) if sum(counts[: at + 1]) > 40)
    opened = [one for one in world.records if one.change.reason.value == "opened"]
    assert [(one.change.time_ns, one.incident.measures["n"]) for one in opened] == [
        (START + (first + 2) * SECOND, sum(counts[: first + 1]))
    ]


def test_kinds_that_the_first_lacks_come_from_the_other(said: Said) -> None:
    world = World(said, CAPTURE, STREAM, order=("capture",))
    both: Make = lambda name, second: replace(  # noqa: E731
        events(name, second), batches=(*events(name, second).batches, *events(name, second, "mempool:added").batches)
    )
    world.run(5, CAPTURE, STREAM, make={STREAM: both})
    assert set(world.sources()) == {CAPTURE}
    assert set(world.sources("mempool:added")) == {STREAM}
    assert len(world.seconds("mempool:added")) == 5


def test_the_next_takes_over_after_thirty_seconds_and_gives_back_after_five_minutes(said: Said) -> None:
    world = World(said, CAPTURE, STREAM)
    world.run(20, CAPTURE, STREAM)
    world.run(29, CAPTURE)
    assert world.current == STREAM
    world.run(6, CAPTURE)
    assert world.current == CAPTURE
    assert world.switched() == [{"time_ns": 20.0, "from_ns": 20.0, "to_ns": 50.0, "kinds": "p2p:ping"}], (
        "from its last watermark to the first event of the new one"
    )
    world.run(20, CAPTURE)
    world.run(300, CAPTURE, STREAM)
    assert world.current == CAPTURE
    world.run(5, CAPTURE, STREAM)
    assert world.current == STREAM
    assert len(world.switched()) == 2
    seconds = world.seconds()
    assert len(seconds) == len(set(seconds)), "no second counts twice"
    assert seconds == sorted(seconds)
    assert set(range(1, 380)) - set(map(int, seconds)) <= {*range(21, 50), 375, 376, 377}
    assert not world.watch.engine.statistics.late


def test_windows_by_connection_begin_empty_with_the_new_source(said: Said) -> None:
    world = World(said, CAPTURE, STREAM)
    world.run(35, CAPTURE, STREAM)
    world.run(80, CAPTURE)
    counts = [one.incident.measures["n"] for one in world.records if one.change.reason.value == "opened"]
    opened = [(one.change.time_ns - START) // SECOND for one in world.records if one.change.reason.value == "opened"]
    assert counts == [41]
    assert opened[0] >= 65 + 40, "the number 7 of the other source is another connection"


def test_a_source_that_is_late_but_alive_stays(said: Said) -> None:
    world = World(said, CAPTURE, STREAM)
    late: Make = lambda name, second: events(name, second - min(second, 300) / 2)  # noqa: E731
    world.run(600, CAPTURE, STREAM, make={STREAM: late})
    assert world.current == STREAM
    assert world.switched() == []


def test_heartbeats_are_signs_of_life(said: Said) -> None:
    world = World(said, CAPTURE, STREAM)
    world.run(5, CAPTURE, STREAM)
    world.run(120, CAPTURE, STREAM, make={STREAM: beat})
    assert world.current == STREAM


def test_nothing_changes_while_no_other_gives(said: Said) -> None:
    world = World(said, CAPTURE, STREAM)
    world.run(5, STREAM)
    world.run(600)
    assert world.current == STREAM, "the capture has never given anything"
    world.run(3, CAPTURE)
    assert world.current == CAPTURE


def test_an_engine_that_was_busy_does_not_take_that_for_silence(said: Said) -> None:
    world = World(said, CAPTURE, STREAM)
    world.run(5, CAPTURE, STREAM)
    world.run(1, CAPTURE)
    world.clock.now += 3600.0  # between the two polls both have given
    world.run(5, CAPTURE, STREAM)
    assert world.current == STREAM


def test_a_peer_that_floods_until_events_are_dropped_causes_no_change(said: Said) -> None:
    def flooded(name: str, second: float) -> Slice:
        at_ns = START + int(second * SECOND)
        return Slice(name, (gap_of("node", name, (at_ns, at_ns + 1), "inbox-full", at_ns),), at_ns, {})

    world = World(said, CAPTURE, STREAM)
    world.run(5, CAPTURE, STREAM)
    world.run(120, CAPTURE, STREAM, make={STREAM: flooded})
    assert world.current == STREAM
    assert world.switched() == []
    gaps = [part.source for _, part in world.kept for batch in part.batches if batch.kind == GAP]
    assert gaps.count(f"{CAPTURE} or {STREAM}") == 120, "and what it loses is a gap of the rules that wait for it"


def test_a_failed_source_is_replaced_and_the_node_is_not_blind(said: Said) -> None:
    world = World(said, CAPTURE, STREAM)
    world.run(5, CAPTURE, STREAM)
    world.said[CAPTURE].append(SourceError("the disk is gone"))
    world.said[CAPTURE] += [SourceError("the disk is gone")] * 100
    world.run(60, STREAM)
    assert world.feed.down == [CAPTURE], "chain:block_age comes from the capture alone"
    world = World(said, "snapshots:a", "rpc:http://127.0.0.1:1")
    world.run(5, "snapshots:a")
    world.said["snapshots:a"] += [SourceError("the disk is gone")] * 100
    world.run(60, "rpc:http://127.0.0.1:1")
    assert world.feed.down == []


def test_rules_that_also_read_what_each_gives_are_watched(said: Said) -> None:
    text = """
rules:
  full:
    {title: Full, attack: resource, severity: warning, on: [rpc:mempool, node:started], over: 60s, pane: 1s,
     measure: {n: count()}, fire: n > 40, resolve_after: 1m, summary: "{n}"}
"""
    polls, asked = "snapshots:a", "rpc:http://127.0.0.1:1"
    world = World(said, polls, asked)
    world.watch = LivePipeline(load_text(text), "node", world.feed.kinds)
    make: Make = lambda name, second: events(name, second, "rpc:mempool")  # noqa: E731
    world.run(60, polls, asked, make={polls: make, asked: make})
    (found,) = [one.incident for one in world.records if one.change.reason.value == "opened"]
    assert found.measures["n"] == 41
    assert found.watched == pytest.approx(41 / 60, abs=0.05)


def test_what_the_first_cannot_give_comes_from_the_next_and_once(said: Said) -> None:
    polls, asked = "snapshots:a", "rpc:http://127.0.0.1:1"
    world = World(said, polls, asked)

    def both(name: str, second: float) -> Slice:
        mempool, chain = (events(name, second, kind) for kind in ("rpc:mempool", "rpc:chain"))
        return replace(mempool, batches=(*mempool.batches, *chain.batches))

    world.run(10, polls, asked, make={polls: both, asked: both})
    assert set(world.sources("rpc:chain")) == {asked}
    node: Any = world.feed.channels[1].source
    node.forbidden = {"getblockchaininfo": frozenset({"rpc:chain"})}  # as by a whitelist
    refused: Make = lambda name, second: events(name, second, "rpc:mempool")  # noqa: E731
    slow: Make = lambda name, second: replace(both(name, second), until_ns=START + int(second - 3) * SECOND)  # noqa: E731
    world.run(50, polls, asked, make={polls: slow, asked: refused})
    assert set(world.sources("rpc:mempool")) == {asked}
    assert world.sources("rpc:chain")[10:] == [polls] * (len(world.sources("rpc:chain")) - 10)
    assert len(world.seconds("rpc:chain")) >= 56
    assert len(set(world.seconds("rpc:chain"))) == len(world.seconds("rpc:chain"))
    assert world.watch.engine.marks[f"{polls} or {asked}"] == START + 57 * SECOND, "the slower of the two"
    assert not world.watch.engine.statistics.late
    world.run(40, asked, make={asked: refused})
    assert world.watch.engine.marks[f"{polls} or {asked}"] == START + 100 * SECOND, "one that is silent holds up none"
    node.forbidden = {}
    world.run(5, polls, asked, make={polls: both, asked: both})
    assert set(world.sources("rpc:chain")[-4:]) == {asked}


def gap(source: str, second: float, kinds: str = "", reason: str = "lost") -> Slice:
    at_ns = START + int(second * SECOND)
    batch = gap_of("node", source, (at_ns - SECOND, at_ns), reason, at_ns)
    columns = {**batch.columns, "kinds": Strings.of([kinds]), "lost": np.array([5], np.uint64)}
    return Slice(source, (replace(batch, columns=columns),), at_ns, {"at": second})


def gaps_of(world: World) -> list[tuple[str, str]]:
    return [
        (part.source, batch.strings("kinds").tolist()[0])
        for _, part in world.kept
        for batch in part.batches
        if batch.kind == GAP
    ]


def test_a_gap_counts_for_what_its_source_gives_and_its_events_once(said: Said) -> None:
    world = World(said, STREAM, CAPTURE)
    world.run(2, STREAM, CAPTURE)
    world.run(1, STREAM, CAPTURE, make={STREAM: gap, CAPTURE: gap})
    own = [kinds for name, kinds in gaps_of(world) if name == CAPTURE]
    assert gaps_of(world)[0] == (BOTH, "p2p:ping")
    assert "chain:block_age" in own[0]
    assert "p2p:ping" not in own[0]
    assert world.watch.engine.lost == 10
    world.run(1, CAPTURE, make={CAPTURE: lambda name, at: gap(name, at, "p2p:ping")})
    assert len(gaps_of(world)) == 3, "a standby source's losses affect no rule"


def test_a_clock_that_was_wrong_resets_the_share_too(said: Said) -> None:
    world = World(said, STREAM, CAPTURE)
    world.run(10, STREAM, CAPTURE)
    world.said[STREAM].append(gap(STREAM, 3, reason=CLOCK))
    world.step()
    assert world.watch.engine.marks[BOTH] == START + 3 * SECOND
    world.run(1, STREAM, make={STREAM: lambda name, _at: events(name, 4)})
    assert world.seconds()[-1] == 4.0


def test_an_incident_reports_the_change_and_clears(said: Said) -> None:
    world = World(said, CAPTURE, STREAM)
    check = SelfWatch("node", [switch_check(world.feed)])
    world.run(5, CAPTURE, STREAM)
    assert check.findings(frozenset(), world.clock.now, START) == []
    world.run(35, CAPTURE)
    (found,) = check.findings(frozenset(), world.clock.now, START)
    assert (found.rule, found.severity, found.change) == (SOURCE_SWITCHED, "info", "fire")
    assert found.key == {"source": STREAM, "family": "messages"}
    assert found.summary == f"{STREAM} gave nothing for 30 s; {CAPTURE} is in force for messages"
    firing = frozenset({(found.rule, key_text(found.key))})
    world.run(290, CAPTURE, STREAM)
    assert check.findings(firing, world.clock.now, START) == []
    world.run(20, CAPTURE, STREAM)
    assert [one.change for one in check.findings(firing, world.clock.now, START)] == ["clear"]


def test_kinds_are_divided_by_their_givers() -> None:
    sources = {
        "nats:n": frozenset({"net:inbound_message", "rpc:peers", "mempool:added"}),
        "log:l": frozenset({"log:tip", "node:started"}),
        "rpc:r": frozenset({"rpc:peers", "rpc:chain", "node:started"}),
        "stream:s": frozenset({"net:inbound_message", "mempool:added"}),
        "capture:c": frozenset({"net:inbound_message"}),
    }
    found = {share.name: (share.members, share.kinds) for share in shares_of(sources)}
    assert found == {
        "nats:n or rpc:r": (("rpc:r", "nats:n"), frozenset({"rpc:peers"})),
        "nats:n or stream:s": (("stream:s", "nats:n"), frozenset({"mempool:added"})),
        "nats:n or stream:s or capture:c": (
            ("stream:s", "capture:c", "nats:n"),
            frozenset({"net:inbound_message"}),
        ),
    }
    (share,) = [one for one in shares_of(sources, ("nats", "capture")) if len(one.members) == 3]
    assert share.members == ("nats:n", "capture:c", "stream:s")
    twice = {"capture:a": sources["capture:c"], "capture:b": sources["capture:c"]}
    assert shares_of(twice) == (), "two days of one node, or two runs"
    assert shares_of({**twice, "stream:s": sources["stream:s"]})[0].members == ("stream:s", "capture:a", "capture:b")
    assert shares_of({"log:a": sources["log:l"], "log:b": sources["log:l"]}) == ()
