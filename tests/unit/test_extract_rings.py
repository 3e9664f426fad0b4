"""Tracepoints of a real process through the real BPF program: every value arrives exactly, every loss is counted."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.extraction import BOOT_NS, attach_all, batches, probes
from tests.support.real_node import BINARY, WHY_NOT, RealNode
from tests.support.traced_node import DROPPED, NONE, TracedNode
from tests.unit.test_traced_node import ADDRESS, CALLS, HASH
from watchdog.core.batch import Batch, Blobs, Strings
from watchdog.core.kinds import KINDS, PEER_FIELDS, dtype_of
from watchdog.extract.elf import read_binary
from watchdog.extract.multi import create_link
from watchdog.extract.places import Site
from watchdog.extract.releases import FLUSH_MODES, offer_of
from watchdog.extract.rings import TraceBatches

CORE = {kind: arguments for kind, arguments in CALLS.items() if not kind.startswith("udp:")}
SIZES = (1, 8, 256, 257, 4_096, 4_097, 32_768, 32_769, 131_072, 131_073, 1 << 20, (1 << 20) + 1, 4_000_000)

EXPECTED: dict[str, dict[str, Any]] = {
    "validation:block_connected": {
        "hash": HASH,
        "height": 840_000,
        "transactions": 3_000,
        "inputs": 7_000,
        "sigops": 60_000,
        "duration_ns": 123_456_789,
    },
    "utxocache:flush": {
        "duration_us": 1_000,
        "mode": FLUSH_MODES[2],
        "coins": 10,
        "memory_bytes": 2_000,
        "for_prune": False,
    },
    "utxocache:add": {"txid": HASH, "index": 1, "height": 840_000, "value_sat": 5_000_000_000, "coinbase": True},
    "coin_selection:selected_coins": {
        "wallet": "",
        "algorithm": "bnb",
        "target_sat": 1_000,
        "waste_sat": -7,
        "selected_sat": 1_100,
    },
    "coin_selection:normal_create_tx_internal": {
        "wallet": "hot",
        "success": True,
        "fee_sat": 141,
        "change_position": -1,
    },
    "mempool:removed": {
        "txid": HASH,
        "reason": "expiry",
        "vsize_vb": 141,
        "fee_sat": 1_000,
        "entry_time_s": 1_700_000_000,
    },
    "mempool:replaced": {
        "txid": HASH,
        "vsize_vb": 141,
        "fee_sat": 1_000,
        "entry_time_s": 1_700_000_000,
        "replacement_txid": HASH,
        "replacement_vsize_vb": 142,
        "replacement_fee_sat": 2_000,
        "by_transaction": True,
    },
    "addrman:attempt_add": {
        "inserted": True,
        "bucket": 7,
        "position": 63,
        "address": ADDRESS,
        "address_asn": 64_500,
        "source_addr": "203.0.113.1",
        "source_asn": 0,
    },
    "net:inbound_connection": {"conn": 1, "peer": ADDRESS, "direction": "in", "network": "ipv4", "connections": 9},
    "net:misbehaving_connection": {"conn": 1, "peer": ADDRESS, "reason": "headers not connected"},
}


def only(batch: Batch, row: int = 0) -> dict[str, Any]:
    """One row as plain values."""
    columns = {}
    for name, column in batch.columns.items():
        values = column.tolist()
        columns[name] = values[row]
    return columns


def pattern(size: int, seed: int) -> bytes:
    return bytes((at * 31 + seed) & 0xFF for at in range(256)) * (size // 256) + bytes(
        (at * 31 + seed) & 0xFF for at in range(size % 256)
    )


def test_every_tracepoint_of_core_gives_its_values() -> None:
    with TracedNode() as node, probes() as loaded:
        attach_all(loaded, node)
        begin_ns = time.time_ns()
        for kind, arguments in CORE.items():
            assert node.probe(kind, *arguments)
        found = batches(loaded, len(CORE))
        end_ns = time.time_ns()
    assert set(found) == set(CORE)
    for kind, batch in found.items():
        assert (batch.rows, batch.node, batch.boot_ns) == (1, "node", BOOT_NS)
        assert set(batch.columns) == set(KINDS[kind].fields)
        for name, column in batch.columns.items():
            typ = KINDS[kind].fields[name].type
            assert isinstance(column, Strings if typ == "str" else Blobs if typ == "bytes" else np.ndarray), name
            assert not isinstance(column, np.ndarray) or column.dtype == dtype_of(typ), (kind, name)
        assert begin_ns - 10**6 <= int(batch.time_ns[0]) <= end_ns
    for kind, values in EXPECTED.items():
        assert {name: only(found[kind])[name] for name in values} == values, kind


def test_payloads_of_every_size_arrive_whole() -> None:
    with TracedNode() as node, probes() as loaded:
        attach_all(loaded, node, ["net:inbound_message", "net:outbound_message"])
        assert loaded.set_payloads({"*": 4 << 20}) == []
        for seed, size in enumerate(SIZES):
            assert node.message(f"pattern:{size}:{seed}", inbound=bool(seed % 2))
            name = "net:inbound_message" if seed % 2 else "net:outbound_message"
            batch = batches(loaded, 1)[name]
            assert (only(batch)["size"], only(batch)["payload_size"]) == (size, size)
            assert only(batch)["payload"] == pattern(size, seed)
        counts = loaded.counts()
    assert counts.lost_payloads == counts.lost_records == 0
    assert all(counts.received[ring] for ring in ("256", "4k", "32k", "128k", "1m", "4m"))


def test_payloads_come_by_type_and_no_longer_than_asked() -> None:
    with TracedNode() as node, probes() as loaded:
        attach_all(loaded, node, ["net:inbound_message", "net:outbound_message"])
        loaded.set_payloads({"addr": 10, "tx": 0, "*": 3})
        for kind in ("addr", "tx", "ping"):
            node.message("pattern:100:0", kind=kind)
        loaded.set_payloads({})
        node.message("pattern:100:0", kind="addr", inbound=False)
        found = batches(loaded, 4)
    payloads = found["net:inbound_message"].columns["payload"]
    assert isinstance(payloads, Blobs)
    assert [len(one) for one in payloads.tolist()] == [10, 0, 3]
    assert found["net:inbound_message"].numbers("payload_size").tolist() == [10, 0, 3]
    assert found["net:inbound_message"].numbers("size").tolist() == [100, 100, 100]
    assert found["net:outbound_message"].numbers("payload_size").tolist() == [0]


def test_more_types_than_the_map_holds_get_the_general_size() -> None:
    with probes() as loaded:
        sizes = {f"type{number}": 10 for number in range(70)}
        refused = loaded.set_payloads(sizes | {"*": 5})
        assert len(refused) == 6
        assert loaded.set_payloads({"addr": 1}) == []


@pytest.mark.parametrize("may_sleep", [True, False])
def test_pages_that_are_not_resident_are_read_in_or_counted(may_sleep: bool) -> None:
    with TracedNode() as node, probes(may_sleep=may_sleep) as loaded:
        attach_all(loaded, node, ["net:inbound_message", "mempool:rejected"])
        loaded.set_payloads({"*": 1 << 20})
        node.probe("net:inbound_message", 7, ADDRESS, "inbound", "ping", f"{DROPPED}pattern:10000:3")
        node.probe("mempool:rejected", HASH, f"{DROPPED}min relay fee not met")
        found = batches(loaded, 2)
        unreadable = loaded.counts().unreadable
    message, rejected = only(found["net:inbound_message"]), only(found["mempool:rejected"])
    assert rejected["txid"] == HASH
    if may_sleep:
        assert message["payload"] == pattern(10_000, 3)
        assert rejected["reason"] == "min relay fee not met"
        assert unreadable == {}
    else:
        assert (message["payload"], message["payload_size"], message["size"]) == (b"", -1, 10_000)
        assert rejected["reason"] == ""
        assert unreadable == {("net:inbound_message", "payload"): 1, ("mempool:rejected", "reason"): 1}


def test_what_nothing_can_read_is_counted_by_field() -> None:
    with TracedNode() as node, probes() as loaded:
        attach_all(loaded, node, ["net:inbound_message", "mempool:removed"])
        loaded.set_payloads({"*": 1 << 20})
        node.probe("net:inbound_message", 7, f"{NONE}{ADDRESS}", "inbound", f"{NONE}ping", f"{NONE}pattern:100:3")
        node.probe("mempool:removed", HASH, f"{NONE}expiry", 1, 2, 3)
        found = batches(loaded, 2)
        unreadable = loaded.counts().unreadable
    message = only(found["net:inbound_message"])
    assert (message["peer"], message["type"], message["payload_size"], message["known"]) == ("", "", -1, False)
    assert only(found["mempool:removed"])["reason"] == ""
    assert unreadable == {
        ("net:inbound_message", "peer"): 1,
        ("net:inbound_message", "type"): 1,
        ("net:inbound_message", "payload"): 1,
        ("mempool:removed", "reason"): 1,
    }


def test_an_address_that_cannot_be_read_is_that_of_the_known_connection() -> None:
    with TracedNode() as node, probes() as loaded:
        attach_all(loaded, node, ["net:inbound_message"])
        maker = TraceBatches("node", 0)
        node.probe("net:inbound_message", 7, ADDRESS, "inbound", "ping", b"")
        batches(loaded, 1, maker)
        node.probe("net:inbound_message", 7, f"{NONE}x", f"{NONE}x", "ping", b"")
        again = only(batches(loaded, 1, maker)["net:inbound_message"])
    assert (again["peer"], again["connection_type"], again["direction"]) == (ADDRESS, "inbound", "in")


@pytest.mark.parametrize("length", [255, 256, 257, 300])
def test_long_texts_are_cut_and_marked(length: int) -> None:
    text = "a" * length
    with TracedNode() as node, probes() as loaded:
        attach_all(loaded, node, ["net:inbound_message", "mempool:rejected"])
        node.probe("net:inbound_message", 7, text, "inbound", "ping", b"")
        node.probe("mempool:rejected", HASH, text)
        found = batches(loaded, 2)
    expected = text if length <= 256 else "a" * 255 + "…"
    assert only(found["net:inbound_message"])["peer"] == expected
    assert only(found["mempool:rejected"])["reason"] == expected


def test_texts_that_peers_chose_are_made_harmless() -> None:
    with TracedNode() as node, probes() as loaded:
        attach_all(loaded, node, ["net:inbound_message"])
        node.probe("net:inbound_message", 7, ADDRESS, "inbound", "\x1b[2Jé", b"")
        node.probe("net:inbound_message", 7, ADDRESS, "inbound", "ping", b"")
        batch = batches(loaded, 2)["net:inbound_message"]
    assert batch.strings("type").tolist() == ["\\x1b[2Jé", "ping"]
    assert batch.numbers("known").tolist() == [False, True]


def test_hits_of_another_process_of_the_same_binary_are_dropped_in_the_kernel() -> None:
    with TracedNode() as node, TracedNode() as other, probes() as loaded, probes() as second:
        attach_all(loaded, node, ["net:inbound_message"])
        attach_all(second, other, ["net:inbound_message"])
        node.flood("in", 100, 8)
        other.flood("in", 50, 8)
        first, other_batch = batches(loaded, 100), batches(second, 50)
        assert first["net:inbound_message"].rows == 100
        assert other_batch["net:inbound_message"].rows == 50
        assert len(loaded.drain(0.05).messages.time_ns) == len(second.drain(0.05).messages.time_ns) == 0


def test_attached_to_every_process_it_takes_the_first_that_comes() -> None:
    with TracedNode() as node, TracedNode() as other, probes() as loaded:
        attach_all(loaded, node, [])
        loaded.watch(0, claim=True)
        loaded.attach("net:inbound_message", binary=str(node.binary), process=-1)
        other.flood("in", 10, 8)
        node.flood("in", 20, 8)
        assert batches(loaded, 10)["net:inbound_message"].rows == 10
        assert loaded.watched == other.pid
        assert loaded.counts().foreign == 20


@pytest.mark.parametrize("multi", [True, False])
def test_kernels_that_attach_place_by_place_give_the_same(multi: bool) -> None:
    with TracedNode() as node, probes(multi=multi) as loaded:
        assert loaded.multi == multi
        attach_all(loaded, node)
        assert set(node.semaphores().values()) == {1, 2}  # messages have two places in this program
        node.probe("mempool:added", HASH, 141, 1_000)
        node.flood("in", 10, 8)
        node.message("pattern:8:1")
        found = batches(loaded, 12)
        assert (found["mempool:added"].rows, found["net:inbound_message"].rows) == (1, 11)
        for kind in loaded.attached:
            loaded.detach(kind)
        assert set(node.semaphores().values()) == {0}


def test_a_semaphore_is_raised_while_attached() -> None:
    with TracedNode() as node, probes() as loaded:
        attach_all(loaded, node, ["mempool:added"])
        assert node.semaphores()["mempool:added"] == 1
        assert node.semaphores()["mempool:removed"] == 0
        loaded.detach("mempool:added")
        assert node.semaphores()["mempool:added"] == 0


def test_what_does_not_fit_is_counted_exactly() -> None:
    with TracedNode() as node, probes() as loaded:
        attach_all(loaded, node, ["net:inbound_message", "utxocache:add"])
        sent = node.flood("in", 40_000, 8).fired
        lost = loaded.counts().lost_by["net:inbound_message"]
        assert lost > 0
        rows = 0
        while (found := loaded.drain(0.05).messages.time_ns).size:
            rows += found.size
        counts = loaded.counts()
    assert sent == 40_000 == rows + lost
    assert counts.lost["message"] == counts.lost_records == lost
    assert counts.received["message"] == rows


def test_a_payload_without_room_leaves_the_message_and_is_counted() -> None:
    with TracedNode() as node, probes() as loaded:
        attach_all(loaded, node, ["net:inbound_message"])
        loaded.set_payloads({"*": 4 << 20})
        node.flood("in", 5, 4_000_000)
        batch = batches(loaded, 5)["net:inbound_message"]
        counts = loaded.counts()
    assert batch.numbers("payload_size").tolist() == [4_000_000, -1, -1, -1, -1]
    assert (counts.lost_payloads, counts.lost_records) == (4, 0)


def test_rows_of_all_rings_come_in_the_order_of_time() -> None:
    with TracedNode() as node, probes() as loaded:
        attach_all(loaded, node, ["net:inbound_message"])
        loaded.set_payloads({"tx": 100, "block": 5_000})
        for number in range(60):
            node.message("pattern:6000:1", peer=number, kind=("tx", "block", "ping")[number % 3])
        batch = batches(loaded, 60)["net:inbound_message"]
    assert batch.numbers("conn").tolist() == list(range(60))
    assert sorted(batch.time_ns.tolist()) == batch.time_ns.tolist()


def test_the_end_of_the_process_is_known_with_its_reason() -> None:
    ends: list[tuple[Callable[[TracedNode], None], int]] = [
        (lambda node: node.end(0), 0),
        (lambda node: node.end(3), 3 << 8),
        (TracedNode.crash, 6),
        (TracedNode.kill, 9),
    ]
    for end, code in ends:
        with TracedNode() as node, probes() as loaded:
            loaded.watch(node.pid)
            end(node)
            found = loaded.end_of(node.pid)
            assert found is not None
            assert found[0] & 0xFF7F == code
            assert 0 <= time.clock_gettime_ns(time.CLOCK_BOOTTIME) - found[1] < 10 * 10**9


def test_connections_have_their_age_and_end() -> None:
    established = int(time.time()) - 100
    with TracedNode() as node, probes() as loaded:
        attach_all(loaded, node)
        maker = TraceBatches("node", 0)
        node.probe("net:inbound_connection", 7, ADDRESS, "inbound", 3, 1)
        node.probe("net:inbound_message", 7, ADDRESS, "inbound", "ping", b"")
        node.probe("net:closed_connection", 7, ADDRESS, "inbound", 3, established)
        found = batches(loaded, 3, maker)
        node.probe("net:misbehaving_connection", 7, "after its end")
        after = batches(loaded, 1, maker)["net:misbehaving_connection"]
    assert only(found["net:inbound_connection"])["network"] == "onion"
    assert only(found["net:inbound_message"])["network"] == "onion"
    closed = only(found["net:closed_connection"])
    assert closed["established_s"] == established
    assert closed["lived_s"] == closed["age_s"] in (100, 101)
    peers = {name: only(after)[name] for name in PEER_FIELDS}
    assert (peers["conn"], peers["peer"], peers["direction"]) == (7, "", "unknown")
    assert isinstance(after.columns["reason"], Strings)


@pytest.mark.skipif(not BINARY, reason=WHY_NOT)
def test_a_real_node_gives_its_messages_blocks_and_coins(tmp_path: Path) -> None:
    node = RealNode(tmp_path, options=("-listen=0", "-connect=0"))
    try:
        binary, pid = read_binary(Path(BINARY)), node.pid
        offer = offer_of(binary)
        wanted = {"validation:block_connected", "utxocache:add", "net:outbound_connection", "net:outbound_message"}
        assert wanted <= offer.kinds.keys()
        with probes() as loaded:
            assert loaded.offer(binary, offer.kinds) == {}
            loaded.watch(pid)
            for kind in wanted:
                loaded.attach(kind, binary=BINARY, process=pid)
            hashes = node.call("generatetodescriptor", 3, "raw(51)#8lvh9jxk")
            found = batches(loaded, 9)
    finally:
        node.stop()
    blocks = found["validation:block_connected"]
    column = blocks.columns["hash"]
    assert isinstance(column, Blobs)
    assert [one[::-1].hex() for one in column.tolist()] == hashes
    assert blocks.numbers("height").tolist() == [1, 2, 3]
    assert found["utxocache:add"].numbers("coinbase").tolist() == [True] * 6


@pytest.mark.parametrize("filters", [True, False])
def test_a_link_that_would_see_one_thread_only_is_made_to_all_processes(
    filters: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def create(program: int, path: str, process: int, sites: Sequence[Site], cookies: Sequence[int]) -> int:
        asked.append(process)
        return create_link(program, path, process, sites, cookies)

    monkeypatch.setattr("watchdog.extract.program.create_link", create)
    monkeypatch.setattr("watchdog.extract.program.filters_processes", lambda _: filters)
    with TracedNode() as node, TracedNode() as other, probes(multi=True) as loaded:
        attach_all(loaded, node, ["net:inbound_message"])
        assert asked == [node.pid if filters else -1]
        other.flood("in", 5, 8)
        node.flood("in", 10, 8)
        assert batches(loaded, 10)["net:inbound_message"].rows == 10
        assert loaded.counts().foreign == (0 if filters else 5)
