"""User agents of strangers through a real service: API, event stream, page, terminal, webhook, Alertmanager, log."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.children import killed_on_failure
from tests.support.chromium import browser, installed
from tests.support.outside_service import TOKEN, Stream
from tests.support.ports import free_port
from tests.support.receiver import Receiver
from tests.support.rulesets import ODD_AGENT
from tests.support.service_process import (
    ALL_ENDED,
    ROOT,
    START,
    ServiceProcess,
    end_all,
    rows,
    run_command,
    until_rows,
)
from tests.support.waiting import wait_until

AGENTS = [
    '<img src=x onerror="window.broken=1"><script>window.broken=1</script>',
    "\x1b[2J\x1b]0;owned\x07\x1b[31mred\r\nwatchdog: all is well",
    "%s%n%x{0.__class__}{evidence}$(id)`id`{{7*7}}",
    "\u202e\u2066" * 128,
    "\x00\x7f\x9b31m\u200b\ufeff",
]
UNSAFE = set("\x00\x07\x1b\x7f\x9b\r\u200b\u202e\u2066\ufeff")
HAND = "ana\x1b[31m\u202e<script>window.broken=1</script>"
CONFIG = """
sources: recording:recording
rules: rules.yaml
packs: false
log_level: debug
checkpoint: {{every: 1s, folder: state}}
api: {{listen: "127.0.0.1:{port}", token: {{file: token}}}}
receivers:
  plain: {{url: "{plain}", about: incidents, allow_private: true, rate_per_minute: 0}}
  shown: {{url: "{shown}", about: incidents, allow_private: true, rate_per_minute: 0}}
  team: {{url: "{team}", about: incidents, allow_private: true, rate_per_minute: 0, format: alertmanager-webhook}}
"""


@pytest.fixture
def receivers() -> Iterator[tuple[Receiver, Receiver]]:
    found = Receiver(), Receiver()
    yield found
    end_all()
    for one in found:
        one.close()


@pytest.fixture
def printing(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A `watchdog receive`: its address, and the file with what it prints."""
    port, said = free_port(), tmp_path / "received"
    with said.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "watchdog", "receive", "--listen", f"127.0.0.1:{port}"],
            cwd=ROOT,
            stdout=out,
            stderr=out,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
    with killed_on_failure(process):
        yield f"http://127.0.0.1:{port}/hook", said
        process.kill()


def prepare(folder: Path, port: int, **urls: str) -> None:
    (folder / "state").mkdir()
    (folder / "token").write_text(f"{TOKEN}\n")
    (folder / "token").chmod(0o600)
    (folder / "rules.yaml").write_text(f"rules:{ODD_AGENT}")
    (folder / "watchdog.yaml").write_text(CONFIG.format(port=port, **urls))
    known = {"conntime": START, "inbound": True, "connection_type": "inbound"}
    peers = [{"id": n, "addr": f"1.2.3.{n}:8333", "subver": agent, **known} for n, agent in enumerate(AGENTS)]
    polls = [{"time": START + at, "kind": "getpeerinfo", "result": peers} for at in (0, 10)]
    (folder / "recording").mkdir()
    (folder / "recording" / "snapshots.jsonl").write_text("".join(json.dumps(one) + "\n" for one in polls))


def harmless(text: str) -> bool:
    """Nothing in it steers a terminal, turns text around or hides."""
    return not UNSAFE & set(text)


