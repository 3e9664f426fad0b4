"""Findings for case tests, and a feed that takes them in order: no engine, no incident book."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

from alerts.case.acts import CaseAct, CaseVerb
from alerts.case.feed import CaseFeed
from alerts.case.notice import CaseNotice
from alerts.cases import CasePicture
from alerts.claims import RuleWords, words_of
from rules.load import load
from watchdog.core.durations import MINUTE_NS, SECOND_NS
from watchdog.core.finding import Attack, Change, Evidence, Finding, Severity
from watchdog.core.plan import RulePlan

START_NS = 1_770_000_000 * SECOND_NS


@cache
def shipped_plans() -> Mapping[str, RulePlan]:
    """Return the shipped rules by id."""
    return {plan.id: plan for plan in load(()).plans}


@cache
def shipped_words() -> Mapping[str, RuleWords]:
    """Return what cases know of the shipped rules."""
    return words_of(shipped_plans().values())


def made_finding(
    rule: str,
    names: Sequence[str],
    minute: float,
    *,
    change: Change = "fire",
    severity: Severity | None = None,
    key: Mapping[str, str] | None = None,
    evidence: tuple[Evidence, ...] = (),
) -> Finding:
    """Return a finding of a shipped rule that names these, most involved first."""
    plan = shipped_plans()[rule]
    time_ns = START_NS + int(minute * MINUTE_NS)
    attack: Attack = plan.attack
    return Finding(
        rule=rule,
        attack=attack,
        severity=severity or plan.severity,
        node="alice",
        change=change,
        time_ns=time_ns,
        since_ns=time_ns,
        key={"key": names[0] if names else ""} if key is None else key,
        incident={},
        entities=tuple(names),
        measures={},
        summary=rule,
        evidence=evidence,
    )


class CaseRig:
    """The cases of one node, fed by hand. Minutes count from `START_NS`; an incident is named by its rule."""

    def __init__(self) -> None:
        self.feed = CaseFeed("alice", shipped_words())
        self.acts = 0

    def say(self, rule: str, names: Sequence[str], minute: float, **more: object) -> None:
        """Take one finding; see `made_finding`."""
        finding = made_finding(rule, names, minute, **more)  # type: ignore[arg-type]
        self.feed.take(finding.time_ns, rule, finding)

    def burst(self, rule: str, names: Sequence[str], minute: float, lasts: float = 5, **more: object) -> None:
        """Take a finding and, `lasts` minutes later, its end."""
        self.say(rule, names, minute, **more)
        self.say(rule, names, minute + lasts, change="clear", **more)

    def act(
        self, case: str, verb: CaseVerb, minute: float, *, who: str = "anna", text: str = "", party: str = ""
    ) -> None:
        """Let an operator act on a case; ids count from 1."""
        self.acts += 1
        at_ns = START_NS + int(minute * MINUTE_NS)
        self.feed.acts.take(CaseAct(self.acts, case, "alice", verb, who, text, party, at_ns))
        self.settle()

    def settle(self) -> None:
        """Apply the acts that count by now, as a service does once it has a checkpoint."""
        self.feed.acts.until(self.feed.book.state.now_ns)

    def until(self, minute: float) -> list[CasePicture]:
        """Let time pass; return all cases."""
        mark_ns = START_NS + int(minute * MINUTE_NS) + 1
        self.feed.reach([mark_ns], [mark_ns])
        return self.feed.book.pictures()

    def restart(self) -> None:
        """Continue in another process from a checkpoint."""
        blob = self.feed.snapshot()
        self.feed = CaseFeed("alice", shipped_words())
        self.feed.restore(blob)


def notices_of(case: CasePicture) -> list[tuple[float, str]]:
    """Return the notices of a case: minute and reason."""
    return [(_minute(notice), notice.reason.value) for notice in case.life.notices]


def _minute(notice: CaseNotice) -> float:
    return round((notice.time_ns - START_NS) / MINUTE_NS, 2)
