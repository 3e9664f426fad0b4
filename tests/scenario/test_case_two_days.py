"""threats.md A09 through engine, incidents and cases: poisoned tables, a restart, and other outbound peers.

The steps lie a day apart, so no incident and no case is open from one to the next: only what is remembered joins them.
"""

from __future__ import annotations

import pytest

from alerts.case.feed import NodeCases
from alerts.case.names import announced
from alerts.case.render import case_object
from alerts.cases import CasePicture
from alerts.claims import words_of
from rules.load import PACKS, load
from tests.support.events import batch, one_slice
from tests.support.packs import HOUR, MINUTE, T0, Rows, honest, peer
from watchdog.core.kinds import ALL_KINDS
from watchdog.engine.engine import Engine
from watchdog.pipeline.pipeline import Pipeline

pytestmark = pytest.mark.scenario
DAY = 24 * HOUR
GROUPS = 12


def poison() -> Rows:
    """Thirty addresses of each of the attacker's netblocks enter the new table within an hour."""
    fields = {"table": "new", "first": True, "entry_network": "ipv4", "table_total": 3_000, "source_addr": "84.8.1.1"}
    return [
        {
            **fields,
            "t": HOUR + 600 * (1 + n // 6),
            "address": f"49.{group}.7.{n}",
            "entry_netgroup": f"49.{group}.0.0/16",
            "source_netgroup": "84.8.0.0/16",
        }
        for group in range(GROUPS)
        for n in range(30)
    ]


def takeover(group: int) -> Rows:
    """Nine outbound peers are replaced by peers in the netblocks `49.GROUP` and after."""
    return [
        {**peer(900 + n, f"49.{group + n}.1.2", "out"), "t": 2 * DAY + 120 + n, "lost_lived_s": 5000} for n in range(9)
    ]


def cases(came: Rows) -> list[CasePicture]:
    """Run the eclipse pack over two days, in slices of six hours."""
    plans = load([PACKS / "eclipse.yaml"], packs=False).plans
    found = NodeCases.of("node", words_of(plans))
    pipeline = Pipeline(Engine(plans, {"hand": ALL_KINDS}), cases=found)
    lost = [{**honest(300 + n, "out"), "t": 2 * DAY + 10 * n, "lived_s": 5000} for n in range(9)]
    events = {
        "node:started": [{"t": 0, "reason": "log-start"}, {"t": DAY, "reason": "uptime-reset"}],
        "addrman:insert": poison(),
        "peer:outbound_lost": lost,
        "peer:outbound_replaced": came,
    }
    for begin in range(0, int(2.25 * DAY), 6 * HOUR):
        parts = {
            kind: [{**row, "t": T0 + row["t"]} for row in rows if begin <= row["t"] < begin + 6 * HOUR]
            for kind, rows in events.items()
        }
        batches = [batch(kind, rows) for kind, rows in parts.items() if rows]
        pipeline.process(one_slice(batches, T0 + begin + 6 * HOUR))
    pipeline.finish()
    return found.pictures()


def test_a09_poison_restart_and_outbound_over_two_days_are_one_story() -> None:
    poisoned, taken = cases(takeover(0))
    data = case_object(poisoned)
    assert (data["stages"], data["state"]) == (["poisoning"], "resolved")
    assert [party.name for party in poisoned.parties] == ["84.8.1.1"]
    assert sorted(announced(poisoned.claims)) == sorted(f"49.{group}.0.0/16" for group in range(GROUPS))
    assert (taken.life.continues, taken.life.stages) == (poisoned.life.id, ["poisoning", "outbound"])
    assert taken.life.severity == "high"
    assert {party.name for party in taken.parties} == {f"49.{n}.1.2" for n in range(9)}
    (opened, *_) = taken.life.notices
    assert (opened.reason.value, opened.time_ns / 1e9 - T0 - 2 * DAY <= 5 * MINUTE) == ("opened", True)


def test_peers_that_no_one_announced_continue_nothing() -> None:
    _, taken = cases(takeover(100))
    assert (taken.life.continues, taken.life.stages) == (None, ["outbound"])
