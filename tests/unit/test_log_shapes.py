"""Each line of debug.log that tells something: what it gives, over the versions of Bitcoin Core."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from tests.support.catalogue import check_batch
from watchdog.core import kinds
from watchdog.core.batch import Batch, Blobs, Strings
from watchdog.core.prefix import parse_prefix
from watchdog.core.source import END_OF_TIME_NS, SourceOptions
from watchdog.sources.core_log.table import FORMS
from watchdog.sources.log import source as debuglog
from watchdog.sources.log.categories import ENOUGH_LINES, look_at_tail
from watchdog.sources.log.columns import LAYOUT
from watchdog.sources.log.peers import ATTEMPTS, OPEN_PEERS, OpenPeers
from watchdog.sources.log.source import DebugLogSource

HASH = "00000000000000000001" + "ab" * 22
Row = dict[str, object]


def rows_of(batches: list[Batch]) -> list[Row]:
    """All rows as plain values, with their kind, in the order of the batches."""
    rows: list[Row] = []
    for batch in batches:
        check_batch(batch)
        columns = {name: column.tolist() for name, column in batch.columns.items()}
        rows += [
            {"kind": batch.kind, "boot_ns": batch.boot_ns, **{name: values[row] for name, values in columns.items()}}
            for row in range(batch.rows)
        ]
    return rows


def read(path: Path, wanted: frozenset[str] | None = None) -> tuple[list[Row], Mapping[str, int]]:
    """Every row of a finished log, and the counters."""
    source = DebugLogSource(str(path), SourceOptions(wanted=wanted))
    batches: list[Batch] = []
    watermark = 0
    while not source.ended:
        slice_ = source.poll()
        assert slice_ is not None
        batches += slice_.batches
        watermark = slice_.until_ns
    assert watermark == END_OF_TIME_NS
    return rows_of(batches), source.counters


def read_text(tmp_path: Path, text: str, wanted: frozenset[str] | None = None) -> list[Row]:
    path = tmp_path / "debug.log"
    path.write_text(text, encoding="utf-8")
    return read(path, wanted)[0]


V4 = {"peer_addr": "136.43.7.9", "network": "ipv4", "netgroup": parse_prefix("136.43.0.0/16")}
# ruff: noqa: E501, ISC004  (a log line stays one line)
GOLDEN: list[tuple[str, str, Row]] = [
    ("[net] Received addr: 985 addresses (980 processed, 5 rate-limited) from peer=7", "log:addr_received",
     {"conn": 7, "entries": 985, "processed": 980, "rate_limited": 5, "peer": "", "network": "unroutable"}),
    ("Received addr: 10 addresses (1 processed, 9 rate-limited) from peer=7, peeraddr=136.43.7.9:8333", "log:addr_received",
     {"conn": 7, "peer": "136.43.7.9:8333", **V4, "entries": 10, "processed": 1, "rate_limited": 9}),
    ("[addrman] Added 136.43.7.9:8333 to new[763][39]", "log:addrman_inserted",
     {"address": "136.43.7.9", "entry_network": "ipv4", "entry_netgroup": V4["netgroup"], "entry_asn": 0, "bucket": 763,
      "position": 39}),
    ("[addrman:debug] Added [2a01:4f8::1]:8333 mapped to AS24940 to new[1][2]", "log:addrman_inserted",
     {"address": "2a01:4f8::1", "entry_network": "ipv6", "entry_asn": 24940, "bucket": 1, "position": 2}),
    ("[addrman] Added 5 addresses (of 10) from 136.43.7.9: 247 tried, 1374 new", "log:addrman_batch",
     {"source_addr": "136.43.7.9", "source_netgroup": V4["netgroup"], "added": 5, "offered": 10, "tried_total": 247,
      "new_total": 1374}),
    ("[addrman] Added 0 addresses (of 1) from 2a01:4f8::1: 1 tried, 2 new", "log:addrman_batch",
     {"source_addr": "2a01:4f8::1", "source_netgroup": parse_prefix("2a01:4f8::/32"), "added": 0}),
    ("[addrman] Moved 136.43.7.9:8333 to tried[163][28]", "log:addrman_tried",
     {"address": "136.43.7.9", "bucket": 163, "position": 28}),
    ("[addrman] Moved 136.43.7.9:8333 from tried[1][2] to new[3][4] to make space", "log:addrman_evicted",
     {"address": "136.43.7.9", "entry_netgroup": V4["netgroup"]}),
    ("[addrman] Collision with [2a02:4976::1]:8333 while attempting to move 136.43.7.9:8333 to tried table. Collisions=3",
     "log:addrman_collision", {"address": "136.43.7.9", "old_address": "2a02:4976::1", "collisions": 3}),
    ("[addrman] Replacing 1.2.3.4:8333 with 136.43.7.9:8333 in tried table", "log:addrman_replaced",
     {"address": "136.43.7.9", "old_address": "1.2.3.4", "tested": True}),
    ("[addrman] Unable to test; replacing 1.2.3.4:8333 with 136.43.7.9:8333 in tried table anyway", "log:addrman_replaced",
     {"address": "136.43.7.9", "old_address": "1.2.3.4", "tested": False}),
    ("[addrman] Removed 136.43.7.9:8333 from new[821][53]", "log:addrman_removed",
     {"address": "136.43.7.9", "entry_netgroup": V4["netgroup"]}),
    ("[net] Making feeler connection to 136.43.7.9:8333", "log:feeler_attempt",
     {"peer": "136.43.7.9:8333", "peer_addr": "136.43.7.9", "netgroup": V4["netgroup"], "asn": 0}),
    ("[net] feeler connection completed, disconnecting peer=73 peeraddr=136.43.7.9:8333", "log:feeler_completed",
     {"conn": 73, **V4, "direction": "out", "connection_type": "feeler"}),
    ("feeler connection completed peer=73; disconnecting", "log:feeler_completed", {"conn": 73, "peer": ""}),
    ("[net] connection from 136.43.7.9:49191 accepted", "log:connection_accepted",
     {"conn": -1, "peer": "136.43.7.9:49191", **V4, "direction": "in", "connection_type": "inbound"}),
    ("[net] connection from 136.43.7.9:49191 dropped (discouraged)", "log:connection_dropped",
     {"conn": -1, **V4, "reason": "discouraged"}),
    ("[net] connection from 136.43.7.9:1 dropped (banned)", "log:connection_dropped", {"reason": "banned"}),
    ("[net] connection from 136.43.7.9:1 dropped: not accepting new connections", "log:connection_dropped",
     {"reason": "other"}),
    ("[net] failed to find an eviction candidate - connection dropped (full)", "log:connection_dropped",
     {"conn": -1, "peer": "", "reason": "full", "direction": "in"}),
    ("[net] Added connection to 136.43.7.9:8333 peer=3", "log:connection_added",
     {"conn": 3, "peer": "136.43.7.9:8333", "direction": "in", "age_s": 0}),
    ("[net] Added connection peer=3", "log:connection_added", {"conn": 3, "peer": "", "direction": "unknown"}),
    ("New outbound-full-relay peer connected: transport: v2, version: 70016, blocks=137 peer=1 peeraddr=136.43.7.9:8333",
     "log:peer_connected", {"conn": 1, "transport": "v2", "protocol_version": 70016, "start_height": 137,
                            "direction": "out", "connection_type": "outbound-full-relay", **V4}),
    ("New block-relay-only v1 peer connected: version: 70016, blocks=137, peer=1, peeraddr=136.43.7.9:8333",
     "log:peer_connected", {"conn": 1, "transport": "v1", "connection_type": "block-relay-only", "peer": "136.43.7.9:8333"}),
    ("New outbound peer connected: version: 70015, blocks=-1, peer=4 (outbound-full-relay)", "log:peer_connected",
     {"conn": 4, "start_height": -1, "connection_type": "outbound-full-relay", "direction": "out"}),
    ("[net] New inbound peer connected: transport: v1, version: 70016, blocks=137 peer=0 peeraddr=136.43.7.9:8333",
     "log:peer_connected", {"direction": "in", "connection_type": "inbound"}),
    ("[net] receive version message: /Satoshi:29.1.0/Knots:20250903/: version 70016, blocks=141, us=5.69.183.121:8333, "
     "txrelay=1, peer=73 peeraddr=136.43.7.9:8333", "log:version",
     {"user_agent": "/Satoshi:29.1.0/Knots:20250903/", "protocol_version": 70016, "relay": True, "conn": 73, **V4}),
    ("[net] receive version message: : version 70002, blocks=0, us=[::]:0, txrelay=0, peer=9, mapped_as=13335",
     "log:version", {"user_agent": "", "protocol_version": 70002, "relay": False, "conn": 9, "peer": ""}),
    ("[net] Resetting socket for peer=73 peeraddr=136.43.7.9:8333", "log:disconnected",
     {"conn": 73, **V4, "reason": "unknown", "lived_s": -1}),
    ("disconnecting peer=73", "log:disconnected", {"conn": 73, "reason": "unknown", "lived_s": -1}),
    ("[net] selected inbound connection for eviction, disconnecting peer=196 peeraddr=136.43.7.9:38649", "log:evicted",
     {"conn": 196, **V4, "direction": "in"}),
    ("selected inbound connection for eviction peer=196; disconnecting", "log:evicted", {"conn": 196}),
    ("[net] Misbehaving: peer=231: addrv2 message size = 1001", "log:misbehaving",
     {"conn": 231, "reason": "addrv2 message size = 1001", "discouraged": True}),
    ("[net] Misbehaving: peer=5 (0 -> 20): unrequested", "log:misbehaving", {"reason": "unrequested", "discouraged": False}),
    ("Misbehaving: peer=5 (80 -> 100) DISCOURAGE THRESHOLD EXCEEDED: bad-txns", "log:misbehaving",
     {"reason": "bad-txns", "discouraged": True}),
    ("[net] Misbehaving: peer=5 (0 -> 100) reason", "log:misbehaving", {"reason": "reason", "discouraged": True}),
    ("[net] Header error: Wrong MessageStart f9beb4d9 received, peer=85", "log:protocol_error",
     {"conn": 85, "reason": "magic", "detail": "Wrong MessageStart f9beb4d9 received"}),
    ("[net] Header error: Size too large (tx, 4000001 bytes), peer=85", "log:protocol_error", {"reason": "oversized"}),
    ("[net] Header error: Wrong checksum (ping, 8 bytes), expected 5f was 61, peer=8", "log:protocol_error",
     {"reason": "checksum", "conn": 8}),
    ("[net] Header error: Invalid message type (ping, 8 bytes), peer=85", "log:protocol_error", {"reason": "message type"}),
    ("[net] V2 transport error: packet decryption failure (13 bytes), peer=6", "log:protocol_error",
     {"conn": 6, "reason": "v2 transport", "detail": "packet decryption failure (13 bytes)"}),
    ("[net] ProcessMessages(tx, 20 bytes): Exception 'DataStream::read(): end of data' (x) caught", "log:protocol_error",
     {"conn": -1, "reason": "parse"}),
    ("Potential stale tip detected, will try using extra outbound peer (last tip update: 2417 seconds ago)",
     "log:stale_tip", {"tip_age_s": 2417}),
    ("Peer is stalling block download, disconnecting peer=9", "log:block_stalling", {"conn": 9, "reason": "stalling"}),
    ("Peer=9 is stalling block download, disconnecting", "log:block_stalling", {"conn": 9, "reason": "stalling"}),
    (f"Timeout downloading block {HASH} from peer=9, disconnecting", "log:block_stalling", {"reason": "block timeout"}),
    (f"Timeout downloading block {HASH}, disconnecting peer=9", "log:block_stalling", {"reason": "block timeout"}),
    ("Timeout downloading headers, disconnecting peer=9", "log:block_stalling", {"reason": "headers timeout", "conn": 9}),
    (f"UpdateTip: new best={HASH} height=138 version=0x20000000 log2_work=8.118941 tx=173 date='2026-01-05T06:02:26Z' "
     "progress=1.000000 cache=0.3MiB(68txo)", "log:tip",
     {"height": 138, "hash": bytes.fromhex(HASH)[::-1], "txs": 173}),
    (f"Saw new header hash={HASH} height=138 peer=15 peeraddr=136.43.7.9:35945", "log:header",
     {"conn": 15, "height": 138, "hash": bytes.fromhex(HASH)[::-1], **V4}),
    (f"Saw new cmpctblock header hash={HASH} height=138 peer=15", "log:header", {"conn": 15, "height": 138}),
    ("[net] Ignoring low-work chain (height=12) from peer=3", "log:low_work_headers", {"conn": 3}),
    ("ASMap Health Check: 20 clearnet peers are mapped to 17 ASNs with 2 peers being unmapped", "log:asmap_health",
     {"peers": 20, "asns": 17, "unmapped": 2}),
    ("Bitcoin Core version v30.99.0-6cbf222c6ada (release build)", "node:started",
     {"reason": "log-start", "version": "v30.99.0-6cbf222c6ada"}),
    ("Shutdown done", "node:stopped", {"reason": "shutdown"}),
    ("Shutdown: done", "node:stopped", {"reason": "shutdown"}),
]  # fmt: skip


@pytest.mark.parametrize("stamp", ["2026-01-21T12:53:55.000061Z", "2026-01-21T12:53:55Z"])
@pytest.mark.parametrize(("line", "kind", "fields"), GOLDEN, ids=[f"{i}-{g[1]}" for i, g in enumerate(GOLDEN)])
def test_a_line_gives_its_kind_and_fields(tmp_path: Path, line: str, kind: str, fields: Row, stamp: str) -> None:
    rows = read_text(tmp_path, f"{stamp} {line}\n")
    (row,) = [row for row in rows if row["kind"] == kind]
    assert {name: row[name] for name in fields} == fields
    assert row["time_ns"] == 1_769_000_035_000_000_000 + (61_000 if "." in stamp else 0)
    assert [other["kind"] for other in rows] == [kind]


@pytest.mark.parametrize(
    "prefix",
    [
        "",
        "[net] ",
        "[msghand] [net] ",
        "[msghand] [net_processing.cpp:4067] [ProcessMessage] [net:debug] ",
        "[b-msghand] [warning] ",
        "[C:\\Users\\Jo Doe\\net.cpp:4067] [void f() [with T = int; U = char]] [net] ",
        "[/home/Jo Doe/net.cpp:40] [virtual void {anonymous}::PeerManagerImpl::ProcessMessage(CNode&, const std::string&)] ",
        "(mocktime: 2026-01-12T09:00:07Z) [net] ",
    ],
)
def test_core_s_prefixes_may_stand_before_any_line(tmp_path: Path, prefix: str) -> None:
    shown = f"2026-01-21T12:53:55Z {prefix}sending ping (8 bytes) peer=0\n"
    (tmp_path / "shown.log").write_text(shown * ENOUGH_LINES)
    assert look_at_tail(tmp_path / "shown.log").net is True
    (row,) = read_text(tmp_path, f"2026-01-21T12:53:55.000061Z {prefix}Misbehaving: peer=5: spam\n")
    assert (row["conn"], row["reason"]) == (5, "spam")
    mocked = row["time_ns"] == 1_768_208_407_000_000_000
    assert mocked == ("mocktime" in prefix)


@pytest.mark.parametrize(
    "line",
    [
        "Misbehaving: peer=5: no time",
        "2026-13-21T12:53:55Z [net] Misbehaving: peer=5: no such month",
        "2026-01-21T12:53:55.0000x1Z [net] Misbehaving: peer=5: no number",
        "2026-01-21T12:53:55Z got Misbehaving: peer=5: in the middle",
        "2026-01-21T12:53:55Z [net] receive version message: 2026-01-21T12:53:55Z Misbehaving: peer=5: x",
        "2026-01-21T12:53:55Z [net] Misbehaving: peer=: x",
        "2026-01-21T12:53:55Z [net] Misbehaving: peer=99999999999999999999: x",
        "2026-01-21T12:53:55Z [net] Misbehaving: peer=5: half a line",
    ],
)
def test_what_is_not_a_whole_line_of_core_tells_nothing(tmp_path: Path, line: str) -> None:
    end = "" if line.endswith("half a line") else "\n"
    assert read_text(tmp_path, f"2026-01-21T12:53:55Z [net] hello\n{line}{end}") == []


def test_a_user_agent_cannot_forge_a_peer(tmp_path: Path) -> None:
    agent = "/x/: version 1, blocks=2, us=1.1.1.1:1, txrelay=0, peer=1 peeraddr=6.6.6.6:6"
    line = f"receive version message: {agent}: version 70016, blocks=5, us=[::]:0, txrelay=1, peer=9 peeraddr=7.7.7.7:7"
    (row,) = read_text(tmp_path, f"2026-01-21T12:53:55Z [net] {line}\n")
    assert (row["conn"], row["peer_addr"], row["relay"], row["user_agent"]) == (9, "7.7.7.7", True, agent)


def test_a_connection_is_known_from_its_first_to_its_last_line(tmp_path: Path) -> None:
    lines = [
        "trying v1 connection 136.43.7.9:8333 lastseen=4.0hrs",
        "Added connection to 136.43.7.9:8333 peer=1",
        "Added connection to 77.1.2.3:4000 peer=2",
        "connection from 77.1.2.3:4000 accepted",
        "getheaders -1 to end from peer=1",
        "Received addr: 1 addresses (1 processed, 0 rate-limited) from peer=1",
        "New outbound-full-relay peer connected: transport: v1, version: 70016, blocks=1 peer=1",
        "socket closed, disconnecting peer=1 peeraddr=136.43.7.9:8333",
        "Resetting socket for peer=1 peeraddr=136.43.7.9:8333",
        "Received addr: 2 addresses (1 processed, 0 rate-limited) from peer=1",
        "Cleared nodestate for peer=1",
        "Making feeler connection to 9.9.9.9:8333",
        "trying v1 connection 9.9.9.9:8333 lastseen=4.0hrs",
        "Added connection to 9.9.9.9:8333 peer=3",
        "feeler connection completed, disconnecting peer=3 peeraddr=9.9.9.9:8333",
        "Resetting socket for peer=3 peeraddr=9.9.9.9:8333",
    ]
    text = "".join(f"2026-01-21T12:53:{second:02}Z [net] {line}\n" for second, line in enumerate(lines))
    rows = read_text(tmp_path, text)
    told = [(row["kind"], row["conn"], row["direction"], row["connection_type"]) for row in rows if "conn" in row]
    assert sorted(told) == sorted([
        ("log:connection_added", 1, "out", "unknown"),
        ("log:connection_added", 2, "in", "inbound"),
        ("log:connection_accepted", 2, "in", "inbound"),
        ("log:addr_received", 1, "out", "unknown"),
        ("log:peer_connected", 1, "out", "outbound-full-relay"),
        ("log:disconnected", 1, "out", "outbound-full-relay"),
        ("log:addr_received", 1, "out", "outbound-full-relay"),
        ("log:connection_added", 3, "out", "feeler"),
        ("log:feeler_completed", 3, "out", "feeler"),
        ("log:disconnected", 3, "out", "feeler"),
    ])  # fmt: skip
    ends = [(row["reason"], row["lived_s"]) for row in rows if row["kind"] == "log:disconnected"]
    assert ends == [("peer closed", 7), ("feeler done", 2)]
    assert [row["age_s"] for row in rows if row["kind"] == "log:addr_received"] == [4, 8]


def test_a_start_has_the_time_of_the_steady_lines_after_it_and_begins_a_new_process(tmp_path: Path) -> None:
    text = (
        "2026-01-12T08:00:00Z Bitcoin Core version v29.0.0\n"
        "2026-01-12T08:00:00Z [net] Added connection to 1.2.3.4:5 peer=1\n"
        "2026-11-21T00:52:28.595248Z Bitcoin Core version v30.99.0 (release build)\n"
        "2026-11-21T00:52:28.595375Z Log output may contain privacy-sensitive information.\n"
        "2026-01-12T09:00:00.000061Z Using RdSeed as an additional entropy source\n"
        "2026-01-12T09:00:01Z [net] Misbehaving: peer=1: x\n"
    )
    rows = read_text(tmp_path, text)
    start = 1_768_208_400_000_061_000
    times = {row["kind"]: (row["time_ns"], row["boot_ns"]) for row in rows}
    assert times["node:started"] == (start, start)
    assert times["node:stopped"] == (start, 1_768_204_800_000_000_000)
    assert times["log:misbehaving"] == (1_768_208_401_000_000_000, start)
    assert [row["peer"] for row in rows if row["kind"] == "log:misbehaving"] == [""]


def test_only_wanted_kinds_are_given(tmp_path: Path) -> None:
    text = "".join(f"2026-01-21T12:53:55Z {line}\n" for line, _, _ in GOLDEN)
    path = tmp_path / "debug.log"
    path.write_text(text)
    everything, _ = read(path)
    learned = {"peer", "peer_addr", "network", "netgroup", "subnet", "direction", "connection_type", "reason"}

    def plain(rows: list[Row]) -> list[Row]:
        return [{name: value for name, value in row.items() if name not in learned} for row in rows]

    for kind in debuglog.KINDS:
        rows, _ = read(path, frozenset({kind}))
        assert plain(rows) == plain([row for row in everything if row["kind"] == kind])


def test_the_kinds_given_are_those_of_the_catalogue() -> None:
    assert set(LAYOUT) == debuglog.KINDS
    named = {kind for kind in kinds.KINDS if kind.startswith("log:")}
    told = {"node:started", "node:stopped", "source:gap", "source:limited"}
    assert named | told == debuglog.KINDS


def test_lines_that_are_too_long_are_skipped_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "debug.log"
    good = "2026-01-21T12:53:55Z [net] Misbehaving: peer=5: x\n"
    path.write_text(good + "2026-01-21T12:53:55Z " + "x" * 70_000 + "\n" + good + "y" * 5_000_000 + "\n" + good)
    rows, counters = read(path)
    assert len(rows) == 3
    assert (counters["long_lines"], counters["lines"]) == (2, 5)


def test_hostile_lines_cost_time_linear_in_their_length() -> None:
    bodies = [
        b"peer=1" * 10_000,
        b" " * 60_000,
        b": version 1" * 5_000,
        b"1" * 60_000,
        b"a, peer=1 " * 6_000,
        b"[" * 60_000,
    ]
    for form in FORMS:
        for body in bodies:
            before = time.process_time()
            form.pattern.fullmatch(form.head + body)
            assert time.process_time() - before < 1.0, (form.head, body[:10])


def test_text_columns_hold_printable_text_only(tmp_path: Path) -> None:
    path = tmp_path / "debug.log"
    path.write_bytes(b"2026-01-21T12:53:55Z [net] Misbehaving: peer=5: \x1b[31m\xff\x07\n")
    (row,) = read(path)[0]
    assert str(row["reason"]).isprintable()
    assert "\x1b" not in str(row["reason"])


def test_columns_are_numbers_and_coded_text(tmp_path: Path) -> None:
    path = tmp_path / "debug.log"
    path.write_text("".join(f"2026-01-21T12:53:55Z {line}\n" for line, _, _ in GOLDEN))
    source = DebugLogSource(str(path), SourceOptions())
    slice_ = source.poll()
    source.close()
    assert slice_ is not None
    for batch in slice_.batches:
        assert all(isinstance(column, np.ndarray | Strings | Blobs) for column in batch.columns.values())


ENDINGS = [
    ("socket recv error, disconnecting peer=1 peeraddr=1.2.3.4:8333: Connection reset by peer (104)", "receive error"),
    ("socket closed for peer=1", "peer closed"),
    ("socket sending timeout: 1201s peer=1", "send timeout"),
    ("ping timeout: 1200.1s, disconnecting peer=1", "ping timeout"),
    ("version handshake timeout peer=1", "handshake timeout"),
    ("Stopping node, disconnecting peer=1 peeraddr=1.2.3.4:8333", "node stopping"),
    ("receiving message bytes failed, disconnecting peer=1 peeraddr=1.2.3.4:8333", "bad bytes"),
    ("disconnect by subnet=1.2.3.0/24 match, disconnecting peer=1 peeraddr=1.2.3.4:8333", "operator"),
    ("disconnecting extra outbound peer=1 (last block announcement received at time 0)", "extra peer"),
    ("Disconnecting and discouraging peer 1!", "misbehaving"),
    ("Misbehaving: peer=1: inv message size = 50001", "misbehaving"),
    ("Outbound peer has old chain, best known block = <none>, disconnecting peer=1", "chain behind"),
    ("wtxidrelay received after verack, disconnecting peer=1 peeraddr=1.2.3.4:8333", "protocol violation"),
    ("selected inbound connection for eviction, disconnecting peer=1 peeraddr=1.2.3.4:8333", "evicted"),
    ("Timeout downloading headers, disconnecting peer=1", "download timeout"),
    ("getblocks -1 to end limit 500 from peer=1", "unknown"),
]


@pytest.mark.parametrize(("line", "reason"), ENDINGS)
def test_the_line_before_the_end_says_why(tmp_path: Path, line: str, reason: str) -> None:
    stamp = "2026-01-21T12:53:55Z [net]"
    text = f"{stamp} Added connection to 1.2.3.4:8333 peer=1\n{stamp} {line}\n{stamp} disconnecting peer=1\n"
    (row,) = [row for row in read_text(tmp_path, text) if row["kind"] == "log:disconnected"]
    assert (row["reason"], row["peer_addr"]) == (reason, "1.2.3.4")


def test_the_registry_of_open_connections_is_bounded_and_counts_what_it_drops() -> None:
    peers = OpenPeers()
    for conn in range(OPEN_PEERS + 10):
        peers.attempt(f"1.2.3.4:{conn}", "manual", 1)
        peers.opened(conn, f"5.6.7.8:{conn}", 1)
    state = peers.state()
    sizes = {name: len(rows) for name, rows in state.items() if isinstance(rows, list)}
    assert sizes == {"peers": OPEN_PEERS, "closed": 10, "attempts": ATTEMPTS}
    assert peers.dropped == 10
