"""`nodes` in `watchdog.yaml`: both forms, names, sources, receivers, and where the state goes."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from watchdog.cli.main import main
from watchdog.service.config.read import ConfigError, load_config
from watchdog.service.config.schema import config_schema
from watchdog.service.config.settings import ServiceConfig
from watchdog.service.node_start import checkpoint_path
from watchdog.service.reload_nodes import changes_of

TWO = "nodes: {alice: {sources: log:a}, bob: {sources: [log:b, capture:c]}}\n"


def read(folder: Path, text: str) -> ServiceConfig:
    path = folder / "watchdog.yaml"
    path.write_text(text)
    return load_config(path)


def mistakes(folder: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read(folder, text)
    return str(caught.value)


def test_each_node_has_its_own_sources_and_its_own_checkpoint(tmp_path: Path) -> None:
    config = read(tmp_path, TWO)
    assert [(one.name, one.sources) for one in config.nodes] == [
        ("alice", (f"log:{tmp_path}/a",)),
        ("bob", (f"log:{tmp_path}/b", f"capture:{tmp_path}/c")),
    ]
    assert checkpoint_path(config, "bob") == tmp_path / "bob.checkpoint"
    alone = read(tmp_path, "node: alice\nsources: log:a\n")
    assert (alone.several, alone.node) == (False, "alice")
    assert checkpoint_path(alone, "alice") == tmp_path / "watchdog.checkpoint"


@pytest.mark.parametrize("name", ["a", "A.b-c_9", "-", "..", "x" * 63])
def test_names_of_nodes(tmp_path: Path, name: str) -> None:
    assert read(tmp_path, f"nodes: {{'{name}': {{sources: log:a}}}}\n").nodes[0].name == name


@pytest.mark.parametrize("name", ["", "a b", "a/b", "x" * 64, "é", "*fleet*", "a\\nb"])
def test_names_that_no_node_can_have(tmp_path: Path, name: str) -> None:
    assert "bad name of a node" in mistakes(tmp_path, f'nodes: {{"{name}": {{sources: log:a}}}}\n')


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("node: x\n" + TWO, "'node' beside 'nodes'"),
        ("sources: log:x\n" + TWO, "'sources' beside 'nodes'"),
        ("nodes: {}\n", "'nodes' is empty"),
        ("nodes:\n", "lacks 'sources'"),
        ("nodes: [alice]\n", "'nodes' must be a table"),
        ("nodes: {alice: }\n", "'alice' must be a table"),
        ("nodes: {alice: {}}\n", "'nodes.alice' lacks 'sources'"),
        ("nodes: {alice: {sources: []}}\n", "'sources' is empty"),
        ("nodes: {alice: {sources: log:a, source: x}}\n", "unknown key 'source' in 'nodes.alice'"),
        ("nodes: {alice: {sources: log:a}, bob: {sources: log:a}}\n", "of node 'bob' is also one of node 'alice'"),
        ("nodes: {alice: {sources: log:a}, bob: {sources: log:./a}}\n", "of node 'bob' is also one of node 'alice'"),
        (TWO + "receivers: {x: {url: 'https://e.example/x', nodes: bobb}}\n", "no node 'bobb'"),
        (TWO + "receivers: {x: {url: 'https://e.example/x', nodes: [[a]]}}\n", "'nodes' must be a node"),
        ("nodes:\n" + "".join(f"  n{n}: {{sources: log:{n}}}\n" for n in range(257)), "more than 256 nodes"),
    ],
)
def test_mistakes(tmp_path: Path, text: str, wanted: str) -> None:
    assert wanted in mistakes(tmp_path, text)


def test_a_receiver_names_nodes_or_the_fleet(tmp_path: Path) -> None:
    hook = "receivers: {x: {url: 'https://e.example/x', nodes: NODES}}\n"
    assert read(tmp_path, TWO + hook.replace("NODES", "[bob, '*fleet*']")).receivers[0].nodes == ("bob", "*fleet*")
    both = read(tmp_path, TWO + hook.replace("NODES", "[bob, '*']"))
    assert both.receivers[0].nodes == ("bob", "*fleet*")
    house = read(tmp_path, TWO + hook.replace("NODES", "'*'"))
    warned = ["is only what accuses no single node" in "".join(one.warnings) for one in (both, house)]
    assert warned == [False, True]
    alone = "node: alice\nsources: log:a\n"
    assert read(tmp_path, alone + hook.replace("NODES", "alice")).receivers[0].nodes == ("alice",)
    assert "no node 'bob'" in mistakes(tmp_path, alone + hook.replace("NODES", "bob"))


@pytest.mark.parametrize("name", ["*", "*fleet*"])
def test_silences_and_windows_name_the_house(tmp_path: Path, name: str) -> None:
    until = "until: 2100-01-01, author: anna, comment: known"
    silence = f"silences: [{{technique: ping-flood, node: '{name}', {until}}}]\n"
    window = f"maintenance: [{{name: updates, nodes: '{name}', from: '02:00', to: '03:00'}}]\n"
    config = read(tmp_path, TWO + silence + window)
    assert ([one.node for one in config.silences], [one.nodes for one in config.maintenance]) == (["*"], [("*",)])


@pytest.mark.parametrize(
    ("document", "valid"),
    [
        ({"sources": "log:a"}, True),
        ({"nodes": {"alice": {"sources": "log:a"}}}, True),
        ({"nodes": {"alice": {"sources": "log:a"}}, "node": "x"}, False),
        ({"nodes": {"alice": {"sources": "log:a"}}, "sources": "log:a"}, False),
        ({"nodes": {"a b": {"sources": "log:a"}}}, False),
        ({}, False),
    ],
)
def test_the_schema_says_the_same(document: object, valid: bool) -> None:
    assert jsonschema.Draft202012Validator(config_schema()).is_valid(document) is valid


def test_check_names_the_node_of_what_rules_lack(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text("")
    (tmp_path / "c").mkdir()
    (tmp_path / "watchdog.yaml").write_text(TWO)
    assert main(["check", "--config", str(tmp_path / "watchdog.yaml")]) == 0
    shown = capsys.readouterr().out
    assert "node alice: " in shown
    assert "no mistakes: 2 nodes, 3 sources" in shown


def test_changes_of_nodes_by_a_reload(tmp_path: Path) -> None:
    running = read(tmp_path, TWO)
    changes = changes_of(running, read(tmp_path, "nodes: {bob: {sources: log:z}, carol: {sources: log:d}}\n"))
    assert [one.name for one in changes.added] == ["carol"]
    assert (changes.removed, changes.waits) == (("alice",), ("nodes.bob",))
    assert changes.kept == (running.nodes[1],), "bob keeps the sources that it has"
    assert changes.text == "nodes new: carol; nodes removed: alice"
    assert changes_of(running, read(tmp_path, "sources: log:a\n")).waits == ("nodes",)
    assert json.dumps(changes_of(running, running).waits) == "[]"
