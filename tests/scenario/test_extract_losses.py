"""What the extractor loses, as the operator hears of it: a gap of one kind for rules, an incident when it lasts."""

from __future__ import annotations

import pytest

from tests.support.packs import HOUR, MINUTE, incidents, opened_s
from watchdog.extract.losses import NO_ROOM, SHARE_NS, LossShare

pytestmark = pytest.mark.scenario

BASE_NS = 1_700_000_000 * 10**9  # second 0 of a scenario
START = 30 * MINUTE


# ring       -----!!!!!!!!!!----                 more than one record in a hundred finds no room, for five minutes
@pytest.mark.parametrize(("lost", "opens"), [(1, False), (2, True)])
def test_losses_of_more_than_one_in_a_hundred_open_an_incident(lost: int, opens: bool) -> None:
    share = LossShare(BASE_NS + START * 10**9)
    gaps = []
    for second in range(1, 601):
        gaps += share.add(100, lost * (second <= 300), BASE_NS + (START + second) * 10**9)
    rows = [
        {"t": (one.to_ns - BASE_NS) // 10**9, "from_ns": one.from_ns, "to_ns": one.to_ns, "lost": one.events,
         "reason": one.reason, "kinds": one.kinds}
        for one in gaps
    ]  # fmt: skip
    found = [one for one in incidents("node", {"source:gap": rows}, until=2 * HOUR) if opened_s(one) > MINUTE]
    assert [one.rule for one in found] == (["data-gap"] if opens else [])
    if opens:
        assert f"{SHARE_NS // 10**9} seconds of input" in found[0].summary
        assert "known to be lost: 600" in found[0].summary


def test_a_moment_without_room_is_a_gap_of_its_kind_and_no_incident() -> None:
    now = BASE_NS + START * 10**9
    gap = {"t": START, "from_ns": now - 10**9, "to_ns": now, "lost": 5, "reason": NO_ROOM, "kinds": "utxocache:add"}
    found = incidents("node", {"source:gap": [gap]}, until=2 * HOUR)
    assert [one for one in found if opened_s(one) > MINUTE] == []
