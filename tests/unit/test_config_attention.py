"""`escalation` and `reminders` of watchdog.yaml: what they come to, and what is a mistake."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest
import yaml

from alerts.escalation import Escalation
from watchdog.core.durations import HOUR_NS, MINUTE_NS
from watchdog.service.config.read import ConfigError, load_config
from watchdog.service.config.schema import config_schema
from watchdog.service.config.settings import ServiceConfig

BASE = """\
sources: ["capture:x"]
receivers:
  team: {url: "https://example.org/a"}
  lead: {url: "https://example.org/b", events: [case.opened]}
  every: {url: "https://example.org/c", about: incidents}
"""


def load(tmp_path: Path, text: str) -> ServiceConfig:
    """The configuration with these lines."""
    return load_config(tmp_path / "watchdog.yaml", {}, text=BASE + text)


def mistake(tmp_path: Path, text: str) -> str:
    """The mistakes of a configuration with these lines."""
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    return str(caught.value)


def test_what_is_given_comes_out(tmp_path: Path) -> None:
    text = (
        "escalation: [{severity: critical, after: 5m, unless: acknowledged, to: [lead, team]}, {after: 1h, to: lead}]\n"
    )
    config = load(tmp_path, text + "reminders: {critical: 30m, high: 4h}\n")
    plan = config.attention
    assert plan.escalations == (
        Escalation("critical", 5 * MINUTE_NS, ("lead", "team"), "watchdog.yaml:6"),
        Escalation("high", HOUR_NS, ("lead",), "watchdog.yaml:6"),
    )
    assert [plan.every_ns(one) for one in ("warning", "high", "critical")] == [None, 4 * HOUR_NS, 30 * MINUTE_NS]
    events = {one.name: one.events for one in config.receivers}
    assert "case.reminder" in events["team"]
    assert events["lead"] == ("case.opened",)
    assert "case.reminder" not in events["every"]
    jsonschema.Draft202012Validator(config_schema()).validate(
        yaml.safe_load(BASE + text + "reminders: {critical: 30m}\n")
    )


def test_without_them_nothing_changes(tmp_path: Path) -> None:
    config = load(tmp_path, "")
    assert config.attention.escalations == ()
    assert "case.reminder" not in config.receivers[0].events


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("escalation: [{after: 5m, to: [laed]}]", ("watchdog.yaml:6:31", "no receiver 'laed'", "did you mean 'lead'")),
        ("escalation: [{after: 5m, to: [every]}]", ("receiver 'every' hears of incidents", "about: cases")),
        ("escalation: [{to: [lead]}]", ("lacks 'after'",)),
        ("escalation: [{after: 5m}]", ("lacks 'to'",)),
        ("escalation: [{after: 1s, to: [lead]}]", ("'after' must be 10s to",)),
        ("escalation: [{after: 5m, to: []}]", ("'to' must name 1 to 16 receivers",)),
        ("escalation: [{after: 5m, to: [lead], unless: seen}]", ("unknown unless 'seen'",)),
        ("escalation: [{after: 5m, to: [lead], severity: info}]", ("unknown severity 'info'",)),
        ("escalation: [{after: 5m, to: [lead], until: 5m}]", ("unknown key 'until'",)),
        ("escalation: {after: 5m, to: [lead]}", ("must be a list of entries",)),
        ("escalation: [5]", ("escalation",)),
        (f"escalation: [{', '.join(['{after: 5m, to: [lead]}'] * 33)}]", ("33 entries; at most 32",)),
        ("reminders: {hihg: 4h}", ("unknown severity 'hihg'", "did you mean 'high'")),
        ("reminders: {high: 4}", ("not a duration",)),
        ("reminders: {high: 5s}", ("must be 1m to 30d",)),
        ("reminders: 4h", ("reminders",)),
    ],
)
def test_mistakes_have_their_place(tmp_path: Path, text: str, words: tuple[str, ...]) -> None:
    found = mistake(tmp_path, text)
    assert all(word in found for word in words), found
    assert "watchdog.yaml:6" in found


def test_a_receiver_that_is_switched_off_is_warned_about(tmp_path: Path) -> None:
    text = BASE.replace("events: [case.opened]", "enabled: false") + "escalation: [{after: 5m, to: [lead]}]"
    config = load_config(tmp_path / "watchdog.yaml", {}, text=text)
    assert any("'lead' is switched off" in one for one in config.warnings)
