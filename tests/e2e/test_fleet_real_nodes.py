"""Three connected Bitcoin Core nodes, where BITCOIN_NODE names the binary: each node in trouble is named by its rule.

The nodes run in a network namespace that the test makes, with loopback and nothing else; so does this file, which
starts itself there. Time is virtual for the watchdog: minutes pass between two polls, and the nodes answer for real.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from alerts.incident import Incident
from rules.load import RuleSet, load
from tests.support.polled_fleet import PolledFleet
from tests.support.ports import free_port
from tests.support.real_node import BINARY, WHY_NOT, RealNode
from tests.support.service_process import ServiceProcess, run_command
from tests.support.waiting import wait_until

INSIDE = "WATCHDOG_TEST_NAMESPACE"
PACK = Path(__file__).resolve().parents[2] / "rules" / "packs" / "fleet.yaml"
ROOT = Path(__file__).resolve().parents[2]
TO_ANYBODY, TO_OTHERS = "raw(51)", "raw(52)"  # no wallet is needed; with one script two nodes would make one block
NO_UPTIME = {"uptime": 0}  # it counts real seconds, so in virtual time the nodes would seem to start again and again
Nodes = dict[str, RealNode]
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not BINARY, reason=WHY_NOT)]
inside = pytest.mark.skipif(not os.environ.get(INSIDE), reason="runs in a network namespace, see the first test")


@pytest.mark.skipif(bool(os.environ.get(INSIDE)), reason="this is the inside of the namespace")
def test_in_a_network_namespace() -> None:
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-rn", "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets no user make a network namespace (unshare -rn)")
    command = [unshare, "-rn", sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", __file__]
    done = subprocess.run(
        command, env={**os.environ, INSIDE: "1"}, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout


@pytest.fixture(scope="module")
def loopback() -> None:
    """Set the loopback of the namespace up: netdevice(7), SIOCSIFFLAGS with IFF_UP."""
    with socket.socket() as sock:
        fcntl.ioctl(sock, 0x8914, struct.pack("16sh14x", b"lo", 1))


@pytest.fixture
def nodes(tmp_path: Path, loopback: None) -> Iterator[Nodes]:
    """Three nodes in a triangle, out of initial download."""
    names, ports = ("alice", "bob", "carol"), [free_port() for _ in range(3)]
    with ExitStack() as stack:
        made = {}
        for name, port in zip(names, ports, strict=True):
            folder = tmp_path / name
            folder.mkdir()
            others = [f"-addnode=127.0.0.1:{other}" for other in ports if other != port]
            options = (f"-bind=127.0.0.1:{port}", "-listen=1", "-discover=0", *others)
            made[name] = RealNode(folder, options=options)
            stack.callback(made[name].stop)
        wait_until(lambda: all(connected(node) for node in made.values()), "the nodes do not connect")
        mine(made["alice"], 10)
        wait_until(lambda: {height(node) for node in made.values()} == {10}, "the blocks do not arrive")
        assert not any(node.call("getblockchaininfo")["initialblockdownload"] for node in made.values())
        yield made


def connected(node: RealNode) -> bool:
    return len({peer["addr"] for peer in node.call("getpeerinfo")}) >= 2


def mine(node: RealNode, count: int, script: str = TO_ANYBODY) -> None:
    node.call("generatetodescriptor", count, script)


def cut_off(node: RealNode) -> None:
    """Switch its network off, and wait until no peer is left that might still give it a block."""
    node.call("setnetworkactive", False)
    wait_until(lambda: node.call("getconnectioncount") == 0, "the node keeps its peers")


def height(node: RealNode) -> int:
    return int(node.call("getblockcount"))


def named(incidents: list[Incident]) -> set[tuple[str, str]]:
    return {(one.rule, one.node) for one in incidents}


@pytest.fixture(scope="module")
def rules() -> RuleSet:
    return load([PACK], packs=False)


@inside
def test_each_node_in_trouble_is_named_by_its_own_rule(rules: RuleSet, nodes: Nodes) -> None:
    with PolledFleet(rules, nodes, chain="regtest", intervals=NO_UPTIME) as fleet:
        mine(nodes["alice"], 1)
        assert named(fleet.run(1_800)) == set()
        cut_off(nodes["bob"])
        mine(nodes["alice"], 2)
        wait_until(lambda: height(nodes["carol"]) == 13, "the blocks do not arrive")
        assert named(fleet.run(900)) == set()
        assert named(fleet.run(600)) == {("fleet-behind", "bob")}
        nodes["carol"].stop()
        found = fleet.run(600)
        assert named(found) == {("fleet-behind", "bob"), ("fleet-node-silent", "carol")}
        nodes["carol"].start()
        nodes["bob"].call("setnetworkactive", True)
        wait_until(lambda: {height(node) for node in nodes.values()} == {13}, "the nodes do not meet again")
        found = fleet.run(3_600)
    assert named(found) == {("fleet-behind", "bob"), ("fleet-node-silent", "carol")}
    assert {str(one.state) for one in found} == {"resolved"}


@inside
def test_a_node_on_another_branch_is_named_by_the_split(rules: RuleSet, nodes: Nodes) -> None:
    cut_off(nodes["bob"])
    mine(nodes["alice"], 8)
    mine(nodes["bob"], 7, TO_OTHERS)
    wait_until(lambda: height(nodes["carol"]) == 18, "the blocks do not arrive")
    with PolledFleet(rules, nodes, chain="regtest", intervals=NO_UPTIME) as fleet:
        found = fleet.run(600)
    assert named(found) == {("fleet-chain-split", "bob")}
    assert nodes["carol"].call("getblockhash", 11) != nodes["bob"].call("getblockhash", 11)


@inside
def test_the_service_names_it_too(nodes: Nodes, tmp_path: Path) -> None:
    """`watchdog run` with three nodes, in real time: blocks 6 below the tip differ, which is an incident at once."""
    entries = "".join(
        f"  {name}:\n    sources:\n      - rpc: {node.url}\n        cookie: {node.cookie}\n        chain: regtest\n"
        "        intervals: {getblockchaininfo: 10s}\n        budget: 50\n"
        for name, node in nodes.items()
    )
    (tmp_path / "watchdog.yaml").write_text(f"nodes:\n{entries}")
    cut_off(nodes["bob"])
    mine(nodes["alice"], 8)
    mine(nodes["bob"], 7, TO_OTHERS)
    service = ServiceProcess(tmp_path, "--no-web")

    def named_now() -> set[tuple[str, str]]:
        done = run_command(tmp_path, "incidents", "list", "--json")
        return {(one["rule"], one["node"]) for one in json.loads(done.stdout)} if done.returncode == 0 else set()

    wanted = ("fleet-chain-split", "bob")
    try:
        wait_until(lambda: wanted in named_now(), lambda: f"{named_now()} {service.text()}", 100, look_s=2.0)
    finally:
        service.end()
    assert {one for one in named_now() if one[0].startswith("fleet-")} == {wanted}
