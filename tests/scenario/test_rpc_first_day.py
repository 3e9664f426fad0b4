"""Nodes that are set up in different ways raise no incident in their first day, polled over real HTTP."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.first_day import SETUPS, day
from tests.support.virtual_node import watched
from watchdog.sources.rpc.schedule import CALLS, VITAL

pytestmark = [pytest.mark.scenario, pytest.mark.slow]
# A day of calls each 30 s takes too long; rules that look for two polls in a row see as many of them.
INTERVALS = {row.method: (180 if row.tier == VITAL else 600) * 10**9 for row in CALLS}


@pytest.mark.parametrize("name", SETUPS)
def test_no_false_incident_in_the_first_day(name: str, tmp_path: Path) -> None:
    found = watched(tmp_path, lambda time: day(name, time), 24, settings={"intervals": INTERVALS})
    assert [f"{one.rule} ({one.severity}): {one.summary}" for one in found] == []
