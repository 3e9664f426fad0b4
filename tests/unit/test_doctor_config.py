"""`watchdog doctor --config`: the sources, rules and receivers of a configuration, tried as the service would."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from alerts.delivery.signature import new_secret
from tests.support.fake_node import FakeNode, hanging, v30
from tests.support.named_process import named_process
from watchdog.cli.main import main
from watchdog.doctor import examine
from watchdog.doctor.far_doors import endpoint_fault, reached_at, zmq_door_of
from watchdog.doctor.hang_guard import Deadline

NET = "2026-01-31T12:00:{:02}Z [net] sending ping (8 bytes) peer=0\n"
ADDRMAN = "2026-01-31T12:01:{:02}Z [addrman] Added 1 addresses (of 1) from 1.2.3.4: 0 tried, 1 new\n"
Json = Any  # the parsed output of a command
Doctor = Callable[..., tuple[int, Json]]
HANGS_S = examine.LATEST_START_S + 8  # all time of a doctor that waits in vain: enough for what does answer


@pytest.fixture
def node(tmp_path: Path) -> Iterator[FakeNode]:
    folder = tmp_path / "node"
    folder.mkdir()
    (folder / "debug.log").write_text("".join(NET.format(n) + ADDRMAN.format(n) for n in range(40)))
    with FakeNode(folder, v30()) as fake, named_process([f"-datadir={folder}", f"-rpcport={fake.port}"]):
        yield fake


@pytest.fixture
def doctor(tmp_path: Path, node: FakeNode, capsys: pytest.CaptureFixture[str]) -> Doctor:
    """Runs it on a configuration, and looks at the datadir of the node."""

    def run(text: str, *more: str) -> tuple[int, Json]:
        path = tmp_path / "watchdog.yaml"
        path.write_text(text)
        code = main(["doctor", "--json", "--config", str(path), "--datadir", str(node.cookie.parent), *more])
        return code, json.loads(capsys.readouterr().out)

    return run


def doors(document: Json) -> dict[str, Json]:
    """The doors of the only node by name."""
    (one,) = document["nodes"]
    return {each["door"]: each for each in one["doors"]}


def sources(node: FakeNode) -> str:
    return f"node: alice\nsources:\n  - rpc: {node.url}\n    cookie: {node.cookie}\n  - log: node/debug.log\n"


def test_a_working_configuration_is_exit_0_under_its_own_name(node: FakeNode, doctor: Doctor) -> None:
    code, document = doctor(sources(node))
    (one,) = document["nodes"]
    assert (code, one["name"], one["chain"], one["version"]) == (0, "alice", "main", 300000)
    assert one["pid"] is not None
    assert (doors(document)["rpc"]["level"], doors(document)["log"]["level"]) == ("ok", "ok")
    assert node.count("getnetworkinfo") == 1
    assert node.passwords["__cookie__"] not in json.dumps(document)


def test_an_open_door_that_is_not_configured_is_optional_with_its_line(node: FakeNode, doctor: Doctor) -> None:
    code, document = doctor(f"sources:\n  - rpc: {node.url}\n    cookie: {node.cookie}\n")
    log = doors(document)["log"]
    assert (code, log["level"]) == (0, "optional")
    assert "not in the configuration" in log["text"]
    assert log["fix"] == [f"# in watchdog.yaml: - log: {node.cookie.parent}/debug.log"]
    by_id = {rule["id"]: rule for rule in document["rules"]}
    assert by_id["log-rate-limited"]["can_fire"] is False, "an unused log feeds nothing"


def test_an_rpc_that_is_not_configured_is_a_problem_of_the_rules_only(node: FakeNode, doctor: Doctor) -> None:
    code, document = doctor("sources: [log:node/debug.log]\n")
    assert (code, doors(document)["rpc"]["level"], document["problems"]) == (1, "optional", 1)


def test_a_node_elsewhere_has_no_folder(node: FakeNode, doctor: Doctor, tmp_path: Path) -> None:
    with FakeNode(tmp_path, v30()) as far:
        far.passwords["anna"] = "secret of anna"
        (tmp_path / "password").write_text("secret of anna\n")
        (tmp_path / "password").chmod(0o600)
        text = f"node: far\nsources:\n  - rpc: {far.url}\n    user: anna\n    password: {{file: password}}\n"
        code, document = doctor(text)
    far_one, own = document["nodes"]
    assert (far_one["name"], far_one["datadir"], far_one["pid"], far_one["chain"]) == ("far", None, None, "main")
    assert (code, own["name"]) == (0, "main")
    assert "secret of anna" not in json.dumps(document)


def test_wrong_credentials_are_a_problem_with_the_three_lines(node: FakeNode, doctor: Doctor, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("wrong")
    code, document = doctor(f"sources:\n  - rpc: {node.url}\n    user: anna\n    password: {{file: password}}\n")
    rpc = doors(document)["rpc"]
    assert (code, rpc["level"]) == (1, "problem")
    assert "HTTP 401" in rpc["text"]
    assert [line.partition("=")[0] for line in rpc["fix"][:3]] == ["rpcauth", "rpcwhitelist", "rpcwhitelistdefault"]


def test_a_wrong_chain_a_missing_file_and_a_missing_asmap_are_problems(node: FakeNode, doctor: Doctor) -> None:
    text = f"sources:\n  - rpc: {node.url}\n    cookie: {node.cookie}\n    chain: signet\n  - log:none\nasmap: none\n"
    code, document = doctor(text)
    found = doors(document)
    assert code == 1
    assert {name for name, one in found.items() if one["level"] == "problem"} == {"rpc", "log", "asmap"}


def test_a_configuration_with_a_mistake_is_exit_2(node: FakeNode, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("sourcs: []\n")
    assert main(["doctor", "--config", str(tmp_path / "bad.yaml")]) == 2
    assert main(["doctor", "--config", str(tmp_path / "none.yaml")]) == 2
    assert main(["doctor", "--send"]) == 2


class _Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(204 if self.path == "/good" else 500)
        self.end_headers()
        asked.append(self.path)

    def log_message(self, *_: object) -> None:
        """Stay silent."""


asked: list[str] = []


@pytest.mark.slow
def test_receivers_are_reached_with_send_only(
    node: FakeNode, doctor: Doctor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("watchdog.cli.doctor.SEND_S", 8.0)  # all of it is waited for the silent one
    asked.clear()
    (tmp_path / "key").write_text(new_secret())
    (tmp_path / "key").chmod(0o600)
    with ThreadingHTTPServer(("127.0.0.1", 0), _Receiver) as server, socket.create_server(("127.0.0.1", 0)) as silent:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        lines = ["receivers:"]
        for name, port in (
            ("good", server.server_port), ("bad", server.server_port), ("silent", silent.getsockname()[1]),
            ("off", server.server_port),
        ):  # fmt: skip
            lines += [f"  {name}:", f"    url: http://127.0.0.1:{port}/{name}", "    allow_private: true"]
            lines += ["    secret: {file: key}", *(["    enabled: false"] if name == "off" else [])]
        text = sources(node) + "\n".join(lines) + "\n"
        _, document = doctor(text)
        assert asked == []
        assert [one["level"] for one in document["receivers"]] == ["ok", "ok", "ok", "optional"]
        code, document = doctor(text, "--send")
        server.shutdown()
    assert sorted(asked) == ["/bad", "/good"]
    assert [one["level"] for one in document["receivers"]] == ["ok", "problem", "problem", "optional"]
    assert (code, document["problems"]) == (1, 2)


@pytest.mark.slow
def test_a_hanging_rpc_of_a_configuration_is_left(
    node: FakeNode, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examine, "TOTAL_S", HANGS_S)
    node.behave("*", hanging)
    code, document = doctor(sources(node))
    assert (code, doors(document)["rpc"]["level"]) == (1, "problem")
    assert doors(document)["log"]["level"] == "ok"


@pytest.mark.parametrize(
    ("bound", "connect"),
    [
        ("tcp://*:28332", "tcp://127.0.0.1:28332"),
        ("tcp://0.0.0.0:1", "tcp://127.0.0.1:1"),
        ("tcp://[::]:1", "tcp://[::1]:1"),
        ("tcp://10.0.0.1:1", "tcp://10.0.0.1:1"),
        ("ipc:///x", "ipc:///x"),
        ("\x1b", "\x1b"),
    ],
)
def test_an_endpoint_is_reached_on_loopback(bound: str, connect: str) -> None:
    assert reached_at(bound) == connect


def test_only_loopback_endpoints_are_tried() -> None:
    deadline = Deadline(60)
    for far in ("tcp://192.0.2.1:1", "ipc:///nowhere", "tcp://", "tcp://x:99999", "tcp://127.0.0.1:0", "\x00"):
        assert endpoint_fault(far, deadline) == ""
    with socket.create_server(("127.0.0.1", 0)) as server:
        open_one = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        assert endpoint_fault(open_one, deadline) == ""
    assert endpoint_fault(open_one, deadline) == "connection refused"
    assert zmq_door_of({"hashblock": open_one}, deadline).level == "problem"
