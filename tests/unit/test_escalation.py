"""Reminders and escalations by the wall clock: which are due, to whom, and once each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from alerts.case.change import CaseChange, HeldChange
from alerts.case.notice import CaseReason
from alerts.decide import Decision, DecisionFacts, HeldReason
from alerts.escalation import (
    AttentionPlan,
    CaseClock,
    CaseNow,
    Escalation,
    TimedNotice,
    decide_timed,
    due,
    given,
    news,
    not_ahead,
    noted,
    shifted,
)
from alerts.routing import DEFAULT_CASE_EVENTS, Receiver
from watchdog.core.durations import HOUR_NS, MINUTE_NS
from watchdog.core.finding import Severity

T0 = 1_800_000_000 * 10**9
LEAD = Escalation("high", 10 * MINUTE_NS, ("lead",), "watchdog.yaml:9")
PLAN = AttentionPlan((LEAD,), {"critical": 30 * MINUTE_NS, "high": 4 * HOUR_NS})
HIGH = CaseNow("open", "high", firing=True)
TEAM = Receiver("team", "https://example.org/a", events=(*DEFAULT_CASE_EVENTS, "case.reminder"))
CHIEF = Receiver("lead", "https://example.org/b", severity="critical")


def change(
    number: int = 1,
    severity: Severity = "high",
    state: str = "open",
    reasons: tuple[CaseReason, ...] = (CaseReason.OPENED,),
    **more: object,
) -> CaseChange:
    """A change of one case."""
    made = CaseChange("c" * 16, "c" * 16, number, "alice", reasons, severity, T0, False, False, {"state": state}, {})
    return replace(made, **more)  # type: ignore[arg-type]


def opened(severity: Severity = "high", now_ns: int = T0) -> CaseClock:
    """The clock of a case that was just reported."""
    clock = noted(None, change(severity=severity), now_ns)
    assert clock is not None
    return clock


def sent(clock: CaseClock, one: TimedNotice, now_ns: int, *names: str) -> CaseClock:
    """The clock after it was sent to these."""
    return given(clock, one, [Decision(name) for name in names], now_ns)


def reasons(found: Sequence[TimedNotice]) -> list[str]:
    return [one.type for one in found]


def test_an_escalation_is_due_after_its_time_and_once() -> None:
    clock = opened()
    assert due(clock, HIGH, PLAN, T0 + 10 * MINUTE_NS - 1) == []
    (one,) = due(clock, HIGH, PLAN, T0 + 10 * MINUTE_NS)
    assert (one.type, one.number, tuple(one.to), one.place) == ("case.escalated", 1, ("lead",), "watchdog.yaml:9")
    clock = sent(clock, one, T0 + 10 * MINUTE_NS, "lead")
    assert due(clock, HIGH, PLAN, T0 + 3 * HOUR_NS) == []


def test_a_night_without_the_service_gives_one_of_each() -> None:
    clock, now_ns = opened("critical"), T0 + 12 * HOUR_NS
    case = CaseNow("open", "critical", firing=True)
    found = due(clock, case, PLAN, now_ns)
    assert reasons(found) == ["case.escalated", "case.reminder"]
    for one in found:
        clock = sent(clock, one, now_ns, "lead", "team")
    assert due(clock, case, PLAN, now_ns) == []
    (again,) = due(clock, case, PLAN, now_ns + 30 * MINUTE_NS)
    assert (again.type, again.number) == ("case.reminder", 2)


def test_a_case_below_the_severity_does_not_escalate_and_counts_from_when_it_reaches_it() -> None:
    clock = opened("warning")
    assert due(clock, CaseNow("open", "warning", firing=True), PLAN, T0 + HOUR_NS) == []
    clock = noted(clock, change(2, "critical", reasons=(CaseReason.SEVERITY,)), T0 + HOUR_NS) or clock
    case = CaseNow("open", "critical", firing=True)
    assert due(clock, case, PLAN, T0 + HOUR_NS + 9 * MINUTE_NS) == []
    assert reasons(due(clock, case, PLAN, T0 + HOUR_NS + 10 * MINUTE_NS)) == ["case.escalated"]


def test_a_resolved_case_has_nothing_and_a_quiet_one_no_reminder() -> None:
    clock, late_ns = opened(), T0 + 24 * HOUR_NS
    assert due(clock, CaseNow("resolved", "high", firing=False), PLAN, late_ns) == []
    assert reasons(due(clock, CaseNow("open", "high", firing=False), PLAN, late_ns)) == ["case.escalated"]


def test_an_acknowledgement_holds_both_back_and_says_so_once() -> None:
    clock, late_ns = opened(), T0 + 24 * HOUR_NS
    case = CaseNow("acknowledged", "high", firing=True)
    facts = DecisionFacts(False, "alice", "high", held=Decision("", HeldReason.ACKNOWLEDGED, "acknowledged by anna"))
    found = due(clock, case, PLAN, late_ns)
    assert reasons(found) == ["case.escalated", "case.reminder"]
    held: list[HeldReason | None] = []
    for one in found:
        made = news(clock, one, decide_timed(one, facts, [TEAM, CHIEF]))
        held += [each.held for each in made]
        clock = given(clock, one, made, late_ns)
    assert held == [HeldReason.ACKNOWLEDGED, HeldReason.ACKNOWLEDGED, HeldReason.EVENTS]
    for one in due(clock, case, PLAN, late_ns + HOUR_NS):
        assert news(clock, one, decide_timed(one, facts, [TEAM, CHIEF])) == []


def test_a_cleared_acknowledgement_and_a_reopening_restart_parts() -> None:
    clock = opened()
    (one,) = due(clock, HIGH, PLAN, T0 + HOUR_NS)
    clock = sent(clock, one, T0 + HOUR_NS, "lead")
    clock = noted(clock, change(2, state="acknowledged", reasons=(CaseReason.ACKNOWLEDGED,)), T0 + HOUR_NS) or clock
    clock = noted(clock, change(3, reasons=(CaseReason.STAGE,)), T0 + 2 * HOUR_NS) or clock
    assert due(clock, HIGH, PLAN, T0 + 2 * HOUR_NS + 9 * MINUTE_NS) == []
    (again,) = due(clock, HIGH, PLAN, T0 + 2 * HOUR_NS + 10 * MINUTE_NS)
    assert again.number == 2
    clock = noted(clock, change(4, state="resolved", reasons=(CaseReason.RESOLVED,)), T0 + 3 * HOUR_NS) or clock
    clock = noted(clock, change(5, reasons=(CaseReason.REOPENED,)), T0 + 4 * HOUR_NS) or clock
    assert clock.since == dict.fromkeys(("info", "warning", "high"), T0 + 4 * HOUR_NS)


def test_a_case_that_reopens_in_maintenance_escalates_again_once_people_hear_of_it() -> None:
    clock = opened()
    (one,) = due(clock, HIGH, PLAN, T0 + HOUR_NS)
    clock = sent(clock, one, T0 + HOUR_NS, "lead")
    clock = noted(clock, change(2, state="resolved", reasons=(CaseReason.RESOLVED,)), T0 + 2 * HOUR_NS) or clock
    held = change(3, reasons=(CaseReason.REOPENED,), held=HeldChange("maintenance", "patch-day"))
    clock = noted(clock, held, T0 + 3 * HOUR_NS) or clock
    ladder = AttentionPlan((LEAD, replace(LEAD, after_ns=HOUR_NS, to=("chief",))))
    assert due(clock, HIGH, ladder, T0 + 5 * HOUR_NS) == [], "no one has heard that it is open again"
    clock = noted(clock, change(4, reasons=(CaseReason.REOPENED,)), T0 + 5 * HOUR_NS) or clock
    assert due(clock, HIGH, ladder, T0 + 5 * HOUR_NS + 9 * MINUTE_NS) == []
    (again,) = due(clock, HIGH, ladder, T0 + 5 * HOUR_NS + 10 * MINUTE_NS)
    assert list(again.to) == ["lead"]


def test_changes_that_a_restart_repeats_change_nothing() -> None:
    clock = opened()
    clock = noted(clock, change(2, state="acknowledged", reasons=(CaseReason.ACKNOWLEDGED,)), T0 + 1) or clock
    clock = noted(clock, change(3, reasons=(CaseReason.SEVERITY,)), T0 + 2) or clock
    for number, state in ((1, "open"), (2, "acknowledged"), (3, "open")):
        assert noted(clock, change(number, state=state), T0 + HOUR_NS) == clock


@pytest.mark.parametrize(
    "unheard",
    [{"before_start": True}, {"sandbox": True}, {"held": HeldChange("maintenance", "patch-day")}],
)
def test_what_people_have_not_heard_of_has_no_clock(unheard: Mapping[str, object]) -> None:
    assert noted(None, change(**unheard), T0) is None  # type: ignore[arg-type]


def test_what_was_held_back_later_does_not_count_as_heard() -> None:
    clock = opened("warning")
    held = change(2, "critical", held=HeldChange("maintenance", "patch-day"))
    after = noted(clock, held, T0 + HOUR_NS)
    assert after is not None
    assert (after.since, after.heard_ns, after.number) == (clock.since, T0, 2)


def test_updates_do_not_put_a_reminder_off() -> None:
    clock = noted(opened(), change(2, reasons=(CaseReason.UPDATED,)), T0 + HOUR_NS)
    assert clock is not None
    assert clock.heard_ns == T0


def test_a_notice_puts_a_reminder_off() -> None:
    clock = noted(opened(), change(2, reasons=(CaseReason.STAGE,)), T0 + HOUR_NS) or opened()
    plan = AttentionPlan((), PLAN.reminders)
    assert due(clock, HIGH, plan, T0 + 4 * HOUR_NS) == []
    (one,) = due(clock, HIGH, plan, T0 + 5 * HOUR_NS)
    assert one.waited_ns == 5 * HOUR_NS


def test_reminders_of_a_severity_are_for_those_above() -> None:
    plan = AttentionPlan((), {"high": HOUR_NS})
    assert [plan.every_ns(one) for one in ("warning", "high", "critical")] == [None, HOUR_NS, HOUR_NS]
    assert AttentionPlan().every_ns("critical") is None


def test_to_gets_it_whatever_its_events_and_severity() -> None:
    (one,) = due(opened(), HIGH, PLAN, T0 + HOUR_NS)
    facts = DecisionFacts(False, "alice", "high")
    other = Receiver("other", "https://example.org/c", events=("case.escalated",))
    (lead, asks) = decide_timed(one, facts, [TEAM, CHIEF, other])
    assert (lead.receiver, lead.held, lead.place) == ("lead", None, "watchdog.yaml:9")
    assert (asks.receiver, asks.held) == ("other", None)
    (off,) = decide_timed(one, facts, [replace(CHIEF, enabled=False)])
    (away,) = decide_timed(one, facts, [replace(CHIEF, nodes=("bob",))])
    assert (off.held, away.held) == (HeldReason.DISABLED, HeldReason.NODE)
    assert decide_timed(one, facts, [Receiver("lead", "https://example.org", about="incidents")]) == []


def test_what_was_held_back_from_one_receiver_is_sent_once_that_is_over() -> None:
    plan = AttentionPlan((Escalation("high", 0, ("lead", "cto")),))
    clock = opened()
    (one,) = due(clock, HIGH, plan, T0)
    clock = given(clock, one, [Decision("lead"), Decision("cto", HeldReason.DISABLED)], T0)
    (rest,) = due(clock, HIGH, plan, T0 + 1)
    assert (tuple(rest.to), rest.number) == (("cto",), 2)
    assert news(clock, rest, [Decision("cto", HeldReason.DISABLED)]) == []
    clock = given(clock, rest, news(clock, rest, [Decision("cto")]), T0 + 2)
    assert due(clock, HIGH, plan, T0 + HOUR_NS) == []
    assert clock.held == {}


def test_another_time_in_the_configuration_escalates_nothing_again() -> None:
    clock = opened()
    (one,) = due(clock, HIGH, PLAN, T0 + HOUR_NS)
    clock = sent(clock, one, T0 + HOUR_NS, "lead")
    later = AttentionPlan((replace(LEAD, after_ns=20 * MINUTE_NS),))
    assert due(clock, HIGH, later, T0 + 2 * HOUR_NS) == []
    second = AttentionPlan((LEAD, replace(LEAD, after_ns=HOUR_NS)))
    assert [tuple(one.to.values()) for one in due(clock, HIGH, second, T0 + 2 * HOUR_NS)] == [(("high", "lead", 2),)]


def test_a_ladder_goes_up_step_by_step() -> None:
    plan = AttentionPlan((Escalation("high", 30 * MINUTE_NS, ("cto",)), LEAD))
    clock, got = opened(), list[tuple[int, str]]()
    for minute in range(0, 60, 5):
        for one in due(clock, HIGH, plan, T0 + minute * MINUTE_NS):
            got += [(minute, name) for name in one.to]
            clock = sent(clock, one, T0 + minute * MINUTE_NS, *one.to)
    assert got == [(10, "lead"), (30, "cto")]


def test_the_clock_of_the_machine_is_set() -> None:
    clock = opened()
    moved = shifted(clock, 5 * HOUR_NS)
    assert due(moved, HIGH, PLAN, T0 + 5 * HOUR_NS + 9 * MINUTE_NS) == []
    assert due(moved, HIGH, PLAN, T0 + 5 * HOUR_NS + 10 * MINUTE_NS)
    assert due(clock, HIGH, PLAN, T0 - 9 * HOUR_NS) == []
    back = not_ahead(clock, T0 - 9 * HOUR_NS)
    assert due(back, HIGH, PLAN, T0 - 9 * HOUR_NS + 9 * MINUTE_NS) == []
    assert due(back, HIGH, PLAN, T0 - 9 * HOUR_NS + 10 * MINUTE_NS)


def test_a_drill_escalates_at_once_and_reminds_no_one() -> None:
    clock = noted(None, change(), T0, drill=True)
    assert clock is not None
    assert reasons(due(clock, HIGH, PLAN, T0)) == ["case.escalated"]
    assert reasons(due(clock, HIGH, PLAN, T0 + 24 * HOUR_NS)) == ["case.escalated"]
