"""addr and addrv2, against a plain reference parser."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchdog.core.address import MAPPED
from watchdog.core.batch import Blobs
from watchdog.core.enrich import Enricher
from watchdog.core.kinds import KINDS
from watchdog.core.prefix import prefix_texts
from watchdog.sources.wire.decode import decode
from watchdog.sources.wire.messages import Messages

NOW_S = 1_700_000_000
SENDER = MAPPED + bytes([9, 8, 7, 6])
Rows = dict[str, list[dict[str, Any]]]
LATER = {"solicited", "processed", "beyond_limit"}


def events(type_: str, payloads: list[bytes]) -> Rows:
    count = len(payloads)
    times = np.full(count, NOW_S * 1_000_000_000, np.int64)
    sender = Blobs.of([SENDER if row % 2 == 0 else b"" for row in range(count)])
    several = Messages(type_, times, Blobs.of(payloads), np.ones(count, np.bool_), sender)
    found: Rows = {}
    for one in decode(several, Enricher(), lambda kind: True):
        columns = {name: column.tolist() for name, column in one.columns.items()}
        assert set(columns) == set(KINDS[one.kind].fields) - set(KINDS["p2p:mempool"].fields) - LATER
        found[one.kind] = [
            {"row": int(row), **{name: values[at] for name, values in columns.items()}}
            for at, row in enumerate(one.rows)
        ]
    return found


def compact(value: int) -> bytes:
    for limit, mark, form in ((0xFD, b"", "<B"), (1 << 16, b"\xfd", "<H"), (1 << 32, b"\xfe", "<I")):
        if value < limit:
            return mark + struct.pack(form, value)
    return b"\xff" + struct.pack("<Q", value)


def v1(address: bytes, port: int = 8333, age: int = 0, services: int = 1033) -> bytes:
    return struct.pack("<IQ", NOW_S - age, services) + address + struct.pack(">H", port)


def v2(id_: int, address: bytes, port: int = 8333, age: int = 0, services: int = 1033) -> bytes:
    head = struct.pack("<I", NOW_S - age) + compact(services) + bytes([id_])
    return head + compact(len(address)) + address + struct.pack(">H", port)


class Bad(Exception):
    """The reference parser refuses a message."""


def reference(type_: str, raw: bytes) -> list[tuple[int, int, str, bytes, int]]:
    """(stamp, services, network, packed, port) of each entry, read one after another as Core's stream does."""
    at = 0

    def take(size: int) -> bytes:
        nonlocal at
        at += size
        if at > len(raw):
            raise Bad("truncated")
        return raw[at - size : at]

    def number() -> int:
        first = take(1)[0]
        if first < 0xFD:
            return first
        value = int.from_bytes(take(2 << (first - 0xFD)), "little")
        if value < (0xFD, 1 << 16, 1 << 32)[first - 0xFD]:
            raise Bad("bad-count")
        return value

    count = number()
    if count > 0x02000000:
        raise Bad("bad-count")
    if count > 1000:
        raise Bad("over-limit")
    return [_entry(type_, take, number) for _ in range(count)]


def _entry(type_: str, take: Callable[[int], bytes], number: Callable[[], int]) -> tuple[int, int, str, bytes, int]:
    stamp = int.from_bytes(take(4), "little")
    if type_ == "addr":
        services, packed = int.from_bytes(take(8), "little"), take(16)
        network = "ipv4" if packed.startswith(MAPPED) else "ipv6"
        network = "other" if packed.startswith(bytes.fromhex("fd87d87eeb43")) else network
    else:
        services, id_, size = number(), take(1)[0], number()
        if size > 512:
            raise Bad("over-limit")
        known = {1: ("ipv4", 4), 2: ("ipv6", 16), 4: ("onion", 32), 5: ("i2p", 32), 6: ("cjdns", 16)}
        network, wanted = known.get(id_, ("other", size))
        if size != wanted:
            raise Bad("bad-length")
        packed = (MAPPED if id_ == 1 else b"") + take(size)
    return stamp, services, network, packed, int.from_bytes(take(2), "big")


