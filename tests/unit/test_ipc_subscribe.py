"""Subscriptions of `ipc:`: events, losses, and that no handler is left behind, however the client ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.support.children import killed_on_failure
from tests.support.ipc_node import IpcNode
from tests.support.ipc_taken import Open, Taken, children, opened_sources
from tests.support.waiting import wait_until
from watchdog.core.kinds import KINDS, dtype_of
from watchdog.sources.ipc.child import buffers as buffers_module
from watchdog.sources.ipc.child.buffers import Buffers
from watchdog.sources.ipc.child.callbacks import transactions_of
from watchdog.sources.ipc.columns import columns_of
from watchdog.sources.ipc.records import COIN, FORMS, TX

ROOT = Path(__file__).resolve().parents[2]
TX_HEX = "01000000" + "01" + "11" * 32 + "00000000" + "00" + "ffffffff" + "01" + "01" + "00" * 7 + "00" + "00000000"
BLOCK_HEX = "00" * 80 + "fd2c01"  # a header, and a count of 300 transactions
CLIENT = """
import sys, time
from watchdog.core.source import SourceOptions
from watchdog.sources.registry import open_sources
text = "ipc:" + sys.argv[1]
(source,) = open_sources([text], SourceOptions(follow=True, settings={text: {"subscribe": True}}))
print("open", flush=True)
while True:
    source.poll()
    time.sleep(0.02)
