"""How long people wait for a case: which notices count, and what the metrics say."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from alerts.delivery.ports import Fate, Outcome
from alerts.notice import Notice
from watchdog.core.durations import HOUR_NS, SECOND_NS
from watchdog.service.case_metrics import all_case_metrics
from watchdog.service.exposition import Exposition
from watchdog.service.notice_delays import NoticeDelays
from watchdog.service.vitals import Stored
from watchdog.service.writer_thread import WriterCounts

OPENED_NS = 1_770_000_000 * SECOND_NS


@dataclass(frozen=True)
class Tried:
    """A notice as the sender has it."""

    notice: Notice
    attempts: int = 0
    kept: str = ""


@dataclass
class Rig:
    """Delays of notices, by the seconds from the beginning of the case to the acceptance."""

    delays: NoticeDelays = field(default_factory=NoticeDelays)

    def accept(self, after_s: float, *, type_: str = "case.opened", made_s: float = 60, fate: Fate = Fate.SENT) -> None:
        body = {"opened": OPENED_NS / 1e9}
        made_ns = OPENED_NS + int(made_s * SECOND_NS)
        notice = Notice("msg_1", "team", "", type_, "high", made_ns, body, "case")
        outcome = Outcome("msg_1", fate, 204, OPENED_NS + int(after_s * SECOND_NS))
        self.delays.note(Tried(notice), outcome)


def test_the_delay_is_from_the_first_claim_to_the_accepted_opening() -> None:
    rig = Rig()
    rig.accept(75)
    rig.accept(90)
    rig.accept(4_000)  # the receiver was down for an hour
    rig.accept(-1)  # a clock was set back
    ((labels, numbers, total),) = rig.delays.samples()
    assert labels == {"receiver": "team"}
    assert numbers == [1, 0, 0, 2, 0, 0, 0, 0, 0, 0, 1]
    assert total == 4_165


def test_other_notices_failures_and_recordings_do_not_count() -> None:
    rig = Rig()
    rig.accept(75, type_="case.severity")
    rig.accept(75, fate=Fate.RETRY)
    rig.accept(75, fate=Fate.DEAD)
    rig.accept(7_201, made_s=HOUR_NS / SECOND_NS + 1)
    assert rig.delays.samples() == []


def test_metrics_name_receivers_and_reasons() -> None:
    rig = Rig()
    rig.accept(75)
    counts = WriterCounts(case_notices=Counter({("team", "case.opened"): 3, ("team", "case.stage"): 1}))
    out = Exposition()
    all_case_metrics(out, [], counts, rig.delays, Stored({}, {}))
    text = out.text()
    assert 'watchdog_notices_total{reason="opened",receiver="team"} 3.0' in text
    assert 'watchdog_notices_total{reason="stage",receiver="team"} 1.0' in text
    assert 'watchdog_notice_delay_seconds_bucket{le="90.0",receiver="team"} 1.0' in text
    assert 'watchdog_notice_delay_seconds_bucket{le="60.0",receiver="team"} 0.0' in text
