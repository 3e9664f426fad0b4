"""Prefixes: a netgroup, a netblock, a subnet or an AS number in one uint64.

The top byte says what it is, the lower 56 bits hold the prefix, right-aligned. Two
addresses are in one group exactly when their prefixes are equal, so keys stay numbers
on the hot path and become text ("136.43.0.0/16", "AS24940") only for people.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

PAYLOAD_BITS = 56
_PAYLOAD_MASK = (1 << PAYLOAD_BITS) - 1

UNROUTABLE, LOCAL, INTERNAL, AS, IPV4_16, IPV4_24, IPV6_32, IPV6_36, IPV6_48, ONION, I2P, CJDNS, UNKNOWN = range(13)
UNROUTABLE_PREFIX = UNROUTABLE << PAYLOAD_BITS
LOCAL_PREFIX = LOCAL << PAYLOAD_BITS
UNKNOWN_PREFIX = UNKNOWN << PAYLOAD_BITS  # of an event that does not say it; no address has it

_WORDS = {UNROUTABLE: "unroutable", LOCAL: "local", INTERNAL: "internal", UNKNOWN: "unknown"}
# Bitcoin Core's GetGroup: 4 bits of the key for overlay networks
_OVERLAYS = {ONION: "onion", I2P: "i2p", CJDNS: "cjdns"}
_IP_BITS = {IPV4_16: 16, IPV4_24: 24, IPV6_32: 32, IPV6_36: 36, IPV6_48: 48}
_IPV4_BY_BITS = {16: IPV4_16, 24: IPV4_24}
_IPV6_BY_BITS = {32: IPV6_32, 36: IPV6_36, 48: IPV6_48}
_CODE_OF_WORD = {word: code for code, word in _WORDS.items()}
_CODE_OF_OVERLAY = {word: code for code, word in _OVERLAYS.items()}
_LARGEST_AS = 0xFFFFFFFF
_AS_TEXT = re.compile(r"AS(0|[1-9][0-9]{0,9})", re.ASCII)
_OVERLAY_TEXT = re.compile(r"(onion|i2p|cjdns):(0|[1-9]|1[0-5])", re.ASCII)


def pack_prefixes(code: int, payload: NDArray[np.generic] | int) -> NDArray[np.uint64]:
    """Return prefixes of one type; `payload` holds the right-aligned prefix bits (at most 56)."""
    return np.asarray(payload, np.uint64) | np.uint64(code << PAYLOAD_BITS)


def prefix_texts(values: Iterable[int] | NDArray[np.uint64]) -> list[str]:
    """Return the text of each prefix; total: a value of no known form reads "prefix:0x...".

    IPv4 and IPv6 read as CIDR, AS numbers as "AS24940", overlay groups as "onion:5"
    (0 to 15), and "local", "internal", "unroutable" and "unknown" stand for themselves.
    """
    plain = values.tolist() if isinstance(values, np.ndarray) else values
    return [_text(int(value)) for value in plain]


@lru_cache(maxsize=16_384)
def _text(value: int) -> str:
    code, payload = value >> PAYLOAD_BITS, value & _PAYLOAD_MASK
    if code in _WORDS and payload == 0:
        return _WORDS[code]
    if code in _OVERLAYS and payload < 16:
        return f"{_OVERLAYS[code]}:{payload}"
    if code == AS and payload <= _LARGEST_AS:
        return f"AS{payload}"
    bits = _IP_BITS.get(code, 0)
    if not bits or payload >> bits:
        return f"prefix:{value:#018x}"
    if code in (IPV4_16, IPV4_24):
        return f"{socket.inet_ntop(socket.AF_INET, (payload << (32 - bits)).to_bytes(4, 'big'))}/{bits}"
    return f"{socket.inet_ntop(socket.AF_INET6, (payload << (128 - bits)).to_bytes(16, 'big'))}/{bits}"


def parse_prefix(text: str) -> int:
    """Return the prefix that `text` names, inverse of `prefix_texts`; ValueError for anything else."""
    if text in _CODE_OF_WORD:
        return _CODE_OF_WORD[text] << PAYLOAD_BITS
    overlay = _OVERLAY_TEXT.fullmatch(text)
    if overlay:
        return _CODE_OF_OVERLAY[overlay[1]] << PAYLOAD_BITS | int(overlay[2])
    number = _AS_TEXT.fullmatch(text)
    if number and int(number[1]) <= _LARGEST_AS:
        return AS << PAYLOAD_BITS | int(number[1])
    address, slash, length = text.partition("/")
    if not slash:
        raise ValueError(f"not a prefix: {text!r}; write one like '136.43.0.0/16', 'AS24940' or 'onion:5'")
    return _parse_cidr(text, address, length)


def _parse_cidr(text: str, address: str, length: str) -> int:
    six = ":" in address
    by_bits, width = (_IPV6_BY_BITS, 128) if six else (_IPV4_BY_BITS, 32)
    try:
        raw = socket.inet_pton(socket.AF_INET6 if six else socket.AF_INET, address)
    except (OSError, ValueError):
        raise ValueError(f"not an address in prefix {text!r}") from None
    allowed = {str(bits): bits for bits in by_bits}
    if length not in allowed:
        raise ValueError(f"prefix {text!r} has length {length!r}; allowed are {', '.join(allowed)}")
    bits = allowed[length]
    number = int.from_bytes(raw, "big")
    if number & ((1 << (width - bits)) - 1):
        raise ValueError(f"prefix {text!r} has bits set beyond its length")
    return by_bits[bits] << PAYLOAD_BITS | number >> (width - bits)
