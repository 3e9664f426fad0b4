"""A real Bitcoin Core node, where BITCOIN_NODE names its binary: the three lines, every call, blocks, a restart.

The node has networking off and answers on loopback only.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.real_node import BINARY, WHY_NOT, RealNode
from tests.support.virtual_node import rows_of
from tests.support.waiting import wait_until
from watchdog.core.batch import Slice
from watchdog.core.source import SourceOptions
from watchdog.sources.rpc.client import RpcClient, RpcError
from watchdog.sources.rpc.credentials import PasswordCredentials
from watchdog.sources.rpc.methods import METHODS, SINCE, lines_for_node, rpcauth
from watchdog.sources.rpc.rpc_source import RpcSource

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not BINARY, reason=WHY_NOT),
]
PASSWORD = "of-a-regtest-node"
ADDRESS = "bcrt1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqdku202"  # a witness program of zeros, which has no known key


@pytest.fixture
def node(tmp_path: Path) -> Iterator[RealNode]:
    one = RealNode(tmp_path, lines_for_node(rpcauth(PASSWORD)))
    yield one
    one.stop()


def credentials() -> PasswordCredentials:
    return PasswordCredentials("watchdog", lambda: PASSWORD)


def test_every_call_is_allowed_and_other_users_keep_theirs(node: RealNode) -> None:
    client = RpcClient(node.url, credentials())
    genesis = client.call("getblockhash", (0,))
    params = {"getblockhash": (0,), "getblockheader": (genesis,)}
    refused = {}
    for method in METHODS:
        try:
            client.call(method, params.get(method, ()))
        except RpcError as error:
            refused[method] = error.reason
    late = {version: {name for name in SINCE if SINCE[name] >= version} for version in SINCE.values()}  # v26, v29
    assert set(refused) in (set(), *late.values()), "what came later than this node"
    assert set(refused.values()) <= {"fault"}
    assert node.call("getbestblockhash") == genesis


def test_blocks_and_a_restart_are_events(node: RealNode) -> None:
    settings: dict[str, object] = {
        "cookie": node.cookie,
        "chain": "regtest",
        "budget": 100,
        "intervals": {"getblockchaininfo": 10**9, "uptime": 10**9, "getpeerinfo": 10**9},
    }
    kinds = frozenset({"rpc:chain", "chain:tip", "node:started", "source:gap"})
    source = RpcSource(node.url, SourceOptions(wanted=kinds, settings=settings))
    slices: list[Slice] = []

    def seen(kind: str) -> list[dict[str, Any]]:
        if (one := source.poll()) is not None:
            slices.append(one)
        return [row for row in rows_of(slices) if row["kind"] == kind]

    wait_until(lambda: seen("rpc:chain"), "no poll")
    wait_until(lambda: node.call("uptime") > 5, "the node does not age")
    (block,) = node.call("generatetoaddress", 1, ADDRESS)
    wait_until(lambda: [row for row in seen("chain:tip") if row["hash"] == block], "the block was not seen")
    node.stop()
    node.start()
    wait_until(lambda: seen("node:started"), "the restart was not seen")
    source.close()


def test_real_tables_give_the_chances_of_their_groups(node: RealNode) -> None:
    """Core puts the addresses into its buckets itself: one netblock may fill eight of the tried table."""
    texts = [(f"20.{n}.1.1", False) for n in range(60)] + [(f"21.{n}.1.1", True) for n in range(40)]
    texts += [(f"77.1.1.{n}", True) for n in range(30)]
    for text, tried in texts:
        node.call("addpeeraddress", text, 8333, tried)  # every release since v22 has it
    settings: dict[str, object] = {"cookie": node.cookie, "chain": "regtest", "budget": 100}
    source = RpcSource(node.url, SourceOptions(wanted=frozenset({"addrman:exposure"}), settings=settings))
    slices: list[Slice] = []

    def found() -> list[dict[str, Any]]:
        if (one := source.poll()) is not None:
            slices.append(one)
        return [row for row in rows_of(slices) if row["kind"] == "addrman:exposure"]

    wait_until(lambda: len(found()) >= 3, "a row for each grouping")
    source.close()
    (block,) = (row for row in found() if row["grouping"] == "netblock")
    assert block["group"] == "77.1.0.0/16"
    assert block["share_new"] < 100_000  # those that collided in tried stayed in new
    assert 30_000 < block["share_tried"] < 300_000
    assert block["chance_next_low"] == pytest.approx((block["share_new"] + block["share_tried"]) / 2, abs=1)
    assert block["chance_next_low"] < block["chance_next_high"] < 1_000_000
