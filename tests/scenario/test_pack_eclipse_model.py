"""The rules over the eclipse model: tables and peers of a node go through the source, and its rows to the pack."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from alerts.incident import Incident
from tests.support.packs import HOUR, T0, Rows, alarms, incidents, of_rule, opened_s
from tests.support.snapshot_polls import START, Poll, entry, peer, poll, raw, read

pytestmark = pytest.mark.scenario

KIND = "addrman:exposure"
EVERY = 600  # seconds between polls of the tables
Slots = dict[str, dict[str, Any]]
Tables = tuple[Slots, Slots]


def spread(count: int, first: int, sources: Sequence[str]) -> list[dict[str, Any]]:
    """Addresses, each of another netblock, announced by these sources in turn."""
    return [entry(f"{first + n // 250}.{n % 250}.0.1", sources[n % len(sources)]) for n in range(count)]


def table(*parts: list[dict[str, Any]]) -> Slots:
    """Put entries into places as far from each other as Core's hashes would."""
    entries = [one for part in parts for one in part]
    return {f"{n * 37 % 256}/{(n * 37 // 256 + n // 256 * 5) % 64}": one for n, one in enumerate(entries)}


def told_by(netblocks: int, first: int = 60) -> list[str]:
    return [f"{first + n % 30}.{n // 30}.1.1" for n in range(netblocks)]


def outbound(hostile: int = 0) -> list[dict[str, Any]]:
    """Ten outbound peers; those of the attacker are its addresses, block-relay-only ones first."""
    texts = [f"150.{n}.0.1:8333" if n < hostile else f"20.{n}.0.1:8333" for n in range(10)]
    types = ["block-relay-only"] * 2 + ["outbound-full-relay"] * 8
    return [peer(n, text, START - 900, kind) for n, (text, kind) in enumerate(zip(texts, types, strict=True))]


def seen(
    folder: Path, hours: float, tables: Callable[[float], Tables], *, uptime: int = 90_000, hostile: int = 0
) -> list[Incident]:
    """The pack's incidents over polls every ten minutes. tables: of an hour."""
    polls: list[Poll] = []
    for now in range(0, int(hours * HOUR), EVERY):
        new, tried = tables(now / HOUR)
        polls += [poll(START + now, "uptime", uptime + now), poll(START + now, "getpeerinfo", outbound(hostile))]
        polls.append(raw(START + now, new, tried))
    rows: Rows = [{**event, "t": event["time_ns"] / 1e9 - T0} for event in read(folder, polls, KIND)]
    assert rows
    return incidents("eclipse", {KIND: rows}, until=hours * HOUR)


def poisoned(most_new: int, most_tried: int, sources: Sequence[str], hours: float = 4) -> Callable[[float], Tables]:
    """Honest addresses, and an attacker's that grow evenly for some hours."""

    def tables(hour: float) -> Tables:
        grown = min(hour / hours, 1)
        new = table(spread(400, 20, told_by(200)), spread(int(most_new * grown), 150, sources))
        return new, table(spread(20, 40, told_by(20)), spread(int(most_tried * grown), 160, sources))

    return tables


ONE = ["88.4.1.1"]


# new       honest 400 -------   attacker's, all announced by one netblock  .:|||||||
# restart   never happens: the incident says what it would do
@pytest.mark.attack("eclipse-restart-exposed", "eclipse-next-exposed")
def test_tables_filled_by_one_netblock_are_told_before_the_restart(tmp_path: Path) -> None:
    found = seen(tmp_path, 6, poisoned(3_000, 60, ONE))
    (restart,) = of_rule(found, "eclipse-restart-exposed")
    assert restart.severity == "warning"
    assert opened_s(restart) < 4 * HOUR
    assert restart.entities == ("88.4.0.0/16",)
    assert "addresses of 88.4.0.0/16, or announced by it, with a chance of" in restart.summary
    (following,) = of_rule(found, "eclipse-next-exposed")
    assert following.severity == "warning"


@pytest.mark.attack("eclipse-restart-exposed")
def test_with_its_anchors_and_nearly_all_addresses_it_is_high(tmp_path: Path) -> None:
    found = seen(tmp_path, 6, poisoned(7_000, 900, ONE), hostile=2)
    (restart,) = of_rule(found, "eclipse-restart-exposed")
    assert restart.severity == "high"


# new       eight peers answered getaddr, one of them with a third of all
@pytest.mark.benign("eclipse-restart-exposed", "eclipse-next-exposed")
@pytest.mark.parametrize("uptime", [0, 90_000], ids=["since a restart", "for a day"])
def test_a_node_that_knows_most_from_its_first_peers_is_silent(tmp_path: Path, uptime: int) -> None:
    def tables(hour: float) -> Tables:
        known = int(600 + 200 * hour)
        first = spread(known // 3, 150, ["91.1.1.1"])
        return table(first, spread(known, 20, told_by(8))), table(spread(15 + int(5 * hour), 40, told_by(15)))

    assert alarms(seen(tmp_path, 5, tables, uptime=uptime)) == []


@pytest.mark.benign("eclipse-restart-exposed", "eclipse-next-exposed")
def test_a_first_hour_in_which_one_peer_announced_everything_is_silent(tmp_path: Path) -> None:
    """The rules read what follows: by then, others have announced as much."""

    def tables(hour: float) -> Tables:
        others = [] if hour < 1 else spread(int(900 * hour), 20, told_by(7))
        return table(spread(1_000, 150, ["91.1.1.1"]), others), table(spread(12, 40, told_by(12)))

    assert alarms(seen(tmp_path, 4, tables, uptime=0)) == []


# sources   40 netblocks of the attacker: no group is large, as both rules accept
@pytest.mark.evasion("eclipse-restart-exposed", "eclipse-next-exposed")
def test_an_attacker_with_many_sources_and_netblocks_is_no_group(tmp_path: Path) -> None:
    assert seen(tmp_path, 6, poisoned(3_000, 60, told_by(40, first=88))) == []


def test_it_stays_open_while_polls_name_the_group_and_ends_when_they_do_not(tmp_path: Path) -> None:
    growing = poisoned(3_000, 60, ONE)
    polls: list[Poll] = []
    for now in range(0, int(5 * HOUR), EVERY):
        new, tried = growing(now / HOUR)
        polls += [poll(START + now, "uptime", 90_000 + now), poll(START + now, "getpeerinfo", outbound())]
        polls.append(raw(START + now, new, tried))
    rows: Rows = [{**event, "t": event["time_ns"] / 1e9 - T0} for event in read(tmp_path, polls, KIND)]
    (last,) = [row for row in rows[-3:] if row["grouping"] == "source"]
    going_on = [{**last, "t": 5 * HOUR + EVERY * step} for step in range(18)]
    (restart,) = of_rule(incidents("eclipse", {KIND: rows + going_on}, until=8 * HOUR), "eclipse-restart-exposed")
    assert restart.resolved_ns is None
    other = dict.fromkeys(("chance_restart_low", "chance_restart_high", "chance_next_low", "chance_next_high"), 0)
    rows += [{**row, **other, "group": "20.1.0.0/16"} for row in going_on]
    (restart,) = of_rule(incidents("eclipse", {KIND: rows}, until=8 * HOUR), "eclipse-restart-exposed")
    assert restart.resolved_ns is not None
