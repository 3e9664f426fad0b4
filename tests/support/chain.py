"""Blocks with real proof of work, cheap enough to be mined in tests, and messages that name them."""

from __future__ import annotations

from hashlib import sha256
from itertools import count

EASIEST = 0x207FFFFF  # regtest: every second header meets it
HARDER = 0x1F7FFFFF  # 256 times as hard
SECOND_US = 1_000_000


def hash_of(header: bytes) -> bytes:
    """The block hash, in internal order."""
    return sha256(sha256(header).digest()).digest()


def mined(time_s: int, bits: int = HARDER, *, salt: int = 0) -> bytes:
    """A header of that time whose hash meets its own target; another one for each salt."""
    target = (bits & 0x7FFFFF) << 8 * ((bits >> 24) - 3)
    front = (2).to_bytes(4, "little") + salt.to_bytes(64, "little") + time_s.to_bytes(4, "little")
    for nonce in count():
        header = front + bits.to_bytes(4, "little") + nonce.to_bytes(4, "little")
        if int.from_bytes(hash_of(header), "little") <= target:
            return header
    raise AssertionError


def headers(*some: bytes) -> bytes:
    """The payload of a headers message of up to 252 headers."""
    return bytes([len(some)]) + b"".join(header + b"\0" for header in some)


def compact(header: bytes) -> bytes:
    """The payload of a compact block with one short id, of whatever transactions."""
    return header + bytes(8) + b"\x01" + bytes(6) + b"\x00"


def block_inv(header: bytes) -> bytes:
    """The payload of an inv message that names the block."""
    return b"\x01" + (2).to_bytes(4, "little") + hash_of(header)
