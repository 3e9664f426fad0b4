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
