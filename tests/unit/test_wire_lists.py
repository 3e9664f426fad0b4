"""Decoders of everything but addresses: hand-built payloads of each type, and what Core refuses."""

from __future__ import annotations

import struct
from hashlib import sha256
from typing import Any

import numpy as np
import pytest

from watchdog.core.batch import Blobs, Strings
from watchdog.core.enrich import Enricher
from watchdog.core.kinds import KINDS
from watchdog.sources.wire.decode import KNOWN_TYPES, decode
from watchdog.sources.wire.messages import Decoded, Messages

NOW_S = 1_700_000_000


def messages(type_: str, *payloads: bytes) -> Messages:
    count = len(payloads)
    times = np.full(count, NOW_S * 1_000_000_000 + 999, np.int64)
    return Messages(type_, times, Blobs.of(payloads), np.ones(count, np.bool_), Blobs.of([b""] * count))


def table(decoded: Decoded) -> list[dict[str, Any]]:
    """One dict a row: plain Python values, and the row's message as `row`."""
    columns = {name: column.tolist() for name, column in decoded.columns.items()}
    return [
        {"row": int(row), **{name: values[at] for name, values in columns.items()}}
        for at, row in enumerate(decoded.rows)
    ]


def events(type_: str, *payloads: bytes) -> dict[str, list[dict[str, Any]]]:
    decoded = decode(messages(type_, *payloads), Enricher(), lambda kind: True)
    for one in decoded:
        check_types(one)
    return {one.kind: table(one) for one in decoded}


LATER = {"solicited", "processed", "beyond_limit", "rtt_us", "repeat"}
CONNECTION = set(KINDS["p2p:mempool"].fields)


def check_types(decoded: Decoded) -> None:
    """Exactly the kind's own columns, in order, each of its type."""
    fields = {name: field for name, field in KINDS[decoded.kind].fields.items() if name not in CONNECTION | LATER}
    assert list(decoded.columns) == list(fields)
    for name, column in decoded.columns.items():
        wanted = fields[name].type
        if wanted in {"str", "bytes"}:
            assert isinstance(column, Strings if wanted == "str" else Blobs), name
        else:
            assert isinstance(column, np.ndarray)
            short = {"prefix": "u64"}.get(wanted, wanted)
            dtype = np.dtype(np.bool_) if short == "bool" else np.dtype(f"<{short[0]}{int(short[1:]) // 8}")
            assert column.dtype == dtype, name
        assert len(column) == len(decoded.rows)
    assert (np.diff(decoded.rows) >= 0).all()


def refusal(type_: str, payload: bytes) -> tuple[str, int]:
    """The reason for which the payload is malformed, and the count that it declares."""
    found = events(type_, payload)
    assert list(found) == ["p2p:malformed"]
    (row,) = found["p2p:malformed"]
    assert row["type"] == type_
    return row["reason"], row["entries"]


def compact(value: int) -> bytes:
    for limit, mark, form in ((0xFD, b"", "<B"), (1 << 16, b"\xfd", "<H"), (1 << 32, b"\xfe", "<I")):
        if value < limit:
            return mark + struct.pack(form, value)
    return b"\xff" + struct.pack("<Q", value)


def inv(*types: int) -> bytes:
    return compact(len(types)) + b"".join(struct.pack("<I", type_) + bytes(32) for type_ in types)


def test_inventory_is_counted_by_class_also_with_the_witness_flag() -> None:
    found = events("getdata", inv(1, 5, 0x40000001, 2, 0x40000002, 3, 4, 0, 6, 0xFFFFFFFF), inv(), inv(2) + b"more")
    assert found == {
        "p2p:getdata": [
            {"row": 0, "entries": 10, "tx": 3, "block": 4, "other": 3},
            {"row": 1, "entries": 0, "tx": 0, "block": 0, "other": 0},
            {"row": 2, "entries": 1, "tx": 0, "block": 1, "other": 0},
        ]
    }


