"""A real bitcoin-node behind its IPC socket, where BITCOIN_NODE names its binary: calls, tips, restarts, abrupt ends.

The node has networking off and answers on loopback only.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.ipc_taken import QUICK, Taken, children
from tests.support.real_node import ALONE, BINARY, RealNode
from tests.support.waiting import wait_until
from watchdog.core.source import SourceOptions
from watchdog.doctor.hang_guard import Deadline
from watchdog.doctor.ipc_door import ipc_door_of
from watchdog.sources.ipc.ipc_source import IpcSource
from watchdog.sources.rpc.node_state import SLACK_S

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(Path(BINARY).name != "bitcoin-node", reason="BITCOIN_NODE names no bitcoin-node"),
]
ADDRESS = "bcrt1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqdku202"  # a witness program of zeros, which has no known key


class IpcRealNode(RealNode):
    """bitcoin-node on regtest with an IPC socket in the folder of its chain."""

    def __init__(self, folder: Path, *options: str) -> None:
        super().__init__(folder, (), (*ALONE, "-ipcbind=unix", *options))

    @property
    def socket(self) -> Path:
        """Its socket."""
        return self.folder / "regtest" / "node.sock"


@pytest.fixture
def node(tmp_path: Path) -> Iterator[IpcRealNode]:
    one = IpcRealNode(tmp_path)
    yield one
    one.stop()


def opened(node: IpcRealNode, **settings: object) -> IpcSource:
    return IpcSource(str(node.socket), SourceOptions(follow=True, settings={**QUICK, **settings}))


def closed(source: IpcSource) -> None:
    source.close()
    wait_until(lambda: source.abandoned is not None, "the source does not end")
    wait_until(lambda: not children(), "a child is left")


def test_a_real_node_is_polled_and_reports_its_tip(node: IpcRealNode) -> None:
    source = opened(node, chain="regtest", intervals={}, budget=1)
    taken = Taken(source)
    try:
        for kind in ("rpc:chain", "rpc:network", "rpc:mempool", "rpc:nettotals", "rpc:uptime", "rpc:peers"):
            taken.until(kind)
        assert source.offered is not None
        assert source.offered.polls
        before = len(taken.of("rpc:chain"))
        hashes = node.call("generatetoaddress", 2, ADDRESS)
        tips = taken.until("chain:tip")
        wait_until(lambda: (taken.of("chain:tip") or tips)[-1].strings("hash").tolist() == hashes[-1:], "another tip")
        assert len(taken.of("rpc:chain")) > before, "the tip was not polled before the next regular poll"
        assert not taken.of("source:gap")
        assert not source.forbidden
    finally:
        closed(source)
    assert node.answers("uptime") is not None


def test_a_restart_is_seen(node: IpcRealNode) -> None:
    source = opened(node)
    taken = Taken(source)
    try:
        taken.until("rpc:uptime")
        wait_until(lambda: node.call("uptime") > SLACK_S + 3, "its uptime would not fall by enough", look_s=0.5)
        taken.until("rpc:uptime", taken.rows("rpc:uptime") + 2)
        node.stop()
        wait_until(lambda: source.trouble, "no trouble")
        node.start()
        taken.until("node:started")
        assert source.trouble == ""
    finally:
        closed(source)


def test_no_end_of_the_client_harms_the_node(node: IpcRealNode) -> None:
    source = opened(node, subscribe=True)
    taken = Taken(source)
    try:
        taken.until("rpc:chain")
        for number in (signal.SIGKILL, signal.SIGTERM):
            before = children()
            os.kill(before[0], number)
            wait_until(lambda before=before: children() and children() != before, "no other child")  # type: ignore[misc]
            taken.until("rpc:chain", taken.rows("rpc:chain") + 1)
    finally:
        closed(source)
    assert node.answers("uptime") is not None


def test_a_whitelist_of_our_name_counts(tmp_path: Path) -> None:
    node = IpcRealNode(tmp_path, "-rpcwhitelist=watchdog:uptime,getblockchaininfo", "-rpcwhitelistdefault=0")
    source = opened(node)
    try:
        Taken(source).until("rpc:chain")
        wait_until(lambda: "getpeerinfo" in source.forbidden, "not refused")
    finally:
        closed(source)
        node.stop()


def test_a_source_may_come_before_its_node(tmp_path: Path) -> None:
    """The socket is there before the node has loaded its chain, and a call at the wrong moment would end it."""
    node = IpcRealNode(tmp_path)
    node.stop()
    source = opened(node)
    try:
        for _ in range(3):
            wait_until(lambda: source.trouble, "no trouble")
            node.start()
            wait_until(lambda: source.trouble == "", lambda: f"still {source.trouble}")
            assert node.answers("uptime") is not None
            node.stop()
    finally:
        closed(source)


def test_doctor_names_a_real_node(node: IpcRealNode) -> None:
    door = ipc_door_of(node.socket, Deadline(20))
    assert (door.level, "Bitcoin Core 31 or later" in door.text) == ("ok", True)
