"""`watchdog receivers preview`: what would be sent, of a made-up case and of a stored one; nothing is sent."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from alerts.case.document import stored_cases
from alerts.delivery.message import message_of
from alerts.delivery.samples import sample_body, sample_incident
from alerts.incident import IncidentState
from alerts.notice import CASE_EVENT_TYPES, EVENT_TYPES
from alerts.render import as_object
from alerts.routing import FORMATS
from alerts.rule_texts import rule_texts
from alerts.store.cases import CaseQueries, store_cases
from alerts.store.database import Database
from alerts.store.schema import cases
from tests.support.case_rig import CaseRig, shipped_plans
from tests.support.history import incident
from watchdog.cli.main import main
from watchdog.cli.receivers_preview import message_text
from watchdog.service.config.read import load_config


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "watchdog.yaml"
    path.write_text(
        f"sources: log:a\ndatabase: sqlite:///{tmp_path / 'watchdog.db'}\n"
        "api: {public_url: https://watch.example.org}\n"
        "receivers:\n  ops: {url: 'https://receiver.invalid/hook'}\n"
    )
    return path


@pytest.fixture
def stored(tmp_path: Path) -> str:
    """Store a flood that is over; its id."""
    rig = CaseRig()
    rig.feed.book.texts = rule_texts(shipped_plans().values())
    rig.burst("addr-pattern-2021", ["198.51.100.7"], 0)
    rig.until(60)
    rows = stored_cases(rig.feed.book)
    database = Database.open(f"sqlite:///{tmp_path / 'watchdog.db'}")
    with database.engine.begin() as connection:
        store_cases(database, connection, rows)
    database.close()
    (row,) = rows
    return row.id


def preview(capfd: pytest.CaptureFixture[str], config: Path, *more: str) -> tuple[int, str, str]:
    code = main(["receivers", "preview", "ops", "--config", str(config), *more])
    out, err = capfd.readouterr()
    return code, out, err


@pytest.mark.parametrize("type_", CASE_EVENT_TYPES)
def test_a_webhook_gets_the_data_of_a_made_up_case(capfd: pytest.CaptureFixture[str], config: Path, type_: str) -> None:
    code, out, _ = preview(capfd, config, "--type", type_)
    sent = json.loads(out)
    assert code == 0
    assert sent["type"] == sent["data"]["change"]["type"] == type_
    assert sent["data"]["url"] == "https://watch.example.org/cases/6ed2cb2a8f0e1d3c"


def test_a_stored_case_is_shown_as_its_latest_notice(
    capfd: pytest.CaptureFixture[str], config: Path, stored: str
) -> None:
    code, out, _ = preview(capfd, config, "--case", stored[:6])
    data = json.loads(out)["data"]
    assert (code, data["id"], data["root"], data["change"]["type"]) == (0, stored, stored, "case.resolved")
    assert data["advice"]["do"] == [shipped_plans()["addr-pattern-2021"].metadata["do"]]
    assert not {"claims", "links", "not_joined", "split_off"} & data.keys()


def test_a_stored_case_as_another_change(capfd: pytest.CaptureFixture[str], config: Path, stored: str) -> None:
    code, out, _ = preview(capfd, config, "--case", stored, "--type", "case.reminder")
    assert (code, json.loads(out)["type"]) == (0, "case.reminder")


def test_a_message_as_text_has_its_line_paragraphs_and_link() -> None:
    message = message_of(sample_body("case.opened", "https://watch.example.org"))
    assert message_text(message).split("\n\n") == [message.first, *message.parts, message.url]


def test_cases_show_says_what_to_do(
    capfd: pytest.CaptureFixture[str], config: Path, stored: str, tmp_path: Path
) -> None:
    assert config.exists()
    assert main(["cases", "show", stored, "--db", f"sqlite:///{tmp_path / 'watchdog.db'}"]) == 0
    shown = " ".join(capfd.readouterr().out.split())
    assert f"what to do: {shipped_plans()['addr-pattern-2021'].metadata['do']} notices:" in shown


def test_a_case_of_an_older_version_has_a_message_and_a_page(
    capfd: pytest.CaptureFixture[str], config: Path, stored: str, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'watchdog.db'}"
    database = Database.open(url)
    document = {name: value for name, value in CaseQueries(database).named(stored)[0].items() if name != "advice"}
    with database.engine.begin() as connection:
        connection.execute(cases.update().values(document=json.dumps(document)))
    database.close()
    assert main(["cases", "show", stored, "--db", url]) == 0
    assert "what to do" not in capfd.readouterr().out
    code, out, _ = preview(capfd, config, "--case", stored)
    assert code == 0
    assert "advice" not in json.loads(out)["data"]


def test_what_does_not_exist_is_said(capfd: pytest.CaptureFixture[str], config: Path, stored: str) -> None:
    assert stored
    for more, said in (
        (("--case", "ffffff"), "no case 'ffffff'"),
        (("--case", "x"), "write its id"),
        (("--type", "case.nope"), "case.nope"),
    ):
        code, out, err = preview(capfd, config, *more)
        assert (code, out) == (2, "")
        assert said in err
    code = main(["receivers", "preview", "opps", "--config", str(config)])
    assert "did you mean 'ops'" in capfd.readouterr().err
    assert code == 2


def test_without_a_database_a_stored_case_cannot_be_shown(capfd: pytest.CaptureFixture[str], config: Path) -> None:
    code, _, err = preview(capfd, config, "--case", "abcdef")
    assert code == 2
    assert "watchdog.db" in err


EVERY = """  am: {format: alertmanager, url: 'https://a.example.org'}
  awh: {format: alertmanager-webhook, url: 'https://a.example.org'}
  other: {format: apprise, url: {file: URL}}
  mail: {format: email, smtp: {host: mail.example.org}, from: w@example.org, to: [ops@example.org]}
  hook: {format: exec, command: [/bin/true]}
  pager: {format: pagerduty, routing_key: {file: KEY}}
  chat: {format: slack, token: {file: TOKEN}, channel: C1}
  room: {format: teams, url: {file: FLOW}}
  phone: {format: telegram, token: {file: BOT}, chat: -100}
  bus: {url: 'https://bus.example.org', envelope: cloudevents}
  siem: {url: 'https://siem.example.org', about: incidents}
