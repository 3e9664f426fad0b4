"""Why a notice was held back: the command, and the route of the API."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from alerts.case.acts import CaseAct
from alerts.store.case_fates import fates_of
from alerts.store.database import Database
from alerts.store.outbox import Outbox
from tests.support.case_rig import START_NS
from tests.support.case_story import NOW_NS, PEER_A, PEER_B, TEAM, CaseStory, merged_cases
from watchdog.cli.main import main
from watchdog.core.durations import SECOND_NS

LEAD = replace(TEAM, name="lead", severity="high", places={"": "watchdog.yaml:9", "severity": "watchdog.yaml:12"})


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database.open(f"sqlite:///{tmp_path / 'h.db'}")


def said(tmp_path: Path, capfd: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    assert main(["cases", "why-not", *arguments, "--db", str(tmp_path / "h.db")]) == code
    captured = capfd.readouterr()
    return captured.out if code == 0 else captured.err


def opened(database: Database) -> tuple[CaseStory, str]:
    story = CaseStory(database, TEAM, LEAD)
    story.rig.say("ping-flood", [PEER_A], 0)
    (change,) = story.until(4)
    return story, change.case_id


def test_it_names_the_reason_with_its_place(
    database: Database, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    _, case = opened(database)
    (delivery,) = Outbox(database).page().rows
    text = said(tmp_path, capfd, case[:6])
    reason = "held back: floor (warning is below severity: high, watchdog.yaml:12)"
    assert text == (
        "lead:\n"
        f"  2026-02-02 02:41:00  case.opened        {reason}\n"
        "team:\n"
        f"  2026-02-02 02:41:00  case.opened        waits for the receiver ({delivery.notice.id})\n"
    )
    Outbox(database).sent(delivery.notice.id, 204, NOW_NS + 3 * SECOND_NS)
    text = said(tmp_path, capfd, case, "--receiver", "team")
    assert f"case.opened        sent at 2026-03-04 02:40:03 ({delivery.notice.id})" in text
    assert "lead" not in text
    (fate,) = json.loads(said(tmp_path, capfd, case, "--receiver", "lead", "--json"))["decisions"]
    assert (fate["decision"], fate["reason"], fate["delivery"], fate["status"]) == ("held", "floor", None, None)


def test_a_dead_letter_and_one_that_is_no_longer_kept_are_named(
    database: Database, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    _, case = opened(database)
    (delivery,) = Outbox(database).page().rows
    Outbox(database).dead(delivery.notice.id, "answered 422", NOW_NS, 422)
    assert "not delivered, a dead letter since 2026-03-04 02:40:00" in said(tmp_path, capfd, case)
    with database.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM outbox")
    assert "no longer kept" in said(tmp_path, capfd, case)


def test_what_waits_for_the_end_of_an_interval_is_shown(
    database: Database, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A case that is not a minute old, and a step within five minutes of the last notice."""
    story = CaseStory(database)
    story.rig.say("ping-flood", [PEER_A], 0)
    story.until(0.5)
    story.keep()
    case = story.rig.feed.book.pictures()[0].life.id
    assert said(tmp_path, capfd, case) == (
        "every receiver: case.opened: held back: interval (until 2026-02-02 02:41:00 of event time, with what comes "
        "until then)\n"
    )
    story.until(2)
    story.rig.say("ping-flood", [PEER_A], 3, change="escalate", severity="high")
    story.until(4)
    story.keep()
    text = said(tmp_path, capfd, case)
    assert "every receiver: case.severity: held back: interval (until 2026-02-02 02:46:00" in text
    story.until(7)
    assert "interval" not in said(tmp_path, capfd, case)


def test_a_notice_that_others_overtook_waits_for_the_rate(
    database: Database, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    story = CaseStory(database)
    story.rig.say("ping-flood", [PEER_A], 0)
    story.rig.say("inv-flood", ["217.94.191.240"], 0)
    story.until(4)
    first, second = Outbox(database).due(NOW_NS, "team", 5)
    assert "waits for the receiver" in said(tmp_path, capfd, second.notice.case_id)
    Outbox(database).sent(first.notice.id, 204, NOW_NS + SECOND_NS)
    text = said(tmp_path, capfd, second.notice.case_id)
    assert "held back: rate (1 other notices were accepted while it waited)" in text
    Outbox(database).failed(second.notice.id, "answered 503", NOW_NS + 60 * SECOND_NS, 503)
    assert "waits for the receiver" in said(tmp_path, capfd, second.notice.case_id)


def test_an_alias_and_an_incident_lead_to_their_case(
    database: Database, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    story = merged_cases(database)
    case, alias = story.changes[0].case_id, story.changes[1].case_id
    text = said(tmp_path, capfd, alias)
    assert text.startswith(f"alias {alias} is part of case {case}\n")
    assert text.count("case.opened") == 2
    assert text.count("case.merged") == 1
    fates = fates_of(database, alias, "team")
    assert fates is not None
    assert (fates.case, fates.root, fates.asked) == (case, case, "alias")
    assert fates_of(database, "0123456789abcdef") is None


def test_at_a_time_it_shows_the_latest_decision_before(
    database: Database, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    story, case = opened(database)
    story.rig.say("ping-flood", [PEER_A], 20, change="escalate", severity="high")
    story.until(30)
    early = str((START_NS + 600 * SECOND_NS) // SECOND_NS)
    assert "case.severity" not in said(tmp_path, capfd, case, "--at", early)
    assert "case.opened" in said(tmp_path, capfd, case, "--at", early)
    late = str((START_NS + 1_500 * SECOND_NS) // SECOND_NS)
    assert "case.severity" in said(tmp_path, capfd, case, "--at", late)
    assert "case.opened" not in said(tmp_path, capfd, case, "--at", late)
    assert said(tmp_path, capfd, case, "--at", str(START_NS // SECOND_NS)) == "nothing had changed by then\n"


def test_a_receiver_without_decisions_is_told_from_a_case_without(
    database: Database, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    _, case = opened(database)
    expected = "nothing was decided for the receiver 'laed'; there are decisions for lead, team\n"
    assert said(tmp_path, capfd, case, "--receiver", "laed") == expected


def test_a_case_that_an_operator_split_off_says_when_its_notice_is_due(
    database: Database, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    story = CaseStory(database)
    for peer in (PEER_A, PEER_B):
        story.rig.say("ping-flood", [peer], 0, key={"conn": peer})
    (change,) = story.until(4)
    split = CaseAct(1, change.case_id, "alice", "split", "anna", "was split off from case", "217.94.0.0/16", NOW_NS)
    _, new = story.rig.feed.book.act(split, START_NS + 300 * SECOND_NS)[0]
    story.keep()
    assert "case.opened: held back: interval" in said(tmp_path, capfd, new.id)
    assert "case.opened" in said(tmp_path, capfd, change.case_id)


def test_mistakes_are_one_line(database: Database, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert said(tmp_path, capfd, "beef", code=2) == "watchdog: no case or incident 'beef'\n"
    assert "write its id" in said(tmp_path, capfd, "no id", code=2)
    story = CaseStory(database, replace(TEAM, about="incidents", events=()))
    story.rig.say("ping-flood", [PEER_A], 0)
    (change,) = story.until(4)
    assert "no receiver is about cases" in said(tmp_path, capfd, change.case_id)
