"""`ipc:` in `watchdog.yaml`: its keys, its warning, its socket as `watchdog check` finds it, and `doctor --config`."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import jsonschema
import pytest

from tests.support.ipc_node import IpcNode
from watchdog.cli.main import main
from watchdog.service.config.read import ConfigError, load_config
from watchdog.service.config.schema import config_schema
from watchdog.sources.rpc.settings import RpcSettings

FULL = """
sources:
  - ipc: run/node.sock
    subscribe: true
    timeout: 20s
    budget: 3
    intervals: {getpeerinfo: 10s, getrawaddrman: off}
    chain: signet
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "watchdog.yaml"
    path.write_text(text)
    return path


def test_all_keys_are_read_and_the_danger_is_named(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, FULL), {})
    (text,) = config.sources
    assert text == f"ipc:{tmp_path}/run/node.sock"
    settings = config.source_settings[text]
    read = RpcSettings.of(settings)
    assert (settings["subscribe"], read.timeout_s, read.budget, read.chain) == (True, 20.0, 0.03, "signet")
    assert read.intervals == {"getpeerinfo": 10.0, "getrawaddrman": 0.0}
    assert any("has ended a node" in str(one) for one in config.warnings)


def test_without_subscribe_nothing_is_dangerous(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, "sources: [ipc:node.sock]\n"), {})
    assert not config.warnings
    assert config.source_settings[config.sources[0]].get("subscribe") is False


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ("ipc: node.sock, subscribe: perhaps", "'subscribe'"),
        ("ipc: node.sock, cookie: x", "cookie"),
        ("ipc: node.sock, budget: 0", "'budget' must be 1 to 100"),
        (f"ipc: {'x' * 200}", "107 are the limit"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, entry: str, why: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load_config(written(tmp_path, f"sources: [{{{entry}}}]\n"), {})
    assert why in str(raised.value)


def test_the_schema_knows_the_keys() -> None:
    jsonschema.validate({"sources": [{"ipc": "x", "subscribe": True, "chain": "main"}]}, config_schema())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"sources": [{"ipc": "x", "user": "a"}]}, config_schema())


def test_check_looks_at_the_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path, "sources: [ipc:node.sock]\n")
    assert main(["check"]) == 0
    assert "node.sock' does not exist (yet)" in capsys.readouterr().err
    (tmp_path / "node.sock").touch()
    assert main(["check"]) == 1
    assert "node.sock' is no socket" in capsys.readouterr().out
    (tmp_path / "node.sock").unlink()
    with socket.socket(socket.AF_UNIX) as one:
        one.bind("node.sock")
        assert main(["check"]) == 0


@pytest.mark.skipif(os.getuid() != 0, reason="only root can take another user's part")
def test_a_socket_that_this_user_may_not_open_is_a_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path, f"sources: [ipc:node.sock]\ncheckpoint: {{folder: {tmp_path}/open}}\n")
    for folder in (tmp_path, *list(tmp_path.parents)[:3]):
        folder.chmod(folder.stat().st_mode | 0o055)
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with socket.socket(socket.AF_UNIX) as one:
        one.bind("node.sock")
        (tmp_path / "node.sock").chmod(0o700)
        os.seteuid(65_534)
        try:
            code = main(["check"])
        finally:
            os.seteuid(0)
    assert (code, "needs write permission" in capsys.readouterr().out) == (1, True)


def test_doctor_tries_the_socket_of_a_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with IpcNode(tmp_path, "v30") as node:
        path = written(tmp_path, f"node: alice\nsources: [ipc:{node.socket}]\n")
        main(["doctor", "--json", "--config", str(path)])
        document = json.loads(capsys.readouterr().out)
        alice = next(one for one in document["nodes"] if one["name"] == "alice")
        door = next(one for one in alice["doors"] if one["door"] == "ipc")
        assert (door["level"], "Bitcoin Core 30; it gives no calls" in door["text"]) == ("ok", True)
        node.end()
        main(["doctor", "--json", "--config", str(path)])
        document = json.loads(capsys.readouterr().out)
        alice = next(one for one in document["nodes"] if one["name"] == "alice")
        door = next(one for one in alice["doors"] if one["door"] == "ipc")
        assert (door["level"], "connection refused" in door["text"]) == ("problem", True)
