"""Connections to the API: how many may be open, and counts of those refused or too slow.

A connection costs a descriptor, and capture files, the database and webhooks need descriptors too: the API gets a
quarter of them at most, so strangers can fill the API and never the service.
"""

from __future__ import annotations

import ipaddress
import resource
from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from watchdog.service.exposition import Exposition

DESCRIPTORS_WANTED = 65_536
"""Far more than capture files, receivers and the database need."""
CONNECTIONS_MOST, SHARE = 256, 4
"""Connections at most, and the share of descriptors that they may use: one in `SHARE`."""
ADDRESS_MOST = 8
"""Connections of one address beyond loopback: a browser opens six to a host, and a probe one."""
IPV6_GROUP = 64
"""Bits of an IPv6 address that count: a subscriber gets a /64 at least, and can use every address in it."""

Refusal = Literal["", "full", "address"]
Overdue = Literal["", "head", "body", "idle", "answer", "stream"]


def raise_descriptor_limit() -> int:
    """Raise the soft limit of descriptors to min(hard, `DESCRIPTORS_WANTED`), never lower it; return the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS_WANTED if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS_WANTED)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return descriptor_limit()


def descriptor_limit() -> int:
    """Return the soft limit in force; no limit counts as `DESCRIPTORS_WANTED`."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return DESCRIPTORS_WANTED if soft == resource.RLIM_INFINITY else soft


def connections_most(descriptors: int) -> int:
    """Return how many connections the API may hold under a limit of descriptors; at least 1."""
    return max(1, min(CONNECTIONS_MOST, descriptors // SHARE))


def caller_of(host: str) -> str | None:
    """Return the caller of a peer address: an IPv4 address or an IPv6 /64; None for this machine itself.

    host: as sockets give it, with or without a zone.
    """
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address.is_loopback:
        return None
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return str(ipaddress.ip_network((int(address), IPV6_GROUP), strict=False))


@dataclass(slots=True)
class Callers:
    """Connected callers, and counts for /metrics. Belongs to the event loop; bounded by `most`."""

    most: int = field(default_factory=lambda: connections_most(descriptor_limit()))
    open: int = 0
    by_caller: Counter[str] = field(default_factory=Counter)
    refused: Counter[Refusal] = field(default_factory=Counter)
    overdue: Counter[Overdue] = field(default_factory=Counter)
    malformed: int = 0
    accept_errors: int = 0

    def admit(self, host: str) -> Refusal:
        """Admit a connection, or return why not. An admitted one must `leave`."""
        caller = caller_of(host)
        reason: Refusal = ""
        if self.open >= self.most:
            reason = "full"
        elif caller is not None and self.by_caller[caller] >= ADDRESS_MOST:
            reason = "address"
        if reason:
            self.refused[reason] += 1
            return reason
        self.open += 1
        if caller is not None:
            self.by_caller[caller] += 1
        return ""

    def leave(self, host: str) -> None:
        """Note that an admitted connection has ended."""
        self.open -= 1
        caller = caller_of(host)
        if caller is None:
            return
        self.by_caller[caller] -= 1
        if not self.by_caller[caller]:
            del self.by_caller[caller]

    def export(self, out: Exposition) -> None:
        """Write the counts as metrics."""
        out.one("watchdog_connections", "gauge", "Open connections to the API.", self.open)
        out.one("watchdog_connections_limit", "gauge", "How many connections to the API there may be.", self.most)
        reasons: tuple[Refusal, ...] = ("full", "address")
        about = "Connections closed at once: the API is full, or one address has its share."
        out.add(
            "watchdog_connections_refused_total", "counter", about, [({"reason": r}, self.refused[r]) for r in reasons]
        )
        stages: tuple[Overdue, ...] = ("head", "body", "idle", "answer", "stream")
        about = "Connections closed because the client took too long: to ask, to ask again, or to take the answer."
        out.add(
            "watchdog_connections_overdue_total", "counter", about, [({"stage": s}, self.overdue[s]) for s in stages]
        )
        about = "Connections that the system could not accept."
        out.one("watchdog_accept_errors_total", "counter", about, self.accept_errors)
        out.one("watchdog_requests_malformed_total", "counter", "Requests that were no HTTP.", self.malformed)
