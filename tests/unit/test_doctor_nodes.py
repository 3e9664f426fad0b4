"""Which nodes doctor finds: real processes, named folders, usual folders, every chain."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from threading import Event

import pytest

from tests.support.children import killed_on_failure
from tests.support.named_process import named_process
from watchdog.doctor.hang_guard import Deadline
from watchdog.doctor.nodes import DetectedNode, find_nodes
from watchdog.doctor.processes import node_processes

FAR_S = 60.0  # a deadline that no test reaches


def of_folder(folder: Path) -> tuple[DetectedNode, ...]:
    return find_nodes(folder, Deadline(FAR_S)).nodes


def datadir(folder: Path, *chains: str, conf: str = "") -> Path:
    """A datadir with a cookie for each chain folder."""
    for chain in chains:
        (folder / chain).mkdir(parents=True, exist_ok=True)
        (folder / chain / ".cookie").write_text("__cookie__:00")
    folder.mkdir(exist_ok=True)
    (folder / "bitcoin.conf").write_text(conf)
    return folder


def test_a_process_is_found_with_its_command_line(tmp_path: Path) -> None:
    folder = datadir(tmp_path / "node")
    with named_process([f"-datadir={folder}", "-regtest", "-rpcport=1234"]) as pid:
        (process,) = (one for one in node_processes() if one.pid == pid)
        assert (process.uid, process.program, process.apart) == (os.geteuid(), "bitcoind", False)
        (node,) = of_folder(folder)
    assert (node.pid, node.chain.name, node.datadir, node.name) == (pid, "regtest", folder, "regtest")
    assert node.folder == folder / "regtest"
    assert node.settings.number("rpcport", 0) == 1234
    assert [node.pid for node in of_folder(folder)] == [None], "it has ended"


def test_a_relative_datadir_is_that_of_the_process(tmp_path: Path) -> None:
    datadir(tmp_path / "node")
    with named_process(["-datadir=node"], folder=tmp_path) as pid:
        (node,) = of_folder(tmp_path / "node")
        assert node.pid == pid


def test_conf_elsewhere_and_its_includes_count(tmp_path: Path) -> None:
    folder = datadir(tmp_path / "node")
    (tmp_path / "other.conf").write_text("signet=1\nincludeconf=more.conf\n")
    (folder / "more.conf").write_text("[signet]\nrpcport=77\nincludeconf=third.conf\n")
    (folder / "third.conf").write_text("[signet]\nlisten=0\n")
    with named_process([f"-datadir={folder}", f"-conf={tmp_path}/other.conf"]):
        (node,) = of_folder(folder)
    assert (node.chain.name, node.settings.number("rpcport", 0)) == ("signet", 77)
    assert node.settings.flag("listen", default=True), "an included file includes no further ones"


def test_a_folder_has_a_node_for_each_chain_with_a_cookie(tmp_path: Path) -> None:
    folder = datadir(tmp_path, "", "testnet3", "testnet4", "signet", "regtest")
    nodes = of_folder(folder)
    assert [node.chain.name for node in nodes] == ["main", "test", "testnet4", "signet", "regtest"]
    assert [node.name for node in nodes] == ["main", "test", "testnet4", "signet", "regtest"]
    assert {node.owner for node in nodes} == {os.geteuid()}


def test_a_named_folder_without_a_running_node_is_reported(tmp_path: Path) -> None:
    folder = datadir(tmp_path / "node", conf="regtest=1\n")
    (node,) = of_folder(folder)
    assert (node.chain.name, node.pid) == ("regtest", None)


def test_a_usual_folder_that_does_not_exist_is_no_node(tmp_path: Path) -> None:
    found = find_nodes(None, Deadline(FAR_S), usual=[tmp_path / "none", datadir(tmp_path / "there", "signet")])
    ours = [node for node in found.nodes if node.datadir and tmp_path in node.datadir.parents]
    assert [(node.datadir, node.chain.name) for node in ours] == [(tmp_path / "there", "signet")]
    assert str(tmp_path / "none") in found.looked_at


def test_a_datadir_in_the_usual_conf_leads_to_the_other_disk(tmp_path: Path) -> None:
    datadir(tmp_path / "disk", "")
    usual = datadir(tmp_path / "usual", conf=f"datadir={tmp_path}/disk\n")
    found = find_nodes(None, Deadline(FAR_S), usual=[usual])
    assert tmp_path / "disk" in [node.datadir for node in found.nodes]


def test_two_nodes_of_a_chain_have_two_names(tmp_path: Path) -> None:
    one, other = (datadir(tmp_path / name, "regtest") for name in ("a", "b"))
    found = find_nodes(None, Deadline(FAR_S), usual=[one, other])
    ours = [node for node in found.nodes if node.datadir in {one, other}]
    assert len({node.name for node in ours}) == 2
    assert all(node.name.startswith("regtest") for node in ours)


def hostile() -> list[Sequence[str]]:
    return [
        ["-datadir=\x1b[2J", "-rpcport=99999999999999999999"],
        ["-datadir=/nonexistent/\udcff", "-chain=../../etc"],
        ["-conf=/dev/zero", "-datadir=/tmp"],
        ["-conf=/dev/stdin", "-settings=/dev/random", "-rpccookiefile=/etc/shadow"],
        ["-" * 5_000],
        [],
    ]


@pytest.mark.parametrize("arguments", hostile(), ids=range(6))
def test_a_hostile_command_line_is_data(arguments: list[str]) -> None:
    with named_process(arguments) as pid:
        nodes = [node for node in find_nodes(None, Deadline(FAR_S), usual=[]).nodes if node.pid == pid]
    assert len(nodes) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start processes of other users")
def test_a_crowd_of_a_stranger_hides_no_other_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("watchdog.doctor.nodes.MOST_NODES", 2)
    monkeypatch.setattr("watchdog.doctor.nodes.MOST_PROCESSES", 2)
    with ExitStack() as stack:
        for number in range(3):
            stack.enter_context(named_process([f"-datadir=/a{number}"], user=54_321))
        pid = stack.enter_context(named_process([f"-datadir={tmp_path}/z"]))
        found = find_nodes(None, Deadline(FAR_S), usual=[])
        ours = [node.pid for node in found.nodes]
        mine = [one.pid for one in node_processes() if one.uid == 0]
    assert pid in ours or len(mine) > 2, "unless other tests run nodes of root at the same time"
    assert found.left_out >= 2


def test_a_pipe_as_a_conf_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "bitcoin.conf")
    (node,) = of_folder(tmp_path)
    assert node.notes == (f"{tmp_path}/bitcoin.conf cannot be read: no regular file",)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a namespace for the container")
def test_a_node_in_a_container_is_marked(tmp_path: Path) -> None:
    body = (
        "from tests.support.named_process import named_process\n"
        "with named_process(['-datadir=/x']) as pid: print(pid, flush=True); input()\n"
    )
    root = Path(__file__).resolve().parents[2]
    command = ["unshare", "--net", sys.executable, "-c", body]
    with killed_on_failure(
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root, text=True)
    ) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        (node,) = (node for node in find_nodes(None, Deadline(FAR_S), usual=[]).nodes if node.pid == pid)
        process.communicate("\n")
    assert (node.apart, node.datadir) == (True, None)
    assert "container" in node.notes[0]


def test_a_process_whose_files_hang_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    released = Event()
    monkeypatch.setattr("watchdog.doctor.nodes._of_process", lambda _: iter([released.wait(60)]))
    try:
        with named_process([f"-datadir={tmp_path}", "-signet"]) as pid:
            (node,) = (one for one in find_nodes(None, Deadline(0.2), usual=[]).nodes if one.pid == pid)
    finally:
        released.set()
    assert (node.datadir, node.chain.name) == (None, "signet")
    assert "do not answer" in node.notes[0]
