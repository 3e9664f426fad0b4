"""`watchdog receive` and `watchdog receivers`, in process and as real processes."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from alerts.delivery.answers import Response
from alerts.delivery.client import WebhookClient
from alerts.delivery.inbox import Arrival, parsed
from alerts.delivery.signature import new_secret, secret_key
from tests.support.children import killed_on_failure
from tests.support.delivery import SECRET, START_NS, Target, receiver_at, target
from watchdog.cli.main import main
from watchdog.cli.receive import MOST_LINES, readable

HOSTILE = "<b>\x1b[2J%s{0}\r\n\u202e"
ODD_TIMES: tuple[object, ...] = (True, None, "soon", HOSTILE, -1e300, 1e300, float("nan"), 10**400, [])
ARRIVAL = Arrival(
    START_NS,
    "msg_1",
    True,
    "",
    1,
    204,
    {
        "type": "incident.opened",
        "timestamp": "2026-05-28T20:26:40Z",
        "data": {"rule": "flood", "severity": "high", "title": "Flood", "summary": HOSTILE, "url": "http://x/1"},
    },
)


def test_a_message_is_readable_and_what_peers_sent_is_escaped() -> None:
    assert readable(ARRIVAL).splitlines() == [
        "2026-05-28 20:26:40  HIGH      incident.opened  flood  [verified, answered 204, msg_1]",
        "    Flood",
        "    <b>\\x1b[2J%s{0}\\x0d\\x0a\\u{202e}",
        "    http://x/1",
    ]


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        (START_NS / 1e9 - 86_400, "flood  of 2026-05-27 20:26:40  [verified"),
        (START_NS / 1e9 - 30, "flood  [verified"),
        *((odd, "flood  [verified") for odd in ODD_TIMES),
    ],
)
def test_the_time_of_the_event_stands_beside_our_clock_where_it_is_another(told: object, shown: str) -> None:
    assert isinstance(ARRIVAL.body, dict)
    data = ARRIVAL.body["data"] | {"updated": told}
    assert shown in readable(replace(ARRIVAL, body={**ARRIVAL.body, "data": data})).splitlines()[0]


def test_alerts_for_alertmanagers_api_are_readable() -> None:
    labels = {"alertname": "flood", "severity": "high", "incident": "a1b2"}
    raw = json.dumps([{"labels": labels, "annotations": {"summary": "so much"}, "startsAt": "x"}]).encode()
    shown = readable(replace(ARRIVAL, body=parsed(raw)))
    assert "HIGH      alertmanager  flood  [verified" in shown
    assert "so much" in shown
    assert readable(replace(ARRIVAL, body=parsed(b"[3]")))


def test_an_alertmanager_message_shows_when_its_incident_began() -> None:
    alert = {"labels": {"alertname": "flood"}, "annotations": {}, "startsAt": "2026-05-01T00:00:00.000000Z"}
    body = {"status": "firing", "alerts": [alert]}
    assert "flood  of 2026-05-01 00:00:00  [" in readable(replace(ARRIVAL, body=body))


@pytest.mark.parametrize(
    ("body", "kind", "text"),
    [
        ({"text": "HIGH a: b, case 1\nNew: \x1b[2J", "blocks": []}, "slack", "HIGH a: b, case 1\n    New: \\x1b[2J"),
        ({"chat_id": 7, "text": "<b>HIGH</b>"}, "telegram", "<b>HIGH</b>"),
        ({"event_action": "trigger", "payload": {"summary": "so much"}}, "pagerduty trigger", "so much"),
        ({"type": "message", "attachments": [{}]}, "teams", ""),
        ({"text": "as Mattermost has it"}, "other", "as Mattermost has it"),
        ({"text": "x\n" * 1_000, "blocks": 3}, "slack", "    ".join(["x\n"] * MOST_LINES).rstrip()),
    ],
)
def test_messages_of_channels_are_named_and_readable(body: dict[str, Any], kind: str, text: str) -> None:
    head, *rest = readable(replace(ARRIVAL, body=body)).splitlines()
    assert head == f"2026-05-28 20:26:40  {kind}  [verified, answered 204, msg_1]"
    assert "\n".join(rest).strip() == text


def test_refused_repeated_and_odd_messages_say_so() -> None:
    refused = replace(ARRIVAL, verified=False, problem="no signature matches", attempt=3, status=None, body=None)
    assert readable(refused).splitlines() == [
        "2026-05-28 20:26:40  no JSON object  [REFUSED: no signature matches, attempt 3, hung up, msg_1]"
    ]
    alert = {"status": "firing", "alerts": [{"labels": {"alertname": "flood"}, "annotations": {"summary": "many"}}]}
    assert "alertmanager firing  flood  [not verified" in readable(replace(ARRIVAL, verified=None, body=alert))


@pytest.mark.parametrize("body", [{}, {"data": 3}, {"alerts": "x"}, {"alerts": [3]}, {"alerts": [{"labels": []}]}])
def test_any_json_object_can_be_shown(body: dict[str, Any]) -> None:
    assert readable(replace(ARRIVAL, body=body)).isprintable()


@pytest.mark.parametrize("raw", [b"", b"[]", b"\xff", b"[" * 100_000, b'{"a":' * 50_000, b"NaN"])
def test_what_is_no_object_is_none(raw: bytes) -> None:
    assert parsed(raw) is None


def posts(url: str, *secrets: str) -> list[Response]:
    """One message signed with each secret (or not at all), all under one id."""

    async def story() -> list[Response]:
        async with WebhookClient() as client:
            receivers = [receiver_at(url, secrets=(secret,) if secret else ()) for secret in secrets]
            return [await client.post(one, "msg_1", int(time.time()), b'{"type":"x"}') for one in receivers]

    return asyncio.run(story())


def test_receive_verifies_prints_notes_and_ends_well(tmp_path: Path, root: Path) -> None:
    secret, old, out = new_secret(), new_secret(), tmp_path / "out.jsonl"
    for name, value in (("new", secret), ("old", old)):
        (tmp_path / name).write_text(value + "\n", encoding="ascii")
    options = ["--secret-file", str(tmp_path / "new"), "--secret-file", str(tmp_path / "old"), "--out", str(out)]
    process = subprocess.Popen(
        [sys.executable, "-m", "watchdog", "receive", "--listen", "127.0.0.1:0", *options],
        cwd=root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONWARNINGS": "error"},
    )
    with killed_on_failure(process):
        assert process.stderr is not None
        found = re.search(r"http://\S+", process.stderr.readline())
        assert found is not None
        statuses = [answer.status for answer in posts(found[0], secret, old, SECRET, "")]
        process.send_signal(signal.SIGTERM)
        printed, errors = process.communicate(timeout=300)
    assert (process.returncode, errors) == (0, "")
    assert statuses == [204, 204, 401, 401]
    assert printed.count("[verified") == 2
    noted = [json.loads(line) for line in out.read_text(encoding="ascii").splitlines()]
    assert [one["verified"] for one in noted] == [True, True, False, False]
    assert [one["attempt"] for one in noted] == [1, 2, 3, 4]
    assert noted[0]["body"] == {"type": "x"}
    assert secret not in printed + out.read_text(encoding="ascii")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--listen", "here"], "--listen 'here': not of the form ADDRESS:PORT"),
        (["--listen", "127.0.0.1:99999"], "a port is 0 to 65535"),
        (["--secret-file", "{tmp}/bad"], "a signing secret begins with 'whsec_'"),
        (["--secret-file", "{tmp}/none"], "No such file"),
        (["--status", "99"], "no HTTP status"),
        (["--delay", "-1"], "no number of seconds"),
    ],
)
def test_wrong_arguments_are_one_line(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad").write_text("hunter2", encoding="ascii")
    assert main(["receive", *(text.replace("{tmp}", str(tmp_path)) for text in arguments)]) == 2
    said = capsys.readouterr().err
    assert message.lower() in said.lower()
    assert len(said.splitlines()) == 1
    assert "hunter2" not in said


def test_an_address_that_is_taken_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["receive", "--listen", f"127.0.0.1:{port}", "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert said == f"watchdog: '127.0.0.1:{port}': address already in use\n"
    assert str(port) in said
    assert "in use" in said


def configured(tmp_path: Path, url: str) -> Path:
    """A configuration with a receiver `ops` at this URL."""
    (tmp_path / "key").write_text(SECRET, encoding="ascii")
    (tmp_path / "key").chmod(0o600)
    path = tmp_path / "watchdog.yaml"
    text = f"""
