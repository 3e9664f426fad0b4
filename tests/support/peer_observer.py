"""Events as peer-observer publishes them, written byte by byte: the numbers are held against our `.proto` files."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

NOW_MS = 1_795_219_200_000  # 2026-11-21
HASH = bytes(range(32))
FLAT, MILLISECONDS, THREADS = "2024-11", "2025-12", "2026-01"
INBOUND, FULL_RELAY = 1, 2
PEER = "203.0.113.7:8333"


def varint(value: int) -> bytes:
    """A number as protobuf writes it; negative ones as 64 bits."""
    value &= (1 << 64) - 1
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*found, value))


def zigzag(value: int) -> int:
    """A number of type sint32 or sint64."""
    return value << 1 if value >= 0 else (-value << 1) - 1


def field(number: int, value: bytes | str | float) -> bytes:
    """One field: a varint, bytes or text, or a double."""
    if isinstance(value, (str, bytes)):
        data = value.encode() if isinstance(value, str) else value
        return varint(number << 3 | 2) + varint(len(data)) + data
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 1) + struct.pack("<d", value)


def fixed64(number: int, value: int) -> bytes:
    """One field of type fixed64."""
    return varint(number << 3 | 1) + struct.pack("<Q", value)


def record(*fields: tuple[int, bytes | str | float]) -> bytes:
    """A message of these fields, by number."""
    return b"".join(field(number, value) for number, value in fields)


BRANCHES = {"message": 1, "connection": 2, "addrman": 3, "mempool": 4, "validation": 5}
FLAT_BRANCHES = {**BRANCHES, "rpc": 6, "p2p": 7, "log": 8}
LATER_BRANCHES = {"traced": 1, "rpc": 2, "p2p": 3, "log": 4}


def event(branch: str, body: bytes, *, protocol: str = MILLISECONDS, time_ms: int = NOW_MS) -> bytes:
    """A whole message on NATS."""
    if protocol == FLAT:
        seconds, rest = divmod(time_ms, 1_000)
        return field(FLAT_BRANCHES[branch], body) + field(10, seconds) + field(11, rest * 1_000)
    if branch in BRANCHES:
        branch, body = "traced", field(BRANCHES[branch], body)
    return field(LATER_BRANCHES[branch], body) + field(10, time_ms)


def message(
    type_: str,
    body: bytes,
    *,
    conn: int = 7,
    peer: str = PEER,
    peer_type: int = INBOUND,
    received: bool = True,
    size: int = 8,
) -> bytes:
    """A message between peers. body: the field of its content."""
    head = record((1, conn), (2, peer), (3, peer_type), (4, type_), (5, int(received)), (6, size))
    return field(1, head) + body


def ping(nonce: int = 99, **head: object) -> bytes:
    """A ping."""
    return message("ping", field(2, fixed64(1, nonce)), **head)  # type: ignore[arg-type]


def pong(nonce: int = 99, **head: object) -> bytes:
    """A pong."""
    return message("pong", field(3, fixed64(1, nonce)), **head)  # type: ignore[arg-type]


def address(
    place: tuple[int, bytes | str], *, stamp: int = NOW_MS // 1_000, services: int = 9, port: int = 8333
) -> bytes:
    """An entry of addr or addrv2. place: the number of its network, and its text."""
    return record((1, stamp), place, (9, services), (10, port))


def addresses(type_: str, entries: Sequence[bytes], **head: object) -> bytes:
    """An addr or addrv2 message."""
    body = b"".join(field(1, entry) for entry in entries)
    return message(type_, field({"addr": 8, "addrv2": 9}[type_], body), **head)  # type: ignore[arg-type]


def header(hash_: bytes = HASH) -> bytes:
    """A block header, with every field that peer-observer writes."""
    return record((1, zigzag(4)), (2, HASH), (3, HASH), (4, 1_795_219_000), (5, 0x1D00FFFF), (6, 7), (7, hash_))


def observed(conn: int = 7, peer: str = PEER, peer_type: int = INBOUND, network: int = 1) -> bytes:
    """A peer in an event about its connection."""
    return record((1, conn), (2, peer), (3, peer_type), (4, network))


def polled_peer(conn: int = 7, *, peer: str = PEER, inbound: bool = True, **more: int) -> bytes:
    """An entry of getpeerinfo with every field that the extractor writes, by number."""
    values: dict[int, str | float] = {
        1: conn, 2: peer, 3: "", 4: "", 5: "ipv4", 6: 0, 7: "0000000000000409", 8: 1, 9: 1, 10: 1, 11: 0, 12: 0,
        13: 5_000, 14: 6_000, 15: NOW_MS // 1_000 - 600, 16: -2, 17: 0.25, 18: 0.125, 19: 0.0, 20: 70_016,
        21: "/Satoshi:29.0.0/", 22: int(inbound), 23: 0, 24: 0, 25: 900_000, 26: 900_001, 27: 900_001, 29: 1, 30: 40,
        31: 3, 33: 0.00001, 36: "inbound" if inbound else "outbound-full-relay", 37: "v2", 38: 12, 129: 0.5,
    }  # fmt: skip
    return record(*sorted(values.items()), *((int(number[1:]), value) for number, value in more.items()))


def archive(records: Sequence[bytes], *, head: bytes | None = None) -> bytes:
    """An archive file of these events. head: bytes of the head record."""
    first = field(1, NOW_MS // 1_000) if head is None else head
    return b"".join(varint(len(one)) + one for one in (first, *records))


def sendable(make: Callable[[int], bytes], rows: int) -> list[bytes]:
    """Events of rising times and content: `make` gets the number of each."""
    return [make(number) for number in range(rows)]
