"""The service and what is outside of it: a server that goes, a full disk, clocks that step, strings of strangers."""

from __future__ import annotations

import itertools
import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from alerts.store.database import Database
from alerts.store.incidents import IncidentFilter, IncidentQueries
from tests.support.parts import program
from tests.support.postgres import Server
from tests.support.receiver import Receiver, status
from tests.support.rulesets import ESCALATING_MEMPOOL, ODD_AGENT
from tests.support.service_process import (
    ALL_ENDED,
    START,
    WATCHING,
    ServiceProcess,
    end_all,
    grow,
    rows,
    run_command,
    until_rows,
)
from tests.support.stepped_clock import step
from tests.support.waiting import wait_until
from watchdog.core.text import printable
from watchdog.service.node_start import CHECKPOINT_FILE

WAITS = "changes wait, retrying"
HOUR_NS = 3_600 * 10**9
HOSTILE = [
    '<script>alert("x")</script><img src=x onerror=alert(1)>',
    "\x1b[2J\x1b]0;owned\x07\x1b[31mred",
    "%s%n{0.__class__}{evidence}$(id)`id`",
    "\u202e" * 256,
]
UNSAFE = {"\x1b", "\x07", "\u202e"}
CONFIG = """
sources: {sources}
start: beginning
rules: rules.yaml
packs: false
{more}
checkpoint: {{every: 1s, folder: state}}
receivers:
  test: {{url: "{url}", about: incidents, allow_private: true, rate_per_minute: 0}}
"""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    yield found
    end_all()
    found.close()


def prepare(folder: Path, receiver: Receiver, sources: str = "snapshots:snapshots.jsonl", more: str = "") -> None:
    """A service's folder without polls."""
    (folder / "state").mkdir()
    (folder / "rules.yaml").write_text(ESCALATING_MEMPOOL + ODD_AGENT)
    (folder / "watchdog.yaml").write_text(CONFIG.format(sources=sources, more=more, url=receiver.url))
    (folder / "snapshots.jsonl").write_text("")


def until_told(receiver: Receiver, wanted: int) -> list[str]:
    """Return the types of the notices once `wanted` of them have come."""
    wait_until(lambda: len(receiver.requests) >= wanted, lambda: f"{len(receiver.requests)} notices came")
    return [json.loads(body)["type"] for _, body in receiver.requests]


