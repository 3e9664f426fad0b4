"""Comparisons of what peers do to nodes: lost outbound peers, inserts into tables, networks in findings."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median_low
from typing import Any, ClassVar, Final, cast

import numpy as np

from watchdog.core.batch import Strings
from watchdog.core.durations import HOUR_NS, MINUTE_NS
from watchdog.core.prefix import prefix_texts
from watchdog.fleet.comparison import Step, text, whole
from watchdog.fleet.report import FleetRow

LOST_LEAST: Final = 3  # outbound peers of 10 (8 full relay, 2 block relay)
LOST_NS: Final = 2 * MINUTE_NS
INSERTS_EVERY_NS: Final = 5 * MINUTE_NS
PARTIES_MOST: Final = 1_000  # rows of one step: findings name networks that peers choose


class OutboundLost:
    """`fleet:outbound_lost`: losses of established outbound peers within two minutes, at how many nodes."""

    reads: ClassVar = frozenset({"peer:outbound_lost"})
    gives: ClassVar = frozenset({"fleet:outbound_lost"})

    def __init__(self) -> None:
        self.state: dict[str, Any] = {}  # Any: by node, times (ns) and numbers of losses

    def step(self, step: Step) -> Iterator[FleetRow]:
        """Yield a row for each node that has lost a peer in this step."""
        lost: dict[str, int] = {}
        for part in step.of("peer:outbound_lost"):
            lost[part.node] = lost.get(part.node, 0) + part.batch.rows
        for node, count in lost.items():
            self.state.setdefault(node, []).append([step.end_ns, count])
        recent = {
            node: [one for one in losses if step.end_ns - one[0] < LOST_NS] for node, losses in self.state.items()
        }
        self.state = {node: losses for node, losses in recent.items() if losses}
        sums = {node: sum(count for _, count in losses) for node, losses in self.state.items() if node in step.nodes}
        hit = sum(count >= LOST_LEAST for count in sums.values())
        for node in sorted(lost.keys() & sums.keys()):
            fields = {"lost": sums[node], "hit": hit, "nodes": len(step.nodes)}
            yield FleetRow("fleet:outbound_lost", node, step.end_ns, fields)

    def forget(self, node: str) -> None:
        """Forget the losses of a node."""
        self.state.pop(node, None)


class Inserts:
    """`fleet:inserts`: inserts into the new table within an hour, beside the median of the other nodes.

    A node counts once it was watched for the whole hour. Polls of the tables and the log report the same inserts: the
    larger number counts.
    """

    reads: ClassVar = frozenset({"addrman:insert", "log:addrman_inserted"})
    gives: ClassVar = frozenset({"fleet:inserts"})

    def __init__(self) -> None:
        self.state: dict[str, Any] = {}  # Any: by node, `since` (ns) and, by kind, numbers of inserts in 5 minutes each

    def step(self, step: Step) -> Iterator[FleetRow]:
        """Count; yield a row for each node every five minutes."""
        for kind in ("addrman:insert", "log:addrman_inserted"):
            for part in step.of(kind):
                own = self._of(part.node, step.end_ns)
                table = part.batch.columns.get("table")
                rows = part.batch.rows
                if isinstance(table, Strings):
                    new = [code for code, value in enumerate(table.values) if value == "new"]
                    rows = int(np.isin(table.codes, new).sum())
                own[kind][-1] += rows
        if step.end_ns % INSERTS_EVERY_NS == 0:
            yield from self._round(step)

    def _of(self, node: str, now_ns: int) -> dict[str, Any]:
        fresh = {"since": now_ns, "addrman:insert": [0], "log:addrman_inserted": [0]}
        return self.state.setdefault(node, fresh)  # type: ignore[no-any-return]

    def _round(self, step: Step) -> Iterator[FleetRow]:
        sums: dict[str, int] = {}
        for node, own in self.state.items():
            sums[node] = max(sum(own["addrman:insert"]), sum(own["log:addrman_inserted"]))
            for kind in ("addrman:insert", "log:addrman_inserted"):
                own[kind] = [*own[kind], 0][-(HOUR_NS // INSERTS_EVERY_NS) :]
        ready = [node for node in step.nodes if node in sums and step.end_ns - self.state[node]["since"] >= HOUR_NS]
        for node in ready:
            others = [sums[other] for other in ready if other != node]
            median = median_low(others) if others else 0
            fields = {"inserts": sums[node], "median": median, "others": len(others)}
            yield FleetRow("fleet:inserts", node, step.end_ns, fields)

    def forget(self, node: str) -> None:
        """Forget the inserts of a node."""
        self.state.pop(node, None)


class Parties:
    """`fleet:party`: the netblock and the AS that findings of eclipse and addr-flooding name."""

    reads: ClassVar = frozenset({"finding:fire", "finding:escalate", "finding:update"})
    gives: ClassVar = frozenset({"fleet:party"})

    def __init__(self) -> None:
        self.state: dict[str, object] = {}

    def step(self, step: Step) -> Iterator[FleetRow]:
        """Yield a row for each network that a finding names, once for each rule and node."""
        parts = [part for kind in sorted(self.reads) for part in step.of(kind)]
        named = sorted({found for part in parts for found in _named(part.node, part.batch)})
        for node, rule, attack, party in named[:PARTIES_MOST]:
            if node in step.nodes:
                fields = {"party": party, "rule": rule, "attack": attack, "nodes": len(step.nodes)}
                yield FleetRow("fleet:party", node, step.end_ns, cast("dict[str, int | str | bool]", fields))

    def forget(self, node: str) -> None:
        """Nothing is kept of a node."""


def _named(node: str, batch: Any) -> Iterator[tuple[str, str, str, str]]:  # Any: a batch
    netblocks = batch.numbers("netblock")
    for row in range(batch.rows):
        attack, rule = text(batch, "attack", row), text(batch, "rule", row)
        if attack not in ("eclipse", "addr-flooding") or text(batch, "maturity", row) == "sandbox":
            continue
        netblock = prefix_texts(netblocks[row : row + 1])[0]
        if "/" in netblock:  # groups of Tor, I2P and CJDNS cost nothing
            yield node, rule, attack, netblock
        if asn := whole(batch, "asn", row):
            yield node, rule, attack, f"AS{asn}"
