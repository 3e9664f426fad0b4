"""The optional pack on normals that move: a step or a slow ramp is reported, a day's rhythm and noise are none."""

from __future__ import annotations

import math

import numpy as np
import pytest

from alerts.incident import Incident
from tests.support.packs import HOUR, MINUTE, Rows, incidents, of_rule, opened_s

pytestmark = pytest.mark.scenario

HOURS = 24
MINUTES = HOURS * 60
INBOUND, MESSAGES, ADDR = "inbound-normal-moved", "messages-normal-moved", "addr-normal-moved"
TX, PING = "tx-normal-moved", "ping-normal-moved"


def found(kind: str, rate: list[float], **fields: object) -> list[Incident]:
    """The incidents of the pack at an average number of events of a kind in each minute."""
    chance = np.random.default_rng(5)
    counts = chance.poisson(rate).tolist()
    rows: Rows = [
        {"t": minute * MINUTE + at * MINUTE / many, **fields}
        for minute, many in enumerate(counts)
        for at in range(many)
    ]
    return incidents("optional/drift", {kind: rows}, until=len(rate) * MINUTE)


def step(before: float, after: float) -> list[float]:
    return [before] * (MINUTES // 2) + [after] * (MINUTES // 2)


# a minute   ______------                        one finding, within an hour and a half
@pytest.mark.parametrize(
    ("rule", "kind", "rate", "fields"),
    [
        pytest.param(
            INBOUND, "net:inbound_connection", step(2, 12), {}, marks=pytest.mark.attack("inbound-normal-moved")
        ),
        pytest.param(
            MESSAGES,
            "net:inbound_message",
            step(60, 600),
            {"type": "inv"},
            marks=pytest.mark.attack("messages-normal-moved"),
        ),
        pytest.param(
            ADDR,
            "p2p:addr",
            step(4, 30),
            {"flow": "received", "entries": 10},
            marks=pytest.mark.attack("addr-normal-moved"),
        ),
        pytest.param(
            TX, "net:inbound_message", step(300, 30), {"type": "tx"}, marks=pytest.mark.attack("tx-normal-moved")
        ),
    ],
)
def test_a_step_is_one_incident_of_severity_info(
    rule: str, kind: str, rate: list[float], fields: dict[str, object]
) -> None:
    (incident,) = of_rule(found(kind, rate, **fields), rule)
    assert incident.severity == "info"
    assert 0 < opened_s(incident) - HOURS / 2 * HOUR < 90 * MINUTE
    assert "new normal: about" in incident.summary


@pytest.mark.attack("ping-normal-moved")
def test_a_slower_route_is_a_new_normal_of_the_pings() -> None:
    rows: Rows = [
        {"t": minute * MINUTE + n, "conn": n, "ping_us": (40_000 if minute < 300 else 400_000) + 900 * (n + minute % 7)}
        for minute in range(600)
        for n in range(8)
    ]
    (incident,) = of_rule(incidents("optional/drift", {"rpc:peer": rows}, until=600 * MINUTE), PING)
    assert 0 < opened_s(incident) - 300 * MINUTE < 90 * MINUTE


# a minute   .-''-._.-''-._                      as on every day
@pytest.mark.benign("tx-normal-moved")
@pytest.mark.benign("messages-normal-moved")
def test_the_rhythm_of_the_day_is_no_new_normal() -> None:
    rate = [100 * (1 + 0.35 * math.sin(2 * math.pi * minute / MINUTES)) for minute in range(3 * MINUTES)]
    assert found("net:inbound_message", rate, type="tx") == []


@pytest.mark.benign("inbound-normal-moved")
def test_connections_by_chance_are_no_new_normal() -> None:
    assert found("net:inbound_connection", [2.0] * 3 * MINUTES) == []


# a minute   ___...---'''                        each step is below the ratio, all together are not
@pytest.mark.attack("messages-normal-moved")
def test_a_slow_ramp_is_reported_once_it_has_come_that_far() -> None:
    rate = [100 * 12 ** (minute / (2 * MINUTES)) for minute in range(2 * MINUTES)]
    assert 1 <= len(of_rule(found("net:inbound_message", rate, type="inv"), MESSAGES)) <= 3


@pytest.mark.evasion("inbound-normal-moved")
def test_less_than_twice_the_level_is_not_reported() -> None:
    assert found("net:inbound_connection", step(8, 11)) == []
