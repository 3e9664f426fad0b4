"""A recording's polls served over HTTP on a virtual clock: `rpc:` gives the incidents that `snapshots:` gives."""

from __future__ import annotations

import lzma
import re
from pathlib import Path

import pytest

from alerts.incident import Incident
from alerts.render import as_line
from tests.support.fake_node import FakeNode
from tests.support.virtual_node import VirtualTime, by_time, incidents_of, rpc_source, shipped_kinds, slices_of
from watchdog.core.source import SourceOptions
from watchdog.pipeline.scheduler import merged
from watchdog.sources.rpc.snapshots_source import SnapshotsSource

pytestmark = [pytest.mark.golden, pytest.mark.slow]
HEAD = re.compile(rb'\{"time":(\d+),"kind":"(\w+)","result":')
EVERY = 570  # seconds; getrawaddrman was recorded each ten minutes, and is due at the first poll after this


def recorded(path: Path) -> dict[float, dict[str, bytes]]:
    """Return the first answer of each RPC and time, as a node would send it."""
    polls: dict[float, dict[str, bytes]] = {}
    with lzma.open(path) as file:
        for line in file:
            head = HEAD.match(line)
            assert head is not None
            body = b'{"result":' + line[head.end() : line.rindex(b"}")] + b',"error":null,"id":1}\n'
            polls.setdefault(float(head[1]), {}).setdefault(head[2].decode(), body)
    return polls


def as_snapshots(polls: dict[float, dict[str, bytes]], path: Path) -> None:
    """Write the same answers as a snapshots file; the recording has its last round twice, which one poll cannot."""
    with path.open("wb") as file:
        for time_s, answers in polls.items():
            for kind, body in answers.items():
                head = b'{"time":%d,"kind":"%s",' % (time_s, kind.encode())
                file.write(head + body[1:].replace(b',"error":null,"id":1}\n', b"}\n"))


def lines(found: list[Incident], name: str) -> str:
    return "\n".join(as_line(one, "").replace(name, "SOURCE") for one in found)


def test_open_3_gives_the_same_incidents(recordings: Path, tmp_path: Path) -> None:
    polls = recorded(recordings / "open-3" / "snapshots.jsonl.xz")
    as_snapshots(polls, tmp_path / "polls.jsonl")
    kinds = shipped_kinds()
    file = SnapshotsSource(str(tmp_path / "polls.jsonl"), SourceOptions(wanted=kinds))
    expected = incidents_of(file, merged([file]))
    assert len(expected) > 10

    times = list(polls)
    time = VirtualTime(times[-1], times[0], steps=times)
    with FakeNode(tmp_path, by_time(polls, time)) as node:
        settings = {"intervals": {"getrawaddrman": EVERY * 10**9}}
        source = rpc_source(node, time, *kinds, settings=settings)
        found = incidents_of(source, slices_of(source))
        assert node.count("getpeerinfo") == len(times)
        assert node.most_at_once == 1
        source.close()
    assert lines(found, source.name) == lines(expected, file.name)