@pytest.mark.parametrize(
    ("type_", "payload", "reason", "declared"),
    [
        ("inv", b"", "truncated", 0),
        ("inv", b"\xfd\x01", "truncated", 0),
        ("inv", inv(1)[:-1], "truncated", 1),
        ("inv", b"\xfd\x01\x00" + bytes(36), "bad-count", 1),
        ("inv", b"\xfe\xff\xff\x00\x00", "bad-count", 65535),
        ("inv", b"\xff" + b"\xff" * 8, "bad-count", 2**64 - 1),
        ("inv", compact(0x02000001), "bad-count", 0x02000001),
        ("inv", compact(0x02000000), "over-limit", 0x02000000),
        ("inv", compact(50_001) + bytes(36 * 50_001), "over-limit", 50_001),
        ("notfound", compact(50_001), "truncated", 50_001),
        ("headers", compact(2_001), "over-limit", 2_001),
        ("headers", compact(1) + bytes(80), "truncated", 1),
        ("headers", compact(1) + bytes(80) + b"\xfd\0\0", "bad-count", 1),
        ("headers", compact(1) + bytes(80) + b"\xfd\0", "truncated", 1),
        ("getheaders", bytes(4) + compact(102), "over-limit", 102),
        ("getblocks", bytes(4) + compact(1) + bytes(63), "truncated", 1),
        ("ping", bytes(7), "truncated", 0),
        ("pong", b"", "truncated", 0),
        ("feefilter", bytes(7), "truncated", 0),
        ("sendcmpct", b"\2" + bytes(8), "bad-value", 0),
        ("sendcmpct", bytes(8), "truncated", 0),
        ("verack", bytes(4_000_001), "over-limit", 0),
        ("block", bytes(80) + compact(1) + bytes(9), "truncated", 1),
        ("cmpctblock", bytes(88) + b"\0\0", "bad-count", 0),
        ("cmpctblock", bytes(88) + b"\1" + bytes(6), "truncated", 1),
        ("cmpctblock", bytes(88) + compact(65_536) + bytes(65_536 * 6 + 1), "over-limit", 0),
        ("getblocktxn", bytes(32) + compact(3) + bytes(2), "truncated", 3),
        ("blocktxn", bytes(32) + compact(3) + bytes(29), "truncated", 3),
        ("filterload", compact(36_001) + bytes(36_010), "over-limit", 36_001),
        ("filterload", b"\1\0" + struct.pack("<IIB", 51, 0, 0), "over-limit", 1),
        ("filteradd", compact(521) + bytes(521), "over-limit", 521),
        ("cfheaders", bytes(65) + compact(2_001), "over-limit", 2_001),
        ("cfcheckpt", bytes(33) + compact(2) + bytes(63), "truncated", 2),
        ("getcfilters", bytes(36), "truncated", 0),
        ("reject", b"\x0d" + bytes(20), "over-limit", 0),
        ("reject", b"\1a\1\5four", "truncated", 0),
        ("version", bytes(45), "truncated", 0),
        ("version", bytes(46 + 26 + 7), "truncated", 0),
        ("version", bytes(80) + compact(257) + bytes(261), "over-limit", 0),
        ("version", bytes(80) + b"\3ab", "truncated", 0),
        ("version", bytes(81) + b"\1", "truncated", 0),
    ],
)
def test_what_core_refuses_is_malformed(type_: str, payload: bytes, reason: str, declared: int) -> None:
    assert refusal(type_, payload) == (reason, declared)


def test_headers_follow_each_other_or_not() -> None:
    first = bytes(range(80))
    second = bytes(4) + sha256(sha256(first).digest()).digest() + bytes(44)
    wide = b"\xfd\xfd\x00"  # a count of transactions that takes three bytes
    found = events(
        "headers",
        b"\0",
        b"\2" + first + b"\0" + second + b"\0",
        b"\2" + first + wide + second + wide,
        b"\2" + second + b"\0" + first + b"\0",
        b"\1" + first + b"\1",
    )
    rows = [(row["entries"], row["continuous"]) for row in found["p2p:headers"]]
    assert rows == [(0, True), (2, True), (2, True), (2, False), (1, True)]


def test_small_messages() -> None:
    nonce = struct.pack("<Q", 2**63 + 5)
    assert events("ping", nonce, b"", nonce + b"x")["p2p:ping"] == [
        {"row": 0, "nonce": 2**63 + 5, "has_nonce": True},
        {"row": 1, "nonce": 0, "has_nonce": False},
        {"row": 2, "nonce": 2**63 + 5, "has_nonce": True},
    ]
    assert events("pong", nonce)["p2p:pong"] == [{"row": 0, "nonce": 2**63 + 5}]
    assert events("feefilter", struct.pack("<q", -7))["p2p:feefilter"] == [{"row": 0, "fee_rate_sat_kvb": -7}]
    assert events("sendcmpct", b"\1" + struct.pack("<Q", 2)) == {
        "p2p:sendcmpct": [{"row": 0, "announce": True, "cmpct_version": 2}]
    }
    assert events("getaddr", b"", b"ignored") == {"p2p:getaddr": [{"row": 0}, {"row": 1}]}
    assert events("verack", b"") == {}


