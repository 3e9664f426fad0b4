"""Addresses as Bitcoin Core prints them, to network, packed bytes and port, and back.

Packed: 16 bytes for IPv4 (as ::ffff:a.b.c.d), IPv6 and CJDNS, the 32-byte key for Tor v3 and
I2P. The network says how to read them: an IPv6 address is never of the mapped form.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import ipaddress
import socket
from dataclasses import dataclass

from watchdog.core.core_constants import CJDNS_PREFIX, IPV4_IN_IPV6_PREFIX
from watchdog.core.text import printable

# Bitcoin Core's enum Network, which the tracepoints give. OTHER: a network id that Core does not know.
UNROUTABLE, IPV4, IPV6, ONION, I2P, CJDNS, INTERNAL, OTHER = range(8)
NETWORK_NAMES = ("unroutable", "ipv4", "ipv6", "onion", "i2p", "cjdns", "internal", "other")
MAPPED = IPV4_IN_IPV6_PREFIX

_LONGEST = 256  # characters; an I2P address with port has 66
_ONION_BYTES = 35  # 32 of the key, 2 of the checksum, 1 of the version
_ONION_VERSION = 3
_KEY_BYTES = 32
_LARGEST_PORT = 65535


@dataclass(frozen=True, slots=True)
class Address:
    """A network (one of the codes above), its packed bytes, and the port (0 if the text had none)."""

    network: int
    packed: bytes
    port: int


def split_port(text: str) -> tuple[str, int]:
    """Split off the port: address text without brackets, and the port, 0 when missing or not a port. Never raises."""
    host, colon, digits = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    is_port = colon and digits.isascii() and digits.isdecimal() and len(digits) <= 5
    if not is_port or (":" in host and not bracketed):  # an IPv6 address without brackets has no port
        host, digits = text, "0"
    port = int(digits)
    if port > _LARGEST_PORT:
        host, port = text, 0
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    return host, port


def parse_address(text: str) -> Address | None:
    """Parse what Core prints ("1.2.3.4:8333", "[2a01::1]:8333", "...onion:8333"), with or without port.

    None when it is no address. fc00::/8 reads as CJDNS: Core prints both alike, and as IPv6
    it would be unroutable. The checksum of an onion name is left to the node that printed it.
    """
    if len(text) > _LONGEST or not text.isascii():
        return None
    host, port = split_port(text)
    if host.endswith(".onion"):
        key = _base32(host[: -len(".onion")], _ONION_BYTES)
        known = key is not None and key[-1] == _ONION_VERSION
        return Address(ONION, key[:_KEY_BYTES], port) if key is not None and known else None
    if host.lower().endswith(".b32.i2p"):
        key = _base32(host[: -len(".b32.i2p")], _KEY_BYTES)
        return Address(I2P, key, port) if key is not None else None
    return _parse_ip(host.partition("%")[0], port)


def _parse_ip(host: str, port: int) -> Address | None:
    try:
        packed = socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)
    except (OSError, ValueError):
        return None
    if len(packed) == 4:
        return Address(IPV4, MAPPED + packed, port)
    if packed.startswith(MAPPED):
        return Address(IPV4, packed, port)
    return Address(CJDNS if packed[0] == CJDNS_PREFIX else IPV6, packed, port)


def _base32(text: str, size: int) -> bytes | None:
    """Return the bytes of unpadded base32, None unless there are exactly `size`."""
    try:
        raw = base64.b32decode(text.upper() + "=" * (-len(text) % 8))
    except (binascii.Error, ValueError):
        return None
    return raw if len(raw) == size else None


def address_text(network: int, packed: bytes) -> str:
    """Return Core's text for a packed address, without port. Total: bytes of no known form give their hex."""
    if network == IPV4 and len(packed) == 16:
        return socket.inet_ntop(socket.AF_INET, packed[12:])
    if network in (IPV6, CJDNS, UNROUTABLE) and len(packed) == 16:
        return _ipv6_text(packed)
    if network == ONION and len(packed) == _KEY_BYTES:
        version = bytes([_ONION_VERSION])
        checksum = hashlib.sha3_256(b".onion checksum" + packed + version).digest()[:2]
        return base64.b32encode(packed + checksum + version).decode().lower() + ".onion"
    if network == I2P and len(packed) == _KEY_BYTES:
        return base64.b32encode(packed).decode().lower().rstrip("=") + ".b32.i2p"
    return printable(packed.hex())


def _ipv6_text(packed: bytes) -> str:
    """Write RFC 5952 without dotted quads, as Core prints it (the C library writes ::1.2.3.4)."""
    if packed.startswith(MAPPED):
        return socket.inet_ntop(socket.AF_INET, packed[12:])
    if packed.startswith(bytes(10)):
        return str(ipaddress.IPv6Address(packed))
    return socket.inet_ntop(socket.AF_INET6, packed)
