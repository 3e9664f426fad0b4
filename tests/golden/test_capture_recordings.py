"""The capture source against what the real node itself said: its log lines and its getpeerinfo."""

from __future__ import annotations

import gzip
import json
import lzma
import re
from collections import Counter, defaultdict
from functools import lru_cache
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from tests.support.capture_files import batches, read_all
from watchdog.core.batch import Slice
from watchdog.core.source import SourceOptions
from watchdog.sources.capture.source import CaptureSource

NAMES = ("open-2", "open-3", "open-4", "open-5")
WANTED = frozenset({"net:inbound_message", "net:outbound_message", "net:inbound_connection", "net:outbound_connection"})
EACH = 7  # of the polls one is compared
ADDED = re.compile(r"Added connection to (\S+) peer=(\d+)")
ADDR = re.compile(r"Received addr: (\d+) addresses \((\d+) processed, (\d+) rate-limited\) from peer=(\d+)")

pytestmark = pytest.mark.slow


@lru_cache(maxsize=2)
def captured(folder: Path) -> list[Slice]:
    options = SourceOptions(wanted=WANTED | {"p2p:addr"})
    return read_all(CaptureSource(str(folder / "capture.tar.xz"), options))


@pytest.mark.parametrize("name", NAMES)
def test_every_message_is_there_once(recordings: Path, name: str) -> None:
    told = json.loads((recordings / name / "meta.json").read_text())["messages"]
    for kind, side in (("net:inbound_message", "recv"), ("net:outbound_message", "sent")):
        seen: Counter[str] = Counter()
        for batch in batches(captured(recordings / name), kind):
            seen.update(batch.strings("type").tolist())
            assert (np.diff(batch.time_ns) >= 0).all()
        assert seen == Counter(told[side])


@pytest.mark.parametrize("name", NAMES)
def test_the_addr_bucket_agrees_with_the_node(recordings: Path, name: str) -> None:
    limited: Counter[str] = Counter()
    offered: Counter[str] = Counter()
    peers: dict[str, str] = {}
    with gzip.open(recordings / name / "debug.log.gz", "rt", encoding="utf-8", errors="replace") as log:
        for line in log:
            if added := ADDED.search(line):
                peers[added[2]] = added[1]
            elif found := ADDR.search(line):
                offered[peers[found[4]]] += int(found[1])
                limited[peers[found[4]]] += int(found[3])
    ours: Counter[str] = Counter()
    entries: Counter[str] = Counter()
    for batch in batches(captured(recordings / name), "p2p:addr"):
        rows = zip(
            batch.strings("peer").tolist(),
            batch.strings("flow").tolist(),
            batch.numbers("beyond_limit").tolist(),
            batch.numbers("entries").tolist(),
            strict=True,
        )
        for peer, flow, beyond, count in rows:
            if flow == "received":
                ours[peer] += beyond
                entries[peer] += count
    assert +ours == +limited
    assert entries.total() >= offered.total() > 0


@pytest.mark.parametrize("name", NAMES)
def test_directions_agree_with_the_node(recordings: Path, name: str) -> None:
    opened: dict[str, list[tuple[float, bool]]] = defaultdict(list)
    for kind in ("net:inbound_connection", "net:outbound_connection"):
        for batch in batches(captured(recordings / name), kind):
            for peer, time_ns in zip(batch.strings("peer").tolist(), batch.time_ns.tolist(), strict=True):
                opened[peer].append((time_ns / 1e9, kind == "net:inbound_connection"))
    checked, unseen, wrong = 0, set(), set()
    with lzma.open(recordings / name / "snapshots.jsonl.xz", "rt") as polls:
        answers = (line for line in polls if '"getpeerinfo"' in line[:60])
        for line in islice(answers, 5, None, EACH):
            poll = json.loads(line)
            for peer in poll["result"]:
                last = max((one for one in opened[peer["addr"]] if one[0] <= poll["time"]), default=None)
                if last is None:
                    unseen.add(peer["addr"])
                    continue
                checked += 1
                if last[1] != peer["inbound"]:
                    wrong.add(peer["addr"])
    assert not wrong
    assert checked > 100
    assert len(unseen) <= 20, "peers that had not said a word when the node was asked"