sources: ["capture:{tmp_path}"]
receivers:
  ops:
    url: {url}
    secret: {{file: key}}
    allow_private: true
"""
    path.write_text(text, encoding="ascii")
    return path


def run_test(tmp_path: Path, there: Target) -> int:
    return main(["receivers", "test", "ops", "--config", str(configured(tmp_path, there.url))])


@pytest.mark.parametrize(
    ("status", "code", "said"), [(204, 0, "answered 204 in"), (500, 1, "not delivered: answered 500")]
)
def test_a_receiver_is_tested(
    status: int, code: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def story() -> int:
        async with target(status) as there:
            found = await asyncio.to_thread(run_test, tmp_path, there)
            (seen,) = there.seen
            assert json.loads(seen.body)["type"] == "watchdog.test"
            assert seen.headers["webhook-signature"].startswith("v1,")
            return found

    assert asyncio.run(story()) == code
    assert f"ops: {said}" in capsys.readouterr().out


def test_an_unknown_receiver_is_named_with_a_hint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = configured(tmp_path, "http://127.0.0.1:1/")
    assert main(["receivers", "test", "opps", "--config", str(path)]) == 2
    assert "no receiver 'opps'; did you mean 'ops'?" in capsys.readouterr().err


def test_the_list_shows_no_secret_and_no_path(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = configured(tmp_path, "http://127.0.0.1:1/T0KEN")
    assert main(["receivers", "list", "--config", str(path)]) == 0
    assert main(["receivers", "list", "--json", "--config", str(path)]) == 0
    said = capsys.readouterr().out
    header, line, *_ = said.splitlines()
    assert (header.split()[-1], line.split()[-1]) == ("EVENTS", "default")
    assert len(line) <= 80
    assert "127.0.0.1" in said
    assert "T0KEN" not in said
    assert SECRET not in said
    assert SECRET.removeprefix("whsec_") not in said


def test_a_new_secret_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["receivers", "secret"]) == 0
    assert len(secret_key(capsys.readouterr().out)) == 32
