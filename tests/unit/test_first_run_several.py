"""`doctor`, `init` and a first `run` with two nodes on this machine: each under its own name, with its own sources."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.children import killed_on_failure
from tests.support.fake_node import FakeNode, hanging, v30
from tests.support.named_process import named_process
from tests.support.waiting import wait_until
from watchdog.cli.main import main
from watchdog.doctor import examine
from watchdog.doctor import nodes as detection
from watchdog.doctor.configuration import init_text, run_text, watched_together
from watchdog.doctor.processes import node_processes
from watchdog.doctor.report import DoctorNode, NodeDoor
from watchdog.service.config.read import load_config

NET = "2026-01-31T12:00:{:02}Z [net] sending ping (8 bytes) peer=0\n"
ADDRMAN = "2026-01-31T12:01:{:02}Z [addrman] Added 1 addresses (of 1) from 1.2.3.4: 0 tried, 1 new\n"
ROOT = Path(__file__).resolve().parents[2]
Json = Any  # the parsed output of a command


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[FakeNode, FakeNode]]:
    """Two running nodes of this user; other nodes of this machine are not looked at."""
    with ExitStack() as stack:
        made, pids = [], set()
        for name in ("first", "second"):
            folder = tmp_path / name
            folder.mkdir()
            (folder / "debug.log").write_text("".join(NET.format(n) + ADDRMAN.format(n) for n in range(40)))
            node = stack.enter_context(FakeNode(folder, v30()))
            pids.add(stack.enter_context(named_process([f"-datadir={folder}", f"-rpcport={node.port}"])))
            made.append(node)
        monkeypatch.setattr(detection, "node_processes", lambda: [one for one in node_processes() if one.pid in pids])
        monkeypatch.setattr(detection, "usual_folders", list)
        yield made[0], made[1]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("STATE_DIRECTORY", f"{tmp_path}/state")
    return folder


def doctor(capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, Json]:
    capsys.readouterr()
    code = main(["doctor", "--json", *more])
    return code, json.loads(capsys.readouterr().out)


def levels(document: Json) -> dict[str, dict[str, str]]:
    return {one["name"]: {door["door"]: door["level"] for door in one["doors"]} for one in document["nodes"]}


def fires(document: Json, rule: str) -> tuple[object, list[str]]:
    (one,) = [one for one in document["rules"] if one["id"] == rule]
    return one["can_fire"], one["lacks"]


def test_init_writes_both_and_check_and_doctor_accept_it(
    pair: tuple[FakeNode, FakeNode], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init"]) == 0
    config = load_config(here / "watchdog.yaml")
    assert config.several
    assert [one.name for one in config.nodes] == ["main", "main-2"]
    assert {one.sources for one in config.nodes} == {
        (f"rpc:{node.url}", f"log:{node.cookie.parent}/debug.log") for node in pair
    }
    assert main(["check"]) == 0
    assert "no mistakes: 2 nodes, 4 sources" in capsys.readouterr().out
    asked = [node.count("getnetworkinfo") for node in pair]
    _, document = doctor(capsys, "--config", "watchdog.yaml")
    known = levels(document)
    assert list(known) == ["main", "main-2"]
    assert {(one["rpc"], one["log"]) for one in known.values()} == {("ok", "ok")}
    assert fires(document, "fleet-chain-split") == (True, [])
    assert [node.count("getnetworkinfo") for node in pair] == [count + 1 for count in asked]


def configuration(pair: tuple[FakeNode, FakeNode]) -> str:
    entries = [f"  {name}: {{sources: [{{rpc: {node.url}, cookie: {node.cookie}}}]}}\n"
               for name, node in zip(("alice", "bob"), pair, strict=True)]  # fmt: skip
    return "nodes:\n" + "".join(entries)


@pytest.mark.slow
def test_doctor_names_the_configured_node_that_does_not_answer(
    pair: tuple[FakeNode, FakeNode], here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examine, "TOTAL_S", examine.LATEST_START_S + 15)
    (here / "watchdog.yaml").write_text(configuration(pair))
    pair[1].behave("*", hanging)
    code, document = doctor(capsys, "--config", "watchdog.yaml")
    known = levels(document)
    assert (code, known["alice"]["rpc"], known["bob"]["rpc"]) == (1, "ok", "problem")
    pids = {one["name"]: one["pid"] for one in document["nodes"]}
    assert None not in pids.values()
    assert len(set(pids.values())) == 2, "each is the process that answers at its own port"


def test_doctor_on_one_node_counts_no_rule_over_nodes_as_a_problem(
    pair: tuple[FakeNode, FakeNode], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, both = doctor(capsys)
    assert list(levels(both)) == ["main", "main-2"]
    assert fires(both, "fleet-chain-split") == (True, [])
    _, document = doctor(capsys, "--datadir", str(pair[0].cookie.parent))
    assert list(levels(document)) == ["main"]
    assert fires(document, "fleet-chain-split") == (False, ["nodes"])


@pytest.mark.slow
def test_run_without_a_file_watches_both(pair: tuple[FakeNode, FakeNode], here: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "watchdog", "run", "--no-web"]
    log = tmp_path / "log"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    def checkpoints() -> list[Path]:
        written = [(tmp_path / "state" / f"{name}.checkpoint") for name in names()]
        return [path for path in written if path.exists()]

    def names() -> list[str]:
        words = log.read_text().partition("watching ")[2].partition(", with no receiver")[0].split(", ")
        return [word.split(" ")[0] for word in words if str(tmp_path) in word]

    with (
        log.open("wb") as sink,
        killed_on_failure(subprocess.Popen(command, stderr=sink, cwd=here, env=environment)) as service,
    ):
        try:
            for node in pair:
                wait_until(lambda node=node: node.count("getpeerinfo") > 1, log.read_text)  # type: ignore[misc]
            wait_until(lambda: len(checkpoints()) == 2, log.read_text)
        finally:
            service.send_signal(signal.SIGTERM)
    assert service.returncode == 0, log.read_text()
    first = log.read_text().splitlines()[0]
    assert all(str(node.cookie.parent) in first for node in pair)
    assert list(here.iterdir()) == []


def test_a_source_is_written_for_one_node_only(tmp_path: Path) -> None:
    door = NodeDoor("rpc", "ok", "x", source="rpc:http://127.0.0.1:8332", keys={"cookie": "/x/.cookie"})
    first = DoctorNode("main", "/x", "main", 1, 1, "", None, (door,))
    same = replace(first, name="main-2", datadir="/y")
    other = replace(first, name="main-3", doors=(replace(door, source="rpc:http://127.0.0.1:8432"),))
    chosen = watched_together([first, same, other])
    assert [one.name for one in chosen] == ["main", "main-3"]
    for text in (init_text(chosen), run_text(chosen, tmp_path)):
        assert [one.name for one in load_config(tmp_path / "watchdog.yaml", text=text).nodes] == ["main", "main-3"]
