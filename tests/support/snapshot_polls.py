"""Hand-made polls of a node, and what the snapshots source makes of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tests.support.catalogue import check_batch
from watchdog.core.source import SourceOptions
from watchdog.sources.rpc.snapshots_source import SnapshotsSource

START = 1_700_000_000
Json = Any  # what a JSON file may hold
Event = dict[str, Json]
Poll = Mapping[str, Json]


def poll(time: float, kind: str, result: Json) -> Poll:
    return {"time": time, "kind": kind, "result": result}


def peer(number: int, addr: str, since: int, kind: str = "outbound-full-relay", **more: Json) -> dict[str, Json]:
    inbound = kind == "inbound"
    return {"id": number, "addr": addr, "conntime": since, "inbound": inbound, "connection_type": kind, **more}


def entry(address: str, source: str = "9.9.9.9", port: int = 8333, time: int = START) -> dict[str, Json]:
    return {"address": address, "port": port, "services": 9, "time": time, "network": "ipv4", "source": source}


def text_of(polls: Iterable[Poll]) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in polls)


def events_of(source: SnapshotsSource) -> list[Event]:
    """All events until the source has nothing more for now, checked against the catalogue."""
    events: list[Event] = []
    while (taken := source.poll()) is not None:
        for batch in taken.batches:
            check_batch(batch)
            assert (batch.time_ns <= taken.until_ns).all()
            columns = {name: column.tolist() for name, column in batch.columns.items()}
            rows = zip(*columns.values(), strict=True)
            events += [
                {"kind": batch.kind, "boot_ns": batch.boot_ns, **dict(zip(columns, row, strict=True))} for row in rows
            ]
    return events


def read(folder: Path, polls: Iterable[Poll], *kinds: str) -> list[Event]:
    path = folder / "snapshots.jsonl"
    path.write_bytes(text_of(polls))
    source = SnapshotsSource(str(path), SourceOptions(wanted=frozenset(kinds) or None))
    events = events_of(source)
    assert source.ended
    assert source.progress == 1.0
    source.close()
    return events


def raw(time: int, new: Mapping[str, Json], tried: Mapping[str, Json] | None = None) -> Poll:
    return poll(time, "getrawaddrman", {"new": new, "tried": tried or {}})


def restart_polls(uptimes: bool = True, clock: int = 1) -> list[Poll]:
    before = [peer(number, f"{number + 1}.1.1.1:8333", START - 900) for number in range(4)]
    after = [peer(0, "60.1.1.1:8333", START + 100), peer(1, "2.1.1.1:8333", START + 100)]
    totals = [(5000, 700, START), (6000, 800, START + 60), (250, 40, START + 120)]
    polls: list[Poll] = []
    for step, peers in enumerate([before, before, after]):
        time = START + 60 * step
        received, sent, machine = totals[step]
        polls.append(poll(time, "getpeerinfo", peers))
        counters = {"totalbytesrecv": received, "totalbytessent": sent, "timemillis": machine * 1000}
        polls.append(poll(time, "getnettotals", counters))
        polls.append(poll(time, "getnetworkinfo", {"subversion": "/Satoshi:30.0.0/"}))
        if uptimes:
            polls.append(poll(time, "uptime", [1000, 1060, 25][step]))
    return polls


CHANGES = ("addrman:insert", "addrman:evict", "addrman:replace", "addrman:move", "addrman:rebucketed")
STEADY = {f"{bucket}/0": entry(f"8.{bucket}.0.1") for bucket in range(20)}
