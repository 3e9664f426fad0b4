"""Decisions on changes of cases: what is sent to whom, under which id, and why it is held back from others."""

from __future__ import annotations

from dataclasses import replace

import pytest

from alerts.case.change import CaseChange, HeldChange, event_of
from alerts.case.drawing import change_of
from alerts.case.house import HOUSE, HouseFeed
from alerts.case.notice import CaseReason
from alerts.cases import IssuedNotice
from alerts.decide import Decision, HeldReason, case_notices, decide_case
from alerts.notice import CASE_EVENT_TYPES, case_event_id
from alerts.routing import DEFAULT_CASE_EVENTS, Receiver
from tests.support.case_rig import START_NS, CaseRig, made_finding, shipped_words
from watchdog.core.durations import MINUTE_NS
from watchdog.core.finding import FLEET

TEAM = Receiver("team", "", places={"": "watchdog.yaml:4", "severity": "watchdog.yaml:7"})
FLOOD = "addr-beyond-limit"
A, B = "91.165.48.111", "217.94.191.240"


class Heard(CaseRig):
    """A rig whose notices have pictures. given: in their order."""

    def __init__(self) -> None:
        super().__init__()
        self.feed.book.draw = change_of
        self.given: list[IssuedNotice] = []

    def pass_to(self, minute: float) -> list[CaseChange]:
        """Let time pass; return what changed."""
        mark_ns = START_NS + int(minute * MINUTE_NS) + 1
        issued = self.feed.reach([mark_ns], [mark_ns])
        self.given += issued
        return [one.change for one in issued if one.change is not None]


def opened(**more: object) -> CaseChange:
    rig = Heard()
    rig.burst(FLOOD, ["203.0.113.5"], 1, 20)
    (change,) = rig.pass_to(5)
    return replace(change, **more)  # type: ignore[arg-type]


def test_an_opening_goes_to_receivers_about_cases_only() -> None:
    change = opened()
    receivers = [TEAM, Receiver("old", "", about="incidents")]
    decisions = decide_case(change, receivers)
    assert [(one.receiver, one.held, one.type, one.place) for one in decisions] == [
        ("team", None, "case.opened", "watchdog.yaml:4")
    ]
    (notice,) = case_notices(change, decisions, lambda id_: f"http://page/cases/{id_}", 7)
    assert (notice.receiver, notice.type, notice.severity, notice.created_ns) == ("team", "case.opened", "warning", 7)
    assert (notice.incident_id, notice.case_id, notice.subject) == ("", change.root, change.root)
    assert notice.id == case_event_id("case.opened", change.root, 1, "team")
    assert notice.body["url"] == f"http://page/cases/{change.case_id}"
    assert notice.body["root"] == change.root == notice.body["id"]
    assert notice.body["change"] == {
        "type": "case.opened",
        "time": START_NS / 1e9 + 120,
        "reason": "opened",
        "severity": "warning",
        "parties": ["203.0.113.5"],
        "new_stages": [],
        "new_parties": ["203.0.113.5"],
        "merged": None,
        "also_merged": [],
        "others": [],
        "by": None,
        "text": "",
    }


@pytest.mark.parametrize(
    ("more", "receiver", "reason", "detail", "place"),
    [
        ({"sandbox": True}, TEAM, HeldReason.SANDBOX, "all its rules have the maturity sandbox", ""),
        ({"before_start": True}, TEAM, HeldReason.BEFORE_START, "before the first start", ""),
        ({}, replace(TEAM, enabled=False), HeldReason.DISABLED, "enabled: false", "watchdog.yaml:4"),
        ({}, replace(TEAM, nodes=("bob",)), HeldReason.NODE, "node alice is not in nodes: bob", "watchdog.yaml:4"),
        (
            {"node": "*"},
            replace(TEAM, nodes=("bob",)),
            HeldReason.NODE,
            "node * is not in nodes: bob",
            "watchdog.yaml:4",
        ),
        (
            {},
            replace(TEAM, events=("case.stage",)),
            HeldReason.EVENTS,
            "case.opened is not in events",
            "watchdog.yaml:4",
        ),
        ({}, replace(TEAM, severity="high"), HeldReason.FLOOR, "warning is below severity: high", "watchdog.yaml:7"),
    ],
)
def test_a_change_is_held_back_for_a_reason(
    more: dict[str, object], receiver: Receiver, reason: HeldReason, detail: str, place: str
) -> None:
    change = opened(**more)
    (decision,) = decide_case(change, [receiver])
    assert decision.held is reason
    assert detail in decision.detail
    assert decision.place == place
    assert decision.labels == ("team", "held", reason.value)
    assert not case_notices(change, [decision], lambda _: None, 0)


