"""`watchdog run` and `watchdog init` without a configuration, with a node over real HTTP."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.support.children import killed_on_failure
from tests.support.fake_node import FakeNode, v30
from tests.support.named_process import named_process
from tests.support.waiting import wait_until
from watchdog.cli import first_run
from watchdog.cli.database import DEFAULT, _chosen
from watchdog.cli.main import main
from watchdog.cli.state import state_folder
from watchdog.doctor.configuration import init_text, run_text
from watchdog.doctor.report import DoctorNode, NodeDoor
from watchdog.service.config.read import load_config

NET = "2026-01-31T12:00:{:02}Z [net] sending ping (8 bytes) peer=0\n"
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def node(tmp_path: Path) -> Iterator[FakeNode]:
    """A running node of this user, in a folder of its own."""
    folder = tmp_path / "node"
    folder.mkdir()
    (folder / "debug.log").write_text("".join(NET.format(n) for n in range(40)))
    with FakeNode(folder, v30()) as fake, named_process([f"-datadir={folder}", f"-rpcport={fake.port}"]):
        yield fake


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, with a state folder beside it."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("STATE_DIRECTORY", f"{tmp_path}/state:{tmp_path}/other")
    return folder


@pytest.mark.slow
def test_run_without_a_file_watches_what_answers(node: FakeNode, here: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "watchdog", "run", "--no-web"]
    log = tmp_path / "log"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with (
        log.open("wb") as sink,
        killed_on_failure(subprocess.Popen(command, stderr=sink, cwd=here, env=environment)) as service,
    ):
        try:
            wait_until(lambda: node.count("getpeerinfo") > 1, log.read_text)  # doctor's, then the poller's
            wait_until((tmp_path / "state" / "watchdog.checkpoint").exists, log.read_text)
        finally:
            service.send_signal(signal.SIGTERM)
    assert service.returncode == 0, log.read_text()
    first = log.read_text().splitlines()[0]
    for words in (str(node.cookie.parent), "no receiver", "http://127.0.0.1:8380", "'watchdog init'"):
        assert words in first
    assert list(here.iterdir()) == []
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "state" / "watchdog.db").exists()
    assert node.passwords["__cookie__"] not in log.read_text()


def test_run_without_a_node_is_exit_2_with_doctors_lines(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr("watchdog.doctor.nodes.node_processes", list)
    monkeypatch.setattr("watchdog.doctor.nodes.usual_folders", lambda: [tmp_path / "none"])
    assert main(["run"]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("no node found; looked at:\n")
    assert printed.splitlines()[-1].startswith("watchdog: no node whose RPC answers")
    assert main(["init"]) == 2
    assert list(here.iterdir()) == []
    assert not (tmp_path / "state").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_a_file_of_another_user_is_not_run_unasked(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In a shared folder it would name files to read and receivers to send to."""
    planted = here / "watchdog.yaml"
    planted.write_text("sources: {broken\n")
    os.chown(planted, 65534, 65534)
    assert main(["run"]) == 2
    assert capsys.readouterr().err.startswith("watchdog: watchdog.yaml here belongs to another user")
    os.chown(planted, 0, 0)
    planted.chmod(0o666)
    assert main(["run"]) == 2
    assert capsys.readouterr().err.startswith("watchdog: watchdog.yaml here can be written by everybody")
    assert main(["run", "--config", "watchdog.yaml"]) == 2
    assert "watchdog.yaml:2:1: not valid YAML" in capsys.readouterr().err, "a named file is read"


