"""Where webhooks may go: public addresses only, unless a receiver says that it may be private.

A URL in a configuration can point at the host's own services or at a cloud's metadata address, and a name can
resolve to another address at every look-up. So the check is made on the address of the very socket that is about
to be connected (`socket_guard`), not on a name beforehand.
"""

from __future__ import annotations

import errno
import ipaddress
import re
import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
# What aiohttp hands to a socket factory: family, type, protocol, canonical name, address
AddressInfo = tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[Any, ...]]

# IANA special-purpose registries (RFC 6890 and its updates): what is not a public unicast address, and its name.
_SPECIAL: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("unspecified", ("0.0.0.0/8", "::/128")),
    ("loopback", ("127.0.0.0/8", "::1/128")),
    ("link-local", ("169.254.0.0/16", "fe80::/10")),
    ("multicast", ("224.0.0.0/4", "ff00::/8")),
    ("private", ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7", "fec0::/10")),
    (
        "reserved",
        (
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.88.99.0/24",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "240.0.0.0/4",
            "100::/64",
            "2001::/23",
            "2001:db8::/32",
            "3fff::/20",
            "5f00::/16",
        ),
    ),
)
_NETWORKS = tuple((name, ipaddress.ip_network(text)) for name, texts in _SPECIAL for text in texts)
# Prefixes whose addresses stand for an IPv4 address, with the bits that lie right of it
_EMBEDDED = (
    (ipaddress.IPv6Network("::ffff:0:0/96"), 0),  # IPv4-mapped
    (ipaddress.IPv6Network("::ffff:0:0:0/96"), 0),  # IPv4-translated (RFC 2765)
    (ipaddress.IPv6Network("::/96"), 0),  # IPv4-compatible
    (ipaddress.IPv6Network("64:ff9b::/96"), 0),  # NAT64 (RFC 6052)
    (ipaddress.IPv6Network("2002::/16"), 80),  # 6to4
)
LONGEST_HOST = 254  # characters of a name, with the dot at its end
_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_LOCAL_NAT64 = ipaddress.IPv6Network("64:ff9b:1::/48")  # RFC 8215: where the IPv4 address lies is the site's choice


class TargetRefusedError(OSError):
    """A receiver's address is not public and the receiver does not say `allow_private`."""


def kind_of(address: IpAddress) -> str | None:
    """Return why an address is refused for webhooks (`loopback`, `private`, ...); None for a public one.

    Addresses that stand for an IPv4 address (IPv4-mapped, NAT64, 6to4, ...) are judged as that address.
    """
    for name, network in _NETWORKS:
        if address.version == network.version and address in network:
            return name
    if isinstance(address, ipaddress.IPv6Address):
        if address in _LOCAL_NAT64:
            return "private"
        for network, right in _EMBEDDED:
            if address in network:
                return kind_of(ipaddress.IPv4Address(int(address) >> right & 0xFFFF_FFFF))
    return None


def refusal(host: str) -> str | None:
    """Return why a literal address is refused, None when it is public. A text that is no address is refused too."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return f"{host!r} is no plain IP address"
    kind = kind_of(address)
    return None if kind is None else f"{host} is {kind}; 'allow_private: true' would permit it"


def socket_guard(*, allow_private: bool) -> Callable[[AddressInfo], socket.socket]:
    """Return a socket factory for connections to checked addresses; TargetRefusedError for others."""

    def make(info: AddressInfo) -> socket.socket:
        family, kind, protocol, _, place = info
        if not allow_private and (reason := refusal(str(place[0]))) is not None:
            raise TargetRefusedError(errno.EACCES, reason)
        return socket.socket(family, kind, protocol)

    return make


def url_fault(url: str, *, allow_private: bool) -> str | None:
    """Return the fault of a receiver's URL, as far as it shows without a network; None for a good one.

    The text names parts of the URL, never all of it: paths of chat services are secrets.
    """
    if not url.isprintable() or any(char.isspace() or char == "\\" for char in url):
        return "the URL holds a blank, a backslash or a character that cannot be seen"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:  # its text may hold a part of the URL
        return "not a URL: its host or port cannot be read"
    if parts.scheme not in {"http", "https"}:
        return f"scheme {parts.scheme!r}: a webhook goes to http:// or https://"
    if not host:
        return "the URL names no host"
    if not _is_host(host):
        return "the URL's host is no name and no address"
    if port == 0:
        return "port 0 cannot be connected to"
    if allow_private:
        return None
    if host == "localhost" or host.endswith(".localhost"):
        return f"{host} is loopback; 'allow_private: true' would permit it"
    literal = host.replace(".", "").isdigit() or ":" in host
    return refusal(host) if literal else None


def _is_host(host: str) -> bool:
    """Return whether a text can be a host's name (RFC 1123, with `_`), also one of other letters, or an address."""
    if ":" in host:  # urlsplit takes it out of its brackets
        address, _, zone = host.partition("%")
        try:
            ipaddress.IPv6Address(address)
        except ValueError:
            return False
        return not zone or zone.isalnum()
    try:
        ascii_host = host if host.isascii() else host.encode("idna").decode("ascii")
    except UnicodeError:
        return False
    labels = ascii_host.removesuffix(".").split(".")
    return len(ascii_host) <= LONGEST_HOST and all(_LABEL.fullmatch(label) for label in labels)
