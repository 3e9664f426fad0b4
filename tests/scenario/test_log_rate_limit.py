"""Triggering the rate limit of Core's log every hour hides no attack that other log lines show."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from alerts.incident import Incident
from tests.support.witness import saw
from watchdog.offline.replay import ReplayOptions, replay

pytestmark = pytest.mark.scenario

BEGIN = dt.datetime(2026, 8, 1, tzinfo=dt.UTC)
PLACE = "net_processing.cpp:3700 (ProcessMessage)"
EXCESS = f"[warning] Excessive logging detected from {PLACE}: >1 bytes logged during the last time window of 3600s."
RESTART = f"[warning] Restarting logging from {PLACE}: 5000 bytes were dropped during the last 3600s."
HOURS, PERIOD_S = 4, 3_600


def attack() -> list[tuple[float, str]]:
    """Lines of the third hour, by second, that set off the rules that read debug.log."""
    lines: list[tuple[float, str]] = []
    for n in range(200):
        at, peer = 2 * PERIOD_S + 900 + n * 6.0, f"11.22.{n}.7"
        lines += [
            (at, f"[addrman] Added 9 addresses (of 10) from {peer}: 100 tried, {2000 + n} new"),
            (at, f"[net] Added connection to {peer}:5000 peer={n}"),
            (at, f"[net] connection from {peer}:5000 accepted"),
            (at + 1, f"[net] Header error: Wrong checksum (inv, 37 bytes), expected 01020304 was 05060708, peer={n}"),
            (at + 2, f"[net] Misbehaving: peer={n}: headers message size = 2001"),
            (at + 3, f"[net] selected inbound connection for eviction, disconnecting peer={n}, peeraddr={peer}:5000"),
        ]
        lines += [(at + 4, f"[addrman] Moved {peer}:8333 to tried[163][{n % 64}]")] * (n % 8 == 0)
        lines += [(at + 5, f"[net] Making feeler connection to {peer}:8333")] * (n % 4 == 0)
        lines += [(at + 5, f"[net] feeler connection completed, disconnecting peer={900 + n}")] * (n % 4 == 0)
    return lines


def write(path: Path, *, limited: bool) -> None:
    """The attack and a line a minute; limited: from the tenth minute of each hour to its end."""
    lines = [(0.0, "Bitcoin Core version v31.0.0 (release build)"), *attack()]
    lines += [(minute * 60.0, "[net] hello") for minute in range(HOURS * 60)]
    if limited:
        lines += [(hour * PERIOD_S + 600.0, EXCESS) for hour in range(HOURS)]
        lines += [((hour + 1) * PERIOD_S - 1.0, RESTART) for hour in range(HOURS)]
    with path.open("w", encoding="utf-8") as file:
        for at, line in sorted(lines, key=lambda one: one[0]):
            stamp = (BEGIN + dt.timedelta(seconds=at)).strftime("%Y-%m-%dT%H:%M:%SZ")
            mark = "[*] " * (limited and 600 <= at % PERIOD_S < PERIOD_S - 1)
            file.write(f"{mark}{stamp} {line}\n")


def found(path: Path) -> list[Incident]:
    incidents = list(replay([f"log:{path}"], ReplayOptions()).incidents)
    saw((), (), (incident.rule for incident in incidents))
    return incidents


def test_a_limit_in_every_hour_hides_no_attack_and_is_reported(tmp_path: Path) -> None:
    plain, limited = tmp_path / "plain.log", tmp_path / "limited.log"
    write(plain, limited=False)
    write(limited, limited=True)
    before, behind = found(plain), found(limited)
    told = [one for one in behind if one.rule == "log-rate-limited"]
    rest = [one for one in behind if one.rule != "log-rate-limited"]
    assert {one.rule for one in before} >= {
        "eclipse-evictions", "eclipse-feeler-success", "eclipse-new-table-source", "eclipse-tried-growth",
    }  # fmt: skip

    def said(incidents: list[Incident]) -> list[tuple[object, ...]]:
        return [(one.rule, one.severity, one.opened_ns, one.summary, one.completeness) for one in incidents]

    assert said(rest) == said(before)
    assert [(one.severity, PLACE in one.summary) for one in told] == [("warning", True)] * len(told)
    assert told
    assert told[0].opened_ns - int(BEGIN.timestamp()) * 10**9 <= 610 * 10**9
