"""`watchdog record --fleet` on nodes that are polled: the recording holds the block hashes that a replay compares."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.children import killed_on_failure
from tests.support.polled_fleet import ChainNode
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow
TIP = 900_000
Nodes = dict[str, ChainNode]


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    with ExitStack() as stack:
        made = {}
        for name in ("alice", "bob"):
            (tmp_path / name).mkdir()
            made[name] = stack.enter_context(ChainNode(tmp_path / name, {}))
            made[name].answers = {"uptime": 90_000}
            made[name].follow(TIP)
        made["bob"].follow(TIP + 1, fork=TIP - 20)  # the tips never have one height
        yield made


def asked(node: ChainNode) -> int:
    return sum(method == "getblockhash" for method, _ in list(node.asked))


def polls(node: ChainNode) -> int:
    return sum(method == "getblockchaininfo" for method, _ in list(node.asked))


def hashes(file: Path) -> dict[int, str]:
    command = [sys.executable, "-m", "watchdog", "export", str(file), "--format", "jsonl", "--kind", "rpc:block_hash"]
    listing = subprocess.run(command, capture_output=True, check=True)
    return {row["height"]: row["hash"] for row in map(json.loads, listing.stdout.splitlines())}


def test_a_recorded_fleet_has_the_hashes_for_the_comparison(tmp_path: Path, nodes: Nodes) -> None:
    sources = [f"{name}=rpc:{node.url}?cookie={node.cookie}" for name, node in nodes.items()]
    out = tmp_path / "out"
    command = [sys.executable, "-m", "watchdog", "record", "--fleet", *sources, "--out", str(out), "--follow"]
    with killed_on_failure(subprocess.Popen(command, stderr=subprocess.PIPE, text=True)) as recording:
        wait_until(lambda: all(asked(node) >= 2 for node in nodes.values()), "two heights were not asked")
        before = {name: polls(node) for name, node in nodes.items()}  # a further round: the answers were handed over
        wait_until(lambda: all(polls(nodes[name]) > n for name, n in before.items()), "no further round")
        recording.send_signal(signal.SIGINT)
        said = recording.communicate(timeout=300)[1]
    assert recording.returncode == 0, said
    found = {name: hashes(out / f"{name}.events") for name in nodes}
    for name, node in nodes.items():
        assert found[name] == {height: node.block(height) for height in (TIP, TIP - 6)}
    assert found["alice"] != found["bob"]