def test_when_several_reasons_apply_the_first_is_named() -> None:
    held = HeldChange("silenced", "an operator's word", "")
    change = opened(sandbox=True, before_start=True, held=held)
    receiver = replace(TEAM, enabled=False, nodes=("bob",), events=("case.stage",), severity="high")
    steps: list[tuple[dict[str, object], dict[str, object]]] = [
        ({"sandbox": False}, {}),
        ({"before_start": False}, {}),
        ({}, {"enabled": True}),
        ({}, {"nodes": ("alice",)}),
        ({}, {"events": ("case.opened",)}),
        ({}, {"severity": "info"}),
        ({"held": None}, {}),
    ]
    named: list[HeldReason | None] = []
    for of_change, of_receiver in steps:  # takes away the reason that is named now
        named += [one.held for one in decide_case(change, [receiver])]
        change, receiver = replace(change, **of_change), replace(receiver, **of_receiver)  # type: ignore[arg-type]
    assert named == list(HeldReason)[: len(steps)]
    assert [one.held for one in decide_case(change, [receiver])] == [None]


def test_the_reason_of_the_change_goes_before_one_from_elsewhere() -> None:
    change = opened(held=HeldChange("silenced", "of the change", ""))
    (decision,) = decide_case(change, [TEAM], Decision("", HeldReason.MAINTENANCE, "from elsewhere"))
    assert (decision.held, decision.detail) == (HeldReason.SILENCED, "of the change")


@pytest.mark.parametrize("reason", [CaseReason.ACKNOWLEDGED, CaseReason.RESOLVED])
def test_whom_an_escalation_called_hears_of_the_end_whatever_else_it_asks_for(reason: CaseReason) -> None:
    lead = replace(TEAM, name="lead", events=("case.stage",), severity="critical")
    change = opened(reasons=(reason,))
    called, other = decide_case(change, [lead, replace(lead, name="other")], escalated={"lead"})
    assert (called.receiver, called.held, called.type) == ("lead", None, event_of(reason))
    assert (other.receiver, other.held) == ("other", HeldReason.EVENTS)
    (more,) = decide_case(opened(), [lead], escalated={"lead"})
    assert more.held is HeldReason.EVENTS, "nothing but the end"
    (floor,) = decide_case(opened(), [replace(lead, events=("case.opened",))], escalated={"lead"})
    assert floor.held is HeldReason.FLOOR


@pytest.mark.parametrize("reason", [HeldReason.SILENCED, HeldReason.ACKNOWLEDGED, HeldReason.MAINTENANCE])
def test_what_the_case_itself_holds_back_is_held_from_all_that_would_get_it(reason: HeldReason) -> None:
    """A receiver that would not get it anyway is given its own reason: that does not end with the window."""
    change = opened(held=HeldChange(reason.value, "patch-day until 04:00", "watchdog.yaml:20"))
    high = replace(TEAM, name="lead", severity="high")
    shown = [(one.receiver, one.held, one.detail, one.place, one.type) for one in decide_case(change, [TEAM, high])]
    assert shown == [
        ("team", reason, "patch-day until 04:00", "watchdog.yaml:20", "case.opened"),
        ("lead", HeldReason.FLOOR, "warning is below severity: high", "watchdog.yaml:7", "case.opened"),
    ]
    outside = decide_case(opened(), [TEAM], Decision("", reason, "as given", "watchdog.yaml:20"))
    assert [(one.receiver, one.held, one.detail) for one in outside] == [("team", reason, "as given")]


def test_a_case_of_a_node_does_not_go_to_those_that_ask_for_the_fleet_alone() -> None:
    (decision,) = decide_case(opened(), [replace(TEAM, nodes=(FLEET,))])
    assert decision.held is HeldReason.NODE


