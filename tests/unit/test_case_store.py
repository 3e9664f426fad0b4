"""Cases in the history: rows that replace older ones, merged ids that lead to the survivor, and why."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from alerts.case.document import StoredCase, stored_cases
from alerts.case.why import why_in, why_lines
from alerts.store.cases import CaseQueries
from alerts.store.database import Database
from alerts.store.retention import remove_resolved
from alerts.store.writer import IncidentWriter
from tests.support.case_rig import START_NS, CaseRig, made_finding
from tests.support.history import incident, record
from watchdog.cli.main import main
from watchdog.core.durations import HOUR_NS, MINUTE_NS
from watchdog.core.finding import FLEET

A, B = "91.165.48.111", "217.94.191.240"


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database.open(f"sqlite:///{tmp_path / 'h.db'}")


def rows_of(rig: CaseRig, minute: float) -> list[StoredCase]:
    rig.until(minute)
    return stored_cases(rig.feed.book)


def keep(database: Database, rows: Sequence[StoredCase]) -> None:
    IncidentWriter(database).record((), (), rows)


def two_then_one() -> tuple[CaseRig, list[StoredCase]]:
    rig = CaseRig()
    rig.say("ping-flood", [A], 0)
    rig.say("inv-flood", [B], 2)
    before = rows_of(rig, 4)
    rig.say("headers-spam", [A], 10, key={"conn": "1"})
    rig.say("headers-spam", [B], 10, key={"conn": "2"})
    return rig, before


def test_a_row_replaces_an_older_one_and_never_a_newer_one(database: Database) -> None:
    rig = CaseRig()
    rig.say("ping-flood", [A], 0)
    (early,) = rows_of(rig, 2)
    rig.say("ping-flood", [A], 5, change="escalate", severity="high")
    (late,) = rows_of(rig, 8)
    keep(database, [late])
    keep(database, [early])
    (kept,) = CaseQueries(database).latest()
    assert kept["severity"] == "high"
    assert kept == json.loads(json.dumps(late.document))


def test_a_row_from_a_clock_that_was_ahead_is_no_later_one(database: Database) -> None:
    ahead = round((time.time_ns() - START_NS) / MINUTE_NS) + 600
    rig = CaseRig()
    rig.say("ping-flood", [A], ahead)
    keep(database, rows_of(rig, ahead + 2))
    rig.feed.rewind(START_NS)
    rig.say("ping-flood", [A], 5, change="clear")
    (late,) = rows_of(rig, 60)
    assert late.state == "resolved"
    keep(database, [late])
    (kept,) = CaseQueries(database).latest()
    assert kept["state"] == "resolved", "else the page shows, and Alertmanager repeats, a case that is over"


def test_the_id_of_a_merged_case_leads_to_the_survivor_whose_row_is_the_only_one(database: Database) -> None:
    rig, before = two_then_one()
    keep(database, before)
    assert len(CaseQueries(database).latest()) == 2
    keep(database, [*before, *rows_of(rig, 20)])
    queries = CaseQueries(database)
    (survivor,) = queries.latest()
    assert survivor["aliases"] == [before[1].id]
    assert queries.named(before[1].id) == queries.named(before[0].id[:6]) == [survivor]
    assert queries.named("0000") == []


def test_old_resolved_cases_go_with_old_incidents(database: Database) -> None:
    _, before = two_then_one()
    keep(database, before)
    resolved = replace(before[0], state="resolved", resolved_ns=START_NS + HOUR_NS, updated_ns=START_NS + HOUR_NS)
    keep(database, [resolved])
    remove_resolved(database, START_NS + HOUR_NS)
    assert len(CaseQueries(database).latest()) == 2
    remove_resolved(database, START_NS + HOUR_NS + 1)
    assert [one["id"] for one in CaseQueries(database).latest()] == [before[1].id]


def test_a_party_that_was_split_off_is_in_the_history(database: Database) -> None:
    rig = CaseRig()
    rig.say("addr-pattern-2021", [A], 0)
    rig.say("addr-pattern-2021", [B], 1)
    (before,) = rows_of(rig, 5)
    assert rig.feed.book.split(before.id, "217.94.0.0/16", START_NS) is not None
    keep(database, rows_of(rig, 6))
    kept = {one["id"]: one["split_off"] for one in CaseQueries(database).latest()}
    assert kept.pop(before.id) == ["217.94.0.0/16"]
    assert list(kept.values()) == [[]]


def test_why_names_each_link_up_to_the_first_claim() -> None:
    rig, _ = two_then_one()
    (row,) = rows_of(rig, 20)
    assert why_in(row.document, "ping-flood") == []
    assert why_in(row.document, "no such incident") is None
    assert [(step.claim, step.nearer) for step in why_in(row.document, "inv-flood") or []] == [
        ("inv-flood 217.94.0.0/16", "headers-spam 217.94.0.0/16"),
        ("headers-spam 217.94.0.0/16", "headers-spam 91.165.0.0/16"),
        ("headers-spam 91.165.0.0/16", "ping-flood 91.165.0.0/16"),
    ]


def test_why_lists_what_was_not_joined() -> None:
    rig = CaseRig()
    rig.say("ping-flood", ["3.120.1.1"], 0)
    rig.say("addr-beyond-limit", ["3.120.200.200"], 5)
    first, second = rows_of(rig, 10)
    assert why_lines(second.document, "addr-beyond-limit") == [
        f"case {second.id} began with this incident",
        f"not joined with case {first.id}: both in 3.120.0.0/16, other family",
    ]


def test_why_on_the_command_line(tmp_path: Path, database: Database, capfd: pytest.CaptureFixture[str]) -> None:
    rig = CaseRig()
    rig.feed.take(START_NS, "aaaa000000000001", made_finding("ping-flood", [A], 0))
    rig.feed.take(START_NS, "aaaa000000000002", made_finding("inv-flood", [A], 0))
    (row,) = rows_of(rig, 5)
    keep(database, [row])
    where = ["--db", str(tmp_path / "h.db")]
    assert main(["cases", "list", *where]) == 0
    header, first, *_ = capfd.readouterr().out.splitlines()
    assert header.split() == ["CASE", "SEVERITY", "OPENED", "(UTC)", "LASTED", "STATE", "NODE"]
    assert first.startswith(row.id)
    assert first.index("open  ") == header.index("STATE")
    assert main(["cases", "why", row.id[:8], "aaaa000000000001", *where]) == 0
    assert "both name 91.165.48.111" in capfd.readouterr().out
    assert main(["cases", "show", row.id, *where]) == 0
    page = capfd.readouterr().out
    assert "opened" in page
    party, rules = page[page.index("parties:\n") :].splitlines()[1:3]
    assert (party.split()[0], rules.split(", ")) == (A, ["    ping-flood", "inv-flood"])
    claims = page[page.index("claims:\n") :].splitlines()[1:]
    assert len({line.index("91.165.0.0/16") for line in claims}) == 1 < len(claims), "columns"
    for wrong in (["why", row.id, "bbbb"], ["show", "0000"], ["show", "nonsense"], ["why", row.id, "aaaa"]):
        assert main(["cases", *wrong, *where]) == 2
        assert capfd.readouterr().err.startswith("watchdog: ")
    assert main(["cases", "list", "--jsonl", *where]) == 0
    assert json.loads(capfd.readouterr().out)["id"] == row.id


def test_why_names_the_case_that_has_the_incident(
    tmp_path: Path, database: Database, capfd: pytest.CaptureFixture[str]
) -> None:
    rig = CaseRig()
    rig.feed.take(START_NS, "aaaa000000000001", made_finding("ping-flood", ["3.120.1.1"], 0))
    rig.feed.take(START_NS, "bbbb000000000002", made_finding("addr-beyond-limit", ["5.9.200.200"], 0))
    rows = rows_of(rig, 10)
    assert len(rows) == 2
    one, other = rows if "aaaa000000000001" in str(rows[0].document["incidents"]) else reversed(rows)
    keep(database, [one, other])
    IncidentWriter(database).record((record(incident(id="bbbb000000000002", node=other.node)),), (), ())
    assert main(["cases", "why", one.id, "bbbb", "--db", str(tmp_path / "h.db")]) == 2
    cure = f"watchdog cases why {other.id} bbbb000000000002"
    assert capfd.readouterr().err == f"watchdog: incident bbbb000000000002 is in another case: {cure}\n"
    assert main(["incidents", "show", "bbbb", "--db", str(tmp_path / "h.db")]) == 0
    assert f"  case          {other.id}\n" in capfd.readouterr().out


def test_an_incident_names_its_cases_and_none_that_ended_before_it(database: Database) -> None:
    first, second = "aaaa000000000001", "bbbb000000000002"
    rig = CaseRig()
    for minute, rule, name in ((0, "ping-flood", A), (2, "inv-flood", B)):
        finding = made_finding(rule, [name], minute)
        rig.feed.take(finding.time_ns, first, finding)
    rows = rows_of(rig, 4)
    keep(database, rows)
    kept = [record(incident(id=one, node="alice", opened_ns=START_NS)) for one in (first, second)]
    IncidentWriter(database).record(kept, (), ())
    queries = CaseQueries(database)
    wanted = [one.document for one in sorted(rows, key=lambda one: (-one.opened_ns, one.id))]
    assert len(wanted) == 2
    assert queries.of_incident(first) == [{"id": one["id"], "headline": one["headline"]} for one in wanted]
    assert queries.of_incident(second) == []
    assert queries.of_incident(first[:4]) == []
    late = record(incident(id=first, node="alice", opened_ns=START_NS + HOUR_NS), 2)
    IncidentWriter(database).record([late], (), [replace(one, resolved_ns=START_NS + MINUTE_NS) for one in rows])
    assert queries.of_incident(first) == []


@pytest.mark.parametrize("name", ["*", "*fleet*"])
def test_filters_take_both_names_of_what_accuses_no_single_node(
    tmp_path: Path, database: Database, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    rig = CaseRig()
    rig.say("ping-flood", [A], 0)
    (row,) = rows_of(rig, 5)
    kept = [record(incident(1, node=FLEET)), record(incident(2))]
    IncidentWriter(database).record(kept, (), [replace(row, node="*")])
    for command, id_ in (("cases", row.id), ("incidents", incident(1).id)):
        assert main([command, "list", "--node", name, "--json", "--db", str(tmp_path / "h.db")]) == 0
        assert [one["id"] for one in json.loads(capfd.readouterr().out)] == [id_]
