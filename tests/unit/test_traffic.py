"""Messages counted by type and peer, and the latest of a peer while it is looked at."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from tests.support.tapped import START_S, message, peer, rows
from watchdog.core.batch import Batch
from watchdog.core.source import SourceOptions
from watchdog.service.exposition import Exposition
from watchdog.service.node_metrics import message_metrics
from watchdog.sources.registry import open_sources
from watchdog.traffic.message_log import KEPT, KEPT_S, MOST_WATCHED
from watchdog.traffic.message_types import MESSAGE_TYPES
from watchdog.traffic.node_traffic import READ, NodeTraffic
from watchdog.traffic.peer_table import Peer, PeerTraffic

DEMO = Path(__file__).parents[2] / "demo" / "recording"
IN, OUT = "net:inbound_message", "net:outbound_message"


def noted(*batches: Batch, now_s: float = 0.0) -> NodeTraffic:
    traffic = NodeTraffic()
    for one in batches:
        traffic.note([one], now_s)
    return traffic


def poll(at: float, *peers: dict[str, Any]) -> Batch:
    return rows("rpc:peer", *({"at": at, **one} for one in peers))


def metrics(traffic: NodeTraffic) -> dict[str, float]:
    out = Exposition()
    message_metrics(out, traffic.totals, {"node": "a"})
    pairs = (line.rpartition(" ") for line in out.text().splitlines() if line.startswith("watchdog_"))
    return {name: float(value) for name, _, value in pairs}


def test_totals_by_flow_type_and_connection_type() -> None:
    traffic = noted(
        rows(IN, message(0, "inv", 37, peer(1)), message(1, "inv", 73, peer(2)), message(1, "ping", 8, peer(3, "out"))),
        rows(OUT, message(2, "pong", 8, peer(3, "out"))),
        rows(IN, message(3, "inv", 37, peer(1))),
    )
    labels = 'connection_type="{}",direction="{}",node="a",type="{}"'
    inv, ping = labels.format("inbound", "received", "inv"), labels.format("outbound-full-relay", "received", "ping")
    pong = labels.format("outbound-full-relay", "sent", "pong")
    assert metrics(traffic) == {
        f"watchdog_node_messages_total{{{inv}}}": 3,
        f"watchdog_node_messages_total{{{ping}}}": 1,
        f"watchdog_node_messages_total{{{pong}}}": 1,
        f"watchdog_node_message_bytes_total{{{inv}}}": 147,
        f"watchdog_node_message_bytes_total{{{ping}}}": 8,
        f"watchdog_node_message_bytes_total{{{pong}}}": 8,
    }


def test_types_that_peers_invent_are_one_label() -> None:
    odd = [message(0, f"x{number}\x1b", 1, peer(number % 5)) for number in range(5_000)]
    assert list(metrics(noted(rows(IN, *odd))).values()) == [5_000, 5_000]
    (known,) = {type_ for one in noted(rows(IN, *odd)).peers() for type_ in one["messages"]["received"]}  # type: ignore[index]
    assert known == "other"
    assert "other" in MESSAGE_TYPES


def test_the_counts_are_those_of_a_real_capture() -> None:
    traffic, plain = NodeTraffic(), dict[tuple[str, str, str], int]()
    (source,) = open_sources([f"capture:{DEMO / 'capture.tar.xz'}"], SourceOptions(wanted=READ))
    while not source.ended:
        slice_ = source.poll()
        for batch in slice_.batches if slice_ is not None else ():
            traffic.note([batch], 0.0)
            if batch.kind in (IN, OUT):
                flow = "received" if batch.kind == IN else "sent"
                columns = (batch.strings("type").tolist(), batch.strings("connection_type").tolist())
                for type_, connection in zip(*columns, strict=True):
                    cell = (flow, type_ if type_ in MESSAGE_TYPES else "other", connection)
                    plain[cell] = plain.get(cell, 0) + 1
    source.close()
    assert {cell: count for cell, count, _ in traffic.totals.cells()} == plain
    assert len(plain) > 20


def test_a_poll_and_messages_are_one_peer_by_address_and_port() -> None:
    known = {**peer(7), "connection_type": "inbound", "ping_us": 52_000, "min_ping_us": 50_000, "addr_processed": 90}
    traffic = noted(
        rows(IN, message(0, "addr", 300, {**peer(0, address="192.0.2.7"), "connection_type": "unknown"})),
        poll(4, {**known, "addr_rate_limited": 11, "user_agent": "/Satoshi:29.0.0/", "age_s": 70}),
        rows(IN, message(10, "addr", 300, peer(0, address="192.0.2.7"))),
    )
    (found,) = traffic.peers()
    assert {name: found[name] for name in ("conn", "peer", "connection_type", "ping_s", "min_ping_s")} == {
        "conn": 0, "peer": "192.0.2.7:8333", "connection_type": "inbound", "ping_s": 0.052, "min_ping_s": 0.05,
    }  # fmt: skip
    assert (found["addresses"], found["addresses_dropped"], found["polled"]) == (90, 11, START_S + 4)
    messages = found["messages"]["received"]["addr"]  # type: ignore[index]
    assert (messages["count"], messages["bytes"]) == (2, 600)


def test_rates_fade() -> None:
    traffic = noted(rows(IN, *(message(0, "inv", 1, peer(1)) for _ in range(50))))

    def rate() -> float:
        (one, *_) = traffic.peers()
        return one["messages"]["received"]["inv"]["per_s"]  # type: ignore[index, no-any-return]

    assert rate() == pytest.approx(5.0)
    traffic.note([rows(IN, message(20, "ping", 1, peer(2)))], 0.0)
    assert rate() == pytest.approx(5.0 * math.exp(-2), abs=1e-3)


def test_a_steady_stream_has_its_rate() -> None:
    traffic = NodeTraffic()
    for second in range(60):
        traffic.note([rows(IN, *(message(second, "tx", 1, peer(1)) for _ in range(8)))], 0.0)
    (found,) = traffic.peers()
    assert found["messages"]["received"]["tx"]["per_s"] == pytest.approx(8, rel=0.1)  # type: ignore[index]


def test_a_rate_does_not_depend_on_batches() -> None:
    many = [message(at / 8, "tx", 1, peer(1)) for at in range(8 * 60)]
    (whole,), (pieces,) = (noted(*batches).peers() for batches in ([rows(IN, *many)], [rows(IN, one) for one in many]))
    assert whole["messages"] == pieces["messages"]
    assert whole["messages"]["received"]["tx"]["per_s"] == pytest.approx(8, rel=0.1)  # type: ignore[index]


def test_peers_leave_when_they_close_when_a_poll_lacks_them_and_when_the_node_starts() -> None:
    traffic = noted(rows(IN, *(message(0, "inv", 1, peer(number)) for number in range(1, 5))))
    traffic.note([rows("net:closed_connection", {"at": 1, **peer(1)})], 0.0)
    assert [one["conn"] for one in traffic.peers()] == [2, 3, 4]
    traffic.note([poll(2, peer(2), peer(3))], 0.0)
    traffic.note([poll(3, peer(3))], 0.0)
    assert [one["conn"] for one in traffic.peers()] == [3, 4]
    traffic.note([rows(IN, message(8, "inv", 1, peer(9)))], 0.0)
    traffic.note([rows("node:started", {"at": 7})], 0.0)
    assert [one["conn"] for one in traffic.peers()] == [9]


def test_a_connection_of_the_same_address_starts_at_nothing() -> None:
    traffic = noted(rows(IN, *(message(0, "inv", 1, peer(1)) for _ in range(9))))
    traffic.note([rows(IN, message(5, "inv", 1, {**peer(2), "peer": peer(1)["peer"]}))], 0.0)
    (found,) = traffic.peers()
    assert (found["conn"], found["messages"]["received"]["inv"]["count"]) == (2, 1)  # type: ignore[index]


def test_peers_are_bounded_and_the_longest_silent_ones_give_way(monkeypatch: pytest.MonkeyPatch) -> None:
    traffic = NodeTraffic()
    traffic.table._most = 100
    for conn in range(1_000):
        traffic.note([rows(IN, message(conn, "inv", 1, peer(conn, address=f"10.0.{conn // 256}.{conn % 256}")))], 0.0)
    assert [one["conn"] for one in traffic.peers()] == list(range(900, 1_000))
    assert traffic.table.evicted == 900
    assert len(traffic.table._rated) <= 128
    assert len(traffic.table._conns) == 100


def test_a_batch_with_more_peers_than_there_is_room_for_mixes_none_of_them() -> None:
    traffic = NodeTraffic()
    traffic.table._most = 10
    many = [message(0, "inv", conn, peer(conn, address=f"10.0.0.{conn}")) for conn in range(1, 41) for _ in range(2)]
    traffic.note([rows(IN, *many)], 0.0)
    for one in traffic.peers():
        found = one["messages"]["received"]["inv"]  # type: ignore[index]
        assert (found["count"], found["bytes"]) == (2, 2 * one["conn"])  # type: ignore[operator]
    assert len(traffic.peers()) == 10


def test_a_batch_of_strangers_costs_no_more_than_the_peers_that_find_room(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    found = PeerTraffic._found

    def noted_down(table: PeerTraffic, batch: Batch, row: int, conn: int) -> Peer:
        made.append(conn)
        return found(table, batch, row, conn)

    monkeypatch.setattr(PeerTraffic, "_found", noted_down)
    traffic = NodeTraffic()
    traffic.table._most = 10
    traffic.note([rows(IN, *(message(0, "inv", 1, peer(conn)) for conn in range(2_000)))], 0.0)
    assert sorted(made) == list(range(1_990, 2_000))
    assert traffic.table.evicted == 1_990


def test_a_clock_that_was_ahead_blinds_nothing_after_its_correction() -> None:
    day = 86_400.0
    traffic = noted(
        rows(IN, message(day, "inv", 1, peer(1))),
        poll(day, peer(1)),
        rows("source:gap", {"at": 0, "to_ns": START_S * 10**9, "reason": "clock"}),
        rows(IN, *(message(5, "inv", 1, peer(1)) for _ in range(50))),
        poll(6, {**peer(1), "ping_us": 3_000}),
    )
    (found,) = traffic.peers()
    assert found["ping_s"] == 0.003
    assert found["messages"]["received"]["inv"]["per_s"] > 4  # type: ignore[index]


def test_messages_are_kept_only_while_a_peer_is_looked_at() -> None:
    traffic = noted(rows(IN, message(0, "inv", 1, peer(1))))
    first = traffic.messages(1, 0.0)
    assert first is not None
    assert (first["watched"], first["messages"]) == (False, [])
    traffic.note([rows(IN, message(1, "inv", 37, peer(1)), message(1, "tx", 5, peer(2)))], 1.0)
    traffic.note([rows(OUT, message(0.5, "pong", 8, peer(1)))], 1.0)
    second = traffic.messages(1, 10.0)
    assert second is not None
    assert second["messages"] == [
        {"time": START_S + 0.5, "flow": "sent", "type": "pong", "size": 8},
        {"time": START_S + 1.0, "flow": "received", "type": "inv", "size": 37},
    ]
    traffic.note([rows(IN, message(2, "inv", 37, peer(1)))], 10.0 + KEPT_S + 1)
    third = traffic.messages(1, 10.0 + KEPT_S + 2)
    assert third is not None
    assert (third["watched"], third["messages"]) == (False, [])
    assert traffic.messages(99, 0.0) is None


def test_at_most_the_latest_messages_of_few_peers_are_kept() -> None:
    traffic = noted(rows(IN, *(message(0, "inv", 1, peer(number)) for number in range(20))))
    for number in range(20):
        traffic.messages(number, float(number))
    assert len(traffic._log) == MOST_WATCHED
    many = [message(at / 1_000, "inv", at, peer(19)) for at in range(3 * KEPT)]
    traffic.note([rows(IN, *many)], 20.0)
    found = traffic.messages(19, 21.0)
    assert found is not None
    assert [one["size"] for one in found["messages"]] == list(range(2 * KEPT, 3 * KEPT))  # type: ignore[attr-defined]
