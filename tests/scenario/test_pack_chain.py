"""The chain pack on scripted time lines: forks, chains that the node does not follow, and its own warnings."""

from __future__ import annotations

from typing import Any

import pytest

from alerts.incident import Incident
from tests.support.packs import HOUR, MINUTE, Rows, incidents, of_rule, opened_s

pytestmark = pytest.mark.scenario

START = 30 * MINUTE


def found(events: dict[str, Rows], *, until: float = 4 * HOUR) -> list[Incident]:
    return incidents("chain", events, until=until)


def tip(at: float, status: str, **more: Any) -> dict[str, Any]:
    row = {"t": at, "height": 900_000, "hash": "aa" * 32, "branch_blocks": 1, "status": status, "ahead": 0, "polls": 1}
    return {**row, "more_work": False, **more}


def chain(*, ibd: bool = False, end: float = 4 * HOUR) -> Rows:
    return [{"t": now, "ibd": ibd, "blocks": 900_000} for now in range(0, int(end), 30)]


def active(end: float = 4 * HOUR) -> Rows:
    return [tip(now, "active", hash=f"{now:064x}", branch_blocks=0) for now in range(0, int(end), 10 * MINUTE)]


# tips     --*--*--*           two or more blocks beside the active chain
#               \__*__*
@pytest.mark.parametrize("status", ["valid-fork", "valid-headers"])
@pytest.mark.parametrize(("blocks", "severity"), [(2, "high"), (5, "high"), (6, "critical")])
@pytest.mark.attack("chain-fork")
def test_a_branch_of_two_blocks_is_a_fork(status: str, blocks: int, severity: str) -> None:
    fork = tip(START, status, branch_blocks=blocks, hash="bb" * 32)
    (one,) = of_rule(found({"rpc:chain_tip": [*active(), fork], "rpc:chain": chain()}), "chain-fork")
    assert opened_s(one) - START <= 30
    assert one.severity == severity
    assert f"{blocks} blocks" in one.summary
    assert one.resolved_ns is not None


def test_a_fork_that_grows_is_one_incident_that_escalates() -> None:
    forks = [tip(START + n * 10 * MINUTE, "valid-fork", branch_blocks=n, hash=f"{n:02x}" * 32) for n in range(1, 8)]
    (one,) = of_rule(found({"rpc:chain_tip": [*active(), *forks]}), "chain-fork")
    assert one.severity == "critical"
    assert opened_s(one) >= START + 20 * MINUTE


# a race of two blocks ends with the next block; a node has dozens of such stale tips
@pytest.mark.benign("chain-fork")
def test_a_race_of_single_blocks_is_no_fork() -> None:
    races = [tip(START + n * 7 * MINUTE, "valid-fork", hash=f"{n:02x}" * 32) for n in range(20)]
    deep = [tip(START + n * 7 * MINUTE, "headers-only", branch_blocks=4, hash=f"{n:02x}" * 32) for n in range(20, 30)]
    assert not of_rule(found({"rpc:chain_tip": [*active(), *races, *deep], "rpc:chain": chain()}), "chain-fork")


@pytest.mark.parametrize("status", ["invalid", "headers-only"])
@pytest.mark.attack("chain-invalid-ahead")
def test_more_work_that_the_node_does_not_follow_is_critical_while_it_lasts(status: str) -> None:
    polls = [
        tip(START + n * 5 * MINUTE, status, ahead=2 + n // 2, polls=n + 1, more_work=n > 0, hash="cc" * 32)
        for n in range(12)
    ]
    events = {"rpc:chain_tip": [*active(), *polls], "rpc:chain": chain()}
    (one,) = of_rule(found(events), "chain-invalid-ahead")
    assert START + 5 * MINUTE <= opened_s(one) <= START + 5 * MINUTE + 30
    assert one.severity == "critical"
    assert one.resolved_ns is not None
    assert one.resolved_ns / 1e9 - polls[-1]["t"] > HOUR - 1


@pytest.mark.benign("chain-invalid-ahead")
def test_headers_ahead_in_initial_download_are_no_attack() -> None:
    polls = [
        tip(n * 5 * MINUTE, "headers-only", ahead=400_000, polls=n + 1, more_work=n > 0, hash="cc" * 32)
        for n in range(40)
    ]
    assert not found({"rpc:chain_tip": polls, "rpc:chain": chain(ibd=True)})


def test_evasion_a_longer_chain_of_less_work_is_not_ahead() -> None:
    """An attacker who mines many easy blocks opens nothing; one who needs no second poll opens nothing either."""
    easy = [tip(START, "invalid", ahead=50, polls=2, more_work=False)]
    short = [tip(START, "headers-only", ahead=2, polls=1, more_work=True)]
    assert not found({"rpc:chain_tip": [*easy, *short], "rpc:chain": chain()})


WARNING = "Warning: We do not appear to fully agree with our peers! You may need to upgrade."


@pytest.mark.attack("node-warning")
def test_a_warning_opens_an_incident_until_a_poll_is_without_it() -> None:
    rows = [{"t": START, "text": WARNING, "active": True}, {"t": START + 2 * HOUR, "text": WARNING, "active": False}]
    (one,) = of_rule(found({"node:warning": rows}), "node-warning")
    assert one.severity == "high"
    assert "fully agree" in one.summary
    assert one.resolved_ns is not None
    assert 2 * HOUR <= one.resolved_ns / 1e9 - 1_700_000_000 - START <= 2 * HOUR + 25 * MINUTE


@pytest.mark.parametrize("lasts_s", [30, 5 * MINUTE, 3 * HOUR])
def test_a_warning_clears_however_short_it_was(lasts_s: int) -> None:
    rows = [
        {"t": START, "text": "clock", "active": True},
        {"t": START + lasts_s, "text": "clock", "active": False},
    ]
    (one,) = of_rule(found({"node:warning": rows}, until=8 * HOUR), "node-warning")
    assert one.severity == "warning"
    assert one.resolved_ns is not None


@pytest.mark.benign("node-warning")
def test_the_end_of_a_warning_is_no_warning() -> None:
    assert not found({"node:warning": [{"t": START, "text": "pre-release build", "active": False}]})


def test_evasion_a_warning_does_not_end_because_polls_stop() -> None:
    (one,) = found({"node:warning": [{"t": START, "text": WARNING, "active": True}]}, until=9 * HOUR)
    assert one.resolved_ns is None