ids = st.sampled_from([1, 1, 1, 2, 4, 5, 6, 3, 7, 255])
SIZES = {1: 4, 2: 16, 4: 32, 5: 32, 6: 16}
services = st.sampled_from([0, 1, 252, 253, 1033, 1 << 16, 1 << 32, (1 << 64) - 1])


@st.composite
def good_v2(draw: st.DrawFn) -> bytes:
    id_ = draw(ids)
    size = SIZES.get(id_) or draw(st.sampled_from([0, 1, 10, 252, 253, 300, 512]))
    address = draw(st.binary(min_size=size, max_size=size))
    return v2(id_, address, draw(st.sampled_from([0, 8333, 65535])), draw(st.integers(-1000, 10_000)), draw(services))


good_v1 = st.builds(
    v1,
    st.one_of(
        st.binary(min_size=16, max_size=16),
        st.binary(min_size=4, max_size=4).map(lambda raw: MAPPED + raw),
        st.binary(min_size=10, max_size=10).map(lambda raw: bytes.fromhex("fd87d87eeb43") + raw),
    ),
    st.integers(0, 65535),
    st.integers(-1000, 10_000),
)


@st.composite
def payloads(draw: st.DrawFn, type_: str) -> bytes:
    """Mostly right; some with a wrong count, a changed byte or a cut."""
    some = draw(st.lists(good_v1 if type_ == "addr" else good_v2(), max_size=12))
    declared = len(some) + draw(st.sampled_from([0, 0, 0, 0, 1, -1, 1000]))
    raw = bytearray(compact(max(declared, 0)) + b"".join(some))
    if raw and draw(st.integers(0, 3)) == 0:
        raw[draw(st.integers(0, len(raw) - 1))] = draw(st.sampled_from([0, 0xFD, 0xFE, 0xFF, 4, 16, 32]))
    if draw(st.integers(0, 5)) == 0:
        del raw[draw(st.integers(0, len(raw))) :]
    return bytes(raw)


def read(type_: str, raw: bytes) -> list[tuple[int, int, str, bytes, int]] | str:
    """The entries, or why there are none."""
    try:
        return reference(type_, raw)
    except Bad as error:
        return str(error)


def check_against_reference(type_: str, several: list[bytes]) -> None:
    found = events(type_, several)
    entry_rows, expected = found.get("p2p:addr_entry", []), []
    summaries = {row["row"]: row for row in found.get("p2p:addr", [])}
    refused = {row["row"]: row["reason"] for row in found.get("p2p:malformed", [])}
    for row, raw in enumerate(several):
        parsed = read(type_, raw)
        if isinstance(parsed, str):
            # a message too short for its count is known to be cut before its entries are looked at
            assert refused[row] in {parsed, "truncated"}
            assert row not in summaries
            continue
        assert row not in refused
        expected += [(row, *entry) for entry in parsed]
        assert summaries[row]["entries"] == len(parsed)
        assert summaries[row]["default_port"] == sum(entry[4] == 8333 for entry in parsed)
        assert summaries[row]["future"] == sum(entry[0] > NOW_S + 600 for entry in parsed)
        assert summaries[row]["ahead"] == sum(NOW_S < entry[0] <= NOW_S + 600 for entry in parsed)
        assert summaries[row]["netgroups"] == len({one["entry_netgroup"] for one in entry_rows if one["row"] == row})
    got = [
        (one["row"], NOW_S - one["stamp_age_s"], one["services"], one["entry_network"], one["address"], one["port"])
        for one in entry_rows
    ]
    assert got == expected


@given(st.sampled_from(["addr", "addrv2"]).flatmap(lambda type_: st.tuples(st.just(type_), st.lists(payloads(type_)))))
def test_many_messages_at_once_are_read_as_core_reads_each(case: tuple[str, list[bytes]]) -> None:
    check_against_reference(*case)


