"""A real service on the bundled recording: every channel gets each case once, in its own form, across kills."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller

from tests.support.alertmanager import Alertmanager
from tests.support.channels import Mailbox, PagerDuty, Service, service, slack_api, telegram_api
from tests.support.ports import free_port
from tests.support.service_process import ALL_ENDED, ROOT, ServiceProcess, end_all, rows
from tests.support.waiting import wait_until

RECORDING = ROOT / "demo" / "recording"
CONFIG = """
node: alice
sources: ["recording:{recording}"]
start: beginning
checkpoint: {{every: 1s}}
api: {{public_url: "https://watch.example.com"}}
receivers:
  chat:  {{format: slack, token: {{file: slack.token}}, channel: C1, url: "{slack}", {common}}}
  pager: {{format: pagerduty, routing_key: {{file: pager.key}}, url: "{pager}", {common}}}
  phone: {{format: telegram, token: {{file: bot.token}}, chat: -100, url: "{phone}", {common}, redact: hash}}
  am:    {{format: alertmanager, url: ["{am}", "http://127.0.0.1:1"], keepalive: 1s, allow_private: true}}
  mail:
    format: email
    smtp: {{host: 127.0.0.1, port: {mail}, tls: none}}
    from: w@example.org
    to: o@example.org
    allow_private: true
  hook:  {{format: exec, command: ["{hook}"], rate_per_minute: 0, timeout: 20s}}
"""
SECRETS = {"slack.token": "xoxb-1", "pager.key": "R" * 32, "bot.token": "12:abc"}
WAITING = "SELECT 1 FROM outbox WHERE status = 'waiting'"
CASES = "SELECT id, document FROM cases"


class Services:
    """Services on 127.0.0.1 in a thread with a loop of its own."""

    def __init__(self) -> None:
        self.desk = PagerDuty()
        self.chat, self.phone, self.pager = Service(slack_api), Service(telegram_api), Service(self.desk)
        self.box = Mailbox()
        self._loop = asyncio.new_event_loop()
        self._ready, self._stop = threading.Event(), asyncio.Event()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._run()))
        self._thread.start()
        assert self._ready.wait(60)
        self.mail_port = free_port()
        self._mail = Controller(self.box, hostname="127.0.0.1", port=self.mail_port)
        self._mail.start()

    async def _run(self) -> None:
        async with AsyncExitStack() as stack:
            self.chat = await stack.enter_async_context(service(slack_api))
            self.phone = await stack.enter_async_context(service(telegram_api))
            self.pager = await stack.enter_async_context(service(self.desk))
            self._ready.set()
            await self._stop.wait()

    def close(self) -> None:
        """End them."""
        self._mail.stop()
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)
        self._loop.close()


@pytest.fixture
def services() -> Iterator[Services]:
    found = Services()
    yield found
    end_all()
    found.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Alertmanager]:
    made = Alertmanager(tmp_path / "alertmanager")
    made.start()
    yield made
    made.stop()


def prepare(folder: Path, services: Services, manager: Alertmanager) -> None:
    """Write configuration, secrets and a program."""
    hook = folder / "hook"
    hook.write_text(f"#!/bin/sh\ncat > {folder}/hooked.$$\n")
    hook.chmod(0o755)
    for name, secret in SECRETS.items():
        (folder / name).write_text(secret)
        (folder / name).chmod(0o600)
    urls = {"slack": services.chat.url, "pager": services.pager.url, "phone": services.phone.url, "am": manager.url}
    common = "allow_private: true, rate_per_minute: 0"
    text = CONFIG.format(recording=RECORDING, common=common, mail=services.mail_port, hook=hook, **urls)
    (folder / "watchdog.yaml").write_text(text)


def finish(folder: Path) -> str:
    """Run until everything is read and sent; return what was logged."""
    service_process = ServiceProcess(folder, "--no-web", "--allow-exec")
    service_process.wait_for(ALL_ENDED)
    sent = lambda: bool(rows(folder, "SELECT 1 FROM outbox")) and not rows(folder, WAITING)  # noqa: E731 (used once)
    wait_until(sent, service_process.text)
    return service_process.text()


@pytest.mark.slow
def test_every_channel_gets_each_case_in_its_own_form(
    tmp_path: Path, services: Services, manager: Alertmanager
) -> None:
    prepare(tmp_path, services, manager)
    logged = finish(tmp_path)
    cases = {str(id_): json.loads(str(document)) for id_, document in rows(tmp_path, CASES)}
    open_cases = {one["root"] for one in cases.values() if one["state"] != "resolved" and one["notices"]}
    roots = {one["root"] for one in cases.values() if one["notices"]}
    assert roots
    assert len(threads(services.chat.accepted)) == len(roots), "a thread for each case"
    states = dict(services.desk.states())
    assert {key for key, state in states.items() if state != "resolved"} == open_cases
    wait_until(lambda: {one["labels"]["case"] for one in manager.alerts()} == open_cases)
    mails = defaultdict(list)
    for mail in services.box.mails:
        mails[mail["References"] or mail["Message-ID"]].append(mail["Subject"])
    assert len(mails) == len(roots)
    hooked = [json.loads(one.read_text()) for one in tmp_path.glob("hooked.*")]  # programs run at the same time
    assert {one["data"]["root"] for one in hooked if one["type"] == "case.opened"} == roots
    named = [party for one in cases.values() for party in one["parties"]]
    shown = json.dumps(services.phone.accepted)
    assert not any(address in shown for party in named for address in party["addresses"]), "hashes for this receiver"
    assert "addr-" in shown or "net-" in shown
    everything = logged + json.dumps([str(row) for row in rows(tmp_path, "SELECT * FROM outbox")])
    assert not any(secret in everything for secret in SECRETS.values())
    assert services.chat.refused == services.phone.refused == []


def threads(messages: list[dict[str, Any]]) -> set[int]:
    """The beginnings of threads, by their place; every other message answers one of them."""
    firsts = {number for number, one in enumerate(messages) if "thread_ts" not in one}
    assert firsts
    return firsts


@pytest.mark.slow
def test_a_kill_begins_no_second_thread(tmp_path: Path, services: Services, manager: Alertmanager) -> None:
    prepare(tmp_path, services, manager)
    for seconds in (1, 2):
        killed = ServiceProcess(tmp_path, "--no-web", "--allow-exec")
        killed.wait_for("watching")
        wait_until(lambda seconds=seconds: len(services.chat.accepted) >= seconds, killed.text)  # type: ignore[misc] # mypy cannot infer a lambda with a default
        killed.kill()
    finish(tmp_path)
    ids = [str(id_) for (id_,) in rows(tmp_path, "SELECT id FROM outbox WHERE receiver = 'chat'")]
    extra = len(services.chat.accepted) - len(ids)
    roots = {str(subject) for (subject,) in rows(tmp_path, "SELECT subject FROM outbox WHERE receiver = 'chat'")}
    assert 0 <= extra <= 2, "at least once: a kill may repeat what was under way"
    assert len(threads(services.chat.accepted)) <= len(roots) + extra
    assert len({key for key, _ in services.desk.states()}) == len(roots)
