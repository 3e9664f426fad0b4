"""Sources in `watchdog.yaml`: a text, or a mapping of a scheme and further keys of its row in the registry."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest

from watchdog.core.durations import HOUR_NS, SECOND_NS
from watchdog.core.errors import SourceError
from watchdog.core.source import Source, SourceOptions
from watchdog.docs_build.key_tables import config_tables
from watchdog.service.config import schema
from watchdog.service.config.read import ConfigError, load_config
from watchdog.sources.registry import SCHEMES, open_sources
from watchdog.sources.scheme import Scheme, Setting
from watchdog.sources.zmq import endpoints

KEYS = (
    Setting("every", "duration", "Time between two polls.", "60s", unit="duration", low=SECOND_NS, high=HOUR_NS),
    Setting("cookie", "path", "The node's cookie file."),
)


@pytest.fixture(autouse=True)
def opened(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, SourceOptions]]:
    """Places and options with which the test's own scheme was opened; it gives no sources."""
    calls: list[tuple[str, SourceOptions]] = []

    def open_(place: str, options: SourceOptions, _torn_later: bool) -> list[Source]:
        calls.append((place, options))
        return []

    row = Scheme(
        "polled", "URL", open_, lambda: frozenset({"rpc:peers"}), mode="live", settings=KEYS, place_is_path=False
    )
    monkeypatch.setitem(SCHEMES, "polled", row)
    return calls


def written(folder: Path, text: str) -> Path:
    path = folder / "watchdog.yaml"
    path.write_text(text)
    return path


def test_a_mapping_of_a_scheme_alone_is_its_text(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, "sources:\n  - log: debug.log\n  - capture:messages\n"), {})
    assert config.sources == (f"log:{tmp_path}/debug.log", f"capture:{tmp_path}/messages")
    assert not config.source_settings
    assert load_config(written(tmp_path, "sources: {log: debug.log}\n"), {}).sources == (f"log:{tmp_path}/debug.log",)


def test_further_keys_reach_the_source(tmp_path: Path, opened: list[tuple[str, SourceOptions]]) -> None:
    text = "sources:\n  - polled: http://a:8332\n    every: 5s\n    cookie: .cookie\n  - polled:http://b\n"
    config = load_config(written(tmp_path, text), {})
    assert config.sources == ("polled:http://a:8332", "polled:http://b")
    open_sources(config.sources, SourceOptions(settings=config.source_settings))
    first, second = opened
    assert first[0] == "http://a:8332"
    assert first[1].settings == {"every": 5 * SECOND_NS, "cookie": tmp_path / ".cookie"}
    assert second[1].settings == {"every": 60 * SECOND_NS}


@pytest.mark.parametrize(
    ("sources", "wanted"),
    [
        ("[{polled: 'u', evry: 5s}]", "1:25: unknown key 'evry' in 'polled'\n*did you mean 'every'"),
        ("[{log: a, every: 5s}]", "1:20: unknown key 'every' in 'log'"),
        ("[{polled: 'u', every: 2h}]", "1:32: 'every' must be 1s to 1h"),
        ("[{lgo: a}]", "1:12: unknown kind of source 'lgo'*\n*did you mean 'log'"),
        ("[{every: 5s, polled: 'u'}]", "1:12: a source begins with its scheme, not with 'every'"),
        ("[{log: [a]}]", "1:17: 'log' must be text, not a list"),
        ("[{log: a}, 'log:./a']", "1:21: source 'log:./a' is given twice"),
        ("[{}]", "1:11: a source is empty"),
        ("[{zmq: {}}]", "1:17: 'zmq' is empty\n*give it 'hashblock' or 'sequence'"),
        ("[{zmq: {hashblok: 'tcp://a:1'}}]", "1:18: unknown key 'hashblok' in 'zmq'\n*did you mean 'hashblock'"),
        (
            "[{zmq: {hashblock: 'tcp://0.0.0.0:1'}}]",
            "1:11: zmq: bad endpoint 'tcp://0.0.0.0:1' of 'hashblock'\n*where the node listens",
        ),
        ("['zmq:tcp://127.0.0.1:1']", "1:11: zmq: 'tcp://127.0.0.1:1' names no topic"),
        ("[{zmq: {hashblock: [a]}}]", "1:29: 'hashblock' must be text, not a list"),
    ],
)
def test_a_mistake_has_its_place_and_a_hint(tmp_path: Path, sources: str, wanted: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(written(tmp_path, f"sources: {sources}\n"), {})
    parts = wanted.split("*")
    text = str(caught.value)
    assert f"watchdog.yaml:{parts[0]}".rstrip("\n") in text
    assert all(part.strip() in text for part in parts[1:])


def test_a_place_of_several_parts_is_a_mapping_or_their_text(tmp_path: Path) -> None:
    text = "sources:\n  - zmq: {sequence: 'tcp://127.0.0.1:2', hashblock: 'tcp://127.0.0.1:1'}\n"
    config = load_config(written(tmp_path, text), {})
    assert config.sources == ("zmq:sequence=tcp://127.0.0.1:2,hashblock=tcp://127.0.0.1:1",)
    assert load_config(written(tmp_path, f"sources: '{config.sources[0]}'\n"), {}).sources == config.sources
    assert not config.warnings


def test_an_endpoint_beyond_this_machine_is_a_warning(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, "sources: ['zmq:hashblock=tcp://node.example:1']\n"), {})
    assert "'tcp://node.example:1' is beyond this machine: ZMQ has neither encryption" in config.warnings[0]


def test_without_its_package_a_source_is_a_mistake_with_the_line_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoints, "find_spec", lambda _name: None)
    with pytest.raises(ConfigError) as caught:
        load_config(written(tmp_path, "sources: ['zmq:hashblock=tcp://127.0.0.1:1']\n"), {})
    assert "pyzmq is not installed" in str(caught.value)
    assert "pip install 'bitcoin-watchdog[zmq]'" in str(caught.value)
    with pytest.raises(SourceError, match="pyzmq is not installed; pip install"):
        open_sources(["zmq:hashblock=tcp://127.0.0.1:1"], SourceOptions(follow=True))


def test_the_schema_and_the_page_have_the_rows_of_the_registry() -> None:
    check = jsonschema.Draft202012Validator(schema.config_schema())
    for right in (
        "log:a",
        {"log": "a"},
        [{"polled": "u", "every": "5s"}, "capture:b"],
        {"zmq": {"sequence": "tcp://a:1"}},
    ):
        assert check.is_valid({"sources": right}), right
    wrongs: tuple[object, ...] = (
        "lgo:a",
        {"log": "a", "every": "5s"},
        {"every": "5s"},
        {"zmq": {}},
        {"zmq": {"sequence": "a"}},
        [{"polled": "u", "every": 5}],
    )
    for wrong in wrongs:
        assert not check.is_valid({"sources": wrong}), wrong
    assert "### `sources`: `polled`" in config_tables()
    assert "| `every` | duration, 1s to 1h | `60s` | Time between two polls. |" in config_tables()