def test_long_messages_are_read_as_core_reads_them() -> None:
    kinds = [v2(1, b"\1\2\3\4"), v2(4, bytes(32)), v2(7, b"x" * 300), v2(2, b"\x20" + bytes(15), services=0)]
    long = [compact(count) + b"".join(kinds[at % 4] for at in range(count)) for count in (1000, 31, 32, 33, 0, 999)]
    bad = compact(100) + b"".join(kinds * 20) + v2(1, bytes(5)) + b"".join(kinds * 5)
    check_against_reference("addrv2", [*long, bad, long[0][:-1], long[0]])


def test_a_message_is_summed_up() -> None:
    payload = compact(8) + b"".join([
        v1(MAPPED + b"\1\2\3\4"),
        v1(MAPPED + b"\1\2\4\4", port=1, age=-600),
        v1(MAPPED + b"\xe0\0\0\1", age=-601),
        v1(MAPPED + b"\x0a\1\1\x47", age=30 * 86_400 + 1),
        v1(SENDER, age=-1),
        v1(bytes.fromhex("2a0104f8") + bytes(12)),
        v1(bytes.fromhex("2a0104f8") + b"\1" + bytes(11)),
        v1(bytes.fromhex("fd87d87eeb43") + bytes(10)),
    ])  # fmt: skip
    found = events("addr", [payload, payload])
    summary = {
        "version": 1, "entries": 8, "ipv4": 5, "ipv6": 2, "onion": 0, "i2p": 0, "cjdns": 0, "other": 1, "netgroups": 5,
        "unroutable": 1, "impossible": 1, "future": 1, "ahead": 2, "stale": 1, "default_port": 7,
    }  # fmt: skip
    assert found["p2p:addr"] == [
        {"row": 0, **summary, "self_announced": True},
        {"row": 1, **summary, "self_announced": False},
    ]
    groups = prefix_texts([one["entry_netgroup"] for one in found["p2p:addr_entry"][:8]])
    assert groups == ["1.2.0.0/16"] * 2 + ["224.0.0.0/16", "unroutable", "9.8.0.0/16"] + ["2a01:4f8::/32"] * 2 + [
        "unroutable"
    ]


def test_identities_are_equal_for_equal_address_and_port_only_whatever_the_version() -> None:
    one = events("addr", [compact(2) + v1(MAPPED + b"\1\2\3\4") + v1(MAPPED + b"\1\2\3\4", port=1)])["p2p:addr_entry"]
    raws = [v2(1, b"\1\2\3\4", age=9), v2(9, b"ab"), v2(9, b"ba"), v2(9, b"ab", age=5), v2(2, MAPPED + b"\1\2\3\4")]
    two = events("addrv2", [compact(5) + b"".join(raws)])["p2p:addr_entry"]
    first, other = [row["address_id"] for row in one], [row["address_id"] for row in two]
    assert first[0] == other[0]
    assert other[1] == other[3]
    assert len({*first, *other}) == 5


@pytest.mark.parametrize(
    ("payload", "reason", "declared"),
    [
        (compact(1) + v2(1, bytes(5)), "bad-length", 1),
        (compact(1) + v2(4, bytes(33)), "bad-length", 1),
        (compact(1) + v2(77, bytes(513)), "over-limit", 1),
        (compact(1) + v2(2, bytes(16))[:-1], "truncated", 1),
        (compact(1001) + v2(1, bytes(4)) * 1001, "over-limit", 1001),
        (compact(1000), "truncated", 1000),
        (compact(1) + bytes(4) + b"\xfd\x01\x00" + bytes(10), "bad-count", 1),
        (compact(1) + bytes(5) + b"\x09\xfd\x01\x00" + bytes(10), "bad-count", 1),
    ],
)
def test_addrv2_that_core_refuses_is_malformed(payload: bytes, reason: str, declared: int) -> None:
    good = compact(1) + v2(1, b"\1\2\3\4")
    found = events("addrv2", [good, payload, good])
    assert found["p2p:malformed"] == [{"row": 1, "type": "addrv2", "reason": reason, "entries": declared}]
    assert [row["row"] for row in found["p2p:addr"]] == [0, 2]
    assert [row["row"] for row in found["p2p:addr_entry"]] == [0, 2]
