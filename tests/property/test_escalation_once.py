"""Whatever restarts, nights switched off and acts there are: each escalation once, and no reminder too early."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import msgspec
from hypothesis import given as assume_given
from hypothesis import strategies as st

from alerts.case.change import CaseChange
from alerts.case.notice import CaseReason
from alerts.decide import Decision, DecisionFacts, HeldReason
from alerts.escalation import AttentionPlan, CaseClock, CaseNow, Escalation, decide_timed, due, given, news, noted
from alerts.routing import DEFAULT_CASE_EVENTS, Receiver
from watchdog.core.durations import MINUTE_NS

T0 = 1_800_000_000 * 10**9
AFTER_NS, EVERY_NS = 10 * MINUTE_NS, 30 * MINUTE_NS
PLAN = AttentionPlan((Escalation("high", AFTER_NS, ("lead",)),), {"high": EVERY_NS})
RECEIVERS = (
    Receiver("team", "https://example.org/a", events=(*DEFAULT_CASE_EVENTS, "case.reminder")),
    Receiver("lead", "https://example.org/b", severity="critical"),
)
STEPS = st.lists(st.tuples(st.integers(0, 240), st.sampled_from(["look", "kill", "ack", "stage"])), max_size=60)


@dataclass
class World:
    """A case as the database has it, and all that was sent: when, its type, its number, the receiver."""

    text: bytes = b""
    state: str = "open"
    changes: list[CaseChange] = field(default_factory=list)
    sent: list[tuple[int, str, int, str]] = field(default_factory=list)
    begun: list[int] = field(default_factory=list)  # of the times without an acknowledgement
    heard: list[int] = field(default_factory=list)

    def change(self, reason: CaseReason, state: str, now_ns: int) -> None:
        """Store a change of the case."""
        if not self.changes or (self.state, state) == ("acknowledged", "open"):
            self.begun.append(now_ns)
        self.state = state
        number = len(self.changes) + 1
        made = CaseChange("c", "c", number, "alice", (reason,), "high", T0, False, False, {"state": state}, {})
        self.changes.append(made)
        self.note([made], now_ns)
        if state == "open":
            self.heard.append(now_ns)

    def note(self, changes: list[CaseChange], now_ns: int) -> None:
        """Note changes, again after a kill."""
        for one in changes:
            clock = noted(msgspec.json.decode(self.text, type=CaseClock) if self.text else None, one, now_ns)
            assert clock is not None
            self.text = msgspec.json.encode(clock)

    def look(self, now_ns: int) -> None:
        """Do as the service does."""
        clock = msgspec.json.decode(self.text, type=CaseClock)
        acknowledged = Decision("", HeldReason.ACKNOWLEDGED, "") if self.state == "acknowledged" else None
        for one in due(clock, CaseNow(self.state, "high", firing=True), PLAN, now_ns):
            made = news(
                clock, one, decide_timed(one, DecisionFacts(False, "alice", "high", held=acknowledged), RECEIVERS)
            )
            sent = [(now_ns, one.type, one.number, each.receiver) for each in made if each.held is None]
            self.sent += sent
            clock = given(clock, one, made, now_ns)
        self.text = msgspec.json.encode(clock)


@assume_given(STEPS)
def test_each_is_sent_once(steps: list[tuple[int, str]]) -> None:
    world, now_ns = World(), T0
    world.change(CaseReason.OPENED, "open", now_ns)
    for minutes, step in steps:
        now_ns += minutes * MINUTE_NS
        if step == "kill":
            world.note(world.changes, now_ns)
        elif step == "ack" and world.state == "open":
            world.change(CaseReason.ACKNOWLEDGED, "acknowledged", now_ns)
        elif step == "stage":
            world.change(CaseReason.STAGE, "open", now_ns)
        before = len(world.sent)
        world.look(now_ns)
        assert world.state == "open" or len(world.sent) == before
    assert len({one[1:] for one in world.sent}) == len(world.sent)
    escalated = [at_ns for at_ns, type_, *_ in world.sent if type_ == "case.escalated"]
    for begun_ns, end_ns in zip(world.begun, [*world.begun[1:], 2 * T0], strict=True):
        own = [at_ns for at_ns in escalated if begun_ns <= at_ns < end_ns]
        assert len(own) <= 1
        assert all(at_ns - begun_ns >= AFTER_NS for at_ns in own)
    reminded = [at_ns for at_ns, type_, *_ in world.sent if type_ == "case.reminder"]
    times = sorted({*world.heard, *reminded})
    gaps = [later - before for before, later in pairwise(times) if later not in world.heard]
    assert min(gaps, default=EVERY_NS) >= EVERY_NS