def test_a_case_of_the_house_goes_to_those_that_ask_for_the_fleet() -> None:
    (decision,) = decide_case(opened(node="*"), [replace(TEAM, nodes=("*fleet*",))])
    assert decision.held is None


def test_a_notice_goes_out_as_the_first_change_that_the_receiver_asked_for() -> None:
    """Severity and stage change at one moment: one notice, and a decision for each."""
    reasons = [reason for reason in type(opened().reasons[0]) if reason.value in {"severity", "stage"}]
    change = opened(reasons=tuple(reasons))
    every = decide_case(change, [TEAM])
    assert [(one.type, one.held, one.detail) for one in every] == [
        ("case.severity", None, ""),
        ("case.stage", HeldReason.MERGED, "reported by the notice case.severity"),
    ]
    stages = decide_case(change, [replace(TEAM, events=("case.stage",))])
    assert [(one.type, one.held) for one in stages] == [("case.stage", None), ("case.severity", HeldReason.EVENTS)]
    (notice,) = case_notices(change, stages, lambda _: None, 0)
    assert notice.type == "case.stage"
    assert notice.body["change"]["reason"] == "stage"  # type: ignore[index]


def test_what_is_sent_by_default_is_known() -> None:
    assert set(DEFAULT_CASE_EVENTS) < set(CASE_EVENT_TYPES)
    assert set(CASE_EVENT_TYPES) - set(DEFAULT_CASE_EVENTS) == {"case.reminder", "case.escalated", "case.updated"}


def test_notices_of_a_case_are_numbered_and_their_pictures_are_of_their_moment() -> None:
    rig = Heard()
    rig.burst(FLOOD, ["203.0.113.5"], 1, 20)
    rig.until(2.5)
    changes = rig.pass_to(200)  # everything at once: the picture of the opening must not show the end
    rig2 = Heard()
    rig2.burst(FLOOD, ["203.0.113.5"], 1, 20)
    steps = [change for minute in range(1, 201) for change in rig2.pass_to(minute)]
    assert [(one.number, one.reasons[0].value, one.document["state"]) for one in steps] == [
        (1, "opened", "open"),
        (2, "resolved", "resolved"),
    ]
    assert [one.number for one in changes] == [2]
    assert len({one.root for one in steps}) == 1


def test_a_restart_gives_the_same_notices_again() -> None:
    def story(*, restart: bool) -> list[CaseChange]:
        rig = Heard()
        rig.burst(FLOOD, ["203.0.113.5"], 1, 20)
        found = rig.pass_to(10)
        if restart:
            rig.restart()
            rig.feed.book.draw = change_of
        return found + rig.pass_to(200)

    assert story(restart=True) == story(restart=False)


def test_a_merge_keeps_the_older_root_and_names_the_other() -> None:
    """Two cases that people heard of become one: its notice names the root that ends."""
    rig = Heard()
    rig.say("ping-flood", [A], 0)
    rig.say("inv-flood", [B], 2)
    older, younger = rig.pass_to(4)
    rig.say("headers-spam", [A], 10, key={"conn": "1"})
    rig.say("headers-spam", [B], 10, key={"conn": "2"})
    (merged,) = rig.pass_to(20)
    assert (merged.root, merged.number) == (older.root, 2)
    assert merged.facts["merged"] == younger.root
    assert merged.facts["also_merged"] == []
    assert merged.document["aliases"] == [younger.case_id]


def test_a_case_keeps_the_id_that_people_know_when_an_older_one_takes_it_in() -> None:
    """The older case had no notice yet; the id that was announced remains the root."""
    rig = Heard()
    rig.say("ping-flood", [A], 0.5)  # waits a minute
    rig.say("inv-flood", [B], 0.75, severity="critical")  # does not
    (told,) = rig.pass_to(1)
    rig.say("headers-spam", [A], 1.1, key={"conn": "1"})
    rig.say("headers-spam", [B], 1.1, key={"conn": "2"})
    changes = rig.pass_to(300)
    (case,) = rig.feed.book.pictures()
    assert case.life.id != told.root
    assert case.life.root == told.root
    assert {one.root for one in changes} <= {told.root}
    assert [one.number for one in changes] == list(range(2, 2 + len(changes)))


