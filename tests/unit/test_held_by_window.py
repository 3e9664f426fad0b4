"""Reminders and escalations in a maintenance window: the wall clock makes them, so the wall clock holds them back."""

from __future__ import annotations

from datetime import time

import pytest

from alerts.case.change import CaseChange
from alerts.case.notice import CaseReason
from alerts.decide import HeldReason
from alerts.maintenance import QuietWindow
from watchdog.core.finding import Severity
from watchdog.service.assembly import held_by_window

NIGHT = QuietWindow("night", time(2), time(4), nodes=("alice",), place="watchdog.yaml:7")
AT_THREE_NS = 1_764_385_200 * 10**9  # 2025-11-29 03:00 UTC


def change(reason: CaseReason, node: str = "alice", severity: Severity = "high") -> CaseChange:
    return CaseChange("0" * 16, "0" * 16, 1, node, (reason,), severity, AT_THREE_NS, False, False, {}, {})


@pytest.mark.parametrize("reason", [CaseReason.REMINDER, CaseReason.ESCALATED])
def test_the_window_holds_them_back_with_its_place(reason: CaseReason) -> None:
    held = held_by_window([NIGHT], change(reason), AT_THREE_NS)
    assert held is not None
    assert (held.held, held.detail, held.place) == (HeldReason.MAINTENANCE, "night", "watchdog.yaml:7")


def test_other_nodes_hours_and_critical_are_sent() -> None:
    reminder = change(CaseReason.REMINDER)
    assert held_by_window([NIGHT], change(CaseReason.REMINDER, node="bob"), AT_THREE_NS) is None
    assert held_by_window([NIGHT], change(CaseReason.REMINDER, severity="critical"), AT_THREE_NS) is None
    assert held_by_window([NIGHT], reminder, AT_THREE_NS + 3600 * 10**9) is None


def test_what_the_book_decides_is_not_decided_again() -> None:
    assert held_by_window([NIGHT], change(CaseReason.OPENED), AT_THREE_NS) is None