@pytest.mark.slow
def test_a_server_that_stops_and_comes_back_costs_no_change(
    tmp_path: Path, receiver: Receiver, postgres: Server
) -> None:
    address = postgres.url("service")
    prepare(tmp_path, receiver, more=f'database: "{address}"')
    service = ServiceProcess(tmp_path, "--no-web")
    service.wait_for(WATCHING)
    grow(tmp_path, 0, [10, 600, 600])
    assert until_told(receiver, 1) == ["incident.opened"]
    postgres.stop()
    try:
        grow(tmp_path, 3, [10] * 10)
        service.wait_for(WAITS)
        assert "Traceback" not in service.text()
    finally:
        postgres.start()
    assert until_told(receiver, 2) == ["incident.opened", "incident.resolved"]
    service.end()
    with closing(Database.open(address, create=False)) as database:
        (one,) = IncidentQueries(database).page(IncidentFilter()).rows
        assert one["state"] == "resolved"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes; skipped where we may not mount one."""
    place = tmp_path / "small"
    place.mkdir()
    mount = [program("mount"), "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)]
    done = subprocess.run(mount, check=False, capture_output=True, text=True, timeout=300)
    if done.returncode:  # a right that this machine does not give, no missing part
        pytest.skip(f"no file system can be mounted: {done.stderr.strip()}")
    yield place
    end_all()
    subprocess.run(["umount", str(place)], check=True, timeout=300)


def fill(place: Path) -> Path:
    """A file that takes all the room that is left."""
    ballast = place / "ballast"
    with ballast.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left on device"):
        file.writelines(itertools.repeat(bytes(4096)))
    return ballast


@pytest.mark.slow
def test_a_full_disk_is_said_in_one_line_and_waited_for(tmp_path: Path, receiver: Receiver, small_disk: Path) -> None:
    prepare(tmp_path, receiver, more=f'database: "sqlite:///{small_disk}/watchdog.db"')
    service = ServiceProcess(tmp_path, "--no-web")
    service.wait_for(WATCHING)
    ballast = fill(small_disk)
    grow(tmp_path, 0, [10, 600, 600])
    service.wait_for(WAITS)
    (said,) = [line for line in service.text().splitlines() if WAITS in line]
    assert "watchdog.db': the disk is full; nothing was written; changes wait" in said
    assert "Traceback" not in service.text()
    tables = ("incidents", "incident_pictures", "incident_changes", "outbox")
    assert [rows(small_disk, f"SELECT count(*) FROM {name}") for name in tables] == [[(0,)]] * 4
    ballast.unlink()
    assert until_told(receiver, 1) == ["incident.opened"]
    service.wait_for("changes are stored again")
    lines = service.text().splitlines()
    for said in (WAITS, "changes are stored again", "outbox-failing what=write", "outbox-works-again what=write"):
        assert sum(said in line for line in lines) <= 1, lines
    service.end()
    assert [rows(small_disk, f"SELECT count(*) FROM {name}") for name in tables] == [[(1,)]] * 4


FULL_AND_EMPTY = [600] * 3 + [10] * 12  # the mempool is full for half a minute, and an incident later resolved


def outlive_a_step(folder: Path, receiver: Receiver, number: int, offset_ns: int) -> None:
    """An incident opens, the clock is stepped while its notice waits for a second try, and the incident resolves."""
    checkpoint, begin = folder / "state" / CHECKPOINT_FILE, number * len(FULL_AND_EMPTY)
    receiver.faults["hook"] = [status(503)]
    grow(folder, begin, FULL_AND_EMPTY[:3])
    wait_until(lambda: len(receiver.refused) > number, "nothing was tried")
    step(folder / "offset", offset_ns)
    assert until_told(receiver, 2 * number + 1)[-1] == "incident.opened"
    wait_until(checkpoint.exists, "no checkpoint was made")
    kept_ns = checkpoint.stat().st_mtime_ns
    grow(folder, begin + 3, FULL_AND_EMPTY[3:])
    assert until_told(receiver, 2 * number + 2)[-1] == "incident.resolved"
    wait_until(lambda: checkpoint.stat().st_mtime_ns > kept_ns, "no checkpoint was kept")


@pytest.mark.slow
def test_a_clock_that_steps_by_an_hour_holds_up_no_incident_no_notice_and_no_checkpoint(
    tmp_path: Path, receiver: Receiver
) -> None:
    prepare(tmp_path, receiver, more=f'database: "sqlite:///{tmp_path}/watchdog.db"')
    step(tmp_path / "offset", 0)
    service = ServiceProcess(tmp_path, "--no-web", program=("tests.support.stepped_clock", str(tmp_path / "offset")))
    service.wait_for(WATCHING)
    offsets = (HOUR_NS, -HOUR_NS, 0)
    for number, offset_ns in enumerate(offsets):
        outlive_a_step(tmp_path, receiver, number, offset_ns)
    service.end()
    assert rows(tmp_path, "SELECT state FROM incidents") == [("resolved",)], "one, opened again twice"
    opened = rows(
        tmp_path, "SELECT time_ns FROM incident_changes WHERE reason IN ('opened', 'reopened') ORDER BY time_ns"
    )
    for number, (opened_ns,) in enumerate(opened):
        second = int(str(opened_ns)) / 1e9 - START - 10 * number * len(FULL_AND_EMPTY)
        assert 0 <= second <= 20, "told by event time, not by the clock"
    notices = rows(tmp_path, "SELECT type, status, attempts FROM outbox ORDER BY position")
    assert notices == [("incident.opened", "sent", 2), ("incident.resolved", "sent", 1)] * 3
    assert len({id_ for id_, _ in receiver.requests}) == len(receiver.requests) == 6
    settled = [int(str(row[0])) for row in rows(tmp_path, "SELECT settled_ns FROM outbox ORDER BY position")]
    ahead = [round((settled_ns - time.time_ns()) / HOUR_NS) for settled_ns in settled]
    assert ahead == [1, 1, -1, -1, 0, 0], "the clock of the service was not stepped"


def agents_file(folder: Path) -> None:
    """A recording of one poll with a peer for each hostile user agent."""
    peers = [
        {
            "id": n,
            "addr": f"1.2.3.{n}:8333",
            "conntime": START,
            "inbound": True,
            "connection_type": "inbound",
            "subver": s,
        }
        for n, s in enumerate(HOSTILE)
    ]
    polls = [{"time": START + at, "kind": "getpeerinfo", "result": peers} for at in (0, 10)]
    (folder / "recording").mkdir()
    (folder / "recording" / "snapshots.jsonl").write_text("".join(json.dumps(one) + "\n" for one in polls))


def strings(value: object) -> Iterator[str]:
    """All strings in a JSON document, keys too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, one in value.items():
            yield key
            yield from strings(one)
    elif isinstance(value, list):
        for one in value:
            yield from strings(one)


def harmless(text: str) -> bool:
    return not UNSAFE & set(text)


@pytest.mark.slow
def test_user_agents_of_strangers_arrive_as_harmless_text_everywhere(tmp_path: Path, receiver: Receiver) -> None:
    prepare(
        tmp_path, receiver, "recording:recording", f'database: "sqlite:///{tmp_path}/watchdog.db"\nlog_level: debug'
    )
    agents_file(tmp_path)
    service = ServiceProcess(tmp_path, "--no-web")
    service.wait_for(ALL_ENDED)
    until_told(receiver, 4)
    until_rows(tmp_path, "SELECT 1 FROM outbox WHERE status = 'sent'", 4)
    service.end()
    ids = [str(row[0]) for row in rows(tmp_path, "SELECT id FROM incidents ORDER BY id")]
    shown = [printable(agent) for agent in HOSTILE]
    assert len(ids) == 4
    database = ("--db", f"sqlite:///{tmp_path}/watchdog.db")
    table = run_command(tmp_path, "incidents", "list", *database)
    assert table.returncode == 0, table.stderr
    pages = [run_command(tmp_path, "incidents", "show", id_, *database).stdout for id_ in ids]
    replayed = run_command(tmp_path, "replay", "recording:recording", "--rules", "rules.yaml", "--no-packs", "--table")
    assert replayed.returncode == 0, replayed.stderr
    assert replayed.stdout.count("WARNING") + replayed.stdout.count("warning") >= 4
    for text in (table.stdout, *pages, replayed.stdout, replayed.stderr, service.text()):
        assert harmless(text)
    for agent in shown[:3]:
        assert any(agent[:20] in page for page in pages), f"{agent!r} is in none of the pages"
    assert any("\\u{202e}\\u{202e}" in page for page in pages)
    told = [json.loads(body) for _, body in receiver.requests]
    assert all(harmless(one) for body in told for one in strings(body))
    assert {body["data"]["key"]["user_agent"][:40] for body in told} == {agent[:40] for agent in shown}
    assert all(body.isascii() for _, body in receiver.requests)
