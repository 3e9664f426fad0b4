"""A service for several nodes that is killed again and again: its incidents are those of a replay of the same polls."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path

from tests.support.service_process import START, ServiceProcess, mempool_line, run_command
from tests.support.waiting import wait_until

NAMES = ("alice", "bob", "carol")
CONFIG = """
start: beginning
packs: false
rules: rules.yaml
checkpoint: {every: 1s}
api: {listen: "127.0.0.1:0"}
nodes:
"""
RULES = """
rules:
  full:
    title: The mempool is full
    attack: resource
    severity: warning
    on: rpc:mempool
    measure: {most: max(txs)}
    over: 10s
    fire: most > 100
    resolve_after: 1m
  full-at-two:
    title: The mempool is full at two nodes
    attack: resource
    severity: high
    scope: fleet
    on: rpc:mempool
    measure: {full: distinct(node where txs > 100)}
    over: 1m
    fire: full >= 2
    resolve_after: 1m
  two-fire:
    title: A rule fires at two nodes
    attack: resource
    severity: high
    scope: fleet
    on: finding:fire
    where: rule == "full"
    by: [rule]
    measure: {hit: distinct(node), times: count()}
    over: 2m
    fire: hit >= 2
    resolve_after: 1m
"""
PORTIONS, IN_ONE = 12, 12  # portions of polls, ten seconds apart


def size(name: str, poll: int) -> int:
    """Mempools fill for a minute in each five, those of two nodes together."""
    shift = {"alice": 0, "bob": 2, "carol": 15}[name]
    return 600 if (poll + shift) % 30 in range(20, 26) else 10


def append(folder: Path, portion: int) -> None:
    for name in NAMES:
        with (folder / f"{name}.jsonl").open("a") as file:
            polls = range(portion * IN_ONE, (portion + 1) * IN_ONE)
            file.write("".join(mempool_line(10 * poll, size(name, poll)) for poll in polls))


def incidents(folder: Path) -> list[tuple[object, ...]]:
    """Node, rule, opening time and number of findings, as stored."""
    path = folder / "watchdog.db"
    if not path.exists():
        return []
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=300)) as database:
        if not database.execute("select 1 from sqlite_master where name = 'incidents'").fetchall():
            return []
        found = database.execute("select node, rule, opened_ns from incidents order by 1, 2, 3").fetchall()
    return [tuple(row) for row in found]


def has(folder: Path, least: int) -> bool:
    return len(incidents(folder)) >= least


def truth(folder: Path) -> list[tuple[object, ...]]:
    fleet = [f"{name}=snapshots:{folder}/{name}.jsonl" for name in NAMES]
    done = run_command(folder, "replay", "--fleet", *fleet, "--no-packs", "--rules", "rules.yaml")
    assert done.returncode == 0, done.stderr
    found = map(json.loads, done.stdout.splitlines())
    return sorted((one["node"], one["rule"], round(one["opened"] * 1e9)) for one in found)


def test_kills_change_no_incident_of_the_fleet(tmp_path: Path) -> None:
    nodes = "".join(f"  {name}: {{sources: snapshots:{name}.jsonl}}\n" for name in NAMES)
    (tmp_path / "watchdog.yaml").write_text(CONFIG + nodes)
    (tmp_path / "rules.yaml").write_text(RULES)
    for name in NAMES:
        (tmp_path / f"{name}.jsonl").touch()
    service = ServiceProcess(tmp_path, "--no-web")
    for portion in range(PORTIONS):
        append(tmp_path, portion)
        if portion in (3, 7, 9):
            least = len(truth(tmp_path)) - 3  # those of the last minutes are not known yet
            wait_until(partial(has, tmp_path, least), lambda: f"too few: {incidents(tmp_path)}")
            service.kill()
            service = ServiceProcess(tmp_path, "--no-web")
    wanted = truth(tmp_path)
    assert {rule for _, rule, _ in wanted} == {"full", "full-at-two", "two-fire"}
    assert min(int(str(opened)) for *_, opened in wanted) > START * 10**9
    missing = wanted[:-1]  # the last polls wait for the next ones
    wait_until(lambda: len(incidents(tmp_path)) >= len(missing), lambda: f"{incidents(tmp_path)} {wanted}")
    service.end()
    assert incidents(tmp_path) == wanted
