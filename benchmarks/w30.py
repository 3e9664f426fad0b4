"""W30, the standard workload: 30 rules over messages of 1,000 peers in 200 netgroups.

Each rule reads one of 20 message types, half of the rules only messages above 500 bytes; keys are the node, the peer
or the netgroup; ten rules each count messages, sum sizes and count distinct values; windows of 60, 120, 300 and 600 s
in panes of 1 s; a rule fires at the close of the pane in which its value rises above the threshold. Types are
Zipf-like, sizes log-normal, peers uniform. Every 20 s of event time a peer sends every fifth message for 4 s, so that
rules fire. Density is events per second of event time. Without distincts those ten rules count messages, too.

This file describes it once; the engine gets rules as YAML and batches, the rivals get `Rule` and tuples.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rules.load import load_text
from watchdog.core.batch import Batch, Column, Slice, Strings
from watchdog.core.finding import Finding
from watchdog.core.plan import RulePlan
from watchdog.core.prefix import parse_prefix, prefix_texts

SOURCE = "w30"
KIND = "net:inbound_message"
TYPES = (
    *("inv", "tx", "getdata", "ping", "pong", "addr", "addrv2", "headers", "getheaders", "version"),
    *("verack", "sendcmpct", "cmpctblock", "feefilter", "getaddr", "notfound", "blocktxn", "getblocktxn", "block"),
    "mempool",
)
PEERS, GROUPS, VALUES = 1_000, 200, 4_000  # values: below the cap up to which the engine counts exactly (4,096)
BIG = 500  # bytes
WINDOWS_S = (60, 120, 300, 600)
SECOND = 1_000_000_000
START_NS = 1_760_000_000 * SECOND
BURST_EVERY_S, BURST_S, BURST_SHARE = 20, 4, 5  # each 20 s a burst of 4 s that takes every fifth message
SIZE_MU, SIZE_SIGMA, LARGEST = 5.5, 1.2, 1e6  # log-normal message sizes in bytes

Measure = Literal["count", "sum", "distinct"]
Key = Literal["node", "peer_addr", "netgroup"]
KEYS: tuple[Key, ...] = ("node", "peer_addr", "netgroup")
KEY_COUNTS: dict[Key, int] = {"node": 1, "peer_addr": PEERS, "netgroup": GROUPS}

# One event as the rivals get it: time in ns, type, size, node, peer address, netgroup, value.
Event = tuple[int, str, int, str, str, int, int]
# A rising edge: rule, key as text (empty for the node), pane (seconds since the epoch).
Alert = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class Rule:
    """One of the 30; over_s: window in seconds; fires when the measure is above the threshold."""

    name: str
    type: str
    only_big: bool
    by: Key
    measure: Measure
    over_s: int
    threshold: int


@dataclass(frozen=True, slots=True, eq=False)
class Workload:
    """Events as columns, ordered by time."""

    density: int
    times: NDArray[np.int64]
    types: NDArray[np.int32]
    sizes: NDArray[np.uint32]
    peers: NDArray[np.int32]
    values: NDArray[np.uint32]
    addresses: tuple[str, ...]  # of each peer
    netgroups: NDArray[np.uint64]  # of each peer, packed

    def __len__(self) -> int:
        return len(self.times)

    def slices(self, start: int, stop: int, rows: int) -> Iterator[Slice]:
        """Events start..stop-1 as slices of one batch of `rows` rows each, as a source gives them."""
        for first in range(start, stop, rows):
            last = min(first + rows, stop)
            batch = self._batch(slice(first, last))
            yield Slice(SOURCE, (batch,), int(self.times[last - 1]))

    def _batch(self, rows: slice) -> Batch:
        peers = self.peers[rows]
        columns: dict[str, Column] = {
            "time_ns": self.times[rows],
            "type": Strings(self.types[rows], TYPES),
            "size": self.sizes[rows],
            "peer_addr": Strings(peers, self.addresses),
            "netgroup": self.netgroups[peers],
            "asn": self.values[rows],
        }
        return Batch(KIND, "node", SOURCE, columns)

    def events(self, start: int, stop: int) -> list[Event]:
        """Return the same events as plain tuples; equal texts are one object, as after interning."""
        rows = slice(start, stop)
        peers = self.peers[rows].tolist()
        groups = self.netgroups[self.peers[rows]].tolist()
        types = [TYPES[code] for code in self.types[rows].tolist()]
        nodes = ["node"] * len(peers)
        addresses = [self.addresses[peer] for peer in peers]
        times, sizes, values = self.times[rows].tolist(), self.sizes[rows].tolist(), self.values[rows].tolist()
        return list(zip(times, types, sizes, nodes, addresses, groups, values, strict=True))


def workload(rows: int, density: int, *, peers: int = PEERS, groups: int = GROUPS) -> Workload:
    """`rows` events at `density` events per second of event time."""
    rng = np.random.default_rng(1)
    times = np.sort(rng.integers(0, rows * SECOND // density, rows))
    types = rng.choice(len(TYPES), rows, p=_type_shares()).astype(np.int32)
    senders = rng.integers(0, peers, rows).astype(np.int32)
    sizes = _sizes(rng, rows)
    values = rng.integers(0, VALUES, rows).astype(np.uint32)
    seconds = times // SECOND
    burst, within = seconds // BURST_EVERY_S, seconds % BURST_EVERY_S < BURST_S
    mine = within & (np.arange(rows) % BURST_SHARE == 0)
    senders[mine] = (burst[mine] * 37 % peers).astype(np.int32)
    types[mine] = (burst[mine] * 7 % len(TYPES)).astype(np.int32)
    hosts = [(peer % groups, peer // groups) for peer in range(peers)]
    addresses = tuple(f"{_prefix(group)}.{host >> 8}.{host & 255}" for group, host in hosts)
    packed = np.array([parse_prefix(f"{_prefix(group)}.0.0/16") for group in range(groups)], np.uint64)
    netgroups = packed[np.arange(peers) % groups]
    return Workload(density, times + START_NS, types, sizes, senders, values, addresses, netgroups)


def rules(density: int, *, distinct: bool = True) -> tuple[Rule, ...]:
    """Return the 30 rules; thresholds lie four standard deviations above what they see at this density."""
    return tuple(_rule(number, density, distinct) for number in range(30))


def plans(chosen: tuple[Rule, ...]) -> tuple[RulePlan, ...]:
    """Return the rules as the engine runs them."""
    return load_text("rules:\n" + "".join(_yaml(rule) for rule in chosen)).plans


def alerts(findings: list[Finding]) -> set[Alert]:
    """Return the rising edges among findings, in the rivals' form."""
    return {
        (found.rule, "".join(found.key.values()), found.time_ns // SECOND - 1)
        for found in findings
        if found.change == "fire"
    }


def key_text(by: Key, key: str | int) -> str:
    """Return a rival's key as the engine's findings spell it."""
    if by == "node":
        return ""
    return prefix_texts([key])[0] if isinstance(key, int) else key


def _prefix(group: int) -> str:
    """Return the first two bytes of the addresses of a netgroup."""
    return f"{60 + (group >> 8)}.{group & 255}"


def _type_shares() -> NDArray[np.float64]:
    shares = 1 / np.arange(1, len(TYPES) + 1)
    return np.asarray(shares / shares.sum(), np.float64)


def _sizes(rng: np.random.Generator, rows: int) -> NDArray[np.uint32]:
    return np.minimum(rng.lognormal(SIZE_MU, SIZE_SIGMA, rows), LARGEST).astype(np.uint32)


def _rule(number: int, density: int, distinct: bool) -> Rule:
    measures: tuple[Measure, ...] = ("count", "sum", "distinct" if distinct else "count")
    measure, by = measures[number // 10], KEYS[number % 3]
    over_s, code, only_big = WINDOWS_S[number % 4], number % len(TYPES), number % 2 == 1
    sizes = _sizes(np.random.default_rng(0), 100_000).astype(np.float64)
    passed = sizes[sizes > BIG] if only_big else sizes
    expected = density * over_s * _type_shares()[code] * len(passed) / len(sizes) / KEY_COUNTS[by]
    mean, spread = expected, np.sqrt(expected)
    if measure == "sum":
        mean, spread = expected * passed.mean(), np.sqrt(expected * (passed**2).mean())
    elif measure == "distinct":
        unseen = np.exp(-expected / VALUES)
        mean, spread = VALUES * (1 - unseen), np.sqrt(VALUES * unseen * (1 - unseen))
    threshold = int(mean + 4 * spread) + 1
    return Rule(f"r{number}", TYPES[code], only_big, by, measure, over_s, threshold)


def _yaml(rule: Rule) -> str:
    measure = {"count": "count()", "sum": "sum(size)", "distinct": "distinct(asn)"}[rule.measure]
    where = f'type == "{rule.type}"' + (f" and size > {BIG}" if rule.only_big else "")
    return f"""
  {rule.name}:
    title: {rule.measure} of {rule.type}
    attack: message-anomaly
    severity: info
    on: {KIND}
    where: {where}
    by: [{"" if rule.by == "node" else rule.by}]
    measure: {{value: {measure}}}
    over: {rule.over_s}s
    pane: 1s
    fire: value > {rule.threshold}
    resolve_after: 10m
    evidence: 0
    entities: []
    summary: "{{value}}"
"""