def strings(value: object) -> Iterator[str]:
    """All strings in a JSON document, names too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, one in value.items():
            yield name
            yield from strings(one)
    elif isinstance(value, list):
        for one in value:
            yield from strings(one)


def read(port: int, path: str) -> Any:  # Any: JSON of the service
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=300) as answer:
        raw = answer.read()
    assert raw.isascii(), "JSON in ASCII cannot meet an encoding"
    return json.loads(raw)


def until_told(receiver: Receiver, wanted: int) -> list[Any]:
    wait_until(lambda: len(receiver.requests) >= wanted, lambda: f"{len(receiver.requests)} notices came")
    return [json.loads(body) for _, body in receiver.requests]


@pytest.mark.slow
def test_strings_of_strangers_are_harmless_text_wherever_people_look(
    tmp_path: Path, receivers: tuple[Receiver, Receiver], printing: tuple[str, Path]
) -> None:
    plain, team = receivers
    port = free_port()
    prepare(tmp_path, port, plain=plain.url, team=team.url, shown=printing[0])
    service = ServiceProcess(tmp_path)
    service.wait_for(ALL_ENDED)
    stream = Stream(port)
    stream.until(lambda event, _: event == "hello")
    told = [*until_told(plain, len(AGENTS)), *until_told(team, len(AGENTS))]
    until_rows(tmp_path, "SELECT 1 FROM outbox WHERE status = 'sent'", 3 * len(AGENTS))
    ids = [str(row[0]) for row in rows(tmp_path, "SELECT id FROM incidents ORDER BY id")]
    assert len(ids) == len(AGENTS), "each agent is an incident of its own"
    assert run_command(tmp_path, "incidents", "ack", ids[0], "--who", HAND).returncode == 0
    assert run_command(tmp_path, "incidents", "note", ids[0], HAND, "--who", HAND).returncode == 0
    stream.until(lambda event, data: event == "incident" and data["state"] == "acknowledged")
    stream.until(lambda event, data: event == "delivery" and data["type"] == "incident.acknowledged")

    paths = ["incidents?state=open,acknowledged", "deliveries", "rules", "status", *(f"incidents/{id_}" for id_ in ids)]
    answers = [read(port, f"/api/v1/{path}") for path in paths]
    for found in (*answers, *told, *(data for _, data in list(stream.events))):
        assert all(harmless(one) for one in strings(found))
    agents = {one["key"]["user_agent"] for one in answers[0]["incidents"]}
    assert any(agent.startswith("<img src=x onerror=") for agent in agents), "as text, not taken away"
    assert any("{0.__class__}{evidence}$(id)`id`{{7*7}}" in agent for agent in agents), "nothing was filled in"
    labels = [alert["labels"] for one in told if "alerts" in one for alert in one["alerts"]]
    assert len(labels) >= len(AGENTS)

    texts = [run_command(tmp_path, "incidents", "show", id_) for id_ in ids]
    texts += [run_command(tmp_path, "incidents", "list"), run_command(tmp_path, "deliveries", "list")]
    assert [one.returncode for one in texts] == [0] * len(texts)
    for text in (*(one.stdout for one in texts), service.text(), printing[1].read_text()):
        assert text.strip()
        assert harmless(text)
        assert not any(line.startswith("watchdog: all is well") for line in text.splitlines()), "no line of its own"
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=300) as answer:
        assert harmless(answer.read().decode())
    if installed() is not None:  # tests/e2e/test_page.py says so where there is no browser
        asyncio.run(look(port, ids))
    service.end()


async def look(port: int, ids: list[str]) -> None:
    """The page of the same service in a real browser."""
    async with browser() as tab:
        for width in (1280, 400):
            await tab.size(width, 900)
            for path, ready in (
                ("/", f"document.querySelectorAll('#incidents li').length === {len(ids)}"),
                ("/deliveries", f"document.querySelectorAll('#deliveries tbody tr').length >= {3 * len(ids)}"),
                *((f"/incidents/{id_}", "document.querySelector('#detail .facts')") for id_ in ids),
            ):
                await tab.open(f"http://127.0.0.1:{port}{path}")
                await tab.until(ready)
                assert await tab.run("window.broken === undefined")
                assert await tab.run("document.querySelectorAll('main img, main script, main style').length") == 0
                assert harmless(str(await tab.run("document.body.innerText")))
                assert await tab.run("document.documentElement.scrollWidth <= window.innerWidth"), f"{path} at {width}"
        assert tab.complaints == []
