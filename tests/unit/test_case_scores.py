"""Cases compared with labels, and the gates on the recordings of a real node."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.case_rig import START_NS, CaseRig
from watchdog.offline.case_scores import CaseScores, as_summary, odd_lines, score_cases, summary_text
from watchdog.offline.evaluate import evaluate
from watchdog.offline.labels import Label
from watchdog.offline.replay import ReplayOptions

A, B, C = "91.165.48.111", "217.94.191.240", "45.12.7.9"
START = START_NS / 1e9


def label(attack: str, class_: str, begin: float, end: float, *names: str) -> Label:
    return Label(attack, class_, START + 60 * begin, START + 60 * end, names)


def scored(rig: CaseRig, minute: float, *labels: Label) -> CaseScores:
    return score_cases(labels, rig.until(minute), START + 60 * minute, 600.0)


def test_one_page_with_the_right_name() -> None:
    rig = CaseRig()
    rig.burst("ping-flood", [A], 10)
    found = scored(rig, 60, label("ping_flood", "message-anomaly", 9, 20, A))
    (one,) = found.labels
    assert (len(one.cases), one.notices, one.delay_s, one.top_name, one.top_true) == (1, 1, 120.0, A, True)
    assert as_summary([found])["exactly_one"] == 1


def test_a_second_page_a_wrong_name_and_a_page_without_a_label_count() -> None:
    rig = CaseRig()
    rig.burst("ping-flood", [A], 10)
    rig.burst("inv-flood", [B], 12)
    rig.burst("headers-spam", [C], 100)
    found = scored(rig, 200, label("floods", "message-anomaly", 9, 20, A, B))
    assert [len(one.cases) for one in found.labels] == [2]
    assert [case.parties[0].name for case in found.without_label] == [C]
    assert "1 case without a label" in summary_text([found])
    assert odd_lines(found) == [
        "cases of floods: 2 cases",
        f"case {found.without_label[0].life.id} has no label: warning",
    ]


def test_two_independent_labels_in_one_case_are_glued_and_two_of_one_party_are_not() -> None:
    rig = CaseRig()
    rig.say("addr-pattern-2021", [A], 10)
    rig.say("addr-pattern-2021", [B], 12)
    strangers = scored(rig, 60, label("one", "addr-flooding", 9, 30, A), label("other", "addr-flooding", 9, 30, B))
    assert strangers.glued == 1
    assert [one.glued_with for one in strangers.labels] == [("other",), ("one",)]
    same = scored(rig, 60, label("one", "addr-flooding", 9, 30, A, B), label("other", "addr-flooding", 9, 30, B))
    assert same.glued == 0


def test_a_wrong_name_is_false_and_no_single_origin_has_none() -> None:
    rig = CaseRig()
    rig.say("addr-pattern-2021", [B], 10)
    rig.say("addr-pattern-2021", [A], 10)
    (one,) = scored(rig, 60, label("one", "addr-flooding", 9, 30, "9.9.9.9", A)).labels
    assert one.top_true is (one.top_name == A)
    (any_,) = scored(rig, 60, label("one", "addr-flooding", 9, 30, "*")).labels
    assert (len(any_.cases), any_.top_true) == (1, None)


def test_a_case_in_a_benign_label_is_not_counted() -> None:
    rig = CaseRig()
    rig.burst("ping-flood", [A], 10)
    found = scored(rig, 60, label("node_start", "benign", 0, 15, C))
    assert (found.without_label, as_summary([found])["exactly_one"]) == ((), 0)


@pytest.mark.slow
def test_the_gates_hold_on_recordings_of_a_real_node(recordings: Path) -> None:
    folders = sorted(recordings.glob("open-*"))
    assert len(folders) == 5
    scores = [score.cases for score in evaluate([str(folder) for folder in folders], ReplayOptions())]
    data, attacks = as_summary(scores), [one for score in scores for one in score.attacks]
    assert data["exactly_one"] == len(attacks) == 24
    assert (data["wrong_glue"], data["pages_without_label"]) == (0, 0)
    assert float(str(data["notices_per_label"])) <= 1.8
    assert float(str(data["median_delay_to_notice"])) <= 90
    assert all(one.top_true for one in attacks if "*" not in one.label.entities)
