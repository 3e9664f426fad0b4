"""A capture as peer-observer would have published it: payloads are read again, apart from the program's decoders."""

from __future__ import annotations

import base64
import socket
import struct
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from tests.support.peer_observer import field, fixed64, message, record, zigzag

HEADER = struct.Struct("<Q12sI")


class Captured(NamedTuple):
    """One message of a capture. peer: as Core prints it."""

    time_us: int
    peer: str
    received: bool
    type: str
    payload: bytes


def captured(path: Path) -> list[Captured]:
    """All messages of a tar of a capture, by time."""
    found: list[Captured] = []
    with tarfile.open(path) as tar:
        for member in tar:
            file = tar.extractfile(member)
            if file is not None and member.name.endswith(".dat"):
                folder, _, name = member.name.rpartition("/")
                found += _records(file.read(), folder.rpartition("/")[2].replace("_", ":"), name == "msgs_recv.dat")
    return sorted(found, key=lambda one: one.time_us)


def _records(data: bytes, peer: str, received: bool) -> Iterator[Captured]:
    at = 0
    while at + HEADER.size <= len(data):
        time_us, type_, size = HEADER.unpack_from(data, at)
        at += HEADER.size
        yield Captured(time_us, peer, received, type_.rstrip(b"\0").decode(), data[at : at + size])
        at += size


def published(one: Captured, conn: int, peer_type: int) -> bytes | None:
    """The event of a message, in the form with microseconds; None for what peer-observer cannot parse."""
    try:
        body = _BODIES[one.type](_Cursor(one.payload))
    except (IndexError, struct.error, ValueError):
        return None
    whole = message(
        one.type, body, conn=conn, peer=one.peer, peer_type=peer_type, received=one.received, size=len(one.payload)
    )
    seconds, rest = divmod(one.time_us, 1_000_000)
    return field(1, whole) + field(10, seconds) + field(11, rest)


