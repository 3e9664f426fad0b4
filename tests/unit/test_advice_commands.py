"""The commands that shipped texts name, asked of a real node: they exist, with these fields and arguments."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from alerts.technique_texts import TECHNIQUE_DO
from rules.load import load, pack_names
from tests.support.real_node import BINARY, WHY_NOT, RealNode

pytestmark = pytest.mark.skipif(not BINARY, reason=WHY_NOT)
COMMAND = re.compile(r"`bitcoin-cli (\w+)([^`]*)`")
FIELDS = {
    "getpeerinfo": (
        "addr_processed", "addr_rate_limited", "bytesrecv_per_msg", "bytessent_per_msg", "conntime", "inbound",
        "mapped_as", "subver",
    ),
    "getnetworkinfo": ("connections_in", "networkactive", "warnings"),
    "getblockchaininfo": ("headers",),
}  # fmt: skip


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealNode]:
    found = RealNode(tmp_path_factory.mktemp("node"))
    yield found
    found.stop()


def texts() -> list[str]:
    rules = (str(plan.metadata["do"]) for plan in load((), packs=pack_names()).plans)
    return [*TECHNIQUE_DO.values(), *rules]


def test_every_command_is_in_the_help(node: RealNode) -> None:
    named = {found[1] for text in texts() for found in COMMAND.finditer(text)}
    assert len(named) > 8
    for command in sorted(named):
        assert str(node.call("help", command)).startswith(command), command


def test_every_field_is_in_the_help(node: RealNode) -> None:
    said = "\n".join(texts())
    for command, fields in FIELDS.items():
        page = node.call("help", command)
        for field in fields:
            assert f'"{field}"' in page, f"{command} has no {field}"
            assert field in said, f"no text names {field}: leave it out here"


def test_arguments_are_as_the_node_takes_them(node: RealNode) -> None:
    used = {(found[1], found[2].strip()) for text in texts() for found in COMMAND.finditer(text)}
    taken = {
        ("setban", "ADDRESS add"): ("127.9.9.9", "add"),
        ("setban", "NETBLOCK add"): ("127.8.0.0/16", "add"),
        ("setban", "RANGE add"): ("127.7.7.0/24", "add"),
        ("addnode", "HOST add"): ("127.0.0.1:1", "add"),
        ("addnode", "HOST onetry"): ("127.0.0.1:1", "onetry"),
    }
    for (command, written), arguments in taken.items():
        assert (command, written) in used
        assert node.call(command, *arguments) is None
    assert len(node.call("listbanned")) == 3
    others = {one for one in used - taken.keys() if one[1]}
    assert others == {
        ("disconnectnode", "ADDRESS:PORT"),
        ("disconnectnode", '"" ID'),
        ("setnetworkactive", "true"),
    }, "arguments that nothing here tries"
    page = node.call("help", "disconnectnode")
    assert 'disconnectnode "192.168.0.6:8333"' in page
    assert 'disconnectnode "" 1' in page
