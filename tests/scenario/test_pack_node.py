"""The node pack on scripted time lines: what the operator must know, and nothing about restarts but that they were."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from alerts.incident import Incident
from tests.support.packs import HOUR, MINUTE, Rows, alarms, honest, incidents, of_rule, opened_s, peer
from watchdog.core.moments import IMPLAUSIBLE

pytestmark = pytest.mark.scenario

START = 30 * MINUTE


def found(events: dict[str, Rows], *, until: float = 2 * HOUR) -> list[Incident]:
    """The incidents of the pack but for the start of the recording itself."""
    return [one for one in incidents("node", events, until=until) if opened_s(one) > MINUTE]


def polls(inbound: Callable[[float], int], *, end: float = 2 * HOUR, without: tuple[float, float] = (0, 0)) -> Rows:
    """rpc:peers, one a minute; none between the two times of `without`."""
    times = [now for now in range(0, int(end), MINUTE) if not without[0] < now < without[1]]
    return [{"t": now, "inbound": inbound(now), "outbound": 10} for now in times]


def leave(count: int, at: float, group: str = "") -> Rows:
    """Let a number of peers of some age vanish between two polls."""
    who = [peer(n, f"{group}.{n}.7") if group else honest(n) for n in range(count)]
    return [{**one, "t": at, "lived_s": 3_000} for one in who]


# inbound    ``````\_________                    a third or more vanish between two polls, the node stays up
@pytest.mark.parametrize(("lost", "severity"), [(15, "warning"), (30, "warning"), (40, "high")])
@pytest.mark.attack("mass-disconnect")
@pytest.mark.benign("connectivity-lost")
def test_a20_a_mass_disconnect_is_seen_with_the_next_poll_and_names_the_peers(lost: int, severity: str) -> None:
    events = {
        "rpc:peers": polls(lambda now: 40 - lost * (now >= START)),
        "peer:disconnected": leave(lost, START, "84.141"),
    }
    (incident,) = of_rule(found(events), "mass-disconnect")
    assert opened_s(incident) - START <= 30
    assert incident.severity == severity
    assert incident.entities[0].startswith("84.141.")
    assert f"{lost} of 50 peers" in incident.summary


# inbound    ``````|      /``````                stop, no polls for a while, start; or back at the next poll
@pytest.mark.parametrize("away_s", [60, 600])
@pytest.mark.benign("connectivity-lost", "mass-disconnect")
def test_b01_a_restart_is_told_as_a_restart_only(away_s: int) -> None:
    back = START + away_s
    events = {
        "rpc:peers": polls(
            lambda now: 40 if now < START else int(min(40, max(0, now - back) / 90)), without=(START, back)
        ),
        "node:stopped": [{"t": START + 1}],
        "node:started": [{"t": back - 10, "reason": "log-start"}, {"t": back, "reason": "uptime-reset"}],
    }
    seen = found(events)
    assert alarms(seen) == []
    assert "The node restarted" in incidents("node", events, until=2 * HOUR)[0].summary


# starts     |   |   |   |                       a node that a service manager brings back again and again
def test_a_node_that_keeps_crashing_wakes_its_operator() -> None:
    starts = [{"t": START + n * 10 * MINUTE, "reason": "log-start"} for n in range(4)]
    (incident,) = incidents("node", {"node:started": starts}, until=2 * HOUR)
    assert (incident.rule, incident.severity) == ("node-restart", "warning")


# inbound    `````\___/`````                     everybody times out, and comes back
@pytest.mark.attack("connectivity-lost")
@pytest.mark.benign("mass-disconnect")
def test_b13_an_outage_is_lost_connectivity_and_no_eclipse() -> None:
    events = {
        "rpc:peers": [
            {
                "t": now,
                "inbound": 0 if START <= now < START + 600 else 40,
                "outbound": 0 if START <= now < START + 600 else 10,
            }
            for now in range(0, 2 * HOUR, MINUTE)
        ],
        "peer:disconnected": leave(50, START),
    }
    seen = found(events)
    assert [one.rule for one in seen if one.severity != "info"] == ["connectivity-lost"]
    assert {one.attack for one in seen} == {"node"}


# inbound    `````---...___                      thirty go within ten minutes, three a minute
@pytest.mark.attack("inbound-drop")
def test_inbound_peers_that_become_fewer_are_told_and_ordinary_coming_and_going_is_not() -> None:
    (drop,) = found({"rpc:peers": polls(lambda now: int(115 - 3 * min(max(0, now - START) / MINUTE, 12)))})
    assert (drop.rule, drop.severity) == ("inbound-drop", "info")
    assert found({"rpc:peers": polls(lambda now: 40 + int(now / MINUTE) % 7)}) == []


# visitors   . . . . . . . .                     short ones come and go, three a minute
@pytest.mark.benign("inbound-drop", "mass-disconnect")
def test_short_visitors_are_no_mass_disconnect() -> None:
    gone = [{**honest(n), "t": n * 20, "lived_s": 8} for n in range(300)]
    assert found({"rpc:peers": polls(lambda now: 40), "peer:disconnected": gone}) == []


# active     `````\_____                         setnetworkactive false: for a minute, or for good
@pytest.mark.attack("network-inactive")
@pytest.mark.benign("clock-offset")
def test_b14_a_network_switched_off_is_critical_after_minutes_only() -> None:
    def states(off_until: float) -> Rows:
        return [{"t": now, "network_active": not START <= now < off_until} for now in range(0, HOUR, 30)]

    assert found({"rpc:network": states(START + MINUTE)}, until=HOUR) == []
    (off,) = found({"rpc:network": states(HOUR)}, until=HOUR)
    assert (off.rule, off.severity) == ("network-inactive", "critical")
    assert MINUTE <= opened_s(off) - START <= 4 * MINUTE


# offset     0 0 0 /300 300 300                  peers' clocks on one side of ours
@pytest.mark.parametrize(("offset_s", "severity"), [(-300, "warning"), (900, "high")])
@pytest.mark.attack("clock-offset")
@pytest.mark.benign("network-inactive")
def test_b15_a_clock_that_differs_is_told_as_such(offset_s: int, severity: str) -> None:
    rows = [
        {"t": now, "network_active": True, "time_offset_s": offset_s if now >= START else 2}
        for now in range(0, HOUR, MINUTE)
    ]
    (clock,) = found({"rpc:network": rows}, until=HOUR)
    assert (clock.rule, clock.attack, clock.severity) == ("clock-offset", "node", severity)
    assert str(offset_s) in clock.summary


# input      -----     -----                     the log was rotated away, or a poller hung
@pytest.mark.parametrize(("missing_s", "severity"), [(30, "info"), (1_800, "warning")])
def test_b16_missing_input_is_told_as_data(missing_s: int, severity: str) -> None:
    now = (1_700_000_000 + START) * 10**9
    gap = {"t": START, "from_ns": now - missing_s * 10**9, "to_ns": now, "lost": 12, "reason": "poll failed"}
    (missing,) = found({"source:gap": [gap]})
    assert (missing.attack, missing.severity) == ("data", severity)
    assert f"{missing_s} seconds of input" in missing.summary
    assert "known to be lost: 12" in missing.summary


# input      -----xxxxxxx                        a file that cannot be read: the service is blind there
@pytest.mark.parametrize(("missing_s", "severity"), [(40, "warning"), (1_000, "high")])
def test_b16_a_source_that_cannot_be_read_needs_somebody_at_once(missing_s: int, severity: str) -> None:
    now = (1_700_000_000 + START) * 10**9
    gap = {"t": START, "from_ns": now - missing_s * 10**9, "to_ns": now, "lost": 0, "reason": "source-error"}
    (missing,) = found({"source:gap": [gap]})
    assert (missing.rule, missing.severity) == ("data-gap", severity)


# events     -----!!!---                         their times are years ahead: one damaged line, or a wrong clock
@pytest.mark.parametrize(("lost", "severity"), [(1, "info"), (2_000, "warning")])
def test_b17_times_that_cannot_be_true_are_told_as_such_and_as_nothing_else(lost: int, severity: str) -> None:
    now = (1_700_000_000 + START) * 10**9
    gap = {"t": START, "from_ns": now, "to_ns": now, "lost": lost, "reason": IMPLAUSIBLE}
    (dated,) = found({"source:gap": [gap]})
    assert (dated.rule, dated.attack, dated.severity) == ("data-implausible-times", "data", severity)
    assert f"dropped in 1h: {lost};" in dated.summary
