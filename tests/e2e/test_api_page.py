"""docs/API.md against the OpenAPI document and a real service: tables are compared, examples are run with curl."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.outside_service import TOKEN, configure, prepare
from tests.support.parts import program
from tests.support.ports import free_port
from tests.support.receiver import Receiver
from tests.support.service_process import ROOT, WATCHING, ServiceProcess, end_all, grow, until_rows
from watchdog.web.openapi import openapi_document

TEXT = (ROOT / "docs" / "API.md").read_text(encoding="utf-8")
DOCUMENT: dict[str, Any] = openapi_document()  # Any: JSON
OPERATIONS = {
    (method.upper(), path): found for path, methods in DOCUMENT["paths"].items() for method, found in methods.items()
}
LIVE_S = 3


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    yield found
    end_all()
    found.close()


def rows(heading: str) -> list[list[str]]:
    """The cells of the table below a heading, without its head."""
    section = TEXT.split(f"## {heading}\n")[1].split("\n## ")[0]
    (table,) = re.findall(r"(?:^\|.*\|\n)+", section, re.MULTILINE)
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]


def examples() -> list[str]:
    """The commands of the page."""
    return re.findall(r"```sh\n(curl .*?)\n```", TEXT, re.DOTALL)


def test_every_route_stands_there_with_what_it_does_and_who_may_ask() -> None:
    tokens = {"[{'token': []}]": "always", "[{}]": "never", "[{}, {'token': []}]": "beyond loopback"}
    described = [
        [f"`{method} {path}`", found["summary"], tokens[str(found["security"])]]
        for (method, path), found in OPERATIONS.items()
    ]
    assert rows("Routes") == described


def test_every_parameter_stands_there_as_the_document_has_it() -> None:
    lists = ("incidents", "cases", "deliveries", "audit")
    of: dict[str, list[str]] = {}
    about: dict[str, str] = {}
    for name in lists:
        for one in OPERATIONS["GET", f"/api/v1/{name}"]["parameters"]:
            of.setdefault(one["name"], []).append(name)
            assert about.setdefault(one["name"], one["description"]) == one["description"]
    described = {
        name: ("all lists" if tuple(own) == lists else ", ".join(own), about[name]) for name, own in of.items()
    }
    assert {name.strip("`"): (own, text) for name, own, text in rows("Lists and pages")} == described


def test_every_status_and_every_event_stands_there() -> None:
    statuses = {code for found in OPERATIONS.values() for code in found["responses"]} - {"200", "201", "202"}
    assert {status for status, _ in rows("Errors")} == statuses | {"405"}  # which no operation has of its own
    told = set(re.findall(r"`(\w+)`", OPERATIONS["GET", "/api/v1/events/stream"]["description"]))
    assert {event.strip("`") for event, _, _ in rows("Follow events live")} == told


@pytest.mark.slow
def test_every_example_works_as_it_stands(tmp_path: Path, receiver: Receiver) -> None:
    program("curl")
    port = free_port()
    prepare(tmp_path)
    configure(tmp_path, port, good=receiver.url)
    service = ServiceProcess(tmp_path)
    service.wait_for(WATCHING)
    grow(tmp_path, 0, [10, 600, 600])
    ((delivery, incident),) = until_rows(tmp_path, "SELECT id, incident_id FROM outbox WHERE status = 'sent'", 1)
    ((case,),) = until_rows(tmp_path, "SELECT id FROM cases", 1)
    places = {
        "CASE": str(case),
        "API": f"http://127.0.0.1:{port}",
        "TOKEN": TOKEN,
        "INCIDENT": str(incident),
        "DELIVERY": str(delivery),
        "NODE": "node",
    }
    answered: set[tuple[str, str]] = set()
    for example in examples():
        method = "POST" if "-X POST" in example else "GET"
        (asked,) = re.findall(r"\$API([^\s\"?]+)", example)
        path = re.sub(r"\$\w+|(?<=silences/)\d+", "{id}", asked.replace("$NODE", "{node}"))
        answered.add((method, path))
        live = path.endswith("/stream")
        command = example.replace("curl ", f"curl --max-time {LIVE_S} ", 1) if live else example
        done = subprocess.run(
            ["bash", "-euc", command],
            env={**os.environ, **places},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert live or done.returncode == 0, f"{example}\n{done.stdout}{done.stderr}"
        check(method, path, done.stdout, wrong="hihg" in example)
    missing = set(OPERATIONS) - answered
    messages = ("GET", "/api/v1/nodes/{node}/peers/{conn}/messages")  # of a capture, which this node does not write
    split = ("POST", "/api/v1/cases/{id}/split")  # of a case with several parties
    party = ("POST", "/api/v1/cases/{id}/silences")  # of a case that accuses a party
    told = {("GET", "/api/v1/openapi.json"), ("GET", "/readyz"), messages, split, party}
    assert missing == told, "an example for each, but for these"
    service.end()


def check(method: str, path: str, text: str, *, wrong: bool) -> None:
    """An answer against its schema."""
    if path.endswith("/stream"):
        assert 'event: hello\ndata: {"resumed":false}' in text
    elif path == "/metrics":
        assert {"watchdog_events", "process_cpu_seconds"} <= {one.name for one in text_string_to_metric_families(text)}
    elif wrong:
        (shown,) = re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)
        assert json.loads(text) == json.loads(shown)
    else:
        (success,) = (
            answer for code, answer in OPERATIONS[method, path]["responses"].items() if code in ("200", "201", "202")
        )
        schema = success["content"]["application/json"]["schema"]
        jsonschema.validate(json.loads(text), {**schema, "components": DOCUMENT["components"]})
