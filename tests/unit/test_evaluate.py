"""What an evaluation says of incidents and labels that were made up for it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from alerts.book import IncidentBook
from alerts.incident import Incident
from demo.texts import attack_rows
from watchdog.core.errors import SourceError
from watchdog.core.finding import Attack, Finding, Severity
from watchdog.offline.evaluate import RecordingScore, evaluate, folder_of, score
from watchdog.offline.labels import Label
from watchdog.offline.replay import ReplayOptions, ReplayResult
from watchdog.offline.scorecard import as_data, as_text

SECOND = 1_000_000_000
HOUR = 3600
START = 1_768_208_400
FLOOD = Label("addr_flood", "addr-flooding", START + HOUR, START + 2 * HOUR, ("136.43.0.0/16", "28.55.4.251"))
WARM_UP = Label("node_start", "benign", START, START + 900, ("1.2.3.4",))


def incident(
    opened: float,
    attack: Attack = "addr-flooding",
    severity: Severity = "warning",
    entities: tuple[str, ...] = (),
    resolved: float | None = None,
) -> Incident:
    """Return an incident opened (and resolved) some hours after the start."""
    book = IncidentBook()
    time_ns = int((START + opened * HOUR) * SECOND)
    book.apply(
        Finding(
            rule=f"{attack}-rule",
            attack=attack,
            severity=severity,
            node="node",
            change="fire",
            time_ns=time_ns,
            since_ns=time_ns,
            key={},
            incident={},
            entities=entities,
            measures={},
            summary="something happened",
        )
    )
    book.drain()
    (made,) = book.table.incidents()
    return replace(made, resolved_ns=None if resolved is None else int((START + resolved * HOUR) * SECOND))


def scored(*incidents: Incident, labels: tuple[Label, ...] = (WARM_UP, FLOOD), hours: float = 6) -> RecordingScore:
    result = ReplayResult(incidents, {}, 1, START * SECOND, int((START + hours * HOUR) * SECOND), finished=True)
    return score("open-x", labels, result)


def test_an_incident_of_the_labels_class_finds_it_with_its_delay() -> None:
    found = scored(incident(1.25, entities=("136.43.9.9",))).labels[1]
    assert (found.found, found.delay_s, found.named) == (True, 900.0, True)


def test_found_without_naming_anybody_who_took_part() -> None:
    found = scored(incident(1.25, entities=("9.9.9.9",))).labels[1]
    assert (found.found, found.named) == (True, False)


def test_an_incident_of_another_class_counts_when_it_names_somebody() -> None:
    found = scored(incident(1.5, "eclipse", entities=("28.55.4.251",))).labels[1]
    assert (found.found, found.matches[0].primary) == (True, False)
    assert scored(incident(1.5, "eclipse", entities=("9.9.9.9",))).labels[1].found is False


def test_the_grace_after_a_label_counts_and_nothing_later() -> None:
    assert scored(incident(2.16)).labels[1].found
    assert not scored(incident(2.17)).labels[1].found


def test_an_incident_that_lasts_into_a_label_finds_it_at_once_but_was_false_before() -> None:
    result = scored(incident(0.5, resolved=1.5))
    assert (result.labels[1].found, result.labels[1].delay_s, result.labels[1].delay_text) == (True, 0.0, "open")
    assert len(result.unlabelled) == 1


def test_the_delay_is_that_of_the_first_incident_that_opened_in_the_label() -> None:
    found = scored(incident(0.5, resolved=1.5), incident(1.25)).labels[1]
    assert (found.delay_s, found.delay_text) == (900.0, "15m")


def test_the_quiet_time_before_the_resolution_finds_nothing() -> None:
    quiet = replace(incident(0.5, resolved=1.2), cleared_ns=int((START + 0.7 * HOUR) * SECOND))
    assert not scored(quiet).labels[1].found


def test_an_incident_that_was_over_before_the_label_does_not_find_it() -> None:
    assert not scored(incident(0.5, resolved=0.9)).labels[1].found


def test_alarms_outside_labels_are_counted_by_node_day_and_quiet_ones_are_not() -> None:
    result = scored(incident(3), incident(4, "chain"), incident(5, severity="info"))
    assert [one.attack for one in result.unlabelled] == ["addr-flooding", "chain"]
    assert result.per_node_day == 8.0


def test_an_alarm_within_a_label_of_another_class_that_names_nobody_is_unlabelled() -> None:
    assert len(scored(incident(1.5, "eclipse")).unlabelled) == 1


def test_alarms_in_a_benign_label_are_listed_apart() -> None:
    result = scored(incident(0.1))
    assert (len(result.unlabelled), len(result.benign), result.labels[0].found) == (0, 1, False)


def test_the_aftermath_of_an_eclipse_can_neither_be_missed_nor_be_false() -> None:
    after = Label("aftermath", "eclipse", START + 3 * HOUR, START + 4 * HOUR, ("136.43.0.0/16",))
    result = scored(incident(3.5, "eclipse"), labels=(after,))
    assert (result.labels[0].benign, len(result.benign), len(result.unlabelled)) == (True, 1, 0)
    summary = as_data([result])["summary"]
    assert isinstance(summary, dict)
    assert summary["labels"] == 0


def test_the_data_says_what_the_help_promises() -> None:
    data = as_data([scored(incident(1.25, entities=("136.43.9.9",)), incident(3))])
    assert data["summary"] == {
        "labels": 1,
        "found": 1,
        "entity_named": 1,
        "unlabelled": 1,
        "node_days": 0.25,
        "unlabelled_per_node_day": 4.0,
        "cases": 0,
        "pages_without_label": 0,
        "exactly_one": 0,
        "wrong_glue": 0,
        "notices_per_label": 0.0,
        "median_delay_to_notice": None,
        "top_true": 0,
        "classes": {"addr-flooding": {"labels": 1, "found": 1, "entity_named": 1}},
    }
    (recording,) = data["recordings"] if isinstance(data["recordings"], list) else []
    benign, flood = recording["labels"]
    assert (benign["found"], benign["entity_named"], benign["by"]) == (None, None, None)
    assert (flood["found"], flood["by"], flood["delay"], flood["entity_named"]) == (True, "class", 900.0, True)
    assert [one["named"] for one in flood["incidents"]] == [True]
    assert [one["rule"] for one in recording["unlabelled"]] == ["addr-flooding-rule"]


def test_the_text_is_a_table_with_a_last_line_over_all() -> None:
    lines = as_text([scored(incident(1.25, entities=("136.43.9.9",)))]).splitlines()
    assert lines[0] == "open-x: 6h, 1 incident"
    assert lines[2].split() == ["addr_flood", "addr-flooding", "found", "15m", "yes", "addr-flooding-rule"]
    assert lines[-1].startswith("1 of 1 labels found, a true entity named in 1; 0 unlabelled")


def test_who_only_shares_the_class_is_marked_and_sets_no_delay() -> None:
    open_before = incident(0.5, entities=("9.9.9.9",))
    by_class = scored(open_before)
    row = as_text([by_class]).splitlines()[2].split()
    assert row == ["addr_flood", "addr-flooding", "class", "open", "no", "[addr-flooding-rule]"]
    assert (
        as_text([by_class])
        .splitlines()[-1]
        .startswith("1 of 1 labels found (1 by class only), a true entity named in 0;")
    )
    assert attack_rows(by_class.labels[1], 80) == [f"{'addr_flood':<24}{'open':<9}[addr-flooding-rule]"]
    both = scored(open_before, incident(1.5, "eclipse", entities=("28.55.4.251",)))
    row = as_text([both]).splitlines()[2].split()
    assert row == ["addr_flood", "addr-flooding", "found", "30m", "yes", "(eclipse-rule),", "[addr-flooding-rule]"]
    assert attack_rows(both.labels[1], 80) == [f"{'addr_flood':<24}{'in 30m':<9}eclipse-rule"]


def test_a_recording_that_is_none_is_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"recording '.*nowhere': no such folder"):
        evaluate([str(tmp_path), str(tmp_path / "nowhere")], ReplayOptions())
    with pytest.raises(SourceError, match=r"has no labels\.json to compare with"):
        evaluate([f"recording:{tmp_path}"], ReplayOptions())
    assert folder_of(f"recording:{tmp_path}") == tmp_path
