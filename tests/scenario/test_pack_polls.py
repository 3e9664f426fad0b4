"""Shipped rules on a node that is polled often, or seldom: what they say must not hang on the interval."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from tests.support.witness import saw
from watchdog.offline.replay import ReplayOptions, replay

START = 1_779_999_600
HOUR = 3600
FULL_RELAY = 8


def peers(inbound: int, outbound: int) -> list[dict[str, object]]:
    """Each peer in a netblock of its own."""
    own = {"network": "ipv4", "conntime": START - 5000}
    came = [
        {"id": 100 + i, "addr": f"{60 + i}.{i}.7.9:{50_000 + i}", "inbound": True, "connection_type": "inbound"} | own
        for i in range(inbound)
    ]
    ours = [
        {
            "id": i,
            "addr": f"{20 + i}.{i}.0.1:8333",
            "inbound": False,
            "connection_type": "outbound-full-relay" if i < FULL_RELAY else "block-relay-only",
        }
        | own
        for i in range(outbound)
    ]
    return came + ours


def polled(path: Path, interval_s: int, cut_at_s: int | None = None) -> list[tuple[str, str]]:
    """Rules and severities of the incidents of four hours, in which the node is cut off at some time, or never."""
    chance = random.Random(7)
    with path.open("w") as file:
        for due in range(0, 4 * HOUR, interval_s):
            time = round(START + due + chance.uniform(0, 5), 3)
            cut = cut_at_s is not None and due >= cut_at_s
            answers: dict[str, object] = {
                "getpeerinfo": peers(50, 1 if cut else 10),
                "uptime": due + 100_000,
                "getnetworkinfo": {"networkactive": not cut},
                "getblockchaininfo": {
                    "chain": "main",
                    "blocks": 900_000 + due // 600,
                    "headers": 900_000 + due // 600,
                    "time": START + due - due % 600,
                },
            }
            for kind, result in answers.items():
                file.write(json.dumps({"time": time, "kind": kind, "result": result}) + "\n")
    told = replay([f"snapshots:{path}"], ReplayOptions()).objects()
    saw((), (), (str(incident["rule"]) for incident in told))
    return [(str(incident["rule"]), str(incident["severity"])) for incident in told]


@pytest.mark.parametrize("interval_s", [20, 60, 150, 300, 600, 1800])
def test_quiet_polls_are_quiet_however_far_apart(tmp_path: Path, interval_s: int) -> None:
    assert polled(tmp_path / "polls.jsonl", interval_s) == []


@pytest.mark.parametrize("interval_s", [20, 60, 120, 180, 300])
def test_a_node_that_is_cut_off_is_told_with_a_poll_in_five_minutes(tmp_path: Path, interval_s: int) -> None:
    found = polled(tmp_path / "polls.jsonl", interval_s, cut_at_s=HOUR)
    assert ("eclipse-outbound-deficit", "high") in found
    assert ("network-inactive", "critical") in found


def flooded(path: Path, interval_s: int, per_s: float, lasts_s: int, begins_s: int) -> list[tuple[str, str]]:
    """Incidents of two hours in which the node drops so many addresses a second of one peer, which connects first."""
    with path.open("w") as file:
        for due in range(0, 2 * HOUR, interval_s):
            known = peers(20, 10)
            since_s = due - begins_s
            if since_s >= 0:
                dropped = int(per_s * min(since_s, lasts_s))
                flooder = known[0] | {"id": 900, "conntime": START + begins_s, "addr": "203.0.113.9:50000"}
                known.append(flooder | {"addr_processed": 1000 + due // 10, "addr_rate_limited": dropped})
            for kind, result in (("getpeerinfo", known), ("uptime", due + 100_000)):
                file.write(json.dumps({"time": START + due, "kind": kind, "result": result}) + "\n")
    told = replay([f"snapshots:{path}"], ReplayOptions()).objects()
    saw((), (), (str(incident["rule"]) for incident in told))
    return [(str(incident["rule"]), str(incident["severity"])) for incident in told]


@pytest.mark.parametrize("interval_s", [20, 30, 120, 240])
def test_a_flood_is_seen_in_the_counters_of_the_node(tmp_path: Path, interval_s: int) -> None:
    found = flooded(tmp_path / "polls.jsonl", interval_s, per_s=5.0, lasts_s=1200, begins_s=1800)
    assert found == [("addr-limited-by-node", "high")]


def test_a_flood_before_the_first_poll_of_its_peer_counts(tmp_path: Path) -> None:
    """A counter of 1,000 addresses in 25 s is all dropped before the first poll sees the peer."""
    found = flooded(tmp_path / "polls.jsonl", 30, per_s=40.0, lasts_s=25, begins_s=1801)
    assert found == [("addr-limited-by-node", "warning")]


@pytest.mark.parametrize("per_s", [0.05, 0.19, 0.4])
def test_busy_relays_and_patient_peers_stay_below_the_limit_of_the_rule(tmp_path: Path, per_s: float) -> None:
    """0.19 a second is the most that an honest relay lost; 0.4 a second is the evasion that the rule's page accepts."""
    assert flooded(tmp_path / "polls.jsonl", 30, per_s=per_s, lasts_s=5000, begins_s=600) == []
