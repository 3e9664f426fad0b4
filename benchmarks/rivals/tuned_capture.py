"""A second rival of decode-capture, for information: the same dicts, with all that plain Python can do for speed.

What a script beside Bitcoin Core's contrib/message-capture does: read each file record by record, parse each payload
by its type into a dict of its fields (addresses, inventory entries, headers and transactions with their inputs and
outputs included), and sort all messages by time.

Why this is the best form that we know: one bytes object a file and `Struct.unpack_from` at places in it, so that
nothing is copied before it is kept; lists of fixed entries by `iter_unpack` over a memoryview; parsers found by type in
a dict. It leaves out what the engine's source also does: connections, networks and netgroups, Core's addr bucket,
answers to questions, and refusing malformed messages with a reason.

Alone: python -m benchmarks.rivals.tuned_capture DIR
"""

from __future__ import annotations

import struct
import sys
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

_HEADER = struct.Struct("<Q12sI")
_U16, _U32, _U64, _I32, _I64 = (struct.Struct(form).unpack_from for form in ("<H", "<I", "<Q", "<i", "<q"))
_ADDR = struct.Struct("<IQ16sH")
_INV = struct.Struct("<I32s")
_BLOCK_HEADER = struct.Struct("<i32s32sIII")
_VERSION = struct.Struct("<iQq8x16sH8x16sHQ")
_PORT = struct.Struct(">H").unpack_from
_INPUT = struct.Struct("<32sI")

Fields = dict[str, Any]  # a message as JSON would have it


def _count(raw: bytes, at: int) -> tuple[int, int]:
    """Return a CompactSize number and the place after it."""
    first = raw[at]
    if first < 0xFD:
        return first, at + 1
    if first == 0xFD:
        return _U16(raw, at + 1)[0], at + 3
    if first == 0xFE:
        return _U32(raw, at + 1)[0], at + 5
    return _U64(raw, at + 1)[0], at + 9


def _bytes(raw: bytes, at: int) -> tuple[bytes, int]:
    """Bytes with their length before them, and the place after them."""
    size, at = _count(raw, at)
    return raw[at : at + size], at + size


def _version(raw: bytes, at: int, _end: int) -> Fields:
    version, services, stamp, receiver, receiver_port, sender, sender_port, nonce = _VERSION.unpack_from(raw, at)
    agent, at = _bytes(raw, at + _VERSION.size)
    return {
        "version": version,
        "services": services,
        "time": stamp,
        "receiver": (receiver.hex(), receiver_port),
        "sender": (sender.hex(), sender_port),
        "nonce": nonce,
        "user_agent": agent.decode("latin-1"),
        "start_height": _I32(raw, at)[0],
        "relay": raw[at + 4] if at + 4 < _end else 1,
    }


def _addr(raw: bytes, at: int, _end: int) -> Fields:
    count, at = _count(raw, at)
    entries = _ADDR.iter_unpack(memoryview(raw)[at : at + 30 * count])
    return {
        "addrs": [
            {"time": stamp, "services": services, "ip": address.hex(), "port": (port & 255) << 8 | port >> 8}
            for stamp, services, address, port in entries
        ]
    }


def _addrv2(raw: bytes, at: int, _end: int) -> Fields:
    count, at = _count(raw, at)
    entries = []
    for _ in range(count):
        stamp = _U32(raw, at)[0]
        services, at = _count(raw, at + 4)
        network = raw[at]
        address, at = _bytes(raw, at + 1)
        entries.append(
            {"time": stamp, "services": services, "net": network, "ip": address.hex(), "port": _PORT(raw, at)[0]}
        )
        at += 2
    return {"addrs": entries}


def _inventory(raw: bytes, at: int, _end: int) -> Fields:
    count, at = _count(raw, at)
    entries = _INV.iter_unpack(memoryview(raw)[at : at + 36 * count])
    return {"inv": [{"type": type_, "hash": hash_[::-1].hex()} for type_, hash_ in entries]}


def _header(raw: bytes, at: int) -> Fields:
    version, before, root, stamp, bits, nonce = _BLOCK_HEADER.unpack_from(raw, at)
    return {
        "hash": sha256(sha256(raw[at : at + 80]).digest()).digest()[::-1].hex(),
        "version": version,
        "previous": before[::-1].hex(),
        "merkle_root": root[::-1].hex(),
        "time": stamp,
        "bits": bits,
        "nonce": nonce,
    }


def _headers(raw: bytes, at: int, _end: int) -> Fields:
    count, at = _count(raw, at)
    return {"headers": [_header(raw, at + 81 * number) for number in range(count)]}


def _locator(raw: bytes, at: int, _end: int) -> Fields:
    count, first = _count(raw, at + 4)
    hashes = [raw[first + 32 * number : first + 32 * number + 32][::-1].hex() for number in range(count)]
    return {"version": _U32(raw, at)[0], "locator": hashes, "stop": raw[-32:].hex()}


def _nonce(raw: bytes, at: int, end: int) -> Fields:
    return {"nonce": _U64(raw, at)[0] if end - at >= 8 else 0}


def _feefilter(raw: bytes, at: int, _end: int) -> Fields:
    return {"feerate": _I64(raw, at)[0]}


