"""What the snapshots of recorded nodes must show."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from tests.support.catalogue import check_batch
from tests.support.snapshot_polls import Event
from watchdog.core.source import SourceOptions
from watchdog.sources.rpc.snapshots_source import SnapshotsSource

CHANGES = frozenset({"node:started", "peer:outbound_replaced", "peer:outbound_lost", "peer:disconnected", "rpc:uptime"})


def events_of(path: Path, wanted: frozenset[str]) -> list[Event]:
    source = SnapshotsSource(str(path), SourceOptions(wanted=wanted))
    events: list[Event] = []
    while (taken := source.poll()) is not None:
        for batch in taken.batches:
            check_batch(batch)
            columns = {name: column.tolist() for name, column in batch.columns.items()}
            for row in zip(*columns.values(), strict=True):
                values = dict(zip(columns, row, strict=True))
                events.append({"kind": batch.kind, "boot_ns": batch.boot_ns, **values})
    return events


def test_the_eclipsed_node_was_restarted_twice_and_lost_its_outbound_peers_in_the_takeover(recordings: Path) -> None:
    folder = recordings / "open-3"
    events = events_of(folder / "snapshots.jsonl.xz", CHANGES)
    labels = json.loads((folder / "labels.json").read_text())
    (takeover,) = [label for label in labels if label["attack"] == "eclipse_takeover"]
    started = [event["time_ns"] for event in events if event["kind"] == "node:started"]
    assert len(started) == 2
    assert len({event["boot_ns"] for event in events}) == 3

    def inside(kind: str) -> int:
        start, end = takeover["start"] * 10**9, (takeover["end"] + 360) * 10**9
        return sum(event["kind"] == kind and start <= event["time_ns"] <= end for event in events)

    assert inside("peer:outbound_lost") >= 8
    assert inside("peer:outbound_replaced") >= 8
    at_restarts = Counter(event["kind"] for event in events if event["time_ns"] in started)
    assert set(at_restarts) == {"node:started", "rpc:uptime"}


def test_a_quiet_node_loses_hardly_any_outbound_peer(recordings: Path) -> None:
    events = events_of(recordings / "open-1" / "snapshots.jsonl.xz", CHANGES | {"source:gap"})
    counts = Counter(event["kind"] for event in events)
    assert counts["peer:outbound_lost"] <= 3
    assert counts["node:started"] == counts["source:gap"] == 0
    assert len({event["boot_ns"] for event in events}) == 1


def test_an_address_flood_shows_in_the_new_table(recordings: Path) -> None:
    folder = recordings / "open-2"
    events = events_of(folder / "snapshots.jsonl.xz", frozenset({"addrman:insert", "addrman:rebucketed", "rpc:uptime"}))
    labels = json.loads((folder / "labels.json").read_text())
    (flood,) = [label for label in labels if label["attack"] == "addr_flood_slow_distributed"]
    seen = [event for event in events if event["kind"] == "addrman:insert" and event["first"]]
    during = sum(flood["start"] <= event["time_ns"] / 1e9 <= flood["end"] for event in seen)
    assert during > 0.5 * len(seen)
    assert not any(event["kind"] == "addrman:rebucketed" for event in events)
