"""`rpc:` in `watchdog.yaml`: its keys, their mistakes, and no credentials in any message."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from watchdog.service.config.read import ConfigError, load_config
from watchdog.service.config.schema import config_schema
from watchdog.service.config.secret import Secret
from watchdog.sources.rpc.settings import RpcSettings, credentials_of
from watchdog.sources.rpc.url import NodeUrl

WORD = "geheimes-wort"
FULL = """
sources:
  - rpc: http://127.0.0.1:8332
    user: watchdog
    password: {env: RPC_PASSWORD}
    timeout: 20s
    budget: 3
    intervals: {getpeerinfo: 10s, getrawaddrman: off, getchaintips: 1h}
    chain: signet
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "watchdog.yaml"
    path.write_text(text)
    return path


def test_all_keys_are_read(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, FULL), {"RPC_PASSWORD": WORD})
    (text,) = config.sources
    assert text == "rpc:http://127.0.0.1:8332"
    settings = config.source_settings[text]
    assert isinstance(settings["password"], Secret)
    read = RpcSettings.of(settings)
    assert (read.timeout_s, read.budget, read.chain) == (20.0, 0.03, "signet")
    assert read.intervals == {"getpeerinfo": 10.0, "getrawaddrman": 0.0, "getchaintips": 3_600.0}
    assert WORD not in repr(config) + repr(credentials_of(NodeUrl.of("http://127.0.0.1"), settings))


def test_the_schema_knows_the_keys(tmp_path: Path) -> None:
    sources = [{"rpc": "http://127.0.0.1:8332", "intervals": {"uptime": "off"}, "password": {"file": "x"}, "user": "a"}]
    jsonschema.validate({"sources": sources}, config_schema())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"sources": [{"rpc": "http://a", "password": "open"}]}, config_schema())
    assert "getrawaddrman" in json.dumps(config_schema())


MISTAKES = [
    ("rpc: 'http://a:geheimes-wort@127.0.0.1:8332'", "holds a user or a password"),
    ("rpc: http://127.0.0.1:8332, password: geheimes-wort, user: a", "must name a file or an environment variable"),
    ("rpc: http://127.0.0.1:8332, user: a", "needs both 'user' and 'password'"),
    ("rpc: http://127.0.0.1:8332, password: {env: P}", "needs both 'user' and 'password'"),
    ("rpc: http://127.0.0.1:8332, cookie: c, user: a, password: {env: P}", "either a cookie, or a user"),
    ("rpc: 'http://127.0.0.1:8332?cookie=/x', cookie: c", "write them as keys"),
    ("rpc: 127.0.0.1:8332", "expected http://HOST:PORT"),
    ("rpc: https://127.0.0.1:8332", "expected http://HOST:PORT"),
    ("rpc: http://127.0.0.1:8332, budget: 0", "'budget' must be 1 to 100"),
    ("rpc: http://127.0.0.1:8332, budget: 200", "'budget' must be 1 to 100"),
    ("rpc: http://127.0.0.1:8332, timeout: 0s", "'timeout' must be 1s to 5m"),
    ("rpc: http://127.0.0.1:8332, chain: mainnet", "unknown chain 'mainnet'"),
    ("rpc: http://127.0.0.1:8332, intervals: 30s", "'intervals' must be a table"),
    ("rpc: http://127.0.0.1:8332, intervals: {getpeerinfo: 9s}", "'getpeerinfo' must be 10s to 1h"),
    ("rpc: http://127.0.0.1:8332, intervals: {getpeerinfo: 2h}", "'getpeerinfo' must be 10s to 1h"),
    ("rpc: http://127.0.0.1:8332, intervals: {getpeerinfo: never}", "is not a duration"),
    ("rpc: http://127.0.0.1:8332, intervals: {stop: 30s}", "unknown call 'stop'"),
]


@pytest.mark.parametrize(("entry", "message"), MISTAKES)
def test_a_mistake_has_a_line_and_shows_no_credentials(tmp_path: Path, entry: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(written(tmp_path, f"sources:\n  - {{{entry}}}\n"), {"P": WORD})
    text = str(caught.value)
    assert message in text
    assert "watchdog.yaml:2:" in text
    assert WORD not in text + caught.value.in_one_line()


def test_one_node_is_named_once(tmp_path: Path) -> None:
    sources = "sources: ['rpc:http://127.0.0.1:8332', 'rpc:http://127.0.0.1:8332/?cookie=/x']\n"
    with pytest.raises(ConfigError, match="given twice"):
        load_config(written(tmp_path, sources), {})


def test_beyond_loopback_is_a_warning(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, "sources: ['rpc:http://10.1.1.1:8332', 'rpc:http://[::1]:8332']\n"), {})
    (warning,) = config.warnings
    assert "plain text" in warning
    assert "10.1.1.1" in warning