def _sendcmpct(raw: bytes, at: int, _end: int) -> Fields:
    return {"announce": bool(raw[at]), "version": _U64(raw, at + 1)[0]}


def _transaction(raw: bytes, start: int) -> tuple[Fields, int]:
    """Return a transaction and the place after it."""
    at = start + 4
    witness = raw[at] == 0 and raw[at + 1] == 1
    body = at + 2 if witness else at
    count, at = _count(raw, body)
    inputs = []
    for _ in range(count):
        before, index = _INPUT.unpack_from(raw, at)
        script, at = _bytes(raw, at + 36)
        inputs.append({"txid": before[::-1].hex(), "n": index, "script": script.hex(), "sequence": _U32(raw, at)[0]})
        at += 4
    count, at = _count(raw, at)
    outputs = []
    for _ in range(count):
        value = _I64(raw, at)[0]
        script, at = _bytes(raw, at + 8)
        outputs.append({"value": value, "script": script.hex()})
    end_of_body = at
    if witness:
        for spent in inputs:
            count, at = _count(raw, at)
            stack = []
            for _ in range(count):
                item, at = _bytes(raw, at)
                stack.append(item.hex())
            spent["witness"] = stack
    end = at + 4
    stripped = raw[start : start + 4] + raw[body:end_of_body] + raw[at:end] if witness else raw[start:end]
    txid = sha256(sha256(stripped).digest()).digest()[::-1].hex()
    fields = {"txid": txid, "version": _I32(raw, start)[0], "vin": inputs, "vout": outputs}
    fields["locktime"] = _U32(raw, at)[0]
    fields["vsize"] = (3 * len(stripped) + end - start + 3) // 4
    return fields, end


def _tx(raw: bytes, at: int, _end: int) -> Fields:
    return {"tx": _transaction(raw, at)[0]}


def _block(raw: bytes, at: int, _end: int) -> Fields:
    header = _header(raw, at)
    header["vtx"] = _transactions(raw, at + 80)
    return {"block": header}


def _transactions(raw: bytes, at: int) -> list[Fields]:
    count, at = _count(raw, at)
    found = []
    for _ in range(count):
        transaction, at = _transaction(raw, at)
        found.append(transaction)
    return found


def _cmpctblock(raw: bytes, at: int, _end: int) -> Fields:
    fields = {"header": _header(raw, at), "nonce": _U64(raw, at + 80)[0]}
    count, at = _count(raw, at + 88)
    fields["shortids"] = [int.from_bytes(raw[at + 6 * n : at + 6 * n + 6], "little") for n in range(count)]
    count, at = _count(raw, at + 6 * count)
    prefilled = []
    for _ in range(count):
        index, at = _count(raw, at)
        transaction, at = _transaction(raw, at)
        prefilled.append({"index": index, "tx": transaction})
    fields["prefilled"] = prefilled
    return fields


def _getblocktxn(raw: bytes, at: int, _end: int) -> Fields:
    count, place = _count(raw, at + 32)
    indexes = []
    for _ in range(count):
        index, place = _count(raw, place)
        indexes.append(index)
    return {"hash": raw[at : at + 32][::-1].hex(), "indexes": indexes}


def _blocktxn(raw: bytes, at: int, _end: int) -> Fields:
    return {"hash": raw[at : at + 32][::-1].hex(), "transactions": _transactions(raw, at + 32)}


_PARSERS: dict[str, Callable[[bytes, int, int], Fields]] = {
    "version": _version,
    "addr": _addr,
    "addrv2": _addrv2,
    "inv": _inventory,
    "getdata": _inventory,
    "notfound": _inventory,
    "headers": _headers,
    "getheaders": _locator,
    "getblocks": _locator,
    "ping": _nonce,
    "pong": _nonce,
    "feefilter": _feefilter,
    "sendcmpct": _sendcmpct,
    "tx": _tx,
    "block": _block,
    "cmpctblock": _cmpctblock,
    "getblocktxn": _getblocktxn,
    "blocktxn": _blocktxn,
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
    at, end = 0, len(raw)
    names: dict[bytes, str] = {}
    while at + 24 <= end:
        time_us, padded, size = _HEADER.unpack_from(raw, at)
        at += 24
        type_ = names.get(padded) or names.setdefault(padded, padded.rstrip(b"\0").decode("latin-1"))
        message: Fields = {"time": time_us, "peer": peer, "direction": direction, "msgtype": type_, "size": size}
        parse = _PARSERS.get(type_)
        if parse is not None:
            try:
                message["body"] = parse(raw, at, at + size)
            except (struct.error, IndexError) as error:
                message["error"] = str(error)
        messages.append(message)
        at += size


def main(arguments: list[str]) -> int:
    """Parse a tree and say how fast."""
    if len(arguments) != 1 or not Path(arguments[0]).is_dir():
        print("usage: python -m benchmarks.rivals.tuned_capture DIR", file=sys.stderr)
        return 2
    start = time.process_time()
    messages = parse_tree(Path(arguments[0]))
    print(f"{len(messages) / (time.process_time() - start):,.0f} messages/s")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
