"""An engine of commit 03b34e2 whose panes were open: this version closes them as that one did.

tests/data/03b34e2/README.md says how the snapshot and the findings behind it were made.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rules.load import load
from tests.support.events import batch, one_slice
from watchdog.core.batch import Batch
from watchdog.core.finding import Finding
from watchdog.core.plan import RulePlan
from watchdog.engine.group_engine import GroupEngine

START_S, SNAPSHOT_S, END_S = 1_700_000_000, 95, 300  # a row each second; those before 95 s are in the snapshot


@pytest.fixture(scope="module")
def old(root: Path) -> Path:
    return root / "tests" / "data" / "03b34e2"


@pytest.fixture(scope="module")
def plans(old: Path) -> tuple[RulePlan, ...]:
    return load([old / "open_pane.yaml"], packs=False).plans


def messages(first_s: int, end_s: int) -> Batch:
    rows = [
        {
            "t": START_S + second,
            "peer": f"9.8.{second % 7}.1:8333",
            "peer_addr": f"9.8.{second % 7}.1",
            "conn": second % 7,
            "netgroup": f"9.{second % 3}.0.0/16",
            "type": ("ping", "inv", "addr")[second % 3],
            "size": 10 + second * second % 991,
        }
        for second in range(first_s, end_s)
    ]
    return batch("net:inbound_message", rows)


def rest(engine: GroupEngine) -> list[Finding]:
    """Return the findings of what followed the snapshot."""
    engine.feed(messages(SNAPSHOT_S, END_S))
    events = one_slice([], START_S + END_S)
    return engine.promise("hand", events.until_ns) + engine.finish()


def as_json(found: list[Finding]) -> list[Any]:
    lines = [[one.rule, one.change, one.time_ns, dict(one.key), dict(sorted(one.measures.items()))] for one in found]
    return sorted(json.loads(json.dumps(lines)), key=repr)


def test_open_panes_of_03b34e2_close_as_they_did_there(old: Path, plans: tuple[RulePlan, ...]) -> None:
    engine = GroupEngine(plans, node="node", sources=("hand",))
    engine.restore((old / "open_pane.snapshot").read_bytes())
    expected = json.loads((old / "open_pane.findings.json").read_text(encoding="utf-8"))
    assert len(expected) > 100
    assert as_json(rest(engine)) == sorted(expected, key=repr)


def test_the_rows_of_the_open_panes_matter(old: Path, plans: tuple[RulePlan, ...]) -> None:
    engine = GroupEngine(plans, node="node", sources=("hand",))
    engine.witness(START_S * 10**9, START_S * 10**9, "hand")
    expected = json.loads((old / "open_pane.findings.json").read_text(encoding="utf-8"))
    assert as_json(rest(engine)) != sorted(expected, key=repr)


def test_a_snapshot_of_this_version_with_open_panes_continues_alike(plans: tuple[RulePlan, ...]) -> None:
    whole, first = (GroupEngine(plans, node="node", sources=("hand",)) for _ in range(2))
    for engine in (whole, first):
        engine.witness(START_S * 10**9, (START_S + SNAPSHOT_S) * 10**9, "hand")
        engine.feed(messages(0, SNAPSHOT_S))
        engine.promise("hand", (START_S + 60) * 10**9)
    again = GroupEngine(plans, node="node", sources=("hand",))
    again.restore(first.snapshot())
    assert as_json(rest(again)) == as_json(rest(whole)) != []
