"""Ids of forgotten cases: a notice under one that was used before would count as sent already, and reach no one."""

from __future__ import annotations

import pytest

from alerts.case import forgetting, state
from alerts.cases import CasePicture
from alerts.notice import case_event_id
from tests.support.case_rig import CaseRig

A = "91.165.48.111"
DAY = 24 * 60


def cases_of(rig: CaseRig, minute: float) -> list[CasePicture]:
    return rig.until(minute)


@pytest.mark.parametrize("killed", [False, True])
def test_a_party_that_returns_after_its_case_was_forgotten_is_notified(
    monkeypatch: pytest.MonkeyPatch, killed: bool
) -> None:
    """One incident continues under another party; an attacker makes the watchdog forget the case meanwhile."""
    monkeypatch.setattr(forgetting, "SETTLED", 2)  # of 1,000
    rig, ids = CaseRig(), set[str]()

    def given(minute: float) -> None:
        for case in cases_of(rig, minute):
            ids.update(
                case_event_id(f"case.{one.reason}", case.life.root, one.number, "team") for one in case.life.notices
            )

    rig.burst("ping-flood", [A], 0, 5)
    given(60)
    first = next(iter(rig.feed.book.state.cases))
    for number in range(4):
        rig.burst("ping-flood", [f"{100 + number}.20.0.1"], (3 * number + 1) * DAY, 5)
        given((3 * number + 1) * DAY + 60)
    given(20 * DAY)
    assert first not in rig.feed.book.state.cases, "it is forgotten"
    if killed:
        rig.restart()
    before = set(ids)
    rig.say("ping-flood", [A], 21 * DAY)
    latest = [one for one in cases_of(rig, 21 * DAY + 5) if one.life.is_open]
    assert len(latest) == 1
    fresh = {
        case_event_id(f"case.{one.reason}", latest[0].life.root, one.number, "team") for one in latest[0].life.notices
    }
    assert fresh
    assert not fresh & before


def test_ids_that_are_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "SPENT", 3)
    cases = state.CaseState("alice")
    cases.spend(["a", "b"])
    cases.spend(["c", "d"])
    assert list(cases.spent) == ["b", "c", "d"]