"""
SECRETS = {
    "URL": "json://anna:hunter2@a.example.org/",
    "KEY": "K" * 32,
    "TOKEN": "xoxb-1-secret",
    "FLOW": "https://x.logic.azure.com/a?sig=flow-secret",
    "BOT": "12:bot-secret",
}
HIDDEN = ("hunter2", "K" * 32, "xoxb-1", "flow-secret", "bot-secret")


def every(folder: Path) -> Path:
    """A configuration with a receiver of each format."""
    for name, secret in SECRETS.items():
        (folder / name).write_text(secret)
        (folder / name).chmod(0o600)
    path = folder / "every.yaml"
    path.write_text(f"sources: log:a\nreceivers:\n{EVERY}")
    return path


def test_without_a_name_every_receiver_is_shown_in_its_format_and_no_secret(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = every(tmp_path)
    assert main(["receivers", "preview", "--config", str(path)]) == 0
    out = capfd.readouterr().out
    shown = re.findall(r"^== (\S+) \((\S+)\)$", out, re.MULTILINE)
    assert {form for _, form in shown} == set(FORMATS)
    assert len(shown) == len(load_config(path).receivers)
    assert not [secret for secret in HIDDEN if secret in out]
    sections = dict(zip([name for name, _ in shown], re.split(r"^== .*$", out, flags=re.MULTILINE)[1:], strict=True))
    assert all("6ed2cb2a" in text for name, text in sections.items() if name != "siem")
    assert json.loads(sections["siem"])["type"] == "incident.opened"
    assert json.loads(sections["siem"])["data"]["id"] == "1b6f1f4d0c9a8e72"


@pytest.mark.parametrize("type_", EVENT_TYPES)
def test_a_change_of_an_incident_is_shown_to_those_who_hear_of_incidents(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], type_: str
) -> None:
    path = every(tmp_path)
    assert main(["receivers", "preview", "siem", "--config", str(path), "--type", type_]) == 0
    assert json.loads(capfd.readouterr().out)["type"] == type_
    assert main(["receivers", "preview", "--config", str(path), "--type", type_]) == 0
    assert "receiver 'pager' hears of cases: nothing about incidents is sent to it" in capfd.readouterr().out
    assert main(["receivers", "preview", "pager", "--config", str(path), "--type", type_]) == 2
    assert "hears of cases" in capfd.readouterr().err


def test_all_requests_of_a_notice_are_shown(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = every(tmp_path)
    assert main(["receivers", "preview", "pager", "--config", str(path), "--type", "case.merged"]) == 0
    out = capfd.readouterr().out
    assert re.findall(r'"event_action": "(\w+)"', out) == ["resolve", "trigger"]
    assert out.count('"routing_key": "***"') == 2


@pytest.mark.parametrize("type_", EVENT_TYPES)
def test_the_incident_that_is_made_up_has_the_fields_of_real_ones(type_: str) -> None:
    made = sample_incident(type_)
    assert made.keys() == as_object(incident(1)).keys() | {"url"}
    assert made["state"] in [one.value for one in IncidentState]
