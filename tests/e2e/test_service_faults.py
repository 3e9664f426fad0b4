"""The service as a real process: killed, ended, reloaded, started twice; nothing is lost, nothing is sent twice."""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.delivery_process import KILLS
from tests.support.receiver import Receiver
from tests.support.service_process import (
    ALL_ENDED,
    WATCHING,
    ServiceProcess,
    end_all,
    grow,
    mempool_line,
    rows,
    run_command,
    until_rows,
)
from tests.support.waiting import wait_until

RULE = """
  {id}:
    title: Mempool is full
    attack: resource
    severity: warning
    on: rpc:mempool
    by: []
    measure:
      most: max(txs)
    over: {over}
    fire: most > {limit}
    resolve_after: 1m
    escalate:
      high: most > 1000
    summary: "{{most}} transactions wait"
    evidence: 4
"""
LIMIT_S = 60.0 + 3 * KILLS  # for the whole story, which grows with the kills, on a busy machine
END_S = 20.0  # four times what the service allows itself, for a busy machine
HISTORY = {
    "incidents": "SELECT id, state, severity, findings, sequence, acted, updated_ns, summary FROM incidents "
    "ORDER BY id",
    "changes": "SELECT incident_id, change, sequence, time_ns, reason, text, state, severity FROM incident_changes "
    "ORDER BY incident_id, change",
    "pictures": "SELECT incident_id, picture, evidence FROM incident_pictures ORDER BY incident_id",
    "notices": "SELECT id, receiver, incident_id, type, severity FROM outbox ORDER BY id",
}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    yield found
    end_all()
    found.close()


def write_rules(folder: Path, **limits: int) -> None:
    overs = ["10s", "30s", "1m", "2m"]
    parts = [
        RULE.format(id=f"{name.replace('_', '-')}-{over}", over=over, limit=limit)
        for name, limit in limits.items()
        for over in overs
    ]
    (folder / "rules.yaml").write_text("rules:" + "".join(parts))


