"""The recorder of a running service: files around an incident, links to them, kills, a full disk, a folder in use."""

from __future__ import annotations

import itertools
import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.capture_files import append, record
from tests.support.service_process import WATCHING, ServiceProcess, end_all, run_command, until_rows
from tests.support.waiting import wait_until
from tests.unit.test_ring import small_disk  # noqa: F401 - a fixture
from watchdog.archive.reader import EventsFile

RULES = """
rules:
  pings: {title: Many pings, attack: resource, severity: warning, on: p2p:ping, by: [], over: 10s, pane: 1s,
          measure: {n: count()}, fire: n > 30, resolve_after: 1m, summary: "{n}"}
"""
CONFIG = """
sources: [capture:capture]
packs: false
rules: rules.yaml
start: beginning
checkpoint: {{every: 1s}}
recorder: {{folder: "{folder}", keep: 1MiB, before: 5s, after: 5s{more}}}
"""
GROUPS = 6  # of pings in one life of a service, half a second apart


@pytest.fixture(autouse=True)
def ended() -> Iterator[None]:
    yield
    end_all()


def prepare(place: Path, folder: str = "recorder", more: str = "") -> None:
    (place / "capture").mkdir()
    (place / "rules.yaml").write_text(RULES)
    (place / "watchdog.yaml").write_text(CONFIG.format(folder=folder, more=more))


def pings(place: Path, count: int, nonce: int, size: int = 8) -> None:
    """Pings of this moment, each with a nonce of its own."""
    now_us = time.time_ns() // 1_000
    data = b"".join(
        record(now_us + at, "ping", (nonce + at).to_bytes(8, "little").ljust(size, b"\0")) for at in range(count)
    )
    append(place / "capture", "8.8.8.8_8333", True, data)


def nonces(folder: Path) -> list[int]:
    found: list[int] = []
    for path in sorted(folder.glob("*.events")):
        with EventsFile(path) as file:
            for piece in file.slices():
                for batch in piece.batches:
                    if batch.kind == "p2p:ping":
                        found += batch.numbers("nonce").tolist()
    return found


@pytest.mark.slow
def test_an_incident_has_its_files_and_shows_them(tmp_path: Path) -> None:
    prepare(tmp_path)
    service = ServiceProcess(tmp_path, "--no-web")
    service.wait_for(WATCHING)
    pings(tmp_path, 5, 0)
    time.sleep(2)
    pings(tmp_path, 40, 100)
    incident = str(until_rows(tmp_path, "SELECT id FROM incidents", 1)[0][0])
    for turn in range(10):
        pings(tmp_path, 1, 1_000 + turn)
        time.sleep(1)
    rows = until_rows(tmp_path, "SELECT path, size FROM recordings", 1)
    path = Path(str(rows[0][0]))
    assert path.parent == tmp_path / "recorder" / "kept" / incident
    assert path.stat().st_size == rows[0][1]
    assert set(nonces(path.parent)) >= {*range(5), *range(100, 140)}
    shown = run_command(tmp_path, "incidents", "show", incident[:6]).stdout
    assert "recordings:" in shown
    assert str(path) in shown
    one = json.loads(run_command(tmp_path, "incidents", "show", incident, "--json").stdout)
    assert [each["path"] for each in one["recordings"]] == [str(path)]
    service.end()
    assert set(nonces(tmp_path / "recorder")) >= {*range(5), *range(100, 140)}


@pytest.mark.slow
def test_a_kill_right_after_an_incident_keeps_its_files_at_the_next_start(tmp_path: Path) -> None:
    prepare(tmp_path)
    service = ServiceProcess(tmp_path, "--no-web")
    service.wait_for(WATCHING)
    pings(tmp_path, 40, 0)
    time.sleep(1)
    pings(tmp_path, 1, 50)
    incident = str(until_rows(tmp_path, "SELECT id FROM incidents", 1)[0][0])
    service.kill()
    kept = tmp_path / "recorder" / "kept" / incident
    service = ServiceProcess(tmp_path, "--no-web")
    service.wait_for(WATCHING)
    for turn in range(9):
        pings(tmp_path, 1, 100 + turn)
        time.sleep(1)
    wait_until(lambda: set(range(40)) <= set(nonces(kept)))
    service.end()


@pytest.mark.slow
def test_kills_double_nothing_and_lose_nothing_that_was_checkpointed(tmp_path: Path) -> None:
    prepare(tmp_path)
    given = 0
    service = ServiceProcess(tmp_path, "--no-web")
    for life in range(4):
        service.wait_for(WATCHING)
        for _ in range(GROUPS):
            pings(tmp_path, 3, given)
            given += 3
            time.sleep(0.5)
        if life < 3:
            service.kill()
            service = ServiceProcess(tmp_path, "--no-web")
    wait_until((tmp_path / "watchdog.checkpoint").exists)
    in_last_life = set(range(given - 3 * GROUPS, given))
    wait_until(lambda: in_last_life <= set(nonces(tmp_path / "recorder")), service.text, look_s=0.1)
    service.end()
    found = nonces(tmp_path / "recorder")
    assert sorted(found) == sorted(set(found)), "nothing twice"
    lost = set(range(given)) - set(found)
    assert all(nonce // 3 % GROUPS >= GROUPS - 3 for nonce in lost), f"more than was in memory at a kill: {lost}"


@pytest.mark.slow
def test_a_folder_in_use_is_refused_with_a_clear_line(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for place in (one, other):
        place.mkdir()
        prepare(place, folder=str(tmp_path / "recorder"))
    first = ServiceProcess(one, "--no-web")
    first.wait_for(WATCHING)
    second = ServiceProcess(other, "--no-web")
    assert second.process.wait(300) == 2
    assert "another watchdog records into it" in second.text()
    assert "Traceback" not in second.text()
    first.end()


@pytest.mark.slow
def test_a_full_disk_stops_the_recording_and_never_the_watching(tmp_path: Path, small_disk: Path) -> None:  # noqa: F811
    prepare(tmp_path, folder=str(small_disk / "recorder"), more=", kinds: [net, p2p]")
    ballast = small_disk / "ballast"
    with ballast.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left on device"):
        file.writelines(itertools.repeat(bytes(4096)))
    service = ServiceProcess(tmp_path, "--no-web")
    service.wait_for(WATCHING)
    pings(tmp_path, 40, 0)
    service.wait_for("nothing is recorded, watching continues")
    rules = until_rows(tmp_path, "SELECT rule FROM incidents ORDER BY rule", 2)
    assert rules == [("data-unrecorded",), ("pings",)]
    assert "Traceback" not in service.text()
    ballast.unlink()
    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(300) == 0
    assert set(nonces(small_disk / "recorder")) == set(range(40)), "what waited is written at the end"
