"""Stages of an eclipse, and how well a node is prepared: each sign by itself, at its threshold."""

from __future__ import annotations

import pytest

from watchdog.core.eclipse_model import Feelers
from watchdog.core.eclipse_standing import INBOUND, NONE, OUTBOUND_SLOTS, TABLES, VIEW, Grip, readiness, stage

QUIET = Grip(share=0.01, is_netblock=True, inbound_share=0.0, inbound=40, outbound_held=0, outbound=10, tip_age_s=600)


@pytest.mark.parametrize(("change", "expected"), [
    ({}, NONE),
    ({"share": 0.04}, NONE),
    ({"share": 0.05}, TABLES),
    ({"share": 0.05, "is_netblock": False}, NONE),
    ({"share": 0.36, "is_netblock": False}, TABLES),
    ({"inbound_share": 0.36}, INBOUND),
    ({"inbound_share": 0.9, "inbound": 19}, NONE),
    ({"inbound_share": 0.36, "share": 0.5}, INBOUND),
    ({"outbound_held": 4}, NONE),
    ({"outbound_held": 5}, OUTBOUND_SLOTS),
    ({"outbound_held": 5, "tip_age_s": 3_600}, VIEW),
    ({"outbound_held": 5, "tip_age_s": -1}, OUTBOUND_SLOTS),
    ({"outbound_held": 10}, VIEW),
    ({"outbound_held": 4, "outbound": 4}, NONE),
    ({"tip_age_s": 9_999}, NONE),
])  # fmt: skip
def test_the_furthest_stage_counts(change: dict[str, float], expected: int) -> None:
    assert stage(Grip(**{**QUIET._asdict(), **change})) == expected


def test_a_settled_node_is_ready() -> None:
    parts = readiness(256.0, 10, 2, Feelers(864, 137), 200_000)
    assert list(parts) == [1.0] * 5
    assert parts.mean == 1


@pytest.mark.parametrize(("netgroups", "outbound", "anchors", "feelers", "uptime_s", "weakest", "value"), [
    (3.0, 10, 2, Feelers(864, 137), 200_000, "tables", 0.03),
    (256.0, 2, 2, Feelers(864, 137), 200_000, "outbound", 0.2),
    (256.0, 10, 0, Feelers(864, 137), 200_000, "anchors", 0.0),
    (256.0, 10, 2, Feelers(864, 600), 200_000, "feelers", 0.0),
    (256.0, 10, 2, Feelers(864, 10), 200_000, "feelers", 0.0),
    (256.0, 10, 2, Feelers(99, 99), 200_000, "feelers", 0.5),
    (256.0, 10, 2, Feelers(864, 137), 8_640, "age", 0.1),
    (256.0, 10, 2, Feelers(864, 137), -1, "age", 0.5),
])  # fmt: skip
def test_the_weakest_part_has_a_name(
    netgroups: float, outbound: int, anchors: int, feelers: Feelers, uptime_s: int, weakest: str, value: float
) -> None:
    parts = readiness(netgroups, outbound, anchors, feelers, uptime_s)
    assert parts.weakest == weakest
    assert getattr(parts, weakest) == pytest.approx(value)
    assert parts.mean == pytest.approx((4 + value) / 5)
