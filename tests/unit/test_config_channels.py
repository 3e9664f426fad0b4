"""Keys of channels in `watchdog.yaml`: what each format needs and takes, and where its mistakes are."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from alerts.delivery.formats import COMMON_KEYS, ENCODERS, place_of
from alerts.routing import Receiver
from tests.support.service_process import ServiceProcess, end_all, run_command
from watchdog.core.errors import ServiceError
from watchdog.service.assembly import receiver, routes
from watchdog.service.config.keys import RECEIVERS
from watchdog.service.config.read import ConfigError, load_config
from watchdog.service.config.settings import ServiceConfig
from watchdog.service.exec_rights import check_exec
from watchdog.service.house_key import FILE, house_key

SECRETS = {"SLACK": "xoxb-1-secret", "BOT": "12:AbC", "PD": "R" * 32, "FLOW": "https://x.logic.azure.com/a?sig=s"}
PLAIN = {
    "slack": "token: {env: SLACK}, channel: C1",
    "pagerduty": "routing_key: {env: PD}",
    "telegram": "token: {env: BOT}, chat: -100, topic: 7",
    "teams": "url: {env: FLOW}",
    "email": "smtp: {host: mail.example.org, user: w, password: {env: PD}}, from: w@example.org, to: [a@example.org]",
    "exec": "command: [/bin/true, --case]",
    "alertmanager": "url: ['https://a.example.org', 'https://b.example.org/x'], labels: {team: infra}",
}


def loaded(folder: Path, text: str, rest: str = "", **environment: str) -> ServiceConfig:
    """The configuration with one receiver `ops`."""
    path = folder / "watchdog.yaml"
    path.write_text(f"sources: log:a\nreceivers:\n  ops: {{{text}}}\n{rest}")
    return load_config(path, SECRETS | environment)


def made(folder: Path, text: str) -> Receiver:
    """The receiver as the sender has it."""
    return receiver(loaded(folder, text).receivers[0])


def mistakes(folder: Path, text: str, rest: str = "", **environment: str) -> str:
    """All problems of the configuration, as people see them."""
    with pytest.raises(ConfigError) as caught:
        loaded(folder, text, rest, **environment)
    return str(caught.value)


@pytest.mark.parametrize("form", PLAIN)
def test_a_format_needs_no_more_than_its_keys(tmp_path: Path, form: str) -> None:
    found = made(tmp_path, f"format: {form}, {PLAIN[form]}")
    assert found.format == form
    assert place_of(found)
    assert not any(secret in repr(found) for secret in SECRETS.values())


def test_what_is_read_reaches_the_receiver(tmp_path: Path) -> None:
    mail = made(tmp_path, f"format: email, {PLAIN['email']}, redact: subnet")
    assert (mail.text("smtp.host"), mail.text("smtp.user"), mail.text("smtp.password")) == (
        "mail.example.org",
        "w",
        "R" * 32,
    )
    assert (mail.several("to"), mail.redact) == (("a@example.org",), "subnet")
    cluster = made(tmp_path, f"format: alertmanager, {PLAIN['alertmanager']}")
    assert (cluster.urls, cluster.labels) == (("https://a.example.org", "https://b.example.org/x"), {"team": "infra"})
    assert made(tmp_path, f"format: telegram, {PLAIN['telegram']}").rate_per_minute == 20
    assert made(tmp_path, f"format: telegram, {PLAIN['telegram']}, rate_per_minute: 9").rate_per_minute == 9
    proxied = made(tmp_path, f"format: slack, {PLAIN['slack']}, proxy: 'http://proxy.example.org:3128'")
    assert proxied.proxy == "http://proxy.example.org:3128"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("format: slack", ["3:8: 'receivers.ops' lacks", "'token' and 'channel', or 'url'"]),
        ("format: slack, token: {env: SLACK}", ["lacks 'channel'"]),
        ("format: slack, url: 'https://chat.example.org/', channel: C1", ["belong together"]),
        ("format: telegram, token: {env: SLACK}, chat: 5", ["not the token of a bot"]),
        ("format: telegram, token: {env: BOT}, chat: 'my friends'", ["'chat' must be the number"]),
        ("format: pagerduty, routing_key: abc", ["'routing_key' must name a file or an environment variable"]),
        ("format: pagerduty, routing_key: {env: PD}, chat: 5", ["'chat' does not apply to 'format: pagerduty'"]),
        ("format: teams", ["lacks 'url'"]),
        ("format: email, smtp: {port: 25}, from: a@b.c, to: a@b.c", ["'smtp' lacks 'host'"]),
        ("format: email, smtp: {host: h, prot: 5}, from: a@b.c, to: a@b.c", ["unknown key 'prot'", "did you mean"]),
        ("format: email, smtp: {host: h, password: x}, from: a@b.c, to: a@b.c", ["'password' must name a file"]),
        (
            "format: email, smtp: {host: h, tls: none, user: u, password: {env: PD}}, from: a@b.c, to: a@b.c",
            ["the password would be sent unencrypted"],
        ),
        ("format: email, smtp: {host: h}, from: 'A <a@b.c>', to: a@b.c", ["is not an e-mail address"]),
        ("format: email, smtp: {host: h}, from: a@b.c, to: a@b.c, proxy: 'http://p/'", ["'proxy' does not apply"]),
        ("format: exec, command: [true]", ["absolute path"]),
        ("format: exec, command: [/none/such]", ["not a program"]),
        ("format: exec, command: [/bin/true], tls: {}", ["'tls' does not apply"]),
        ("url: ['https://a.example.org', 'https://b.example.org']", ["takes one URL"]),
        ("url: 'https://a.example.org', labels: {x: y}", ["it is for alertmanager, alertmanager-webhook"]),
        ("format: alertmanager, url: 'https://a.example.org', labels: {severity: y}", ["set by the watchdog itself"]),
        ("format: alertmanager, url: 'https://a.example.org', labels: {a-b: y}", ["not the name of a label"]),
        ("url: 'https://a.example.org', proxy: 'socks://x'", ["'proxy' must be a URL"]),
        ("url: 'https://a.example.org', proxy: 'http://u:p@x'", ["holds a password"]),
        ("url: 'https://a.example.org', tls: {ca: none.pem}", ["files of 'tls' cannot be read", "none.pem"]),
        ("format: email, from: a@b.c", ["lacks 'smtp' and 'to'", "needs 'smtp', 'from' and 'to'"]),
        ("url: 'https://a.example.org', tls: {cert_file: x}", ["unknown key 'cert_file'"]),
        ("url: 'https://a.example.org', tls: {key: x}", ["'key' without 'cert'"]),
        ("url: 'https://a.example.org', redact: all", ["unknown redact 'all'"]),
        ("format: apprise, url: 'json://example.org'", ["the 'url' of apprise is a secret"]),
    ],
)
def test_a_mistake_is_told_at_its_place(tmp_path: Path, text: str, wanted: list[str]) -> None:
    said = mistakes(tmp_path, text)
    assert all(one in said for one in wanted), said
    assert "watchdog.yaml:3:" in said
    assert not any(secret in said for secret in SECRETS.values())


def test_a_secret_in_the_open_is_not_shown(tmp_path: Path) -> None:
    assert "hunter2" not in mistakes(tmp_path, "format: telegram, token: '12:hunter2', chat: 5")
    assert "hunter2" not in mistakes(tmp_path, "format: apprise, url: 'json://anna:hunter2@example.org'")
    assert "hunter2" not in mistakes(
        tmp_path, "format: email, smtp: {host: h, user: u, password: hunter2}, from: a@b.c, to: a@b.c"
    )


def test_heartbeats_do_not_go_to_people(tmp_path: Path) -> None:
    said = mistakes(tmp_path, f"format: slack, {PLAIN['slack']}", "heartbeat: {receiver: ops}")
    assert "'format: slack' is read by people" in said
    assert loaded(tmp_path, f"format: exec, {PLAIN['exec']}", "heartbeat: {receiver: ops}").heartbeat


def test_check_warns_that_apprise_has_its_own_network(tmp_path: Path) -> None:
    pytest.importorskip("apprise")
    config = loaded(tmp_path, "format: apprise, url: {env: URL}", URL="json://example.org/x")
    assert any("apprise opens its own connections" in one for one in config.warnings)
    assert "apprise knows no service" in mistakes(tmp_path, "format: apprise, url: {env: URL}", URL="nonsense://x")


def test_a_missing_extra_is_a_mistake_with_its_cure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alerts.delivery.by_apprise.importlib.util.find_spec", lambda _name: None)
    said = mistakes(tmp_path, "format: apprise, url: {env: URL}", URL="json://example.org/x")
    assert "pip install 'bitcoin-watchdog[apprise]'" in said


def test_every_key_of_receivers_belongs_to_a_format() -> None:
    known = {*COMMON_KEYS, "keepalive"}
    for encoder in ENCODERS.values():
        known |= encoder.optional | {key for keys in encoder.required for key in keys}
    assert {key.name for key in RECEIVERS.keys} <= known


def test_a_program_needs_leave_from_the_command_line(tmp_path: Path) -> None:
    config = loaded(tmp_path, f"format: exec, {PLAIN['exec']}")
    with pytest.raises(ServiceError, match="watchdog run --allow-exec"):
        check_exec(config)
    done = run_command(tmp_path, "run", "--no-web")
    assert (done.returncode, "--allow-exec" in done.stderr) == (2, True)


def test_no_command_runs_a_program_without_leave(tmp_path: Path) -> None:
    hook, ran = tmp_path / "hook", tmp_path / "ran"
    hook.write_text(f"#!/bin/sh\necho >> {ran}\n")
    hook.chmod(0o755)
    loaded(tmp_path, f"format: exec, command: [{hook}]")
    for command in (["receivers", "test", "ops"], ["doctor", "--config", "watchdog.yaml", "--send"]):
        done = run_command(tmp_path, *command)
        named = " ".join(word for word in command if word not in ("--config", "watchdog.yaml"))
        error = f"receiver 'ops' runs a program ('format: exec'): permit it with 'watchdog {named} --allow-exec'"
        assert (done.returncode, error in done.stderr) == (2, True), done
        assert not ran.exists()
    test = run_command(tmp_path, "receivers", "test", "ops", "--allow-exec")
    assert (test.returncode, test.stdout.startswith("ops: exit code 0 in ")) == (0, True), test
    asked = run_command(tmp_path, "doctor", "--config", "watchdog.yaml", "--send", "--allow-exec", "--json")
    assert json.loads(asked.stdout)["receivers"][0]["text"] == "took a test message", asked.stdout
    assert ran.read_text() == "\n\n"


def test_a_receiver_that_is_off_is_tested_with_leave_only(tmp_path: Path) -> None:
    loaded(tmp_path, f"format: exec, enabled: false, {PLAIN['exec']}")
    assert run_command(tmp_path, "receivers", "test", "ops").returncode == 2
    assert run_command(tmp_path, "receivers", "test", "ops", "--allow-exec").returncode == 0


def test_a_reload_refuses_a_program_and_makes_the_key_of_the_house(tmp_path: Path) -> None:
    (tmp_path / "debug.log").touch()
    path = tmp_path / "watchdog.yaml"
    head = "sources: log:debug.log\napi: {listen: '127.0.0.1:0'}\n"
    path.write_text(head)
    try:
        service = ServiceProcess(tmp_path)
        service.wait_for("watching")
        path.write_text(f"{head}receivers:\n  ops: {{format: exec, {PLAIN['exec']}}}\n")
        done = run_command(tmp_path, "reload")
        assert done.returncode == 1
        assert "--allow-exec" in f"{done.stdout}{done.stderr}"
        path.write_text(f"{head}receivers:\n  ops: {{url: 'https://a.example.org', redact: hash}}\n")
        assert run_command(tmp_path, "reload").returncode == 0
        assert (tmp_path / FILE).exists(), "the key of the house"
        service.end()
    finally:
        end_all()


def test_the_key_of_the_house_is_made_once_and_stays(tmp_path: Path) -> None:
    config = loaded(tmp_path, "url: 'https://a.example.org', redact: hash")
    assert receiver(config.receivers[0]).redact_key, "a test message hashes nothing that matters"
    assert not (tmp_path / FILE).exists()
    (one,) = routes(config).receivers
    (again,) = routes(config).receivers
    assert one.redact_key == again.redact_key == house_key(tmp_path)
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600
    assert one.redact_key.decode() not in repr(one)
    (tmp_path / FILE).write_text("short")
    with pytest.raises(ServiceError, match="5 bytes"):
        routes(config)
