"""Properties of the snapshots source: any cut, any packing, any input."""

from __future__ import annotations

import itertools
import json
import lzma
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.snapshot_polls import START, Event, Json, Poll, entry, events_of, peer, poll, raw, text_of
from watchdog.core.enrich import Enricher
from watchdog.core.errors import SourceError
from watchdog.core.source import SourceOptions
from watchdog.sources.rpc import snapshots_source as snapshots
from watchdog.sources.rpc.address_facts import AddressFacts
from watchdog.sources.rpc.rounds import RPCS
from watchdog.sources.rpc.snapshots_source import SnapshotsSource

TYPES = ("inbound", "outbound-full-relay", "block-relay-only", "feeler")


@st.composite
def node_lives(draw: st.DrawFn) -> list[Poll]:
    """A node's polls: peers that come and go, slots that change hands, restarts, pauses and bad RPC answers."""
    polls: list[Poll] = []
    now, boot, number = START, START - 500, 0
    peers: list[dict[str, Json]] = []
    slots: dict[str, Json] = {f"{bucket}/0": entry(f"8.{bucket}.0.1") for bucket in range(12)}
    for _ in range(draw(st.integers(3, 14))):
        now += draw(st.sampled_from([20, 60, 60, 60, 900]))
        if draw(st.integers(0, 7)) == 0:
            boot, number, peers = now - draw(st.integers(0, 19)), 0, []
        peers = [one for one in peers if draw(st.integers(0, 4))]
        for _ in range(draw(st.integers(0, 3))):
            kind, addr = draw(st.sampled_from(TYPES)), f"{draw(st.integers(1, 9))}.1.1.1:8333"
            peers.append(peer(number, addr, now - draw(st.integers(0, 200)), kind))
            number += 1
        for key in draw(st.lists(st.sampled_from([f"{bucket}/{bucket % 3}" for bucket in range(20)]), max_size=3)):
            slots[key] = entry(f"8.{draw(st.integers(0, 30))}.0.1")
        tried = {f"{bucket}/1": entry(f"8.{bucket}.0.1") for bucket in draw(st.sets(st.integers(0, 12), max_size=2))}
        answers = [
            poll(now, "getpeerinfo", peers if draw(st.integers(0, 9)) else None),
            poll(now, "getnettotals", {"totalbytesrecv": (now - boot) * 9, "timemillis": now * 1000}),
            poll(now, "getblockchaininfo", {"blocks": now // 600, "time": now - now % 600}),
            poll(now, "getnetworkinfo", {"subversion": "/S/"}),
            poll(now, "uptime", now - boot),
            raw(now, dict(slots), tried),
        ]
        polls += [answer for answer in answers if draw(st.integers(0, 5))]
    return polls


def rows(events: list[Event]) -> list[str]:
    return sorted(json.dumps(event, sort_keys=True) for event in events)


def undisturbed(path: Path) -> list[str]:
    source = SnapshotsSource(str(path), SourceOptions())
    return rows(events_of(source))


def interrupted(path: Path, lives: list[int]) -> list[str]:
    """Read with repeated kills, each after a number of slices."""
    events: list[Event] = []
    position = None
    for slices in [*lives, 1 << 30]:
        source = SnapshotsSource(str(path), SourceOptions(position=position))
        for _ in range(slices):
            taken = source.poll()
            if taken is None:
                break
            for batch in taken.batches:
                columns = {name: column.tolist() for name, column in batch.columns.items()}
                events += [
                    {"kind": batch.kind, "boot_ns": batch.boot_ns, **dict(zip(columns, row, strict=True))}
                    for row in zip(*columns.values(), strict=True)
                ]
            position = json.loads(json.dumps(taken.position))
        source.close()
    return rows(events)


@pytest.mark.parametrize("pack", [bytes, lzma.compress])
@settings(max_examples=25)
@given(polls=node_lives(), lives=st.lists(st.integers(0, 4), max_size=5), rounds=st.integers(1, 3))
def test_kills_and_resumes_give_the_same_events(
    pack: Callable[[bytes], bytes], polls: list[Poll], lives: list[int], rounds: int
) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        path = Path(folder) / "s.jsonl"
        path.write_bytes(pack(text_of(polls)))
        expected = undisturbed(path)
        patch.setattr(snapshots, "MAX_ROUNDS", rounds)
        assert undisturbed(path) == expected
        assert interrupted(path, lives) == expected


@settings(max_examples=25)
@given(polls=node_lives(), cuts=st.lists(st.integers(0, 20_000), max_size=6))
def test_a_file_that_grows_in_any_pieces_gives_the_same_events(polls: list[Poll], cuts: list[int]) -> None:
    text = text_of([*polls, poll(START + 10**6, "uptime", 0)])  # the last round waits for quiet, which does not come
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "s.jsonl"
        path.write_bytes(text_of(polls))
        expected = undisturbed(path)
        path.write_bytes(b"")
        source = SnapshotsSource(str(path), SourceOptions(follow=True))
        events: list[Event] = []
        marks = [0, *sorted(cut for cut in cuts if cut < len(text)), len(text)]
        for start, end in itertools.pairwise(marks):
            with path.open("ab") as file:
                file.write(text[start:end])
            events += events_of(source)
        source.close()
        assert rows(events) == expected


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
peer_like = st.fixed_dictionaries(
    {"id": st.integers(-1, 5) | json_values},
    optional=dict.fromkeys(
        (
            "addr",
            "conntime",
            "inbound",
            "services",
            "pingtime",
            "network",
            "connection_type",
            "permissions",
            "inflight",
        ),
        json_values,
    ),
)
slots_like = st.dictionaries(
    st.sampled_from(["0/0", "1/1", "255/63", "9999/1", "x"]) | st.text(max_size=8), json_values
)
results = (
    json_values
    | st.lists(peer_like | json_values, max_size=5)
    | st.fixed_dictionaries({"new": slots_like, "tried": slots_like})
)
lines = st.fixed_dictionaries(
    {
        "time": st.integers(START, START + 50) | json_values,
        "kind": st.sampled_from(sorted(RPCS)) | st.text(max_size=9),
        "result": results,
    }
).map(lambda value: json.dumps(value).encode()) | st.binary(max_size=80)


@pytest.mark.fuzz
@given(content=st.lists(lines, max_size=25))
def test_no_line_makes_the_source_fail_or_break_the_catalogue(content: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "s.jsonl"
        path.write_bytes(b'{"time":%d,"kind":"uptime","result":5}\n' % START + b"\n".join(content))
        events_of(SnapshotsSource(str(path), SourceOptions()))


@pytest.mark.fuzz
@given(content=st.binary(max_size=300), magic=st.sampled_from([b"", b"\x1f\x8b\x08", b"\xfd7zXZ\x00"]))
def test_bytes_of_any_kind_are_read_or_refused_in_one_line(content: bytes, magic: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "s.jsonl"
        path.write_bytes(magic + content)
        said = ""
        try:
            with closing(SnapshotsSource(str(path), SourceOptions())) as source:
                events_of(source)
        except SourceError as error:
            said = str(error)
        assert "\n" not in said
        assert not said or said.startswith(f"{path}:")


addresses = st.one_of(
    st.ip_addresses().map(str),
    st.sampled_from(
        [
            "1.2.3.4:8333",
            "[2a01::1]",
            "[2a01::1]:1",
            "127.0.0.1",
            "::1",
            "fc00::1",
            "2002:102:304::1",
            "64:ff9b::102:304",
        ]
    ),
    st.sampled_from(
        ["::ffff:1.2.3.4", "2001:0:102:304::1", "2001:470::1", "fe80::1%eth0", "x.onion", "1.2.3", "", "224.0.0.1"]
    ),
    st.text(max_size=20),
)


@given(texts=st.lists(addresses, max_size=20))
def test_facts_of_many_addresses_are_those_of_each(texts: list[str]) -> None:
    enricher = Enricher()
    assert AddressFacts(enricher, 10).of(texts) == [enricher.peer(text) for text in texts]
