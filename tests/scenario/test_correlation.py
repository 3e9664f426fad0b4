"""A rule of an operator over findings of the shipped packs: two sorts of attack from one network within an hour."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from alerts.incident import Incident
from rules.load import PACKS, load
from tests.support.events import batch, one_slice
from tests.support.packs import HOUR, MINUTE, T0, Rows, of_rule, peer
from watchdog.core.kinds import ALL_KINDS
from watchdog.engine.engine import Engine
from watchdog.pipeline.pipeline import Pipeline

pytestmark = pytest.mark.scenario

RULE = """
rules:
  one-network-two-attacks:
    title: One network attacks in more than one way
    attack: resource
    severity: high
    on: finding:fire
    where: netblock != "unknown" and severity != "info"
    by: [netblock]
    measure:
      ways: distinct(rule)
      peers: distinct(peer_addr where peer_addr != "")
      keys: sum(keys)
    over: 1h
    pane: 1m
    fire: ways > 1
    resolve_after: 30m
    summary: "{netblock}: {ways} rules fired for {peers} peers"
"""


def pings(who: dict[str, Any], start: float) -> Rows:
    return [{**who, "t": start + number / 2, "flow": "received"} for number in range(240)]


def addresses(who: dict[str, Any], start: float) -> Rows:
    row = {**who, "flow": "received", "entries": 1000, "processed": 0, "beyond_limit": 1000}
    return [{**row, "t": start + 10 * number} for number in range(12)]


def incidents(tmp_path: Path, events: dict[str, Rows]) -> list[Incident]:
    (tmp_path / "own.yaml").write_text(RULE, encoding="utf-8")
    packs = [PACKS / "message-anomaly.yaml", PACKS / "addr-flooding.yaml"]
    course = Pipeline(Engine(load([*packs, tmp_path / "own.yaml"], packs=False).plans, {"hand": ALL_KINDS}))
    for kind, rows in events.items():
        timed = sorted(({**row, "t": T0 + row["t"]} for row in rows), key=lambda row: float(row["t"]))
        course.process(one_slice([batch(kind, timed)], T0))
    course.process(one_slice([], T0 + 2 * HOUR))
    course.finish()
    return course.books.incidents()


def test_a_ping_flood_and_an_address_flood_from_one_network_are_one_incident(tmp_path: Path) -> None:
    flooder, gossiper = peer(1, "136.43.1.2"), peer(2, "136.43.9.9")
    found = incidents(tmp_path, {"p2p:ping": pings(flooder, 60), "p2p:addr": addresses(gossiper, 20 * MINUTE)})
    (both,) = of_rule(found, "one-network-two-attacks")
    assert both.severity == "high"
    assert both.summary.startswith("136.43.0.0/16: ")
    assert {"136.43.1.2", "136.43.9.9", "136.43.0.0/16"} <= set(both.entities)
    below = {one.rule: one for one in found if one.severity != "info" and one is not both}
    assert {"ping-flood", "addr-beyond-limit"} <= below.keys()
    assert both.opened_ns > max(below["ping-flood"].opened_ns, below["addr-beyond-limit"].opened_ns)
    assert {one.fields["rule"] for one in both.evidence} <= {one.rule for one in found}


def test_the_same_from_two_networks_or_hours_apart_is_none(tmp_path: Path) -> None:
    flooder, other = peer(1, "136.43.1.2"), peer(2, "84.141.9.9")
    found = incidents(tmp_path, {"p2p:ping": pings(flooder, 60) + pings(other, 60)})
    assert len(of_rule(found, "ping-flood")) == 2
    assert of_rule(found, "one-network-two-attacks") == []
    far = {"p2p:ping": pings(flooder, 60), "p2p:addr": addresses(peer(3, "136.43.9.9"), 80 * MINUTE)}
    found = incidents(tmp_path, far)
    alone = {one.rule for one in found if one.severity != "info" and one.opened_ns < (T0 + HOUR) * 10**9}
    assert alone == {"ping-flood"}
    later = of_rule(found, "one-network-two-attacks")  # several rules see the flood of addresses
    assert not any(event.fields["rule"] == "ping-flood" for one in later for event in one.evidence)
