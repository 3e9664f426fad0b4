"""Doctor's look at the IPC socket of a node: open, closed, not ours, and what its node offers."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.ipc_node import IpcNode
from tests.support.ipc_taken import children
from tests.support.waiting import wait_until
from watchdog.doctor.chains import MAIN
from watchdog.doctor.hang_guard import Deadline
from watchdog.doctor.ipc_door import CONTROL, ipc_door, ipc_door_of, sockets_of
from watchdog.doctor.nodes import DetectedNode
from watchdog.doctor.settings import SettingEntry, Settings


def detected(folder: Path, *values: str) -> DetectedNode:
    entries = [SettingEntry("", "ipcbind", value) for value in values]
    return DetectedNode("main", folder, MAIN, Settings(MAIN, conf=entries), pid=1, owner=os.getuid())


def test_sockets_are_where_core_makes_them(tmp_path: Path) -> None:
    node = detected(tmp_path, "unix", "unix:other/x.sock", "unix:/run/x.sock", "tcp:1", "")
    assert sockets_of(node) == [tmp_path / "node.sock", tmp_path / "other/x.sock", Path("/run/x.sock")]
    assert sockets_of(replace(node, datadir=None)) == []


@pytest.mark.parametrize(
    ("layout", "words"),
    [
        ("v31-rpc", "Bitcoin Core 31 or later; it gives no notifications of its chain"),
        ("v30", "Bitcoin Core 30; it gives no calls (peers, address tables, mempool)"),
        ("tracing", "the tracing proof of concept"),
    ],
)
def test_an_open_socket_says_what_its_node_gives_and_its_danger(tmp_path: Path, layout: str, words: str) -> None:
    with IpcNode(tmp_path, layout, fragile=True) as node:
        door = ipc_door(detected(tmp_path, "unix"), "watchdog", Deadline(60))
        assert door.level == "ok"
        assert words in door.text
        assert CONTROL in door.text
        assert door.fix == (f"# in watchdog.yaml: - ipc: {node.socket}",)
        wait_until(lambda: node.report()["gone"] == 1, "doctor stays connected")
        assert node.report()["constructed"] == 1
        wait_until(lambda: not children(), "a child is left")


def test_an_unknown_node_is_no_more_than_optional(tmp_path: Path) -> None:
    with IpcNode(tmp_path, "odd"):
        door = ipc_door(detected(tmp_path, "unix"), "watchdog", Deadline(60))
        assert (door.level, "unknown kind" in door.text) == ("optional", True)


def test_a_closed_door_names_the_line_that_opens_it(tmp_path: Path) -> None:
    door = ipc_door(detected(tmp_path), "watchdog", Deadline(60))
    assert (door.level, door.fix[-1]) == ("optional", "ipcbind=unix")


def test_a_socket_without_a_node_is_a_problem_of_a_running_one(tmp_path: Path) -> None:
    node = detected(tmp_path, "unix")
    assert "no such file" in ipc_door(node, "watchdog", Deadline(60)).text
    assert ipc_door(node, "watchdog", Deadline(60)).level == "problem"
    assert ipc_door(replace(node, pid=None), "watchdog", Deadline(60)).level == "optional"
    (tmp_path / "node.sock").touch()
    assert "is no socket" in ipc_door(node, "watchdog", Deadline(60)).text


def test_a_socket_of_another_user_is_not_opened(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.bind(str(tmp_path / "node.sock"))
        door = ipc_door(replace(detected(tmp_path, "unix"), owner=os.getuid() + 1), "watchdog", Deadline(60))
        assert "belongs to user" in door.text


def test_a_node_that_starts_or_hangs_ends_in_time(tmp_path: Path) -> None:
    with IpcNode(tmp_path, warmup=1000) as node:
        deadline = Deadline(60)
        assert "the node is starting" in ipc_door_of(node.socket, deadline).text
        node.set(warmup=0, hanging=["construct"])
        door = ipc_door_of(node.socket, Deadline(1))
        assert (door.level, "does not answer" in door.text) == ("problem", True)
        node.set(hanging=[])
    wait_until(lambda: not children(), "a child is left")
