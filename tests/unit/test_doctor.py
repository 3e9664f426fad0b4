"""`watchdog doctor` on nodes over real HTTP: doors, levels, the lines that open them, exit codes, what hangs."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.fake_node import FakeNode, fault, garbage, hanging, status, v22, v30
from tests.support.named_process import named_process
from tests.support.parts import lacking
from tests.support.ports import free_port
from tests.unit.test_source_paths import as_nobody
from watchdog.cli.main import main
from watchdog.doctor import examine
from watchdog.doctor.examine import LATEST_START_S, TOTAL_S, whole_deadline
from watchdog.doctor.hang_guard import Background, program_age_s
from watchdog.sources.rpc.methods import LINES_FOR_NODE, METHODS

NET = "2026-01-31T12:00:{:02}Z [net] sending ping (8 bytes) peer=0\n"
ADDRMAN = "2026-01-31T12:01:{:02}Z [addrman] Added 1 addresses (of 1) from 1.2.3.4: 0 tried, 1 new\n"
DOORS = ["rpc", "zmq", "log", "capture", "ipc", "tracepoints", "asmap"]
Json = Any  # the parsed output of a command
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def node(tmp_path: Path) -> Iterator[FakeNode]:
    """A healthy node of v30 with a log; its process is `process(node)`."""
    folder = tmp_path / "node"
    folder.mkdir()
    (folder / "debug.log").write_text("".join(NET.format(n) + ADDRMAN.format(n) for n in range(40)))
    with FakeNode(folder, v30()) as fake:
        (folder / "bitcoin.conf").write_text(f"rpcport={fake.port}\n")
        yield fake


def doctor(capsys: pytest.CaptureFixture[str], folder: Path) -> tuple[int, Json]:
    """The exit code and the JSON for one datadir."""
    code = main(["doctor", "--json", "--datadir", str(folder)])
    return code, json.loads(capsys.readouterr().out)


def door(document: Json, name: str) -> Json:
    """One door of the only node."""
    (node,) = document["nodes"]
    return next(one for one in node["doors"] if one["door"] == name)


def test_a_healthy_node_is_exit_0_and_the_json_has_the_fields_of_the_issue(
    node: FakeNode, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = node.cookie.parent
    with named_process([f"-datadir={folder}"]) as pid:
        code, document = doctor(capsys, folder)
    assert code == 0, document
    assert list(document) == ["version", "nodes", "rules", "receivers", "clock", "problems"]
    assert (document["version"], document["problems"], document["receivers"]) == (1, 0, [])
    (one,) = document["nodes"]
    doors = one.pop("doors")
    assert one == {
        "name": "main", "datadir": str(folder), "chain": "main", "pid": pid, "version": 300000,
        "user_agent": "/Satoshi:30.0.0/", "ibd": False,
    }  # fmt: skip
    assert [each["door"] for each in doors] == DOORS
    assert all(set(each) == {"door", "level", "text", "fix"} for each in doors)
    assert {each["level"] for each in doors} <= {"ok", "optional"}
    assert all(set(rule) == {"id", "can_fire", "lacks"} for rule in document["rules"])
    assert set(document["clock"]) == {"level", "offset_s", "synchronised"}
    assert [each["level"] for each in doors if each["door"] in {"rpc", "log"}] == ["ok", "ok"]


def test_each_method_is_asked_once_and_the_costly_ones_without_their_work(
    node: FakeNode, capsys: pytest.CaptureFixture[str]
) -> None:
    doctor(capsys, node.cookie.parent)
    assert sorted(method for method, _ in node.asked) == sorted(METHODS)
    assert {params != [] for method, params in node.asked if method in {"getrawaddrman", "getchaintips"}} == {True}


def test_nothing_is_written(node: FakeNode, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def state() -> Mapping[str, tuple[int, int]]:
        return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in sorted(tmp_path.rglob("*"))}

    before = state()
    doctor(capsys, node.cookie.parent)
    assert state() == before


def test_no_node_is_exit_2_with_the_places(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "none", tmp_path, tmp_path / "a\0b", tmp_path / "file"):
        code, document = doctor(capsys, folder)
        assert (code, document["nodes"]) == (2, [])
    assert main(["doctor", "--datadir", str(tmp_path)]) == 2
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "no node found; looked at:"
    assert f"  {tmp_path}" in lines
    assert main(["doctor", "--datadir"]) == 2


@pytest.mark.parametrize(
    ("behaviour", "text"),
    [
        (status(401), "refuses the cookie"),
        (status(503, b"Work queue depth exceeded"), "HTTP 503"),
        (fault(-28, "Loading block index"), "the node is starting: Loading block index"),
        (garbage(b"\x00\xff not HTTP"), "no usable answer to"),
        (hanging, "no answer to getnetworkinfo within"),
        (status(200, b'{"result": [[[1]]], "error": null}'), "methods answer"),
    ],
)
def test_what_a_node_answers_badly_is_a_problem_or_data(
    node: FakeNode, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, behaviour: Any, text: str
) -> None:
    monkeypatch.setattr(examine, "TOTAL_S", LATEST_START_S + 8)
    node.behave("*", behaviour)
    code, document = doctor(capsys, node.cookie.parent)
    assert text in door(document, "rpc")["text"]
    assert code == (1 if door(document, "rpc")["level"] == "problem" else 0)


def test_wrong_types_in_answers_are_no_version(node: FakeNode, capsys: pytest.CaptureFixture[str]) -> None:
    node.answers["getnetworkinfo"] = {"version": "30", "subversion": 5, "timeoffset": [1]}
    node.answers["getblockchaininfo"] = {"initialblockdownload": "no", "chain": {"a": 1}}
    _, document = doctor(capsys, node.cookie.parent)
    (one,) = document["nodes"]
    assert (one["version"], one["user_agent"], one["ibd"]) == (None, None, None)


def test_a_hostile_user_agent_is_escaped(node: FakeNode, capsys: pytest.CaptureFixture[str]) -> None:
    changed(node, "getnetworkinfo", {"subversion": "/\x1b[2J\u202eevil/" + "x" * 10_000})
    assert main(["doctor", "--datadir", str(node.cookie.parent)]) == 0
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert "\u202e" not in printed
    assert max(map(len, printed.splitlines())) < 600


def test_a_whitelist_names_the_methods_and_the_three_lines_together(
    node: FakeNode, capsys: pytest.CaptureFixture[str]
) -> None:
    node.whitelist = frozenset(METHODS) - {"getrawaddrman", "uptime"}
    code, document = doctor(capsys, node.cookie.parent)
    rpc = door(document, "rpc")
    assert (code, rpc["level"]) == (1, "problem")
    assert "rpcwhitelist forbids uptime, getrawaddrman" in rpc["text"]
    assert rpc["fix"][:3] == list(LINES_FOR_NODE)
    assert "every other RPC user is locked out" in rpc["fix"][3]


def test_methods_that_an_old_version_lacks_are_no_problem(node: FakeNode, capsys: pytest.CaptureFixture[str]) -> None:
    node.answers = v22()
    code, document = doctor(capsys, node.cookie.parent)
    assert code == 0
    assert "getaddrmaninfo and getrawaddrman came with v26" in door(document, "rpc")["text"]


def test_another_chain_on_the_port_is_a_problem(node: FakeNode, capsys: pytest.CaptureFixture[str]) -> None:
    changed(node, "getblockchaininfo", {"chain": "regtest"})
    code, document = doctor(capsys, node.cookie.parent)
    assert code == 1
    assert "answers for the chain regtest, not main" in door(document, "rpc")["text"]


def test_a_node_that_stopped_is_a_problem(node: FakeNode, capsys: pytest.CaptureFixture[str]) -> None:
    node.stop()
    code, document = doctor(capsys, node.cookie.parent)
    assert code == 1
    assert "is the node running?" in door(document, "rpc")["text"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_cookie_that_this_user_may_not_read_names_what_opens_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = Path("/tmp") / f"watchdog-doctor-{os.getpid()}"
    folder.mkdir(mode=0o700)
    try:
        (folder / "debug.log").write_text(NET.format(1))
        with FakeNode(folder, v30()) as node, named_process([f"-datadir={folder}", f"-rpcport={node.port}"]):
            with as_nobody():
                code, document = doctor(capsys, folder)
            assert not node.asked, "without its cookie nothing is sent"
        rpc, log = door(document, "rpc"), door(document, "log")
        assert (code, rpc["level"], log["level"]) == (1, "problem", "optional")
        assert "user nobody may not read the cookie" in rpc["text"]
        for line in ("rpccookieperms=group", f"chmod g+x {folder}", *LINES_FOR_NODE):
            assert line in rpc["fix"]
        assert f"setfacl -R -m u:nobody:rX -d -m u:nobody:rX {folder}" in log["fix"]
        assert any("wallets included" in line for line in log["fix"])
    finally:
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()


def test_a_cookie_that_is_a_link_is_not_sent(
    node: FakeNode, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("__cookie__:of another node")
    node.cookie.unlink()
    node.cookie.symlink_to(secret)
    code, document = doctor(capsys, node.cookie.parent)
    assert (code, len(node.asked)) == (1, 0)
    assert "symbolic link, which is not followed" in door(document, "rpc")["text"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_files_of_another_user_than_the_node_are_not_read(node: FakeNode, capsys: pytest.CaptureFixture[str]) -> None:
    folder = node.cookie.parent
    for name in (".cookie", "debug.log"):
        os.chown(folder / name, 65_534, -1)
    code, document = doctor(capsys, folder)
    assert (code, len(node.asked)) == (1, 0)
    assert "it belongs to another user than the node" in door(document, "rpc")["text"]
    assert "not to that of the node" in door(document, "log")["text"]


def test_a_pipe_as_a_log_is_not_waited_for(node: FakeNode, capsys: pytest.CaptureFixture[str]) -> None:
    log = node.cookie.parent / "debug.log"
    log.unlink()
    os.mkfifo(log)
    _, document = doctor(capsys, node.cookie.parent)
    assert "is no regular file" in door(document, "log")["text"]


def test_settings_that_keep_rules_silent_are_named(node: FakeNode, capsys: pytest.CaptureFixture[str]) -> None:
    conf = node.cookie.parent / "bitcoin.conf"
    conf.write_text(conf.read_text() + "listen=0\nblocksonly=1\nonlynet=onion\nconnect=1.2.3.4\n")
    changed(node, "getblockchaininfo", {"initialblockdownload": True})
    assert main(["doctor", "--datadir", str(conf.parent)]) == 0
    printed = capsys.readouterr().out
    for word in ("listen=0", "blocksonly=1", "onlynet=onion", "connect:", "initial block download"):
        assert f"note      {word}" in printed, word
    text = door(doctor(capsys, conf.parent)[1], "rpc")["text"]
    assert "; listen=0: no inbound peers" in text


def test_server_off_and_zmq_that_is_closed(node: FakeNode, capsys: pytest.CaptureFixture[str]) -> None:
    conf = node.cookie.parent / "bitcoin.conf"
    port = free_port()
    conf.write_text(f"server=0\nzmqpubhashblock=tcp://127.0.0.1:{port}\n")
    code, document = doctor(capsys, conf.parent)
    assert (code, len(node.asked)) == (1, 0)
    assert door(document, "rpc")["fix"] == ["server=1"]
    assert door(document, "zmq")["level"] == "problem"
    with socket.create_server(("127.0.0.1", port)):
        assert door(doctor(capsys, conf.parent)[1], "zmq")["level"] != "problem"


def test_an_asmap_of_the_node_is_found(node: FakeNode, capsys: pytest.CaptureFixture[str]) -> None:
    conf = node.cookie.parent / "bitcoin.conf"
    conf.write_text(conf.read_text() + "asmap=my.map\n")
    assert door(doctor(capsys, conf.parent)[1], "asmap")["level"] == "problem"
    (conf.parent / "my.map").write_bytes(b"x")
    assert door(doctor(capsys, conf.parent)[1], "asmap")["level"] == "ok"


def test_one_screen_is_enough_for_a_healthy_node(node: FakeNode, capsys: pytest.CaptureFixture[str]) -> None:
    with named_process([f"-datadir={node.cookie.parent}"]):
        assert main(["doctor", "--datadir", str(node.cookie.parent)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 20, "four lines are left for those that a terminal of 80 columns folds"


@pytest.mark.slow
def test_it_ends_while_a_socket_says_nothing(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        (tmp_path / ".cookie").write_text("__cookie__:00")
        (tmp_path / "bitcoin.conf").write_text(f"rpcport={silent.getsockname()[1]}\n")
        done = run_doctor(tmp_path)
    assert done.returncode == 1
    assert "no answer to getnetworkinfo" in door(json.loads(done.stdout), "rpc")["text"]


@pytest.mark.slow
def test_it_ends_while_a_disk_is_dead(tmp_path: Path) -> None:
    if os.geteuid() != 0 or not Path("/dev/fuse").exists():
        lacking("no root or no /dev/fuse")
    disk = tmp_path / "disk"
    disk.mkdir()
    done = run_doctor(disk, sys.executable, "-m", "tests.support.dead_disk", str(disk))
    if "Operation not permitted" in done.stderr:
        lacking("no file system may be mounted here")
    assert done.returncode == 1, done.stderr
    document = json.loads(done.stdout)
    assert {door(document, name)["level"] for name in ("rpc", "log", "capture")} == {"problem"}
    assert "does not answer" in door(document, "log")["text"]


def test_the_limits_leave_room_below_15_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examine, "TOTAL_S", TOTAL_S)
    assert TOTAL_S <= 12
    assert program_age_s() > 0
    assert whole_deadline().left_s >= TOTAL_S - LATEST_START_S - 1


def test_work_beside_raises_where_it_is_waited_for() -> None:
    assert Background(lambda: 5).get() == 5
    with pytest.raises(ZeroDivisionError):
        Background(lambda: 1 // 0).get()


def changed(node: FakeNode, method: str, fields: Mapping[str, Json]) -> None:
    """Change fields of an answer."""
    answer: Json = node.answers[method]
    node.answers[method] = {**answer, **fields}


def run_doctor(folder: Path, *before: str) -> subprocess.CompletedProcess[str]:
    """Run it as a program of its own, which has to end by itself."""
    command = [*before, sys.executable, "-m", "watchdog", "doctor", "--json", "--datadir", str(folder)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)


def test_a_report_holds_no_credentials(node: FakeNode, capsys: pytest.CaptureFixture[str]) -> None:
    conf = node.cookie.parent / "bitcoin.conf"
    conf.write_text(conf.read_text() + "rpcpassword=hunter2hunter2\nrpcuser=anna\nrpcauth=x:y$z\n")
    assert stat.S_ISREG(node.cookie.stat().st_mode)
    _, document = doctor(capsys, conf.parent)
    text = json.dumps(document)
    assert "hunter2" not in text
    assert node.passwords["__cookie__"] not in text
