"""The same messages from a capture and from peer-observer give the same events, with every column."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import pytest

from tests.support.observed_capture import captured, published
from tests.support.peer_observer import FULL_RELAY, INBOUND
from watchdog.core.batch import Batch
from watchdog.core.source import SourceOptions
from watchdog.sources.nats.decoder import EventDecoder
from watchdog.sources.registry import open_sources

OF_THE_SOURCE = {"connection_type"}
"""A capture knows only whether a connection is inbound."""
MISSING = {"p2p:new_block", "p2p:malformed"}


def rows(batches: list[Batch]) -> dict[str, Counter[tuple[object, ...]]]:
    """The rows of each kind about the content of messages, without what only one of the sources knows."""
    found: dict[str, Counter[tuple[object, ...]]] = defaultdict(Counter)
    for batch in batches:
        if batch.kind.startswith("p2p:") and batch.kind not in MISSING:
            names = sorted(set(batch.columns) - OF_THE_SOURCE)
            found[batch.kind].update(zip(*(batch.columns[name].tolist() for name in names), strict=True))
    return found


def capture_batches(path: Path) -> list[Batch]:
    (source,) = open_sources([f"capture:{path}"], SourceOptions())
    batches: list[Batch] = []
    while not source.ended:
        slice_ = source.poll()
        batches += slice_.batches if slice_ is not None else ()
    source.close()
    return batches


def connections(batches: list[Batch]) -> dict[tuple[int, str, bool, str], list[tuple[int, int]]]:
    """Number and type of the connection of each message, by time, peer, direction and type, in the capture's order."""
    found: dict[tuple[int, str, bool, str], list[tuple[int, int]]] = defaultdict(list)
    for batch in batches:
        if batch.kind not in {"net:inbound_message", "net:outbound_message"}:
            continue
        peers, types, directions = (batch.strings(name).tolist() for name in ("peer", "type", "direction"))
        conns, received = batch.numbers("conn").tolist(), batch.kind == "net:inbound_message"
        for row, time_ns in enumerate(batch.time_ns.tolist()):
            peer_type = INBOUND if directions[row] == "in" else FULL_RELAY
            found[time_ns // 1_000, peers[row], received, types[row]].append((int(conns[row]), peer_type))
    return found


@pytest.mark.slow
def test_the_demo_recording_reads_the_same_through_peer_observer(root: Path) -> None:
    path = root / "demo" / "recording" / "capture.tar.xz"
    expected = capture_batches(path)
    known = connections(expected)
    events = []
    for one in captured(path):
        conn, peer_type = known[one.time_us, one.peer, one.received, one.type].pop(0)
        if (event := published(one, conn, peer_type)) is not None:
            events.append(("netmsg", event))
    assert len(events) > 17_000
    decoder = EventDecoder("nats:test", SourceOptions(), None, "2024-11")
    batches = [batch for at in range(0, len(events), 5_000) for batch in decoder.read(events[at : at + 5_000], 0)]
    ours, theirs = rows(batches), rows(expected)
    assert not [batch for batch in batches if batch.kind == "source:gap"]
    assert ours.keys() == theirs.keys()
    for kind, wanted in theirs.items():
        missing, surplus = wanted - ours[kind], ours[kind] - wanted
        assert (kind, list(missing)[:2], list(surplus)[:2]) == (kind, [], [])
