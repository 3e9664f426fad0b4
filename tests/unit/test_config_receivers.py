"""Receivers in `watchdog.yaml`: URLs that hold secrets or are none, keys of one format, defaults that changed."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from alerts.delivery.client import time_limit
from alerts.delivery.targets import url_fault
from alerts.routing import DEFAULT_CASE_EVENTS, DEFAULT_EVENTS
from tests.support.daemon import MovedClock, configure, hook, serve
from tests.support.older_database import make_older_database
from watchdog.service.assembly import receiver
from watchdog.service.config.read import ConfigError, load_config
from watchdog.service.config.settings import ServiceConfig
from watchdog.service.config.url_secrets import secret_part
from watchdog.service.daemon import Daemon

TOKEN = "Xo5vQ1nR8sT2uV7wZ3yA"  # twenty letters and digits
UUID = "8f14e45f-ceea-467f-a1b2-0123456789ab"
SECRET_URLS = (
    f"https://hooks.slack.com/services/T0/B0/{TOKEN}",
    "https://hooks.slack.com/services/T0/B0/short",
    "https://HOOKS.SLACK.COM./services/T0",
    "https://discord.com/api/webhooks/1/a-b_c",
    "https://ptb.discord.com/api/webhooks/1/a-b_c",
    "https://discordapp.com/api/webhooks/1/a",
    "https://api.telegram.org/bot123:ABC/sendMessage",
    f"https://acme.webhook.office.com/webhookb2/{UUID}@{UUID}",
    "https://prod-01.westeurope.logic.azure.com:443/workflows/a/triggers/manual",
    "https://x.environment.api.powerplatform.com/powerautomate/a",
    f"https://mattermost.example.org/hooks/{TOKEN}",
    f"https://chat.example.org/hooks/a-{TOKEN}/b",
    "https://chat.example.org/hooks/%58o5vQ1nR8sT2uV7wZ3yA",
    "https://example.org/hooks/0123456789abcdef0123456789abcdef",
    f"https://example.org/hook;{TOKEN}",
    "https://example.org/hook?token=x",
    "https://example.org/hook?a=1&api_key=x",
    "https://example.org/hook?sig=x",
    f"https://example.org/hook?x={TOKEN}",
    f"https://example.org/hook?{TOKEN}",
    "https://anna@example.org/hook",
    "https://anna:hunter2@example.org/hook",
)
OPEN_URLS = (
    "https://example.org/hooks/watchdog",
    f"https://example.org/hooks/{UUID}",
    "https://example.org/bitcoin-watchdog-alerts-of-the-second-node/incoming",
    "https://a-very-long-name-of-a-host-with-letters01234567890123456789.example.org/",
    "https://events.pagerduty.com/v2/enqueue",
    "https://notdiscord.com/hook",
    "https://discord.com.example.org/hook",
    "http://127.0.0.1:9093/alertmanager/?tenant=one&page=2",
)


def written(folder: Path, receiver_text: str) -> Path:
    path = folder / "watchdog.yaml"
    path.write_text(f"sources: log:a\nreceivers:\n  ops: {receiver_text}\n")
    return path


def loaded(folder: Path, receiver_text: str, **environment: str) -> ServiceConfig:
    return load_config(written(folder, receiver_text), environment)


@pytest.mark.parametrize("url", SECRET_URLS)
def test_a_secret_in_an_open_url_is_a_mistake_with_a_cure_and_is_not_shown(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, f"{{url: '{url}'}}")
    text = str(caught.value)
    assert "watchdog.yaml:3:" in text
    assert "{file: PATH}" in text
    assert TOKEN not in text
    assert url not in text
    assert loaded(tmp_path, "{url: {env: OPS}}", OPS="https://example.org/hook?token=x").receivers


@pytest.mark.parametrize("url", OPEN_URLS)
def test_a_url_without_a_secret_stands_in_the_open(url: str) -> None:
    assert secret_part(url) == ""


@pytest.mark.parametrize(
    "url",
    [
        "http://exa mple.org/",
        "http://example.org/a b",
        "http://exa\tmple.org/",
        "http://example.org\\@evil.example/",
        "http://exa%20mple.org/",
        "http://exa<mple.org/",
        "http://example..org/",
        "http://-example.org/",
        f"http://{'a' * 64}.org/",
        f"http://{'a.' * 130}org/",
        "http://[::1/",
        "http://[::g]/",
        "http://\u200b/",
        "http://example.org:x/",
    ],
)
def test_a_url_that_no_client_could_use_is_refused(url: str) -> None:
    assert url_fault(url, allow_private=True)
    assert "evil" not in (url_fault(url, allow_private=True) or "")


@pytest.mark.parametrize(
    "url", ["http://b\u00fccher.example/", "http://alert_manager:9093/", "http://[::1]:9093/", "http://a./"]
)
def test_names_of_hosts_as_people_have_them_are_taken(url: str) -> None:
    assert url_fault(url, allow_private=True) is None


def test_check_refuses_a_blank_in_a_host(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a blank"):
        loaded(tmp_path, "{url: 'http://exa mple.org/'}")


def test_a_keepalive_is_for_alertmanager_only(tmp_path: Path) -> None:
    url = "url: 'https://example.org/'"
    (found,) = loaded(tmp_path, f"{{{url}, format: alertmanager, keepalive: 5s}}").receivers
    assert receiver(found).keepalive_s == 5.0
    assert receiver(loaded(tmp_path, f"{{{url}, format: alertmanager}}").receivers[0]).keepalive_s == 60.0
    for form in ("webhook", "alertmanager-webhook"):
        with pytest.raises(ConfigError, match=r"'keepalive' is for 'format: alertmanager' only") as caught:
            loaded(tmp_path, f"{{{url}, format: {form}, keepalive: 5s}}")
        assert "write 'format: alertmanager'" in str(caught.value)
    with pytest.raises(ConfigError, match="leave out /api/v2/alerts"):
        loaded(tmp_path, "{url: 'https://example.org/api/v2/alerts/', format: alertmanager}")


def test_a_receiver_is_told_from_warning_on_and_its_timeout_is_what_it_says(tmp_path: Path) -> None:
    (found,) = loaded(tmp_path, "{url: 'https://example.org/', timeout: 60s}").receivers
    assert found.severity == "warning"
    assert time_limit(receiver(found)).total == 60.0


def test_a_line_at_the_first_start_over_an_older_database_says_what_changed_and_none_at_the_second(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    older = tmp_path / "older"
    for folder in (tmp_path, older):
        folder.mkdir(exist_ok=True)
        configure(folder, hook("said"), '{silent: {url: "https://chat.example/", timeout: 1m}}'[1:-1])
        (folder / "debug.log").write_text("")
    make_older_database(older / "watchdog.db", "0005")

    async def story(_daemon: Daemon, _clock: MovedClock) -> None:
        pass

    with caplog.at_level(logging.WARNING, "watchdog.service"):
        serve(tmp_path, story)
        assert "changed with this version" not in caplog.text  # no earlier version wrote the new database
        serve(older, story)
        lines = [one.getMessage() for one in caplog.records if "changed with this version" in one.getMessage()]
        assert len(lines) == 4
        assert "'said' has no 'about': it gets a few notices of each case" in lines[0]
        assert "'silent' has no 'severity'" in lines[1]
        assert "'silent' has no 'about'" in lines[2]
        assert "its timeout is 60 s; the version before cut it to 30 s" in lines[3]
        caplog.clear()
        serve(older, story)
        assert "changed with this version" not in caplog.text


def test_the_heartbeat_says_its_state_and_which_rules_cannot_fire_and_blind_withholds_it(tmp_path: Path) -> None:
    configure(tmp_path)
    (tmp_path / "debug.log").write_text("")

    async def story(daemon: Daemon, _clock: MovedClock) -> None:
        sign = daemon.sign_of_life()
        assert sign is not None
        assert (sign["state"], sign["cannot_fire"], sign["cannot_fire_beyond"]) == ("ok", ["mempool-full"], 0)
        daemon.sign_of_life.state_of = lambda: "degraded"
        daemon.sign_of_life.cannot_fire = lambda: [f"rule-{number}" for number in range(600)]
        sign = daemon.sign_of_life()
        assert sign is not None
        assert (sign["state"], sign["cannot_fire_beyond"]) == ("degraded", 100)
        assert isinstance(sign["cannot_fire"], list)
        assert len(sign["cannot_fire"]) == 500
        daemon.sign_of_life.state_of = lambda: "blind"
        assert daemon.sign_of_life() is None

    serve(tmp_path, story)


def test_events_decide_what_a_receiver_is_about_where_no_key_says_it(tmp_path: Path) -> None:
    """A file from before `about` was a key keeps its notices."""
    (kept,) = loaded(tmp_path, "{url: 'https://example.org/', events: [incident.opened, incident.resolved]}").receivers
    assert (kept.about, kept.events) == ("incidents", ("incident.opened", "incident.resolved"))
    (plain,) = loaded(tmp_path, "{url: 'https://example.org/'}").receivers
    assert (plain.about, plain.events) == ("cases", DEFAULT_CASE_EVENTS)
    (asked,) = loaded(tmp_path, "{url: 'https://example.org/', about: incidents}").receivers
    assert (asked.about, asked.events) == ("incidents", DEFAULT_EVENTS)
    assert receiver(asked).place("about") == "watchdog.yaml:3"
    assert receiver(asked).place("severity") == "watchdog.yaml:3"


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (
            "about: cases, events: [incident.opened]",
            "'incident.opened' is never sent to a receiver with 'about: cases'",
        ),
        (
            "about: incidents, events: [case.opened]",
            "'case.opened' is never sent to a receiver with 'about: incidents'",
        ),
        ("events: [case.opened, incident.opened]", "'incident.opened' is never sent to a receiver with 'about: cases'"),
    ],
)
def test_events_of_the_other_subject_are_an_error(tmp_path: Path, keys: str, said: str) -> None:
    with pytest.raises(ConfigError, match=f"(?s){said}.*hint: write 'about: "):
        loaded(tmp_path, f"{{url: 'https://example.org/', {keys}}}")


def test_a_receiver_that_maintenance_does_not_reach_is_named(tmp_path: Path) -> None:
    (tmp_path / "debug.log").touch()
    path = tmp_path / "watchdog.yaml"
    receivers = """receivers:
  room: {url: "https://example.org/", about: incidents}
  old: {url: "https://example.org/", events: [incident.opened]}
  off: {url: "https://example.org/", about: incidents, enabled: false}
  team: {url: "https://example.org/"}
"""
    path.write_text(f"sources: ['log:debug.log']\n{receivers}")
    assert not [one for one in load_config(path).warnings if "maintenance" in one]
    path.write_text(f"sources: ['log:debug.log']\n{receivers}maintenance: [{{name: x, from: '02:00', to: '04:00'}}]\n")
    found = [one.splitlines()[0] for one in load_config(path).warnings if "maintenance" in one]
    words = "'maintenance' does not hold back notices with 'about: incidents'"
    assert all(words in one for one in found), found
    assert [int(one.split("watchdog.yaml:")[1].split(":")[0]) for one in found] == [3, 4]