def prepare(
    folder: Path, receiver: Receiver, *, rounds: int, source: str = "snapshots.jsonl", every: str = "1s"
) -> Path:
    """A folder for a service: rules, a configuration, and polls in which the mempool fills and empties again."""
    folder.mkdir(exist_ok=True)
    write_rules(folder, full=100, fuller=400)
    chance = random.Random(7)
    sizes = [chance.choice([10, 10, 10, 10, 10, 10, 300, 600, 2000]) for _ in range(rounds // 30)]
    polls = "".join(mempool_line(10 * round_, sizes[round_ // 30]) for round_ in range(rounds // 30 * 30))
    (folder / "snapshots.jsonl").write_text(polls)
    (folder / "watchdog.yaml").write_text(
        f"""
sources: snapshots:{source}
start: beginning
rules: rules.yaml
packs: false
checkpoint: {{every: {every}}}
receivers:
  test:
    url: {receiver.url}
    about: incidents
    allow_private: true
    rate_per_minute: 0
    events: [incident.opened, incident.updated, incident.escalated, incident.resolved]
"""
    )
    return folder


def as_finite(folder: Path) -> None:
    """The polls as a file that ends: a recording that is read as fast as it goes."""
    (folder / "recording").mkdir()
    (folder / "snapshots.jsonl").rename(folder / "recording" / "snapshots.jsonl")
    config = folder / "watchdog.yaml"
    config.write_text(config.read_text().replace("snapshots:snapshots.jsonl", "recording:recording"))


def history(folder: Path) -> dict[str, list[tuple[object, ...]]]:
    return {name: rows(folder, query) for name, query in HISTORY.items()}


def without_place(found: dict[str, list[tuple[object, ...]]], folder: Path) -> dict[str, str]:
    return {name: repr(part).replace(str(folder), "") for name, part in found.items()}


def survive(folder: Path, kills: int = 0, seed: int = 0, whole_s: float = 0.0) -> tuple[int, float]:
    """Kill a replay again and again, then let it end.

    Return how often it was killed while it still had something to do, and the seconds that the last service read.
    whole_s: how long an undisturbed one reads on this machine; the kills spread over half of that time.
    """
    chance, useful = random.Random(seed), 0
    for _ in range(kills):
        service = ServiceProcess(folder, "--no-web")
        service.wait_for(WATCHING)
        delay_s = chance.random() ** 2 * 1.5 * whole_s / kills  # a third of it on average
        time.sleep(delay_s)  # the moment of the kill is real time
        useful += ALL_ENDED not in service.text()
        service.kill()
    service = ServiceProcess(folder, "--no-web")
    service.wait_for(WATCHING)
    began = time.monotonic()
    service.wait_for(ALL_ENDED, LIMIT_S)
    read_s = time.monotonic() - began
    service.end()  # what the engine has told is stored by then, and only then "nothing waits" means that all is sent
    service = ServiceProcess(folder, "--no-web")
    service.wait_for(WATCHING)
    until_rows(folder, "SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM outbox WHERE status = 'waiting')", 1, LIMIT_S)
    service.end()
    return useful, read_s


@pytest.mark.slow
def test_kills_change_no_incident_and_lose_no_notice(tmp_path: Path, receiver: Receiver) -> None:
    rounds = 100 * max(KILLS, 12)  # so that something is left to do whenever a kill comes
    whole = prepare(tmp_path / "whole", receiver, rounds=rounds)
    broken = prepare(tmp_path / "broken", receiver, rounds=rounds)
    as_finite(whole)
    as_finite(broken)
    _, whole_s = survive(whole)
    undisturbed, told_once = history(whole), [id_ for id_, _ in receiver.requests]
    assert len(undisturbed["changes"]) > 300
    assert sorted(told_once) == [row[0] for row in undisturbed["notices"]], "an undisturbed run tells each notice once"
    receiver.requests.clear()
    useful, _ = survive(broken, KILLS, seed=KILLS, whole_s=whole_s)
    assert useful >= 2 * KILLS // 3, "most kills came when everything was done"
    assert without_place(history(broken), broken) == without_place(undisturbed, whole)
    assert {id_ for id_, _ in receiver.requests} == set(told_once), "a notice was lost, or told under another id"


@pytest.mark.slow
def test_a_growing_file_is_followed_over_restarts_at_the_exact_event(tmp_path: Path, receiver: Receiver) -> None:
    folder = prepare(tmp_path / "live", receiver, rounds=30)
    (folder / "snapshots.jsonl").write_text("")
    sizes = [10] * 20 + [600] * 20 + [10] * 40 + [2000] * 10 + [10] * 40
    done = 0
    for part in (20, 15, 30, 25, 40):
        service = ServiceProcess(folder, "--no-web")
        service.wait_for(WATCHING)
        grow(folder, done, sizes[done : done + part])
        done += part
        settle(service)
        assert service.end() < END_S
    whole = prepare(tmp_path / "whole", receiver, rounds=30)
    (whole / "snapshots.jsonl").write_bytes((folder / "snapshots.jsonl").read_bytes())
    service = ServiceProcess(whole, "--no-web")
    service.wait_for(WATCHING)
    settle(service)
    service.end()
    assert len(history(whole)["changes"]) > 20
    assert without_place(history(folder), folder) == without_place(history(whole), whole)


QUIET_S = 4.0  # longer than the pause after which a followed file gives out its last round


def settle(service: ServiceProcess) -> None:
    """Until the service has given out the last round, which a followed file keeps back until it is quiet."""
    count = "SELECT count(*), max(time_ns) FROM incident_changes"
    before: list[tuple[object, ...]] = []
    since_s = time.monotonic()

    def unchanged() -> bool:
        nonlocal before, since_s
        assert service.process.poll() is None, service.text()
        if (now := rows(service.folder, count)) != before:
            before, since_s = now, time.monotonic()
        return time.monotonic() - since_s >= QUIET_S

    wait_until(unchanged, "the history never stops changing", look_s=0.1)


@pytest.mark.slow
def test_a_reload_brings_all_into_force_or_nothing(tmp_path: Path, receiver: Receiver) -> None:
    folder = prepare(tmp_path / "live", receiver, rounds=30)
    (folder / "snapshots.jsonl").write_text("")
    service = ServiceProcess(folder, "--no-web")
    service.wait_for(WATCHING)
    grow(folder, 0, [10] * 10 + [600] * 10)
    assert {row[0] for row in until_rows(folder, "SELECT state FROM incidents", 8)} == {"open"}

    (folder / "rules.yaml").write_text("rules:\n  odd-rule:\n    titel: a\n")
    wrong = run_command(folder, "reload")
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert "nothing was changed" in wrong.stderr
    assert "unknown key 'titel'" in wrong.stderr

    write_rules(folder, other=300)
    right = run_command(folder, "reload")
    assert (right.returncode, right.stderr) == (0, "")
    assert (
        "4 rules (changed), 1 receiver (as before); 4 rules restart with empty state; open incidents are kept: "
        in right.stdout
    )
    grow(folder, 20, [600] * 30)
    found = until_rows(folder, "SELECT 1 FROM incidents WHERE rule LIKE 'other-%' AND state = 'open'", 4)
    assert len(found) == 4
    assert len(until_rows(folder, "SELECT 1 FROM incidents WHERE rule LIKE 'full%' AND state = 'resolved'", 8)) == 8
    again = run_command(folder, "reload")
    assert "4 rules (as before)" in again.stdout
    assert service.end() < END_S
    late = run_command(folder, "reload")
    assert late.returncode == 2
    assert "no watchdog service runs" in late.stderr


@pytest.mark.slow
def test_a_second_service_says_so_and_ends(tmp_path: Path, receiver: Receiver) -> None:
    folder = prepare(tmp_path / "live", receiver, rounds=30)
    service = ServiceProcess(folder, "--no-web")
    service.wait_for(WATCHING)
    second = run_command(folder, "run", "--no-web")
    assert second.returncode == 2
    assert "another watchdog service" in second.stderr
    assert second.stderr.splitlines()[-1].startswith("watchdog: ")
    config = (folder / "watchdog.yaml").read_text()
    (folder / "elsewhere").mkdir()
    (folder / "other.yaml").write_text(config.replace("{every: 1s}", "{every: 1s, folder: elsewhere}"))
    third = run_command(folder, "run", "--no-web", "--config", "other.yaml")
    assert third.returncode == 2
    assert "another watchdog service uses it" in third.stderr
    assert service.process.poll() is None
    service.end()


@pytest.mark.slow
def test_a_locked_database_holds_nothing_up_and_the_end_is_in_time(tmp_path: Path, receiver: Receiver) -> None:
    folder = prepare(tmp_path / "live", receiver, rounds=30)
    (folder / "snapshots.jsonl").write_text("")
    service = ServiceProcess(folder, "--no-web")
    service.wait_for(WATCHING)
    with closing(sqlite3.connect(folder / "watchdog.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        grow(folder, 0, [10] * 10 + [600] * 10)
        service.wait_for("changes wait, retrying")
        assert service.end() < END_S
        other.execute("ROLLBACK")
    assert rows(folder, "SELECT count(*) FROM incidents") == [(0,)]
    service = ServiceProcess(folder, "--no-web")
    service.wait_for(WATCHING)
    assert len(until_rows(folder, "SELECT 1 FROM incidents", 8)) == 8
    service.end()


@pytest.mark.slow
def test_an_operators_action_reaches_the_running_service(tmp_path: Path, receiver: Receiver) -> None:
    folder = prepare(tmp_path / "live", receiver, rounds=30)
    config = folder / "watchdog.yaml"
    config.write_text(config.read_text().replace("incident.updated", "incident.acknowledged"))
    (folder / "snapshots.jsonl").write_text("")
    service = ServiceProcess(folder, "--no-web")
    service.wait_for(WATCHING)
    grow(folder, 0, [10] * 10 + [600] * 10)
    id_ = str(until_rows(folder, "SELECT id FROM incidents ORDER BY id", 8)[0][0])
    database = f"sqlite:///{folder / 'watchdog.db'}"
    done = run_command(folder, "incidents", "ack", id_, "--db", database, "--who", "ada")
    assert done.returncode == 0, done.stderr
    told = until_rows(folder, "SELECT incident_id FROM outbox WHERE type = 'incident.acknowledged'", 1)
    assert told == [(id_,)]
    assert rows(folder, f"SELECT acknowledged_by, acted FROM incidents WHERE id = '{id_}'") == [("ada", 1)]
    service.kill()
    service = ServiceProcess(folder, "--no-web")
    service.wait_for(WATCHING)
    grow(folder, 20, [10] * 30)
    until_rows(folder, "SELECT 1 FROM incidents WHERE state = 'resolved'", 8)
    service.end()
    assert rows(folder, f"SELECT acknowledged_by, acted, state FROM incidents WHERE id = '{id_}'") == [
        ("ada", 1, "resolved")
    ]
    assert rows(folder, "SELECT count(*) FROM outbox WHERE type = 'incident.acknowledged'") == [(1,)]
