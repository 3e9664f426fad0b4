"""Cases that rules on trial (maturity sandbox) began: what trusted rules find in them is never held back for that."""

from __future__ import annotations

from dataclasses import replace

from alerts.case.drawing import change_of
from alerts.case.feed import CaseFeed
from alerts.cases import IssuedNotice
from alerts.silence import ClaimSilence
from tests.support.case_rig import START_NS, CaseRig, shipped_words
from watchdog.core.durations import MINUTE_NS

A = "91.165.48.111"
TRIAL, TRUSTED = "ping-flood", "inv-flood"


class TrialRig(CaseRig):
    """A rig with one rule on trial, which keeps all that was given to receivers: minute, reason, held as sandbox."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[tuple[float, str, bool]] = []
        self._ready(self.feed)

    def pass_to(self, minute: float) -> None:
        mark_ns = START_NS + int(minute * MINUTE_NS) + 1
        self.given += [_seen(one) for one in self.feed.reach([mark_ns], [mark_ns])]

    def kill(self) -> None:
        self.restart()
        self._ready(self.feed)

    @staticmethod
    def _ready(feed: CaseFeed) -> None:
        feed.book.words = {**shipped_words(), TRIAL: replace(shipped_words()[TRIAL], sandbox=True)}
        feed.book.draw = change_of


def _seen(one: IssuedNotice) -> tuple[float, str, bool]:
    assert one.change is not None
    return round((one.notice.time_ns - START_NS) / MINUTE_NS, 2), one.notice.reason.value, one.change.sandbox


def test_a_trusted_rule_in_a_case_on_trial_opens_it_for_people() -> None:
    for killed in (False, True):
        rig = TrialRig()
        rig.say(TRIAL, [A], 10)
        rig.pass_to(12)
        assert rig.given == [(11.0, "opened", True)]
        if killed:
            rig.kill()
        rig.say(TRUSTED, [A], 13, severity="warning")
        rig.pass_to(30)
        assert len(rig.feed.book.pictures()) == 1
        assert rig.given[1:] == [(14.0, "opened", False)]
        rig.say(TRIAL, [A], 31)
        rig.pass_to(60)
        assert len(rig.given) == 2, "people know it now"


def test_a_case_on_trial_alone_stays_with_the_history() -> None:
    rig = TrialRig()
    rig.say(TRIAL, [A], 10)
    rig.say(TRIAL, [A], 20, change="escalate", severity="critical")
    rig.pass_to(60)
    assert [reason for _, reason, _ in rig.given] == ["opened", "severity"]
    assert all(sandbox for _, _, sandbox in rig.given)


def test_a_trusted_rule_that_an_operator_has_silenced_opens_nothing() -> None:
    rig = TrialRig()
    end_ns = START_NS + 600 * MINUTE_NS
    rig.feed.book.silence([ClaimSilence("1", START_NS, end_ns, "anna", "known", rule=TRUSTED)])
    rig.say(TRUSTED, [A], 9, severity="warning")
    rig.say(TRIAL, [A], 10)
    rig.pass_to(60)
    assert rig.given == [(11.0, "opened", True)]


def test_a_case_on_trial_that_joins_a_known_one_is_no_merge_for_people() -> None:
    rig = TrialRig()
    rig.say(TRIAL, ["91.165.48.111"], 10, key={})
    rig.pass_to(12)
    rig.say(TRUSTED, ["217.94.191.240"], 13, severity="high", key={})
    rig.pass_to(15)
    assert rig.given[1:] == [(13.5, "opened", False)]
    root = rig.feed.book.pictures()[1].life.root
    rig.say(TRUSTED, ["217.94.191.240", "91.165.48.111"], 16, change="escalate", severity="high", key={})
    rig.pass_to(60)
    (case,) = rig.feed.book.pictures()
    assert case.life.root == root
    assert not case.life.merged_roots
    assert not any(one.merged for one in case.life.notices)