def test_nothing_of_the_time_before_a_first_start_is_notified_but_what_still_fires() -> None:
    """One case ends before the start, one lasts: the second is notified at the start."""
    rig = Heard()
    rig.feed.book.state.start_ns = START_NS + int(60 * MINUTE_NS)
    rig.burst("ping-flood", [A], 5, 5)
    rig.say("inv-flood", [B], 20)
    changes = rig.pass_to(300)
    shown = [(one.reasons[0].value, one.before_start, one.time_ns >= START_NS + 60 * MINUTE_NS) for one in changes]
    assert shown == [
        ("opened", True, False),
        ("opened", True, False),
        ("resolved", True, False),
        ("opened", False, True),
    ]
    assert changes[-1].time_ns == START_NS + 60 * MINUTE_NS
    assert changes[-1].root == changes[1].root


def test_an_old_case_that_a_known_one_joins_takes_its_root() -> None:
    """No one heard of the older one, so there is no merge to report."""
    rig = Heard()
    rig.feed.book.state.start_ns = START_NS + int(60 * MINUTE_NS)
    rig.burst("ping-flood", [A], 57, 2)
    rig.say("inv-flood", [B], 61)
    old, known = rig.pass_to(63)
    assert (old.before_start, known.before_start) == (True, False)
    rig.say("headers-spam", [A], 67, key={"conn": "1"})
    rig.say("headers-spam", [B], 67, key={"conn": "2"})
    rig.pass_to(90)
    (case,) = rig.feed.book.pictures()
    assert case.life.id == old.case_id
    assert case.life.root == known.root
    later = [one.change for one in rig.given if one.change is not None][2:]
    assert {one.root for one in later} <= {known.root}
    assert not {"merged", "opened"} & {reason.value for one in later for reason in one.reasons}


def test_what_joins_an_old_case_after_the_start_is_notified() -> None:
    rig = Heard()
    rig.feed.book.state.start_ns = START_NS + int(60 * MINUTE_NS)
    rig.burst("ping-flood", [A], 40, 15)
    assert [one.before_start for one in rig.pass_to(62)] == [True]
    rig.say("inv-flood", [A], 65)
    told = rig.pass_to(70)
    assert [(one.reasons[0].value, one.before_start) for one in told] == [("opened", False)]


def test_more_claims_are_an_update_that_no_one_gets_by_default() -> None:
    """At most one in five minutes, numbered, and not among the notices of the case."""
    rig = Heard()
    rig.say("ping-flood", [A], 0)
    for minute in (2, 3, 4):
        rig.say("inv-flood" if minute < 4 else "headers-spam", [A], minute, key={"conn": str(minute)})
    changes = rig.pass_to(30)
    assert [(one.number, one.reasons[0].value, one.time_ns - START_NS) for one in changes] == [
        (1, "opened", MINUTE_NS),
        (2, "updated", 6 * MINUTE_NS),
    ]
    assert decide_case(changes[1], [TEAM]) == []
    (sent,) = decide_case(changes[1], [TEAM, replace(TEAM, events=("case.updated",))])
    assert sent.held is None
    (case,) = rig.feed.book.pictures()
    assert [one.reason.value for one in case.life.notices] == ["opened"]


def test_a_case_of_the_house_is_given_with_its_node() -> None:
    """The nodes of a receiver apply to it: those that name the fleet get it."""
    house = HouseFeed(shipped_words())
    house.book.draw = change_of
    finding = replace(made_finding("fleet-attack-on-many", [], 10, key={"party": "91.165.0.0/16"}), node=FLEET)
    house.take(finding.time_ns, "many", finding)
    (issued,) = house.finish(START_NS + 60 * MINUTE_NS)
    assert issued.change is not None
    assert issued.change.node == HOUSE
    receivers = [replace(TEAM, name=str(nodes), nodes=nodes) for nodes in ((), ("alice",), (FLEET,))]
    held = [one.held for one in decide_case(issued.change, receivers)]
    assert held == [None, HeldReason.NODE, None]
