"""The rival of decode-capture: a capture tree to one dict a message, message by message, in plain Python.

It works as Bitcoin Core's contrib/message-capture script does: each record's payload becomes a stream, a message object
of its type reads itself field by field from it, lists entry by entry, and a walk over the object's fields makes the
dict, with bytes as hex text; at the end all messages are sorted by time. It leaves out what the engine's source also
does: connections, networks and netgroups, Core's addr bucket, answers to questions, transaction ids, and refusing
malformed messages with a reason. Objects have slots, and files are read at once.

tuned_capture.py replaces objects and streams by dicts made in place and hand-made offsets;
`make bench` prints that, too, for information.

Alone: python -m benchmarks.rivals.plain_capture DIR
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

Fields = dict[str, Any]  # a message as JSON would have it


class Part:
    """Something that a stream holds: a message, or an entry of one; its slots are its fields."""

    __slots__: tuple[str, ...] = ()


Parser = Callable[[BytesIO], Any]


def as_plain(value: Any) -> Any:
    """Return a part as JSON-able data."""
    if isinstance(value, Part):
        return {name: as_plain(getattr(value, name)) for name in value.__slots__ if hasattr(value, name)}
    if isinstance(value, list):
        return [as_plain(item) for item in value]
    return value.hex() if isinstance(value, bytes) else value


def _uint(stream: BytesIO, size: int) -> int:
    """Return a little-endian number."""
    return int.from_bytes(stream.read(size), "little")


def _count(stream: BytesIO) -> int:
    """Return a CompactSize number."""
    first = _uint(stream, 1)
    return first if first < 0xFD else _uint(stream, 2 << (first - 0xFD))


def _bytes(stream: BytesIO) -> bytes:
    """Bytes with their length before them."""
    return stream.read(_count(stream))


def _hash(stream: BytesIO) -> bytes:
    """Return a hash in the order that people write."""
    return stream.read(32)[::-1]


def _list(stream: BytesIO, entry: Parser) -> list[Any]:
    """Entries with their number before them."""
    return [entry(stream) for _ in range(_count(stream))]


class Address(Part):
    """An address without a stamp, as in version."""

    __slots__ = ("services", "ip", "port")

    def __init__(self, stream: BytesIO) -> None:
        self.services = _uint(stream, 8)
        self.ip = stream.read(16)
        self.port = int.from_bytes(stream.read(2), "big")


class Entry(Part):
    """An entry of addr."""

    __slots__ = ("time", "services", "ip", "port")

    def __init__(self, stream: BytesIO) -> None:
        self.time = _uint(stream, 4)
        self.services = _uint(stream, 8)
        self.ip = stream.read(16)
        self.port = int.from_bytes(stream.read(2), "big")


class EntryV2(Part):
    """An entry of addrv2."""

    __slots__ = ("time", "services", "net", "ip", "port")

    def __init__(self, stream: BytesIO) -> None:
        self.time = _uint(stream, 4)
        self.services = _count(stream)
        self.net = _uint(stream, 1)
        self.ip = _bytes(stream)
        self.port = int.from_bytes(stream.read(2), "big")


class Version(Part):
    """A version message."""

    __slots__ = ("version", "services", "time", "receiver", "sender", "nonce", "user_agent", "start_height", "relay")

    def __init__(self, stream: BytesIO) -> None:
        self.version = _uint(stream, 4)
        self.services = _uint(stream, 8)
        self.time = _uint(stream, 8)
        self.receiver = Address(stream)
        self.sender = Address(stream)
        self.nonce = _uint(stream, 8)
        self.user_agent = _bytes(stream).decode("latin-1")
        self.start_height = _uint(stream, 4)
        self.relay = _uint(stream, 1)


class Item(Part):
    """An entry of inv, getdata or notfound."""

    __slots__ = ("type", "hash")

    def __init__(self, stream: BytesIO) -> None:
        self.type = _uint(stream, 4)
        self.hash = _hash(stream)


class Header(Part):
    """A block header."""

    __slots__ = ("version", "previous", "merkle_root", "time", "bits", "nonce")

    def __init__(self, stream: BytesIO) -> None:
        self.version = _uint(stream, 4)
        self.previous = _hash(stream)
        self.merkle_root = _hash(stream)
        self.time = _uint(stream, 4)
        self.bits = _uint(stream, 4)
        self.nonce = _uint(stream, 4)


class ListedHeader(Part):
    """An entry of headers."""

    __slots__ = ("header", "transactions")

    def __init__(self, stream: BytesIO) -> None:
        self.header = Header(stream)
        self.transactions = _count(stream)


class Input(Part):
    """An input of a transaction."""

    __slots__ = ("txid", "n", "script", "sequence")

    def __init__(self, stream: BytesIO) -> None:
        self.txid = _hash(stream)
        self.n = _uint(stream, 4)
        self.script = _bytes(stream)
        self.sequence = _uint(stream, 4)


class Output(Part):
    """An output of a transaction."""

    __slots__ = ("value", "script")

    def __init__(self, stream: BytesIO) -> None:
        self.value = _uint(stream, 8)
        self.script = _bytes(stream)


class Transaction(Part):
    """A transaction."""

    __slots__ = ("locktime", "version", "vin", "vout", "witness")

    def __init__(self, stream: BytesIO) -> None:
        self.version = _uint(stream, 4)
        self.vin = _list(stream, Input)
        segregated = not self.vin and _uint(stream, 1) == 1
        if segregated:
            self.vin = _list(stream, Input)
        self.vout = _list(stream, Output)
        if segregated:
            self.witness = [_list(stream, _bytes) for _ in self.vin]
        self.locktime = _uint(stream, 4)


class Prefilled(Part):
    """A transaction that comes with a compact block."""

    __slots__ = ("index", "tx")

    def __init__(self, stream: BytesIO) -> None:
        self.index = _count(stream)
        self.tx = Transaction(stream)


class CompactBlock(Part):
    """A cmpctblock message."""

    __slots__ = ("header", "nonce", "shortids", "prefilled")

    def __init__(self, stream: BytesIO) -> None:
        self.header = Header(stream)
        self.nonce = _uint(stream, 8)
        self.shortids = _list(stream, lambda short: _uint(short, 6))
        self.prefilled = _list(stream, Prefilled)


class Locator(Part):
    """A getheaders or getblocks message."""

    __slots__ = ("version", "locator", "stop")

    def __init__(self, stream: BytesIO) -> None:
        self.version = _uint(stream, 4)
        self.locator = _list(stream, _hash)
        self.stop = _hash(stream)


class Addresses(Part):
    """An addr message."""

    __slots__ = ("addrs",)

    def __init__(self, stream: BytesIO) -> None:
        self.addrs = _list(stream, Entry)


class AddressesV2(Part):
    """An addrv2 message."""

    __slots__ = ("addrs",)

    def __init__(self, stream: BytesIO) -> None:
        self.addrs = _list(stream, EntryV2)


class Inventory(Part):
    """An inv, getdata or notfound message."""

    __slots__ = ("inv",)

    def __init__(self, stream: BytesIO) -> None:
        self.inv = _list(stream, Item)


class Headers(Part):
    """A headers message."""

    __slots__ = ("headers",)

    def __init__(self, stream: BytesIO) -> None:
        self.headers = _list(stream, ListedHeader)


class Nonce(Part):
    """A ping or pong message."""

    __slots__ = ("nonce",)

    def __init__(self, stream: BytesIO) -> None:
        self.nonce = _uint(stream, 8)


class FeeFilter(Part):
    """A feefilter message."""

    __slots__ = ("feerate",)

    def __init__(self, stream: BytesIO) -> None:
        self.feerate = _uint(stream, 8)


class SendCompact(Part):
    """A sendcmpct message."""

    __slots__ = ("announce", "version")

    def __init__(self, stream: BytesIO) -> None:
        self.announce = _uint(stream, 1)
        self.version = _uint(stream, 8)


class TransactionMessage(Part):
    """A tx message."""

    __slots__ = ("tx",)

    def __init__(self, stream: BytesIO) -> None:
        self.tx = Transaction(stream)


class Block(Part):
    """A block message."""

    __slots__ = ("header", "vtx")

    def __init__(self, stream: BytesIO) -> None:
        self.header = Header(stream)
        self.vtx = _list(stream, Transaction)


class WantedTransactions(Part):
    """A getblocktxn message."""

    __slots__ = ("hash", "indexes")

    def __init__(self, stream: BytesIO) -> None:
        self.hash = _hash(stream)
        self.indexes = _list(stream, _count)


class BlockTransactions(Part):
    """A blocktxn message."""

    __slots__ = ("hash", "transactions")

    def __init__(self, stream: BytesIO) -> None:
        self.hash = _hash(stream)
        self.transactions = _list(stream, Transaction)


_PARSERS: dict[str, Parser] = {
    "version": Version,
    "addr": Addresses,
    "addrv2": AddressesV2,
    "inv": Inventory,
    "getdata": Inventory,
    "notfound": Inventory,
    "headers": Headers,
    "getheaders": Locator,
    "getblocks": Locator,
    "ping": Nonce,
    "pong": Nonce,
    "feefilter": FeeFilter,
    "sendcmpct": SendCompact,
    "tx": TransactionMessage,
    "block": Block,
    "cmpctblock": CompactBlock,
    "getblocktxn": WantedTransactions,
    "blocktxn": BlockTransactions,
}


def parse_tree(root: Path) -> list[Fields]:
    """All messages of a tree by time."""
    messages: list[Fields] = []
    for folder in sorted(root.iterdir()):
        for name, direction in (("msgs_recv.dat", "recv"), ("msgs_sent.dat", "sent")):
            path = folder / name
            if path.exists():
                _parse_file(path.read_bytes(), folder.name, direction, messages)
    messages.sort(key=lambda message: int(message["time"]))
    return messages


def _parse_file(raw: bytes, peer: str, direction: str, messages: list[Fields]) -> None:
    stream = BytesIO(raw)
    while len(header := stream.read(24)) == 24:
        size = int.from_bytes(header[20:], "little")
        message: Fields = {
            "time": int.from_bytes(header[:8], "little"),
            "peer": peer,
            "direction": direction,
            "msgtype": header[8:20].rstrip(b"\0").decode("latin-1"),
            "size": size,
        }
        payload = stream.read(size)
        parse = _PARSERS.get(message["msgtype"])
        if parse is not None:
            message["body"] = as_plain(parse(BytesIO(payload)))
        messages.append(message)


def main(arguments: list[str]) -> int:
    """Parse a tree and say how fast."""
    if len(arguments) != 1 or not Path(arguments[0]).is_dir():
        print("usage: python -m benchmarks.rivals.plain_capture DIR", file=sys.stderr)
        return 2
    start = time.process_time()
    messages = parse_tree(Path(arguments[0]))
    print(f"{len(messages) / (time.process_time() - start):,.0f} messages/s")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
