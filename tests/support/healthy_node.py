"""A node on which nothing is wrong, as all sources show it together: peers that come and go, polls, transactions.

    node = HealthyNode(hours=4)                 # 40 inbound and 10 outbound peers, a block in ten minutes
    node.leave(3, at=HOUR); node.join(honest(400), HOUR)
    incidents_of(node)                          # of all shipped packs

Rates are those of a real node (docs/threats.md), but for inv messages: fewer and larger ones, so that a test is fast.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from alerts.incident import Incident
from rules.load import load
from tests.support.events import batch, one_slice
from tests.support.packs import HOUR, MINUTE, T0, Rows, honest
from watchdog.core.kinds import ALL_KINDS
from watchdog.engine.engine import Engine
from watchdog.pipeline.pipeline import Pipeline

HANDSHAKE = ("version", "verack", "wtxidrelay", "sendaddrv2", "sendheaders", "sendcmpct", "feefilter")
POLL_S, TX_A_MINUTE, OLD_S = 30, 60, 500_000


@dataclass
class Stay:
    """A peer and how long it is connected, seconds of the time line; before 0: since before it began."""

    who: dict[str, Any]
    start: float
    end: float


class HealthyNode:
    """Collects events by kind; `events` makes those that follow from the peers that stayed."""

    def __init__(self, hours: float, seed: int = 1) -> None:
        self.end, self.dice = hours * HOUR, random.Random(seed)
        self.stays = [Stay(honest(n), -OLD_S, self.end) for n in range(40)]
        self.stays += [Stay(honest(n, "out"), -OLD_S, self.end) for n in range(300, 310)]
        self.off: tuple[float, float] | None = None  # the node is down
        self.surge: Callable[[float], float] = lambda _: 1.0  # times the usual transactions
        self.inbound_gives = True  # transactions
        self.blocks = [n * 600.0 + self.dice.uniform(0, 300) for n in range(int(self.end / 600))]
        self.rows: dict[str, Rows] = {}

    def add(self, kind: str, *rows: dict[str, Any]) -> None:
        """Add rows of a kind; those of a time at which the node is down are left out."""
        here = [row for row in rows if 0 <= row["t"] < self.end and not self._is_off(row["t"])]
        self.rows.setdefault(kind, []).extend(here)

    def join(self, who: dict[str, Any], start: float, lives: float = 10.0 * HOUR) -> None:
        """Let a peer connect, and leave after `lives` seconds."""
        self.stays.append(Stay(who, start, min(start + lives, self.end)))

    def leave(self, conn: int, at: float) -> None:
        """Let a peer disconnect."""
        for stay in self.stays:
            if stay.who["conn"] == conn and stay.end > at:
                stay.end = at

    def events(self) -> dict[str, Rows]:
        """All rows by kind."""
        for stay in self.stays:
            self._connect(stay)
            self._talk(stay)
        for now in range(0, int(self.end), POLL_S):
            self._poll(now)
        for height, at in enumerate(self.blocks):
            self._block(900_001 + height, at)
        self._transactions()
        return self.rows

    def _is_off(self, now: float) -> bool:
        return self.off is not None and self.off[0] <= now < self.off[1]

    def _connect(self, stay: Stay) -> None:
        who, start = stay.who, stay.start
        inbound = who["direction"] == "in"
        self.add("net:inbound_connection" if inbound else "net:outbound_connection", {**who, "t": start})
        self.add("peer:connected", {**who, "t": start + 5})
        received = [{**who, "t": start + 0.1 + n / 50, "type": name, "size": 30} for n, name in enumerate(HANDSHAKE)]
        self.add("net:inbound_message", *received)
        version = {
            "flow": "received",
            "relay": True,
            "user_agent": "/Satoshi:29.0.0/",
            "time_offset_s": who["conn"] % 5 - 2,
        }
        self.add("p2p:version", {**who, "t": start + 0.1, **version})
        asked = {**who, "t": start + 0.4, "flow": "received" if inbound else "sent", "repeat": 1}
        if inbound:
            self.add("p2p:getaddr", asked)
        elif stay.end - start > MINUTE:
            self.add("p2p:getaddr", asked)
            answer = {"flow": "received", "entries": 1_000, "processed": 1_000, "solicited": True, "netgroups": 800}
            self.add("p2p:addr", {**who, "t": start + 3, **answer})
            inserted = {"table": "new", "first": True, "source_netblock": who["netblock"], "interval_s": 600}
            for n in range(150):  # what of 1,000 is new to full tables
                block = f"{n % 190 + 10}.{n}.0.0/16"
                address = {"address": f"{n % 190 + 10}.{n}.1.1", "entry_netblock": block, "table_total": 60_000}
                self.add("addrman:insert", {"t": start + 300 - start % 300, **inserted, **address, "bucket": n})
        self.add("net:closed_connection", {**who, "t": stay.end, "age_s": int(stay.end - start)})
        if stay.end - start > POLL_S:
            self.add("peer:disconnected", {**who, "t": stay.end + 5, "lived_s": int(stay.end - start)})

    def _talk(self, stay: Stay) -> None:
        who, now = stay.who, max(stay.start, 0) + who_s(stay.who)
        while now < min(stay.end, self.end):
            step = (now - max(stay.start, 0)) // 30
            if step % 4 == 0:
                self.add(
                    "net:inbound_message",
                    *({**who, "t": now + n, "type": t, "size": 8} for n, t in ((0, "ping"), (1, "pong"))),
                )
                self.add("p2p:ping", {**who, "t": now, "flow": "received"})
                entries = self.dice.choice((1, 1, 2, 3))
                self.add("net:inbound_message", {**who, "t": now + 2, "type": "addrv2", "size": 30 * entries})
                self.add(
                    "p2p:addr", {**who, "t": now + 2, "flow": "received", "entries": entries, "processed": entries}
                )
            many = int(40 * self.surge(now))
            self.add("net:inbound_message", {**who, "t": now + 3, "type": "inv", "size": 36 * many})
            self.add("p2p:inv", {**who, "t": now + 3, "flow": "received", "entries": many, "tx": many})
            now += 30

    def _transactions(self) -> None:
        for minute in range(int(self.end / MINUTE)):
            now = minute * MINUTE
            times = self.surge(now)
            there = [stay.who for stay in self._there(now)]
            chosen = [who for who in there if who["direction"] == "out"]
            there = there + chosen if self.inbound_gives else chosen  # Core prefers those it chose by two seconds
            for n in range(int(TX_A_MINUTE * times) if there else 0):
                who, at = there[n % len(there)], now + self.dice.random() * 60
                self.add("p2p:getdata", {**who, "t": at, "flow": "sent", "entries": 1, "tx": 1})
                self.add("net:inbound_message", {**who, "t": at + 0.5, "type": "tx", "size": 400})
                self.add("p2p:tx", {**who, "t": at + 0.5, "flow": "received", "vsize_vb": 200})
            refused = int(20 * times)
            self.add(
                "mempool:rejected",
                *({"t": now + n / refused, "reason": "min relay fee not met"} for n in range(refused)),
            )

    def _there(self, now: float) -> list[Stay]:
        return [stay for stay in self.stays if stay.start <= now < stay.end] if not self._is_off(now) else []

    def _poll(self, now: int) -> None:
        there = self._there(now)
        out = [stay for stay in there if stay.who["direction"] == "out"]
        into = [stay for stay in there if stay.who["direction"] == "in"]
        uptime = int(now - self.off[1]) if self.off and now >= self.off[1] else OLD_S + now
        height = 900_000 + sum(at + 1 <= now for at in self.blocks)
        tip_age = now - max([at for at in self.blocks if at <= now], default=-300)
        self.add(
            "rpc:chain", {"t": now, "chain": "main", "blocks": height, "headers": height, "tip_age_s": int(tip_age)}
        )
        counts = {"inbound": len(into), "outbound": len(out), "outbound_full": min(len(out), 8), "opened": True}
        old = sum(now - stay.start > HOUR for stay in into)
        groups = {"outbound_netgroups": len(out), "outbound_top_netgroup": 1, "inbound_netgroups": len(into)}
        self.add(
            "rpc:peers",
            {"t": now, **counts, **groups, "inbound_old": old, "uptime_s": uptime, "inbound_top_netgroup": 1},
        )
        self.add("rpc:network", {"t": now, "network_active": True, "connections": len(there), "time_offset_s": 1})
        for stay in there:
            relays = {"relay_txs": True, "inv_to_send": int(30 * self.surge(now) ** 2), "last_tx_age_s": 4}
            state = {"synced_headers": height, "synced_blocks": height, "presynced_headers": -1, "ping_wait_us": -1}
            total = {"direction_total": len(out if stay.who["direction"] == "out" else into), "interval_s": POLL_S}
            kind = "inbound" if stay.who["direction"] == "in" else "outbound-full-relay"
            row = {**stay.who, "t": now, "age_s": int(now - stay.start), "connection_type": kind}
            self.add("rpc:peer", {**row, **relays, **state, **total})

    def _block(self, height: int, at: float) -> None:
        there = [stay.who for stay in self._there(at)]
        if not there:
            return
        first = self.dice.choice(there)
        self.add("p2p:new_block", {**first, "t": at, "flow": "received", "type": "cmpctblock", "stamp_age_s": 15})
        self.add("p2p:new_block", {**there[0], "t": at + 1, "flow": "sent", "type": "cmpctblock", "stamp_age_s": 16})
        for who in there[:3]:
            self.add("net:inbound_message", {**who, "t": at + 0.2, "type": "cmpctblock", "size": 15_000})
        self.add("p2p:getblocktxn", {**first, "t": at + 0.3, "flow": "sent", "indexes": 12})
        self.add("p2p:blocktxn", {**first, "t": at + 0.5, "flow": "received", "txs": 12})
        connected = {"height": height, "inputs": 6_000, "duration_ns": 900_000_000}
        self.add("validation:block_connected", {"t": at + 1, **connected})
        self.add("log:tip", {"t": at + 1, "height": height})
        self.add("chain:tip", {"t": at + 20, "height": height, "interval_s": 600})


def who_s(who: dict[str, Any]) -> float:
    """Spread the peers over half a minute, so that they do not speak at once."""
    return float(who["conn"] % 30)


def incidents_of(node: HealthyNode) -> list[Incident]:
    """The incidents of all shipped rules of one node, in order of opening."""
    course = Pipeline(Engine([plan for plan in load(()).plans if plan.scope == "node"], {"hand": ALL_KINDS}))
    batches = []
    for kind, rows in node.events().items():
        timed = sorted(({**row, "t": T0 + row["t"]} for row in rows), key=lambda row: float(row["t"]))
        batches += [batch(kind, timed)] if timed else []
    course.process(one_slice(batches, T0 + node.end))
    course.finish()
    return sorted(course.books.incidents(), key=lambda incident: incident.opened_ns)
