"""What peer-observer's messages say, in each form of the envelope, as events of the catalogue."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.peer_observer import (
    FLAT,
    FULL_RELAY,
    HASH,
    MILLISECONDS,
    NOW_MS,
    PEER,
    THREADS,
    address,
    addresses,
    event,
    field,
    fixed64,
    header,
    message,
    observed,
    ping,
    polled_peer,
    pong,
    record,
    zigzag,
)
from watchdog.core.batch import Batch, Blobs, Strings
from watchdog.core.errors import PositionError
from watchdog.core.kinds import KINDS as CATALOGUE
from watchdog.core.source import SourceOptions
from watchdog.sources.nats import peers
from watchdog.sources.nats.decoder import EventDecoder
from watchdog.sources.nats.envelope import open_envelope
from watchdog.sources.nats.offered import KINDS
from watchdog.sources.nats.payloads import payload_of

FORMS = (FLAT, MILLISECONDS, THREADS)
OTHER_HASH = bytes(range(1, 33))
HEADER = struct.pack("<i32s32sIII", 4, HASH, HASH, 1_795_219_000, 0x1D00FFFF, 7)
TX = record((1, HASH), (2, OTHER_HASH), (3, bytes(60)))


def decoder(protocol: str = "", position: Mapping[str, object] | None = None, **options: object) -> EventDecoder:
    return EventDecoder("nats:test", SourceOptions(**options), position, protocol)  # type: ignore[arg-type]


def read(*messages: bytes, into: EventDecoder | None = None) -> list[Batch]:
    return (into or decoder()).read([("netmsg", one) for one in messages], NOW_MS * 1_000_000)


def of_kind(batches: Sequence[Batch], kind: str) -> list[dict[str, object]]:
    """The rows of a kind."""
    rows: list[dict[str, object]] = []
    for batch in batches:
        if batch.kind == kind:
            columns = {name: column.tolist() for name, column in batch.columns.items()}
            rows += [{name: values[row] for name, values in columns.items()} for row in range(batch.rows)]
    return rows


def gaps(batches: Sequence[Batch]) -> list[tuple[object, object, object]]:
    return [(row["reason"], row["lost"], row["kinds"]) for row in of_kind(batches, "source:gap")]


@pytest.mark.parametrize("protocol", FORMS)
@pytest.mark.parametrize(
    ("branch", "body", "kind", "expected"),
    [
        ("message", ping(5), "p2p:ping", {"nonce": 5, "conn": 7, "peer": PEER, "flow": "received", "size": 8}),
        (
            "connection",
            field(3, record((1, observed(network=3)), (2, 4))),
            "net:inbound_connection",
            {"connections": 5, "network": "onion", "direction": "in", "connection_type": "inbound", "age_s": 0},
        ),
        (
            "connection",
            field(4, record((1, observed(peer_type=0)), (2, 4))),
            "net:outbound_connection",
            {"connections": 5, "direction": "out", "connection_type": "outbound"},
        ),
        (
            "connection",
            field(1, record((1, observed()), (2, NOW_MS // 1_000 - 90))),
            "net:closed_connection",
            {"lived_s": 90, "established_s": NOW_MS // 1_000 - 90, "age_s": 90},
        ),
        (
            "connection",
            field(2, record((1, observed()), (2, 3))),
            "net:evicted_inbound_connection",
            {"established_s": 3},
        ),
        (
            "connection",
            field(5, record((1, 9), (2, "bad"))),
            "net:misbehaving_connection",
            {"conn": 9, "reason": "bad"},
        ),
        ("mempool", field(1, record((1, HASH), (2, 140), (3, 500))), "mempool:added", {"txid": HASH, "fee_sat": 500}),
        (
            "mempool",
            field(3, record((1, HASH), (2, "block"), (3, 140), (4, 500), (5, 77))),
            "mempool:removed",
            {"reason": "block", "entry_time_s": 77},
        ),
        ("mempool", field(4, record((1, HASH), (2, "dust"))), "mempool:rejected", {"reason": "dust"}),
        (
            "mempool",
            field(2, record((1, HASH), (2, 1), (3, 2), (4, 3), (5, OTHER_HASH), (6, 4), (7, 5), (8, 1))),
            "mempool:replaced",
            {"replacement_txid": OTHER_HASH, "replacement_fee_sat": 5, "by_transaction": True},
        ),
        (
            "validation",
            field(1, record((1, HASH), (2, 900_000), (3, 4_000), (4, 8_000), (5, 9), (6, 123_456))),
            "validation:block_connected",
            {"hash": HASH, "height": 900_000, "inputs": 8_000, "duration_ns": 123_456},
        ),
        (
            "addrman",
            field(1, record((1, 1), (2, 3), (3, 4), (4, "1.2.3.4:1"), (5, 6), (6, "5.6.7.8"), (7, 9))),
            "addrman:attempt_add",
            {"inserted": True, "bucket": 3, "address": "1.2.3.4:1", "source_asn": 9},
        ),
        (
            "addrman",
            field(2, record((1, 3), (2, 4), (3, "1.2.3.4:1"), (4, 6), (5, "5.6.7.8"), (6, 9))),
            "addrman:move_to_good",
            {"position": 4, "address_asn": 6},
        ),
    ],
)
def test_each_event_of_each_form_says_the_same(
    protocol: str, branch: str, body: bytes, kind: str, expected: dict[str, object]
) -> None:
    batches = read(event(branch, body, protocol=protocol))
    (row,) = of_kind(batches, kind)
    assert {name: row[name] for name in expected} == expected
    assert row["time_ns"] == NOW_MS * 1_000_000
    assert list(row) == list(CATALOGUE[kind].fields)
    assert not gaps(batches)


def test_what_a_release_before_august_2025_leaves_out_is_not_invented() -> None:
    replaced = field(2, record((1, HASH), (2, 1), (3, 2), (4, 3), (5, OTHER_HASH), (6, 4), (7, 5)))
    misbehaving = field(5, record((1, 9), (2, 0), (3, 100), (4, "old reason"), (5, 1)))
    batches = read(event("mempool", replaced, protocol=FLAT), event("connection", misbehaving, protocol=FLAT))
    assert not of_kind(batches, "mempool:replaced")
    assert gaps(batches) == [("field-left-out", 1, "mempool:")]
    assert [row["reason"] for row in of_kind(batches, "net:misbehaving_connection")] == ["old reason"]


def test_a_hash_of_another_length_is_no_event() -> None:
    batches = read(event("mempool", field(1, record((1, b"short"), (2, 140), (3, 500)))))
    assert not of_kind(batches, "mempool:added")
    assert gaps(batches) == [("field-left-out", 1, "mempool:")]


INV = b"".join(field(1, field(number, HASH)) for number in range(1, 7))
BODIES: dict[str, tuple[bytes, bytes]] = {
    "ping": (field(2, fixed64(1, 5)), struct.pack("<Q", 5)),
    "inv": (field(4, INV + field(1, field(7, record((1, 77), (2, HASH)))) + field(1, field(15, 1))), b""),
    "tx": (field(6, field(1, TX)), bytes(60)),
    "headers": (field(7, field(1, header())), b"\x01" + HEADER + b"\0"),
    "feefilter": (field(10, field(1, zigzag(1_000))), struct.pack("<q", 1_000)),
    "getheaders": (
        field(11, record((1, 70_016), (2, HASH), (2, OTHER_HASH), (3, HASH))),
        struct.pack("<I", 70_016) + b"\x02" + HASH + OTHER_HASH + HASH,
    ),
    "sendcmpct": (field(17, record((1, 1), (2, 2))), b"\x01" + struct.pack("<Q", 2)),
    "cmpctblock": (
        field(16, record((1, header()), (2, 9), (3, b"abcdef"), (4, record((1, 0), (2, TX))))),
        HEADER + struct.pack("<Q", 9) + b"\x01abcdef" + b"\x01" + bytes(11),
    ),
    "block": (field(18, record((1, header()), (2, TX), (2, TX))), HEADER + b"\x02" + bytes(20)),
    "getblocktxn": (field(19, record((1, HASH), (2, 4), (2, 9))), HASH + b"\x02\0\0"),
    "blocktxn": (field(20, record((1, HASH), (2, TX))), HASH + b"\x01" + bytes(10)),
    "alert": (field(21, field(1, b"abc")), b"abc"),
    "filteradd": (field(22, field(1, b"abc")), b"\x03abc"),
    "filterload": (
        field(23, record((1, b"ab"), (2, 7), (3, 8), (4, 1))),
        b"\x02ab" + struct.pack("<IIB", 7, 8, 1),
    ),
    "getcfcheckpt": (field(24, record((1, 0), (2, HASH))), bytes(33)),
    "cfheaders": (field(25, record((1, 0), (2, HASH), (3, HASH), (4, HASH))), bytes(65) + b"\x01" + bytes(32)),
    "cfilter": (field(26, record((1, 0), (2, HASH), (3, b"xy"))), bytes(33) + b"\x02xy"),
    "cfcheckpt": (field(27, record((1, 0), (2, HASH), (3, HASH))), bytes(33) + b"\x01" + bytes(32)),
    "getcfheaders": (field(28, record((1, 0), (2, 5), (3, HASH))), bytes(37)),
    "getcfilters": (field(29, record((1, 0), (2, 5), (3, HASH))), bytes(37)),
    "merkleblock": (
        field(30, record((1, header()), (2, 9), (3, 1), (3, 0), (4, HASH))),
        HEADER + struct.pack("<I", 9) + b"\x01" + HASH + b"\x01\0",
    ),
    "strange": (field(31, record((1, "strange"), (2, b"payload"))), b"payload"),
    "verack": (field(32, 1), b""),
    "getaddr": (field(34, 1), b""),
    "mempool": (field(35, 1), b""),
    "addrv2": (field(40, 1), b"\0"),
    "reject": (
        field(39, record((1, "tx"), (2, 1), (3, "bad"), (4, HASH))),
        b"\x02tx\x10\x03bad",
    ),
}


@pytest.mark.parametrize("type_", BODIES)
def test_a_message_is_written_as_it_was_on_the_wire(type_: str) -> None:
    body, payload = BODIES[type_]
    if type_ == "inv":
        types = (1, 2, 5, 0x4000_0001, 0x4000_0002, 4, 77)
        payload = b"\x08" + b"".join(struct.pack("<I", one) + HASH for one in types) + bytes(36)
    opened = open_envelope(MILLISECONDS, event("message", message(type_, body)))
    assert opened is not None
    assert payload_of(opened.body, type_) == payload


def test_an_old_ping_has_no_nonce() -> None:
    batches = read(event("message", message("ping", field(41, 1), size=0)))
    (row,) = of_kind(batches, "p2p:ping")
    assert (row["has_nonce"], row["nonce"]) == (False, 0)


def test_a_version_message_keeps_what_columns_need() -> None:
    here = record((1, 0), (2, "1.2.3.4"), (9, 9), (10, 8333))
    body = record(
        (1, 70_016), (2, 1_033), (3, zigzag(NOW_MS // 1_000 + 5)), (4, here), (5, here), (6, 3), (7, "/x:1/"),
        (8, zigzag(900_000)), (9, 1),
    )  # fmt: skip
    (row,) = of_kind(read(event("message", message("version", field(13, body)))), "p2p:version")
    expected = {
        "protocol_version": 70_016,
        "services": 1_033,
        "user_agent": "/x:1/",
        "start_height": 900_000,
        "relay": True,
        "nonce": 3,
        "time_offset_s": 5,
    }
    assert {name: row[name] for name in expected} == expected


ONION = "a" * 52 + ".onion"
PLACES: tuple[tuple[int, bytes | str], ...] = (
    (2, "1.2.3.4"), (3, "2a01::1"), (4, "aaaaaaaaaaaaaaaa.onion"), (5, ONION), (6, "a" * 52 + ".b32.i2p"),
    (7, "fc00::1"), (8, record((1, 99), (2, b"abc"))),
)  # fmt: skip


def test_addresses_of_every_network_are_counted_as_captures_count_them() -> None:
    batches = read(event("message", addresses("addrv2", [address(place) for place in PLACES], size=300)))
    (row,) = of_kind(batches, "p2p:addr")
    counts = {name: row[name] for name in ("entries", "ipv4", "ipv6", "onion", "i2p", "cjdns", "other", "version")}
    assert counts == {
        "entries": 7, "ipv4": 1, "ipv6": 1, "onion": 1, "i2p": 1, "cjdns": 1, "other": 2, "version": 2,
    }  # fmt: skip
    entries = of_kind(batches, "p2p:addr_entry")
    assert entries[0]["entry_network"] == "ipv4"
    assert entries[0]["port"] == 8333
    assert entries[0]["stamp_age_s"] == 0
    assert not gaps(batches)


def test_an_addr_of_the_first_form_holds_mapped_and_tor_v2_addresses() -> None:
    batches = read(event("message", addresses("addr", [address(PLACES[0]), address(PLACES[1]), address(PLACES[2])])))
    (row,) = of_kind(batches, "p2p:addr")
    assert (row["entries"], row["ipv4"], row["ipv6"], row["other"], row["version"]) == (3, 1, 1, 1, 1)


@pytest.mark.parametrize("place", [(2, "1.2.3"), (3, "x"), (4, "a.onion"), (5, "1" * 52), (6, "b32"), (8, b"")])
def test_an_address_that_is_none_leaves_the_message_and_not_its_content(place: tuple[int, bytes | str]) -> None:
    batches = read(event("message", addresses("addrv2", [address(place)])))
    assert len(of_kind(batches, "net:inbound_message")) + len(gaps(batches)) in (1, 2)
    assert not of_kind(batches, "p2p:addr")
    assert gaps(batches)


def test_content_that_an_archive_left_out_is_a_gap_of_that_kind_alone() -> None:
    tx = message("tx", field(6, field(1, record((1, HASH), (2, HASH)))), size=250)
    block = message("block", field(18, record((1, header()))), size=1_000_000)
    batches = read(event("message", tx), event("message", block))
    assert [row["type"] for row in of_kind(batches, "net:inbound_message")] == ["tx", "block"]
    assert not of_kind(batches, "p2p:tx")
    assert not of_kind(batches, "p2p:block")
    assert len(gaps(batches)) == 2
    assert set(gaps(batches)) == {("content-left-out", 1, kinds) for kinds in ("p2p:block", "p2p:tx,p2p:tx_input")}


def test_a_type_that_contradicts_its_content_is_not_decoded() -> None:
    batches = read(event("message", message("pong", field(2, fixed64(1, 5)))))
    assert not of_kind(batches, "p2p:ping")
    assert gaps(batches) == [("content-left-out", 1, "p2p:pong")]


def test_strange_types_are_unknown_messages_and_harmless() -> None:
    batches = read(event("message", message("x\x1b[0m", field(31, record((1, "x\x1b[0m"), (2, b"abc"))))))
    assert [row["type"] for row in of_kind(batches, "p2p:unknown")] == ["x\\x1b[0m"]
    assert [(row["type"], row["known"]) for row in of_kind(batches, "net:inbound_message")] == [("x\\x1b[0m", False)]


def test_conversations_are_followed_over_reads() -> None:
    reader = decoder()
    sent = event("message", ping(42, received=False))
    read(sent, into=reader)
    batches = read(event("message", pong(42), time_ms=NOW_MS + 30), into=reader)
    (row,) = of_kind(batches, "p2p:pong")
    assert (row["solicited"], row["rtt_us"]) == (True, 30_000)
    for number in (1, 2):
        (row,) = of_kind(read(event("message", message("getaddr", field(34, 1))), into=reader), "p2p:getaddr")
        assert row["repeat"] == number


def test_the_state_of_connections_is_in_the_position() -> None:
    first = decoder()
    read(event("connection", field(4, record((1, observed(peer_type=FULL_RELAY)), (2, 0)))), into=first)
    read(event("message", ping(42, received=False, peer_type=FULL_RELAY)), into=first)
    second = decoder(position=first.state())
    later = event("message", pong(42, peer_type=FULL_RELAY), time_ms=NOW_MS + 5_000)
    (row,) = of_kind(read(later, into=second), "p2p:pong")
    assert (row["solicited"], row["age_s"], row["direction"]) == (True, 5, "out")
    assert row == of_kind(read(later, into=first), "p2p:pong")[0]


@pytest.mark.parametrize("damage", [{"latest_ns": "x"}, {"connections": [[1]]}, {"connections": 5}])
def test_a_damaged_position_is_refused(damage: dict[str, object]) -> None:
    state = decoder().state()
    with pytest.raises(PositionError):
        decoder(position={**state, **damage})


def test_an_id_that_comes_with_another_address_is_another_connection() -> None:
    reader = decoder()
    read(event("message", ping(42, received=False)), into=reader)
    batches = read(event("message", pong(42, peer="198.51.100.9:8333"), time_ms=NOW_MS + 5_000), into=reader)
    (row,) = of_kind(batches, "p2p:pong")
    assert (row["solicited"], row["age_s"], row["peer_addr"]) == (False, 0, "198.51.100.9")


def test_connections_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "OPEN_MOST", 100)
    reader = decoder()
    read(
        *[event("message", ping(1, conn=conn, peer=f"10.0.{conn // 250}.{conn % 250}:1")) for conn in range(500)],
        into=reader,
    )
    state = reader.state()
    assert isinstance(state["connections"], list)
    assert len(state["connections"]) == 100


def test_answers_of_rpc_are_those_that_rpc_gives() -> None:
    infos = field(1, field(1, polled_peer()) + field(1, polled_peer(8, peer="198.51.100.9:8333", inbound=False)))
    (reader, uptime) = (decoder(), field(3, 5_000))
    batches = read(event("rpc", uptime), event("rpc", infos), into=reader)
    first, second = of_kind(batches, "rpc:peer")
    expected = {
        "conn": 7, "user_agent": "/Satoshi:29.0.0/", "services": 0x409, "ping_us": 250_000, "min_ping_us": 125_000,
        "ping_wait_us": -1, "time_offset_s": -2, "addr_rate_limited": 3, "inv_to_send": 12, "transport": "v2",
        "age_s": 600, "synced_headers": 900_001, "last_block_age_s": -1, "protocol_version": 70_016,
    }  # fmt: skip
    assert {name: first[name] for name in expected} == expected
    assert second["direction"] == "out"
    (summary,) = of_kind(batches, "rpc:peers")
    assert (summary["inbound"], summary["outbound_full"], summary["uptime_s"]) == (1, 1, 5_000)
    assert [row["uptime_s"] for row in of_kind(batches, "rpc:uptime")] == [5_000]
    mempool = field(2, record((1, 1), (2, 30), (3, 9_000), (4, 50_000), (5, 0.1), (6, 300_000_000), (7, 0.00001)))
    sizes = field(6, field(1, record((1, "ipv4"), (2, record((1, 5), (2, 6), (3, 11))))))
    totals = field(4, record((1, 10), (2, 20), (3, NOW_MS), (4, b"")))
    memory = field(5, record(*((number, number) for number in range(1, 7))))
    batches = read(*(event("rpc", body) for body in (mempool, sizes, totals, memory)), into=reader)
    assert [(row["txs"], row["min_fee_sat_kvb"]) for row in of_kind(batches, "rpc:mempool")] == [(30, 1_000)]
    assert {row["network"]: row["total"] for row in of_kind(batches, "rpc:addrman")}["ipv4"] == 11
    assert not gaps(batches)


def test_a_restart_of_the_node_is_seen_by_its_uptime_and_ends_all_connections() -> None:
    reader = decoder()
    read(event("rpc", field(3, 5_000)), event("message", ping(42, received=False)), into=reader)
    batches = read(event("rpc", field(3, 3), time_ms=NOW_MS + 60_000), into=reader)
    assert [row["reason"] for row in of_kind(batches, "node:started")] == ["uptime-reset"]
    (row,) = of_kind(read(event("message", pong(42), time_ms=NOW_MS + 61_000), into=reader), "p2p:pong")
    assert (row["solicited"], row["age_s"]) == (False, 0)


def test_peers_that_change_between_polls_are_reported() -> None:
    reader = decoder()
    infos = [field(1, field(1, polled_peer())), field(1, field(1, polled_peer(9, peer="198.51.100.9:8333")))]
    read(event("rpc", infos[0]), into=reader)
    second = decoder(position=reader.state())
    batches = read(event("rpc", infos[1], time_ms=NOW_MS + 10_000), into=second)
    assert [row["conn"] for row in of_kind(batches, "peer:connected")] == [9]
    assert [row["conn"] for row in of_kind(batches, "peer:disconnected")] == [7]


def test_a_time_that_cannot_be_true_is_left_out_and_reported() -> None:
    reader = decoder()
    good, early, late = (event("message", ping(), time_ms=at) for at in (NOW_MS, 5, NOW_MS * 1_000))
    batches = read(good, early, late, event("message", ping(), time_ms=(1 << 64) - 1), into=reader)
    assert len(of_kind(batches, "p2p:ping")) == 1
    assert gaps(batches) == [("implausible time", 3, "")]
    assert reader.untrue == 3


def test_only_wanted_kinds_are_made() -> None:
    batches = read(event("message", ping()), into=decoder(wanted=frozenset({"p2p:ping"})))
    assert [batch.kind for batch in batches] == ["p2p:ping"]


def test_every_kind_that_is_offered_is_in_the_catalogue() -> None:
    assert CATALOGUE.keys() >= KINDS
    assert "p2p:malformed" not in KINDS
    assert "p2p:new_block" not in KINDS


def test_columns_have_the_types_of_the_catalogue() -> None:
    bodies = [event("message", message(type_, body)) for type_, (body, _) in BODIES.items()]
    for batch in read(*bodies):
        fields = CATALOGUE[batch.kind].fields
        assert set(batch.columns) == set(fields), batch.kind
        for name, column in batch.columns.items():
            assert len(column) == batch.rows, (batch.kind, name)
            assert isinstance(column, {"text": Strings, "bytes": Blobs}.get(fields[name].type, object))


WHOLE = (
    event("message", ping()),
    event("message", message("headers", field(7, field(1, header())))),
    event("message", addresses("addrv2", [address(one) for one in PLACES])),
    event("connection", field(1, record((1, observed()), (2, 5)))),
    event("rpc", field(1, field(1, polled_peer()))),
    event("rpc", field(6, field(1, record((1, "ipv4"), (2, record((1, 5), (2, 6), (3, 11))))))),
)


@given(st.sampled_from(WHOLE), st.data())
def test_no_bytes_make_it_fail(whole: bytes, data: st.DataObject) -> None:
    raw = bytearray(whole)
    for _ in range(data.draw(st.integers(0, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(raw)))
    reader = decoder()
    read(bytes(raw), bytes(raw[:cut]), bytes(raw[cut:]), into=reader)
    decoder(position=reader.state())
