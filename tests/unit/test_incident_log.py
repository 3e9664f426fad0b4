"""Opened incidents as lines of the service's log, as text and as JSON."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec import structs

from alerts.incident import Reason
from rules.load import load_text
from tests.support.daemon import configure
from tests.support.rulesets import FULL_MEMPOOL
from tests.support.scripted_feed import mempool
from tests.support.service_process import ServiceProcess, end_all, mempool_line, until_rows
from watchdog.service.incident_log import LINES_MOST, IncidentLog
from watchdog.service.live_pipeline import LivePipeline
from watchdog.service.log_form import JsonLogForm


@pytest.fixture(autouse=True)
def _ended() -> Iterator[None]:
    yield
    end_all()


def flooded(folder: Path) -> None:
    lines = [mempool_line(second, 500) for second in range(0, 120, 5)]
    (folder / "polls.jsonl").write_text("".join(lines))


def service(folder: Path, *more: str) -> ServiceProcess:
    flooded(folder)
    configure(folder, sources="snapshots:polls.jsonl")
    with (folder / "watchdog.yaml").open("a") as file:
        file.writelines(f"{line}\n" for line in more)
    return ServiceProcess(folder, "--no-web")


def test_an_opened_incident_is_a_line_of_the_log(tmp_path: Path) -> None:
    running = service(tmp_path)
    running.wait_for("watchdog.incidents: incident ")
    running.end()
    (line,) = [line for line in running.text().splitlines() if "watchdog.incidents" in line]
    assert " WARNING watchdog.incidents: incident " in line
    assert " opened: warning mempool-full at node alice: " in line


def test_the_same_line_as_json_has_the_facts_as_fields(tmp_path: Path) -> None:
    running = service(tmp_path, "log_format: json")
    running.wait_for('"watchdog.incidents"')
    running.end()
    lines = [json.loads(line) for line in running.text().splitlines()]
    assert all(list(line)[:4] == ["time", "level", "logger", "message"] for line in lines)
    assert all(line["time"].endswith("Z") and line["level"].islower() for line in lines)
    (opened,) = [line for line in lines if line["logger"] == "watchdog.incidents"]
    facts = {name: opened[name] for name in ("rule", "severity", "node", "attack")}
    assert facts == {"rule": "mempool-full", "severity": "warning", "node": "alice", "attack": "resource"}
    assert len(opened["incident"]) == 16


def test_changes_that_a_restart_emits_again_are_not_logged_again(tmp_path: Path) -> None:
    running = service(tmp_path)
    running.wait_for("watchdog.incidents: incident ")
    until_rows(tmp_path, "SELECT id FROM incidents", 1)
    running.kill()
    (tmp_path / "watchdog.checkpoint").unlink(missing_ok=True)  # everything is computed again
    again = ServiceProcess(tmp_path, "--no-web")
    with (tmp_path / "polls.jsonl").open("a") as file:
        file.write(mempool_line(4_000, 1) + mempool_line(4_100, 1) + mempool_line(4_200, 1))
    until_rows(tmp_path, "SELECT id FROM incidents WHERE state = 'resolved'", 1)
    again.end()
    assert "watchdog.incidents" not in again.text()


def test_many_at_once_are_a_bounded_number_of_lines(caplog: pytest.LogCaptureFixture) -> None:
    watch = LivePipeline(load_text(FULL_MEMPOOL), "alice", {"capture:a": frozenset({"rpc:mempool"})})
    records = [record for second in (0, 5) for record in watch.process(mempool("capture:a", second, 500))]
    log = IncidentLog()
    log.note([records[0]] * (LINES_MOST + 7))
    assert len(caplog.records) == LINES_MOST + 1
    assert caplog.records[-1].getMessage() == "7 further changes left out of this log"
    assert log.opened == {"alice": LINES_MOST + 7}


def test_an_escalation_is_a_line_and_no_opening(caplog: pytest.LogCaptureFixture) -> None:
    watch = LivePipeline(load_text(FULL_MEMPOOL), "alice", {"capture:a": frozenset({"rpc:mempool"})})
    opened = next(record for second in (0, 5) for record in watch.process(mempool("capture:a", second, 500)))
    change = structs.replace(opened.change, reason=Reason.ESCALATED, severity="critical")
    log = IncidentLog()
    log.note([replace(opened, change=change)])
    assert " escalated: critical full-mempool at node alice: " in caplog.text
    assert log.opened == {}


def test_a_json_line_stays_one_line_whatever_it_holds() -> None:
    with pytest.raises(ValueError, match="invalid literal") as caught:
        int("two\nlines \u202e")
    failure = (caught.type, caught.value, caught.tb)
    record = logging.LogRecord("x", logging.ERROR, "", 1, "a\n%s", ("b\x1b",), failure)
    record.facts = {"message": "mine", "n": 1, "path": Path("p")}
    text = JsonLogForm().format(record)
    assert "\n" not in text
    assert text.isascii()
    found = json.loads(text)
    assert (found["message"], found["n"], found["path"]) == ("a\nb\x1b", 1, "p")
    assert "ValueError: invalid literal" in found["error"]
