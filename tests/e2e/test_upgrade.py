"""What commit 03b34e2 left on disk: this version works on it, keeps open incidents and sends nothing twice."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.receiver import Receiver, Seen
from tests.support.service_process import ROOT, rows
from tests.support.waiting import wait_until

OLD = ROOT / "tests" / "data" / "03b34e2"
FULL, BUSY, THIN = "321ea014abb02717", "f62149e7adc6c62c", "5cfeea97d48a8339"  # incidents on the mempool
RESOLVED = "SELECT id FROM outbox WHERE incident_id = '{}' AND type = 'incident.resolved' AND status = 'sent'"
OPENED = "SELECT incident_id, count(*) FROM incident_changes WHERE reason = 'opened' GROUP BY incident_id"
ACKNOWLEDGED = "SELECT count(*) FROM incident_changes WHERE incident_id = '{}' AND reason = 'acknowledged'"
STARTED = "watching 3 sources of node alice"


class Service:
    """`watchdog run` in a folder that the old version left."""

    def __init__(self, folder: Path, receiver: Receiver) -> None:
        self._folder = folder
        self._log = folder / "log"
        names = {"WATCHDOG_TEST_OPS": receiver.url_of("ops"), "WATCHDOG_TEST_LATE": receiver.url_of("late")}
        command = [sys.executable, "-m", "watchdog", "run", "--no-web", "--config", "watchdog.yaml"]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, cwd=folder, stdout=log, stderr=log, env={**os.environ, "PYTHONPATH": str(ROOT), **names}
            )

    @property
    def text(self) -> str:
        return self._log.read_text()

    def started(self) -> bool:
        """Whether it watches; False when it has refused to start."""
        wait_until(lambda: STARTED in self.text or self._process.poll() is not None, lambda: self.text)
        return STARTED in self.text

    def until(self, query: str) -> None:
        """Until the database answers with a row."""
        self._wait_until(lambda: bool(rows(self._folder, query)))

    def until_logged(self, text: str) -> None:
        self._wait_until(lambda: text in self.text)

    def _wait_until(self, condition: Callable[[], bool]) -> None:
        def came() -> bool:
            if condition():
                return True
            assert self._process.poll() is None, self.text
            return False

        wait_until(came, lambda: self.text)

    def end(self) -> int:
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(300)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(300)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    yield found
    found.close()


def unpack(name: str, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    with tarfile.open(OLD / name) as packed:
        packed.extractall(folder, filter="data")
    return folder


def append_rest(folder: Path) -> None:
    """What the node writes while the new version runs."""
    rest = unpack("rest.tar.xz", folder / "rest")
    for piece in (path for path in rest.rglob("*") if path.is_file()):
        there = folder / piece.relative_to(rest)
        there.parent.mkdir(parents=True, exist_ok=True)
        with there.open("ab") as file:
            file.write(piece.read_bytes())
    shutil.rmtree(rest)


def started(folder: Path, receiver: Receiver) -> tuple[Service, bool]:
    """A service that watches, and whether it took the checkpoint over; if not, after what its refusal says to do."""
    service = Service(folder, receiver)
    if service.started():
        return service, True
    lines = service.text.splitlines()
    told = [line for line in lines if "watchdog.checkpoint" in line]
    assert len(told) == 1, service.text
    assert "remove it" in told[0], told
    (folder / "watchdog.checkpoint").unlink()
    service = Service(folder, receiver)
    assert service.started(), service.text
    return service, False


def states(folder: Path) -> dict[str, str]:
    """The incidents of the database by id."""
    return {str(id_): str(state) for id_, state in rows(folder, "SELECT id, state FROM incidents")}


def types(seen: list[Seen]) -> list[tuple[str, str]]:
    """Incident and type of each notice, in the order of arrival."""
    bodies = [json.loads(one.body) for one in seen]
    return [(body["data"]["id"], body["type"]) for body in bodies if body["type"].startswith("incident.")]


def test_service_goes_on_and_tells_nothing_twice(tmp_path: Path, receiver: Receiver) -> None:
    folder = unpack("service.tar.xz", tmp_path / "service")
    before = states(folder)
    sent = {str(id_) for (id_,) in rows(folder, "SELECT id FROM outbox WHERE status = 'sent'")}
    assert before == {FULL: "open", BUSY: "acknowledged", THIN: "resolved"} | dict.fromkeys(
        set(before) - {FULL, BUSY, THIN}, "open"
    )
    service, over = started(folder, receiver)
    try:
        append_rest(folder)
        if over:
            service.until(RESOLVED.format(FULL))
            service.until(RESOLVED.format(BUSY))
        assert service.end() == 0, service.text
    finally:
        service.kill()
    after = states(folder)
    assert before.keys() <= after.keys()
    assert rows(folder, ACKNOWLEDGED.format(BUSY)) == [(1,)]
    taken = Counter(id_ for id_, _ in receiver.requests)
    assert not sent & taken.keys()
    assert set(taken.values()) <= {1}
    assert {count for _, count in rows(folder, OPENED)} == {1}
    told = types([one for one in receiver.seen if one.name == "ops"])
    if over:  # the mempool empties, and later fills again
        assert next(type_ for id_, type_ in told if id_ == FULL and type_ != "incident.updated") == "incident.resolved"
    still_open = before.keys() - {FULL, BUSY, THIN}
    assert not {id_ for id_, type_ in told if type_ == "incident.opened"} & still_open


def test_source_that_gave_nothing_before_the_stop_is_read(tmp_path: Path, receiver: Receiver) -> None:
    folder = unpack("silent.tar.xz", tmp_path / "silent")
    service, over = started(folder, receiver)
    try:
        append_rest(folder)
        if over:
            service.until(RESOLVED.format(FULL))
        assert service.end() == 0, service.text
    finally:
        service.kill()
    assert "damaged" not in service.text, service.text


def test_events_file_replays_as_it_did(tmp_path: Path) -> None:
    told = [json.loads(line) for line in (OLD / "old.incidents.jsonl").read_text().splitlines()]
    command = [
        "replay",
        f"events:{OLD / 'old.events'}",
        "--no-packs",
        "--rules",
        str(OLD / "rules.yaml"),
        "--node",
        "alice",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "watchdog", *command], cwd=ROOT, capture_output=True, text=True, check=True
    )
    now = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(told) == len(now) == 3
    kept = set(told[0]) - {"completeness"}  # what it says of the time before the first event is another matter now
    assert [{name: one[name] for name in kept} for one in now] == [{name: one[name] for name in kept} for one in told]


def test_configuration_is_read(tmp_path: Path, receiver: Receiver) -> None:
    folder = unpack("service.tar.xz", tmp_path / "service")
    (folder / "watchdog.yaml").write_bytes((OLD / "watchdog.yaml").read_bytes())
    names = {"WATCHDOG_TEST_OPS": receiver.url_of("ops"), "WATCHDOG_TEST_LATE": receiver.url_of("late")}
    done = subprocess.run(
        [sys.executable, "-m", "watchdog", "check"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **names},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "3 sources" in done.stdout
