"""Deliveries of a real service from outside: live on the stream, dead letters of a removed receiver, resent with it."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.outside_service import TOKEN, Stream, configure, prepare
from tests.support.ports import free_port
from tests.support.receiver import Receiver
from tests.support.service_process import (
    START,
    WATCHING,
    ServiceProcess,
    end_all,
    grow,
    rows,
    run_command,
    until_rows,
)

GONE = "its receiver was removed from the configuration"


@pytest.fixture
def receivers() -> Iterator[tuple[Receiver, Receiver]]:
    found = Receiver(), Receiver()
    yield found
    end_all()
    for one in found:
        one.close()


def resend(port: int, id_: str) -> tuple[int, dict[str, Any]]:
    """Status and answer."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/v1/deliveries/{id_}/resend",
        data=b"{}",
        headers={"Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}"},
    )
    try:
        with urllib.request.urlopen(request, timeout=300) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def first_tries(stream: Stream) -> dict[str, Any]:  # Any: JSON of the service
    """Check the notice that one receiver accepted; return that of the other receiver, which was unreachable."""
    sent = stream.until(lambda event, data: event == "delivery" and data["receiver"] == "good")
    assert (sent["status"], sent["attempts"], sent["last_status"], sent["type"]) == ("sent", 1, 204, "incident.opened")
    failed = stream.until(lambda event, data: event == "delivery" and data["receiver"] == "left")
    assert (failed["status"], failed["attempts"], failed["last_status"]) == ("waiting", 1, None)
    assert failed["next"] > failed["created"]
    assert failed["last_error"]
    return failed


@pytest.mark.slow
def test_a_receiver_that_leaves_and_returns_loses_nothing_and_everybody_sees_it(
    tmp_path: Path, receivers: tuple[Receiver, Receiver]
) -> None:
    good, back = receivers
    port, nobody = free_port(), free_port()
    prepare(tmp_path)
    configure(tmp_path, port, good=good.url, left=f"http://127.0.0.1:{nobody}/hook")
    service = ServiceProcess(tmp_path)
    service.wait_for(WATCHING)
    stream = Stream(port)
    stream.until(lambda event, _: event == "hello")
    grow(tmp_path, 0, [10, 600, 600])
    failed = first_tries(stream)
    listed = rows(tmp_path, "SELECT id, attempts FROM outbox WHERE receiver = 'left'")
    assert listed == [(failed["id"], 1)], "it is told when it is stored"

    configure(tmp_path, port, good=good.url)
    answer = run_command(tmp_path, "reload")
    assert answer.returncode == 0, answer.stderr
    assert "1 undeliverable notice moved to dead letters" in answer.stdout
    told = stream.until(lambda event, _: event == "deliveries")
    assert told == {"receivers": ["left"], "status": "dead"}
    assert rows(tmp_path, "SELECT status, last_error FROM outbox WHERE receiver = 'left'") == [("dead", GONE)]
    status, problem = resend(port, failed["id"])
    assert (status, problem["title"]) == (409, "Conflict")
    assert "'left' is not in the configuration" in problem["detail"]

    assert run_command(tmp_path, "deliveries", "resend", failed["id"]).returncode == 0
    until_rows(tmp_path, "SELECT 1 FROM outbox WHERE receiver = 'left' AND status = 'dead'", 1)  # again, in seconds
    service.end()
    assert run_command(tmp_path, "deliveries", "resend", failed["id"]).returncode == 0
    service = ServiceProcess(tmp_path)
    service.wait_for("1 notice moved to dead letters, as their receivers are not configured: left")

    configure(tmp_path, port, good=good.url, left=back.url)
    assert run_command(tmp_path, "reload").returncode == 0
    stream = Stream(port)
    stream.until(lambda event, _: event == "hello")
    assert resend(port, failed["id"]) == (202, {"id": failed["id"], "status": "waiting"})
    again = stream.until(lambda event, data: event == "delivery" and data["status"] == "sent")
    assert (again["id"], again["attempts"]) == (failed["id"], 1)
    assert [id_ for id_, _ in back.requests] == [failed["id"]]
    assert len(good.requests) == 1
    service.end()


@pytest.mark.slow
def test_an_acknowledgement_by_hand_is_never_seen_taken_back(
    tmp_path: Path, receivers: tuple[Receiver, Receiver]
) -> None:
    port = free_port()
    prepare(tmp_path)
    configure(tmp_path, port)
    service = ServiceProcess(tmp_path)
    service.wait_for(WATCHING)
    begun = (int(time.time()) - START - 60) // 10  # event time is near the clock, so that actions wait for it
    grow(tmp_path, begun, [10, 200, 200])
    ((id_,),) = until_rows(tmp_path, "SELECT id FROM incidents", 1)
    stream = Stream(port)
    stream.until(lambda event, _: event == "hello")
    assert run_command(tmp_path, "incidents", "ack", str(id_), "--who", "ana").returncode == 0
    ((sequence, acted),) = rows(tmp_path, "SELECT sequence, acted FROM incidents")
    assert acted == 1
    grow(tmp_path, begun + 3, [2000, 2000])  # changes of a time before the acknowledgement
    stream.until(lambda event, data: event == "incident" and data["change"]["reason"] == "escalated")
    query = f"SELECT severity, state, acknowledged_by FROM incidents WHERE sequence > {sequence}"
    assert rows(tmp_path, query) == [("high", "acknowledged", "ana")]
    told = [data for event, data in stream.events if event == "incident"]
    assert {(data["state"], data["acknowledged_by"]) for data in told} == {("acknowledged", "ana")}
    service.end()
    assert rows(tmp_path, query) == [("high", "acknowledged", "ana")]
    changes = rows(tmp_path, "SELECT reason FROM incident_changes WHERE acted > 0")
    assert changes == [("acknowledged",)], "it is stored once"
