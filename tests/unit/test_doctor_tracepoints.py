"""The doctor's door to tracepoints: on a process with real probes, with and without an extractor's socket."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.named_process import named_process
from tests.support.parts import lacking
from tests.support.traced_node import TracedNode
from tests.unit.test_source_paths import as_nobody
from watchdog.doctor.chains import MAIN
from watchdog.doctor.hang_guard import Deadline
from watchdog.doctor.nodes import DetectedNode
from watchdog.doctor.report import NodeDoor
from watchdog.doctor.settings import Settings
from watchdog.doctor.tracepoint_door import kernel_faults, socket_door, tracepoints_door

LATER = "6.1.0-18-amd64"


def detected(pid: int | None) -> DetectedNode:
    return DetectedNode("main", None, MAIN, Settings(MAIN), pid)


def door(pid: int | None, path: Path) -> NodeDoor:
    return tracepoints_door(detected(pid), "watchdog", Deadline(60), path)


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[Path]:
    """A socket that takes connections."""
    path = tmp_path / "node.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(str(path))
        server.listen()
        yield path


def test_a_node_without_a_process_or_in_a_container_is_not_looked_at(tmp_path: Path) -> None:
    assert door(None, tmp_path / "x").text == "no process seen; 'watchdog tracepoints PATH' reads a binary"
    apart = tracepoints_door(replace(detected(1), apart=True), "watchdog", Deadline(60), tmp_path / "x")
    assert apart.text.startswith("not seen: the node runs in a container")


def test_a_binary_without_tracepoints_is_a_closed_door(tmp_path: Path) -> None:
    with named_process([]) as pid:
        found = door(pid, tmp_path / "x")
    assert (found.level, found.fix) == ("optional", ())
    assert found.text == "closed: the binary has none, it was built without USDT"


def test_a_node_with_tracepoints_gets_the_lines_that_open_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("watchdog.doctor.tracepoint_door.kernel_faults", list)
    with TracedNode() as node:
        found = door(node.pid, tmp_path / "x")
    assert found.level == "optional"
    assert found.text == "closed: no extractor runs; the binary (v30.0.0) has 22 kinds of events"
    assert "systemctl enable --now bitcoin-watchdog-extract" in found.fix
    assert found.fix[-1] == f"# in watchdog.yaml: - stream: {tmp_path / 'x'}"
    assert found.source == ""


def test_what_the_kernel_lacks_is_named_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lacks = ["libbpf.so.1 is not installed"]
    monkeypatch.setattr("watchdog.doctor.tracepoint_door.kernel_faults", lambda: lacks)
    with TracedNode() as node:
        found = door(node.pid, tmp_path / "x")
    assert found.text.startswith("closed: libbpf.so.1 is not installed; the binary (v30.0.0) has")
    assert found.fix == ("apt install libbpf1  # or your system's package of libbpf 1",)


def test_kernel_btf_and_library_are_looked_at(tmp_path: Path) -> None:
    assert kernel_faults(LATER, tmp_path, "libc.so.6") == []
    assert kernel_faults("5.15.0", tmp_path, "libc.so.6") == []
    assert kernel_faults("5.10.0-8-amd64", tmp_path, "libc.so.6") == ["kernel 5.10.0-8-amd64 is older than 5.15"]
    assert kernel_faults("x\x1b", tmp_path, "libc.so.6") == ["kernel x\\x1b is older than 5.15"]
    assert kernel_faults(LATER, tmp_path / "no", "libno.so.7") == [
        f"the kernel has no BTF ({tmp_path / 'no'})",
        "libno.so.7 is not installed",
    ]


def test_an_extractor_that_listens_is_an_open_door(listening: Path) -> None:
    with TracedNode() as node:
        found = door(node.pid, listening)
    assert found.text.startswith(f"{listening} answers")
    assert found.text.endswith("the binary (v30.0.0) has 22 kinds of events")
    assert found.level != "problem"


def test_a_socket_on_which_nothing_listens_is_a_problem(tmp_path: Path, listening: Path) -> None:
    dead = tmp_path / "dead.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(str(dead))
    found = socket_door(dead, "watchdog", Deadline(60))
    assert (found.level, found.text) == ("problem", f"{dead}: connection refused")
    assert found.fix == ("# nothing listens: start 'watchdog extract' or 'serve-stream'",)
    file = tmp_path / "file"
    file.touch()
    assert socket_door(file, "watchdog", Deadline(60)).level == "problem"
    assert socket_door(tmp_path / "none", "watchdog", Deadline(60)).text.endswith("no such file or directory")
    assert socket_door(tmp_path / ("x" * 200), "watchdog", Deadline(60)).text.endswith("af_unix path too long")


@pytest.fixture
def seen_by_all() -> Iterator[Path]:
    """A folder that every user may enter, which those of pytest are not."""
    if os.geteuid():
        lacking("only root can become another user")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.mark.parametrize("closed", ["socket", "folder"])
def test_a_socket_of_another_group_names_the_group(closed: str, seen_by_all: Path) -> None:
    path = seen_by_all / "run" / "node.sock"
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(str(path))
        server.listen()
        path.chmod(0o660)
        path.parent.chmod(0o755 if closed == "socket" else 0o750)
        with TracedNode() as node, as_nobody():
            direct, through = socket_door(path, "watchdog", Deadline(60)), door(node.pid, path)
    assert direct.text == f"{path}: permission denied"
    assert direct.fix == through.fix == ("usermod -a -G root watchdog  # then restart the watchdog",)
    assert through.text.startswith(f"{path}: permission denied; not known what the binary has (process ")


def test_a_process_of_another_user_is_said_not_to_be_seen(seen_by_all: Path) -> None:
    with TracedNode() as node, as_nobody():
        found = door(node.pid, seen_by_all / "x")
    assert "not known what the binary has" in found.text
    assert found.level == "optional"
