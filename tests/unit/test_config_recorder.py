"""`recorder` and `order` of the configuration."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from watchdog.core.kinds import ALL_KINDS
from watchdog.service.config.read import ConfigError, load_config
from watchdog.service.config.settings import RecorderSettings, ServiceConfig

PATH = Path(tempfile.gettempdir()) / "watchdog.yaml"  # not there: the text is given
GIVEN = """
sources: [log:a]
order: [nats, capture]
recorder:
  folder: recorder
  keep: 2GiB
  kinds: [net, p2p, peer, "rpc:peers", addrman, log]
  payload: {addr: 64KiB, addrv2: 64KiB, "*": 0}
  peers: 'direction == "in"'
  before: 10m
  after: 5m
  keep_incidents: 30d
"""


def read(text: str) -> ServiceConfig:
    return load_config(PATH, {}, text=text)


def test_the_issues_own_example_is_read() -> None:
    (node,) = read(GIVEN).nodes
    found = node.recorder
    assert found is not None
    assert node.order == ("nats", "capture")
    assert (found.folder, found.keep) == (PATH.parent / "recorder", 2 << 30)
    assert found.kinds == {
        kind for kind in ALL_KINDS if kind.startswith(("net:", "p2p:", "peer:", "rpc:peers", "addrman:", "log:"))
    }
    assert found.payload == {"addr": 65_536, "addrv2": 65_536, "*": 0}
    assert found.peers == 'direction == "in"'
    assert [span // 10**9 for span in (found.before_ns, found.after_ns, found.keep_incidents_ns)] == [600, 300, 2592000]


def test_it_is_off_unless_given_and_has_defaults() -> None:
    assert read("sources: [log:a]").nodes[0].recorder is None
    assert read("sources: [log:a]\nrecorder: {folder: /r}").nodes[0].recorder == RecorderSettings(
        Path("/r"), 2 << 30, ALL_KINDS - {"rpc:addrman_entry"}, {}, "", 600 * 10**9, 600 * 10**9, 30 * 86_400 * 10**9
    )


def test_each_node_has_a_folder_of_its_own() -> None:
    text = (
        "recorder: {folder: r, keep: 5MiB}\nnodes:\n  a: {sources: log:a}\n  b: {sources: log:b, recorder: {folder: z}}"
    )
    folders = {one.name: (one.recorder.folder, one.recorder.keep) for one in read(text).nodes if one.recorder}
    assert folders == {"a": (PATH.parent / "r" / "a", 5 << 20), "b": (PATH.parent / "z", 2 << 30)}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("recorder: {keep: 5MiB}", "'recorder' lacks 'folder'"),
        ("recorder: {folder: r, keep: 5}", "'keep' is not a size: '5'"),
        ("recorder: {folder: r, keep: 5kB}", "'keep' must be 1MiB to"),
        ("recorder: {folder: r, kinds: [p2q]}", "unknown kind"),
        ("recorder: {folder: r, kinds: finding}", "findings are not recorded"),
        ("recorder: {folder: r, payload: {addr: much}}", "'addr' is not a size"),
        ("recorder: {folder: r, payload: {averylongtype: 1kB}}", "not a message type"),
        ("recorder: {folder: r, payload: {addr: 1GiB}}", "'addr' must be 0B to"),
        ("recorder: {folder: r, peers: 'direction = 3'}", "'peers': expected an operator"),
        ("recorder: {folder: r, peers: 'directoin == \"in\"'}", "'peers': unknown field 'directoin'"),
        ("recorder: {folder: r, before: 3}", "'before' is not a duration"),
        ("recorder: {folder: r, colour: red}", "unknown key 'colour' in 'recorder'"),
        ("order: [captrue]", "unknown order 'captrue'"),
        ("order: [log]", "unknown order 'log'"),
    ],
)
def test_mistakes_have_a_place(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(f"sources: [log:a]\n{text}")
    assert said in str(caught.value)
    assert "watchdog.yaml:2:" in str(caught.value)


def test_two_nodes_with_one_folder_and_an_order_beside_nodes_are_mistakes() -> None:
    twice = "nodes:\n  a: {sources: log:a, recorder: {folder: r}}\n  b: {sources: log:b, recorder: {folder: r}}"
    with pytest.raises(ConfigError, match="node 'b' records into the folder of node 'a'"):
        read(twice)
    with pytest.raises(ConfigError, match="'order' beside 'nodes'"):
        read("order: [rpc]\nnodes:\n  a: {sources: log:a}")
