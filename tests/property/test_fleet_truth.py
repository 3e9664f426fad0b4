"""The fleet decides the same however reports are cut and interleaved, and whenever a run is killed and resumes."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from alerts.render import as_line
from rules.load import RuleSet, load
from tests.support.fleet_world import HOUR, SECOND, START_S, SimNode, World, batch, blocks, honest
from watchdog.core.batch import Batch, Slice
from watchdog.fleet.report import NodeReport
from watchdog.fleet.stage import FleetStage
from watchdog.fleet.wanted import fleet_reads

PACK = Path(__file__).resolve().parents[2] / "rules" / "packs" / "fleet.yaml"
LENGTH_S = 3 * HOUR


@pytest.fixture(scope="module")
def rules() -> RuleSet:
    return load([PACK], packs=False)


def nodes() -> list[SimNode]:
    network = blocks(3, LENGTH_S)
    found = [SimNode(name, honest(number, network)) for number, name in enumerate(["alice", "bob"])]
    found.append(SimNode("slow", honest(7, network, 2_700.0)))
    found.append(SimNode("dead", honest(8, network), stops=HOUR))
    for node in found:
        rows = [{"at": HOUR + peer, "peer": f"192.0.2.{peer}:8333"} for peer in range(4)]
        node.extra.append(batch("peer:outbound_lost", node.name, rows))
    return found


def lines(world: World) -> list[str]:
    return [as_line(one, "") for one in world.fleet.pipeline.books.incidents()]


@pytest.fixture(scope="module")
def truth(rules: RuleSet) -> list[str]:
    world = World(rules, nodes())
    world.run(LENGTH_S)
    found = lines(world)
    assert {"fleet-behind", "fleet-node-silent", "fleet-outbound-lost"} <= {
        word for line in found for word in line.split('"')
    }
    return found


@pytest.mark.parametrize("seed", range(6))
def test_cuts_and_order_make_no_difference(rules: RuleSet, truth: list[str], seed: int) -> None:
    chance = random.Random(seed)
    world = World(rules, nodes())
    at = dict.fromkeys((node.name for node in world.nodes), 0.0)
    while open_nodes := [node for node in world.nodes if at[node.name] < LENGTH_S]:
        node = chance.choice(open_nodes)
        until = min(LENGTH_S, at[node.name] + chance.choice([1.0, 30.0, 61.0, 900.0, 4_000.0]))
        world.pipelines[node.name].process(world.portion(node, at[node.name], until))
        at[node.name] = until
    assert lines(world) == truth


def stream(slices: Sequence[Slice]) -> list[tuple[object, ...]]:
    """All rows of a stage's slices, one by one."""
    rows: list[tuple[object, ...]] = []
    for one in slices:
        for part in one.batches:
            columns = {name: column.tolist() for name, column in part.columns.items()}
            rows += [(part.kind, part.node, *(columns[name][row] for name in columns)) for row in range(part.rows)]
    return sorted(rows, key=repr)


def reports(seed: int) -> list[NodeReport]:
    """What two nodes report, each in its order, in random portions; the marks follow."""
    chance = random.Random(seed)
    found: list[NodeReport] = []
    counts = {"alice": 0, "bob": 0}
    at = {"alice": 0.0, "bob": 0.0}
    while min(at.values()) < 1_800.0:
        node = min(at, key=lambda name: at[name]) if chance.random() < 0.7 else chance.choice(list(at))
        until = at[node] + chance.choice([5.0, 20.0, 70.0])
        rows = [
            {"at": second, "blocks": 100 + int(second // 600), "ibd": False}
            for second in range(int(at[node]) + 1, int(until) + 1)
            if second % 15 == 0
        ]
        batches: list[tuple[str, Batch]] = [("sim", batch("rpc:chain", node, rows))] if rows else []
        found.append(NodeReport(node, int((START_S + until) * SECOND), batches, {"sim": counts[node]}, origin=1))
        counts[node] += len(rows)
        at[node] = until
    return found


@pytest.mark.parametrize("seed", range(8))
def test_a_stage_that_resumes_skips_what_nodes_report_again(rules: RuleSet, seed: int) -> None:
    wanted, given = fleet_reads(rules.plans) | {"rpc:chain"}, reports(seed)
    whole = FleetStage(["alice", "bob"], wanted)
    slices = [slice_ for report in given for slice_ in fed(whole, report)]
    chance = random.Random(seed)
    stage, parts, saved, at = FleetStage(["alice", "bob"], wanted), list[Slice](), b"", 0
    kept: list[Slice] = []
    for number, report in enumerate(given):
        parts += fed(stage, report)
        if chance.random() < 0.2:
            saved, kept, at = stage.snapshot(), list(parts), number
    resumed = FleetStage(["alice", "bob"], wanted)
    resumed.restore(saved)
    again = max(0, at - chance.randrange(12))  # the nodes' own checkpoints are older
    parts = [*kept, *(slice_ for report in given[again:] for slice_ in fed(resumed, report))]
    assert stream(parts) == stream(slices)
    assert resumed.members.taken == whole.members.taken


def fed(stage: FleetStage, report: NodeReport) -> list[Slice]:
    stage.take(report)
    slice_ = stage.next()
    return [] if slice_ is None else [slice_]


def test_a_node_that_lost_its_state_counts_from_the_start_again() -> None:
    stage = FleetStage(["alice"], {"rpc:chain"})
    rows = [{"at": 1.0, "blocks": 1}, {"at": 2.0, "blocks": 1}]
    mark_ns = int((START_S + 30) * SECOND)
    (first,) = fed(stage, NodeReport("alice", mark_ns, [("sim", batch("rpc:chain", "alice", rows))], {}, origin=1))
    assert sum(one.rows for one in first.batches) == 2
    later = [{"at": 31.0, "blocks": 1}]
    mark_ns += 30 * SECOND
    (second,) = fed(stage, NodeReport("alice", mark_ns, [("sim", batch("rpc:chain", "alice", later))], {}, origin=2))
    assert sum(one.rows for one in second.batches) == 1