class _Cursor:
    """Reads a payload from its start; IndexError at its end."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, size: int) -> bytes:
        if self.at + size > len(self.data):
            raise IndexError
        self.at += size
        return self.data[self.at - size : self.at]

    def number(self, form: str) -> int:
        return int(struct.unpack(form, self.take(struct.calcsize(form)))[0])

    def compact(self) -> int:
        first = self.take(1)[0]
        return first if first < 0xFD else self.number({0xFD: "<H", 0xFE: "<I", 0xFF: "<Q"}[first])

    def list(self, size: int) -> list[bytes]:
        return [self.take(size) for _ in range(self.compact())]


def _nonce(number: int, cursor: _Cursor) -> bytes:
    return field(number, fixed64(1, cursor.number("<Q"))) if cursor.data else field(41, 1)


def _inventory(number: int, cursor: _Cursor) -> bytes:
    places = {1: 1, 2: 2, 5: 3, 0x4000_0001: 4, 0x4000_0002: 5, 4: 6}
    items = [(struct.unpack_from("<I", one)[0], one[4:]) for one in cursor.list(36)]
    entries = [field(places[kind], hash_) if kind in places else _other(kind, hash_) for kind, hash_ in items]
    return field(number, b"".join(field(1, entry) for entry in entries))


def _other(kind: int, hash_: bytes) -> bytes:
    return field(7, record((1, kind), (2, hash_)))


def _header(raw: bytes) -> bytes:
    version, previous, root, time_s, bits, nonce = struct.unpack("<i32s32sIII", raw)
    return record((1, zigzag(version)), (2, previous), (3, root), (4, time_s), (5, bits), (6, nonce), (7, bytes(32)))


def _headers(cursor: _Cursor) -> bytes:
    return field(7, b"".join(field(1, _header(one[:80])) for one in cursor.list(81)))


def _locator(cursor: _Cursor) -> bytes:
    version, hashes = cursor.number("<I"), cursor.list(32)
    return field(11, record((1, version), *((2, one) for one in hashes), (3, cursor.take(32))))


def _version(cursor: _Cursor) -> bytes:
    version, services, time_s = cursor.number("<I"), cursor.number("<Q"), cursor.number("<q")
    cursor.take(52)
    nonce, agent = cursor.number("<Q"), cursor.take(cursor.compact())
    here = record((1, 0), (2, "1.2.3.4"), (9, 0), (10, 1))
    rest = ((7, agent), (8, zigzag(cursor.number("<i"))), (9, cursor.take(1)[0]))
    return field(13, record((1, version), (2, services), (3, zigzag(time_s)), (4, here), (5, here), (6, nonce), *rest))


def _addr(cursor: _Cursor) -> bytes:
    entries = []
    for raw in cursor.list(30):
        stamp, services, place, port = struct.unpack("<IQ16s", raw[:28]) + struct.unpack(">H", raw[28:])
        entries.append(record((1, stamp), _place_v1(place), (9, services), (10, port)))
    return field(8, b"".join(field(1, entry) for entry in entries))


def _place_v1(raw: bytes) -> tuple[int, str]:
    if raw.startswith(bytes(10) + b"\xff\xff"):
        return 2, socket.inet_ntop(socket.AF_INET, raw[12:])
    if raw.startswith(bytes.fromhex("fd87d87eeb43")):
        return 4, base64.b32encode(raw[6:]).decode().lower() + ".onion"
    return 3, socket.inet_ntop(socket.AF_INET6, raw)


def _addrv2(cursor: _Cursor) -> bytes:
    entries = []
    for _ in range(cursor.compact()):
        stamp, services, network = cursor.number("<I"), cursor.compact(), cursor.take(1)[0]
        place = _place_v2(network, cursor.take(cursor.compact()))
        entries.append(record((1, stamp), place, (9, services), (10, cursor.number(">H"))))
    return field(9, b"".join(field(1, entry) for entry in entries)) if entries else field(40, 1)


def _place_v2(network: int, raw: bytes) -> tuple[int, bytes | str]:
    name = base64.b32encode(raw).decode().lower().rstrip("=")
    match network:
        case 1:
            return 2, socket.inet_ntop(socket.AF_INET, raw)
        case 2 | 6:
            return 3 if network == 2 else 7, socket.inet_ntop(socket.AF_INET6, raw)
        case 4:
            return 5, f"{name}.onion"
        case 5:
            return 6, f"{name}.b32.i2p"
    return 8, record((1, network), (2, raw))


def _cmpctblock(cursor: _Cursor) -> bytes:
    head, nonce = cursor.take(80), cursor.number("<Q")
    short = cursor.list(6)
    prefilled = [record((1, 0), (2, _tx(b"")))] * cursor.compact()
    lists = (*((3, one) for one in short), *((4, one) for one in prefilled))
    return field(16, record((1, _header(head)), (2, nonce), *lists))


def _tx(raw: bytes) -> bytes:
    return record((1, bytes(32)), (2, bytes(32)), (3, raw))


_BODIES: dict[str, Callable[[_Cursor], bytes]] = {
    "ping": lambda cursor: _nonce(2, cursor),
    "pong": lambda cursor: _nonce(3, cursor),
    "inv": lambda cursor: _inventory(4, cursor),
    "getdata": lambda cursor: _inventory(5, cursor),
    "notfound": lambda cursor: _inventory(14, cursor),
    "tx": lambda cursor: field(6, field(1, _tx(cursor.data))),
    "headers": _headers,
    "addr": _addr,
    "addrv2": _addrv2,
    "feefilter": lambda cursor: field(10, field(1, zigzag(cursor.number("<q")))),
    "getheaders": _locator,
    "version": _version,
    "cmpctblock": _cmpctblock,
    "sendcmpct": lambda cursor: field(17, record((1, cursor.take(1)[0]), (2, cursor.number("<Q")))),
    "verack": lambda _cursor: field(32, 1),
    "sendheaders": lambda _cursor: field(33, 1),
    "getaddr": lambda _cursor: field(34, 1),
    "mempool": lambda _cursor: field(35, 1),
    "wtxidrelay": lambda _cursor: field(36, 1),
    "sendaddrv2": lambda _cursor: field(37, 1),
}