def test_locators_blocks_and_compact_blocks() -> None:
    locator = struct.pack("<i", -1) + compact(2) + bytes(96)
    assert events("getheaders", locator)["p2p:getheaders"] == [{"row": 0, "locator": 2, "protocol_version": -1}]
    header = bytes(range(80))
    hashed = sha256(sha256(header).digest()).digest()
    assert events("block", header + b"\2" + bytes(20)) == {"p2p:block": [{"row": 0, "hash": hashed, "txs": 2}]}
    compacted = header + bytes(8) + b"\2" + bytes(12) + b"\1" + bytes(11)
    assert events("cmpctblock", compacted)["p2p:cmpctblock"] == [
        {"row": 0, "hash": hashed, "short_ids": 2, "prefilled": 1}
    ]
    assert events("getblocktxn", hashed + b"\2\0\0") == {"p2p:getblocktxn": [{"row": 0, "hash": hashed, "indexes": 2}]}
    assert events("blocktxn", hashed + b"\1" + bytes(10)) == {"p2p:blocktxn": [{"row": 0, "hash": hashed, "txs": 1}]}


def test_version_with_and_without_its_optional_fields() -> None:
    fixed = struct.pack("<iQq", 70016, 1033, NOW_S + 5) + bytes(26)
    full = fixed + bytes(26) + struct.pack("<Q", 99) + b"\x05/a\x1b\xff/" + struct.pack("<i", 800_000)
    found = events("version", fixed, full, full + b"\0", full + b"\1")["p2p:version"]
    common = {"protocol_version": 70016, "services": 1033, "time_offset_s": 5}
    named = {"user_agent": "/a\\x1b\\xff/", "start_height": 800_000, "nonce": 99}
    assert found == [
        {"row": 0, **common, "user_agent": "", "start_height": -1, "relay": True, "nonce": 1},
        {"row": 1, **common, **named, "relay": True},
        {"row": 2, **common, **named, "relay": False},
        {"row": 3, **common, **named, "relay": True},
    ]
    (extreme,) = events("version", struct.pack("<iQq", -1, 2**64 - 1, -(2**63)) + bytes(26))["p2p:version"]
    assert (extreme["time_offset_s"], extreme["services"]) == (-NOW_S, 2**64 - 1)


def test_rare_messages() -> None:
    assert events("reject", b"\2tx\x10\3bad" + bytes(32))["p2p:reject"] == [
        {"row": 0, "message": "tx", "code": 0x10, "reason": "bad"}
    ]
    assert events("filterload", b"\2ab" + bytes(9))["p2p:filter"] == [{"row": 0, "type": "filterload", "bytes_set": 2}]
    assert events("filterclear", b"")["p2p:filter"] == [{"row": 0, "type": "filterclear", "bytes_set": 0}]
    merkle = bytes(84) + b"\1" + bytes(32) + b"\1\7"
    assert events("merkleblock", merkle)["p2p:filter"] == [{"row": 0, "type": "merkleblock", "bytes_set": 33}]
    assert events("cfheaders", bytes(65) + b"\2" + bytes(64))["p2p:cf"] == [
        {"row": 0, "type": "cfheaders", "entries": 2}
    ]
    assert events("cfilter", bytes(33) + b"\2ab")["p2p:cf"] == [{"row": 0, "type": "cfilter", "entries": 1}]
    assert events("getcfilters", bytes(37))["p2p:cf"] == [{"row": 0, "type": "getcfilters", "entries": 0}]


def test_unknown_types_are_named_harmlessly_and_told_apart_by_digest() -> None:
    found = events("x\x1b[2J", b"a", b"b", b"a")["p2p:unknown"]
    assert {row["type"] for row in found} == {"x\\x1b[2J"}
    assert found[0]["digest"] == found[2]["digest"] != found[1]["digest"]
    assert "alert" not in KNOWN_TYPES
    assert "reject" in KNOWN_TYPES
    assert len(KNOWN_TYPES) == 36 + 1


def test_nothing_is_decoded_that_nobody_wants() -> None:
    several = messages("inv", inv(1), b"\xff")
    assert decode(several, Enricher(), lambda kind: False) == []
    assert [one.kind for one in decode(several, Enricher(), lambda kind: kind == "p2p:inv")] == ["p2p:inv"]
    assert [one.kind for one in decode(several, Enricher(), lambda kind: kind == "p2p:malformed")] == ["p2p:malformed"]


def test_long_input_is_decoded_in_parts_with_rows_of_the_whole() -> None:
    big = inv(*[1] * 50_000)
    decoded = decode(messages("inv", *[big] * 20), Enricher(), lambda kind: True)
    assert len(decoded) > 1
    assert [row["row"] for one in decoded for row in table(one)] == list(range(20))
    assert {row["tx"] for one in decoded for row in table(one)} == {50_000}