def test_a_named_configuration_that_is_missing_is_an_error(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--config", "watchdog.yaml"]) == 2
    assert "watchdog.yaml: cannot read: no such file" in capsys.readouterr().err


def test_init_writes_what_check_accepts_and_replaces_nothing(
    node: FakeNode, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    datadir = ["--datadir", str(node.cookie.parent)]
    assert main(["init", *datadir, "--out", "-"]) == 0
    text = capsys.readouterr().out
    assert main(["init", *datadir]) == 0
    assert (here / "watchdog.yaml").read_text() == text
    assert node.passwords["__cookie__"] not in text
    config = load_config(here / "watchdog.yaml")
    assert config.sources == (f"rpc:{node.url}", f"log:{node.cookie.parent}/debug.log")
    assert config.source_settings[config.sources[0]]["cookie"] == node.cookie
    assert main(["check"]) == 0, capsys.readouterr().out
    capsys.readouterr()
    assert main(["init", *datadir]) == 2
    assert "'watchdog.yaml': exists already, and is not replaced" in capsys.readouterr().err
    (here / "link.yaml").symlink_to(here / "nowhere")
    assert main(["init", *datadir, "--out", "link.yaml"]) == 2
    assert not (here / "nowhere").exists()


def test_doctor_tries_a_configuration_with_its_own_name_and_asks_once(
    node: FakeNode, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = node.cookie.parent
    (here / "watchdog.yaml").write_text(
        f"node: alice\nsources:\n  - rpc: {node.url}\n    cookie: {node.cookie}\n  - log: {folder}/none.log\n"
    )
    assert main(["doctor", "--config", "watchdog.yaml", "--datadir", str(folder)]) == 1
    printed = capsys.readouterr().out
    assert printed.startswith("alice  chain main  /Satoshi:30.0.0/  pid ")
    assert f"problem   log: '{folder}/none.log' does not exist (yet)" in printed
    assert node.count("getpeerinfo") == 1
    assert "1 node, 1 problem" in printed


def reported(**more: object) -> DoctorNode:
    """A node with an open RPC and log."""
    doors = (
        NodeDoor(
            "rpc", "ok", "x", source="rpc:http://127.0.0.1:1", keys={"cookie": "/a b/#c: \u2028x", "chain": "main"}
        ),
        NodeDoor("log", "ok", "x\n evil: 1", source="log:/x\n- log: y"),
        NodeDoor("capture", "ok", "x", source="capture:/x\ny: z"),
    )
    fields: dict[str, object] = {
        "name": "main", "datadir": "/x\nreceivers: {}", "chain": "main", "pid": 1, "version": 1,
        "user_agent": "/a\nb: c/", "ibd": None, "doors": doors, "owner": os.geteuid(),
    }  # fmt: skip
    return DoctorNode(**{**fields, **more})  # type: ignore[arg-type]  # the fields of a report


def test_hostile_paths_stay_one_value(tmp_path: Path) -> None:
    for text in (init_text([reported()]), run_text([reported()], tmp_path)):
        config = load_config(tmp_path / "x.yaml", text=text)
        assert config.sources == ("rpc:http://127.0.0.1:1", "log:/x\n- log: y")
        assert config.source_settings["rpc:http://127.0.0.1:1"]["cookie"] == Path("/a b/#c: \u2028x")
        assert not config.receivers


def test_a_strangers_node_is_not_watched_unasked() -> None:
    assert first_run.may_be_watched(reported())
    assert not first_run.may_be_watched(reported(owner=54_321))
    assert first_run.may_be_watched(reported(owner=54_321, datadir="/var/lib/bitcoind"))


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({"STATE_DIRECTORY": "/a:/b", "XDG_STATE_HOME": "/c"}, "/a"),
        ({"XDG_STATE_HOME": "/c"}, "/c/bitcoin-watchdog"),
        ({"XDG_STATE_HOME": "relative", "HOME": "/h"}, "/h/.local/state/bitcoin-watchdog"),
        ({"HOME": "/h"}, "/h/.local/state/bitcoin-watchdog"),
    ],
)
def test_the_state_folder(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], folder: str) -> None:
    for name in ("STATE_DIRECTORY", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert state_folder() == Path(folder)


def test_incidents_come_from_the_state_of_a_first_run_unless_a_database_is_here(here: Path, tmp_path: Path) -> None:
    assert _chosen(None, None) == DEFAULT
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "watchdog.db").touch()
    assert _chosen(None, None) == f"sqlite:///{tmp_path}/state/watchdog.db"
    (here / "watchdog.db").touch()
    assert _chosen(None, None) == DEFAULT


def test_several_nodes_are_tables_below_nodes(tmp_path: Path) -> None:
    nodes = [reported(), reported(name="signet", chain="signet")]
    for text in (init_text(nodes), run_text(nodes, tmp_path)):
        written = yaml.safe_load(text)
        assert "node" not in written
        assert list(written["nodes"]) == ["main", "signet"]
        assert written["nodes"]["signet"]["sources"][0]["rpc"] == "http://127.0.0.1:1"
        assert written["nodes"]["signet"]["sources"][1] == {"log": "/x\n- log: y"}
