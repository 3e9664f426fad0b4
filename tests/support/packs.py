"""A shipped pack over events made by hand: what an operator would have seen."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import Any

from alerts.incident import Incident
from rules.load import PACKS, load
from tests.support.events import batch, one_slice
from tests.support.witness import saw
from watchdog.core.kinds import ALL_KINDS
from watchdog.engine.engine import Engine
from watchdog.pipeline.pipeline import Pipeline

T0 = 1_700_000_000  # every time line begins here, unix seconds
MINUTE, HOUR = 60, 3600

Rows = list[dict[str, Any]]


def incidents(pack: str, events: dict[str, Rows], *, until: float) -> list[Incident]:
    """The incidents of a pack (`eclipse`), by opening time; events by kind, times and `until` in seconds after T0."""
    plans = load([PACKS / f"{name}.yaml" for name in pack.split()], packs=False).plans
    course = Pipeline(Engine(plans, {"hand": ALL_KINDS}))
    start = {"t": T0, "reason": "log-start"}
    batches = [batch("node:started", [start])]
    for kind, rows in events.items():
        timed = sorted(({**row, "t": T0 + row["t"]} for row in rows), key=lambda row: float(row["t"]))
        batches.append(batch(kind, timed))
    course.process(one_slice(batches, T0 + until))
    course.finish()
    found = sorted(course.books.incidents(), key=lambda incident: incident.opened_ns)
    saw(plans, batches, (incident.rule for incident in found))
    return found


def of_rule(found: Sequence[Incident], rule: str) -> list[Incident]:
    """Those of one rule."""
    return [incident for incident in found if incident.rule == rule]


def opened_s(incident: Incident) -> float:
    """When an incident opened, seconds after T0."""
    return incident.opened_ns / 1e9 - T0


def alarms(found: Iterable[Incident]) -> list[str]:
    """Return rule and summary of each incident of warning and above."""
    return [f"{one.rule}: {one.summary}" for one in found if one.severity != "info"]


def peer(conn: int, address: str, direction: str = "in", *, asn: int = 0) -> dict[str, Any]:
    """The columns of a peer with an IPv4 address; with an AS, those of a watchdog that has an asmap."""
    first, second, *_ = address.split(".")
    return {
        "conn": conn,
        "peer": f"{address}:8333",
        "peer_addr": address,
        "network": "ipv4",
        "netgroup": f"AS{asn}" if asn else f"{first}.{second}.0.0/16",
        "netblock": f"{first}.{second}.0.0/16",
        "asn": asn,
        "direction": direction,
    }


def honest(number: int, direction: str = "in") -> dict[str, Any]:
    """The n-th honest peer: every one of another netgroup."""
    return peer(number, f"{20 + number // 200}.{number % 200}.7.9", direction)


def gossip(who: dict[str, Any], start: float, end: float, *, per_s: float = 0.02, seed: int = 1) -> Rows:
    """What a peer tells: messages of one to three addresses, `per_s` addresses a second on average."""
    dice = random.Random(f"{seed} {who['conn']}")
    rows, now, tokens, before = [], start + dice.expovariate(per_s / 2), 1.0, start
    while now < end:
        entries = dice.choice((1, 2, 3))
        tokens, before = min(tokens + 0.1 * (now - before), 1000.0), now  # Core's bucket: 0.1 a second
        taken = min(entries, int(tokens))
        tokens -= taken
        row = {"t": now, "flow": "received", "entries": entries, "processed": taken, "beyond_limit": entries - taken}
        rows.append({**who, **row})
        now += dice.expovariate(per_s / 2)
    return rows