"""


@pytest.fixture
def opened() -> Iterator[Open]:
    """Opens sources, and sees that each has left its node at the end of the test."""
    yield from opened_sources()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[IpcNode]:
    """A node that ends, as a real one did, when a subscriber disappears."""
    with IpcNode(tmp_path, "tracing", fragile=True) as one:
        yield one


def subscribed(node: IpcNode, handlers: int = 3) -> None:
    wait_until(lambda: node.report()["open"] == handlers, lambda: f"not subscribed: {node.report()}")


def test_every_notification_becomes_an_event_of_its_kind(node: IpcNode, opened: Open) -> None:
    taken = Taken(opened(node, subscribe=True))
    subscribed(node)
    node.notify("tx", tx=TX_HEX)
    node.notify("removed", tx=TX_HEX, reason=1)
    node.notify("removed", tx=TX_HEX, reason=99)
    node.notify("block", data=BLOCK_HEX)
    node.notify("unblock", data=BLOCK_HEX)
    node.notify("flush")
    node.notify("connections", number=9)
    for method, kind in (("add", "utxocache:add"), ("spend", "utxocache:spent"), ("uncache", "utxocache:uncache")):
        node.notify("coins", method=method, number=3)
        (coins,) = taken.until(kind, 3)
        assert coins.numbers("index").tolist() == [0, 1, 2]
        assert coins.numbers("value_sat").tolist() == [50, 50, 50]
    (added,) = taken.until("chain:tx_added")
    assert added.numbers("vsize_vb").tolist() == [len(TX_HEX) // 2]
    assert [reason for one in taken.until("chain:tx_removed", 2) for reason in one.strings("reason").tolist()] == [
        "sizelimit",
        "unknown",
    ]
    assert taken.source.lacking == frozenset()
    (block,) = taken.until("chain:block_connected")
    assert (block.numbers("height").tolist(), block.numbers("transactions").tolist()) == ([100], [300])
    taken.until("chain:block_disconnected")
    taken.until("chain:flushed")
    (connections,) = taken.until("node:connections")
    assert connections.numbers("connections").tolist() == [9]
    for batch in taken.batches:
        assert batch.columns.keys() == KINDS[batch.kind].fields.keys(), batch.kind
        for name, field in KINDS[batch.kind].fields.items():
            if (dtype := dtype_of(field.type)) is not None:
                assert batch.numbers(name).dtype == dtype, f"{batch.kind}.{name}"


def test_events_that_nothing_reads_are_counted_and_not_sent(node: IpcNode, opened: Open) -> None:
    source = opened(node, subscribe=True, wanted=frozenset({"chain:flushed"}))
    taken = Taken(source)
    subscribed(node)
    node.notify("coins", method="add", number=4)
    node.notify("flush")
    taken.until("chain:flushed")
    wait_until(lambda: source.tallies.get("utxocache:add") == (4, 200), lambda: f"{source.tallies}")
    assert taken.rows("utxocache:add") == 0


def test_the_coins_cache_waits_for_the_end_of_the_initial_download(tmp_path: Path, opened: Open) -> None:
    with IpcNode(tmp_path, "tracing", ibd=True) as node:
        source = opened(node, subscribe=True)
        subscribed(node, 2)
        Taken(source).until("rpc:chain")
        assert node.report()["subscribed:coins"] == 0
        assert source.lacking == {"utxocache:add", "utxocache:spent", "utxocache:uncache"}


@pytest.mark.slow
def test_a_node_that_hides_its_initial_download_is_not_traced_and_not_left(tmp_path: Path, opened: Open) -> None:
    with IpcNode(tmp_path, "tracing", hanging=["ibd"]) as node:
        taken = Taken(opened(node, subscribe=True))
        taken.until("rpc:uptime", 3)
        assert (node.report()["clients"], node.report()["subscribed:coins"], node.report()["open"]) == (1, 0, 2)


def test_a_run_that_follows_reports_what_it_missed(node: IpcNode, opened: Open) -> None:
    before = opened(node, subscribe=True)
    subscribed(node)
    Taken(before).until("rpc:chain")
    position = {"until_ns": 1_700_000_000_000_000_000}
    before.close()
    wait_until(lambda: node.report()["disconnected"] == 3)
    taken = Taken(opened(node, subscribe=True, position={before.name: position}))
    (chain,) = wait_until(lambda: [one for one in taken.gaps("ipc-not-connected") if one.numbers("from_ns")[0]])[:1]
    assert chain.numbers("from_ns").tolist() == [1_699_999_999_000_000_000]
    assert int(chain.numbers("to_ns")[0]) > 1_700_000_000_000_000_000


def test_a_node_without_notifications_is_polled_all_the_same(tmp_path: Path, opened: Open) -> None:
    with IpcNode(tmp_path, "v31-rpc") as node:
        source = opened(node, subscribe=True)
        taken = Taken(source)
        taken.until("rpc:chain")
        assert taken.of("source:gap") == []
        assert source.trouble == ""


def test_garbage_in_a_callback_is_counted_and_harms_neither_side(node: IpcNode, opened: Open) -> None:
    taken = Taken(opened(node, subscribe=True))
    subscribed(node)
    node.notify("tx", tx="ff" * 50)
    node.notify("block", data="", hash="abcd")
    wait_until(lambda: taken.gaps("ipc-unreadable"), "no gap of the transaction")
    wait_until(lambda: taken.gaps("ipc-buffer-full"), "no gap of the block")
    node.notify("tx", tx=TX_HEX)
    taken.until("chain:tx_added")


def test_closing_takes_every_handler_back(node: IpcNode, opened: Open) -> None:
    source = opened(node, subscribe=True)
    subscribed(node)
    source.close()
    wait_until(lambda: node.report()["disconnected"] == 3)
    wait_until(lambda: node.report()["gone"] == 1)
    assert node.report()["destroyed"] == 3
    assert node.report()["abandoned"] == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_the_child_takes_every_handler_back(node: IpcNode, opened: Open, number: signal.Signals) -> None:
    source = opened(node, subscribe=True)
    subscribed(node)
    os.kill(children()[0], number)
    wait_until(lambda: node.report()["disconnected"] == 3)
    subscribed(node)  # by another child
    source.close()
    wait_until(lambda: node.report()["disconnected"] == 6)
    assert node.report()["abandoned"] == 0
    assert node.status is None


def test_a_subscription_in_the_making_is_taken_back(node: IpcNode, opened: Open) -> None:
    node.set(hanging=["subscribe"])
    opened(node, subscribe=True)
    wait_until(lambda: node.report()["subscribed:chain"] == 1)
    os.kill(children()[0], signal.SIGTERM)
    wait_until(lambda: node.report()["clients"] == 1)
    node.set(hanging=[])
    wait_until(lambda: node.report()["disconnected"] == 1, lambda: f"a handler is left: {node.report()}")
    assert node.status is None


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_death_of_the_parent_takes_every_handler_back(node: IpcNode, number: signal.Signals) -> None:
    command = [sys.executable, "-c", CLIENT, str(node.socket)]
    with killed_on_failure(subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)) as parent:
        subscribed(node)
        (child,) = children(parent.pid)
        parent.send_signal(number)
        parent.wait(300)
        wait_until(lambda: node.report()["disconnected"] == 3, lambda: f"handlers are left: {node.report()}")
        wait_until(lambda: not Path(f"/proc/{child}").exists(), "the child outlives its parent")
    assert node.report()["abandoned"] == 0
    assert node.status is None


@pytest.mark.slow
def test_a_program_that_ends_waits_for_its_child(node: IpcNode, tmp_path: Path) -> None:
    over = tmp_path / "over"
    ending = CLIENT.replace("while True:", "while not os.path.exists(sys.argv[2]):") + "\nsource.close()\n"
    command = [sys.executable, "-c", f"import os\n{ending}", str(node.socket), str(over)]
    with killed_on_failure(subprocess.Popen(command, cwd=ROOT)) as parent:
        subscribed(node)
        (child,) = children(parent.pid)
        over.touch()
        parent.wait(300)
        assert not Path(f"/proc/{child}").exists()
    assert node.report()["disconnected"] == 3


@pytest.mark.slow
def test_a_killed_child_is_what_the_fake_node_cannot_survive(node: IpcNode, opened: Open) -> None:
    """The danger that the documentation names; and the source comes back when the node does."""
    source = opened(node, subscribe=True)
    taken = Taken(source)
    subscribed(node)
    node.notify("flush")
    taken.until("chain:flushed")
    os.kill(children()[0], signal.SIGKILL)
    wait_until(lambda: node.status == 134, "the node has survived")
    wait_until(lambda: source.trouble, "no trouble")
    node.end()
    node.start()
    subscribed(node)
    (gap,) = wait_until(lambda: taken.gaps("ipc-not-connected"), "no gap")[:1]
    assert "chain:flushed" in gap.strings("kinds").tolist()[0]
    assert int(gap.numbers("from_ns")[0]) < int(gap.numbers("to_ns")[0])


@pytest.mark.slow
def test_a_node_that_hangs_at_the_end_delays_it_by_a_bounded_time(tmp_path: Path, opened: Open) -> None:
    with IpcNode(tmp_path, "tracing") as node:
        source = opened(node, subscribe=True)
        subscribed(node)
        node.set(hanging=["disconnect"])
        (child,) = children()
        source.close()
        wait_until(lambda: not Path(f"/proc/{child}").exists(), "the child hangs as its node does")


def test_buffers_are_bounded_and_count_what_they_lose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buffers_module, "MOST_BYTES", 3 * COIN.size)
    times = iter([10, 20, 15, 30, 40])
    buffers = Buffers(frozenset({"utxocache:add"}), lambda: next(times))
    for _ in range(4):
        now_ns = buffers.now_ns()
        buffers.add("utxocache:add", now_ns, COIN.pack(now_ns, bytes(32), 0, 0, 5, False), value_sat=5)
    buffers.add("utxocache:spent", 30, b"unread")
    (events,) = buffers.take()
    columns, bad = columns_of(events.kind, events.records)
    assert (np.asarray(columns["time_ns"]).tolist(), bad) == ([10, 20, 20], 0), "times never fall"
    assert (events.lost, events.from_ns, events.to_ns) == (1, 30, 30)
    assert buffers.mark().counts == {"utxocache:add": (4, 20), "utxocache:spent": (1, 0)}
    assert buffers.take() == []


def test_the_child_needs_no_numpy() -> None:
    code = "import sys; sys.modules['numpy'] = None; import watchdog.sources.ipc.child.main"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=300)


@pytest.mark.parametrize("kind", sorted(FORMS))
def test_records_of_any_bytes_are_read(kind: str) -> None:
    rng = np.random.default_rng(7)
    for size in (*range(130), 1_000):
        columns, _ = columns_of(kind, rng.bytes(size))
        assert len({len(column) for column in columns.values()}) == 1
    if FORMS[kind] is TX:
        claimed = TX.pack(1, 2, (1 << 32) - 1)
        columns, bad = columns_of(kind, claimed)
        assert (len(columns["time_ns"]), bad) == (0, 1)


@pytest.mark.parametrize(
    ("raw", "count"),
    [("", 0), ("05", 5), ("fd2c01", 300), ("fe00000100", 65_536), ("ff" * 9, (1 << 32) - 1), ("fd01", 1)],
)
def test_the_count_of_a_block_is_read_from_any_bytes(raw: str, count: int) -> None:
    assert transactions_of(bytes.fromhex(raw)) == count
