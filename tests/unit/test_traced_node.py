"""The traced node of the tests: it fires as Core does, only while a semaphore is raised, and where the notes say."""

from __future__ import annotations

from pathlib import Path

from tests.support.traced_node import DROPPED, NONE, TracedNode
from watchdog.extract.elf import read_binary

HASH = bytes(range(32))
ADDRESS = "198.51.100.7:8333"
CALLS: dict[str, tuple[str | int | bytes, ...]] = {
    "net:inbound_message": (1, ADDRESS, "inbound", "ping", b"\x01" * 8),
    "net:outbound_message": (1, ADDRESS, "inbound", "ping", "pattern:4000000:1"),
    "net:inbound_connection": (1, ADDRESS, "inbound", 1, 9),
    "net:outbound_connection": (1, ADDRESS, "feeler", 1, 9),
    "net:evicted_inbound_connection": (1, ADDRESS, "inbound", 1, 1_700_000_000),
    "net:closed_connection": (1, ADDRESS, "inbound", 1, 1_700_000_000),
    "net:misbehaving_connection": (1, "headers not connected"),
    "validation:block_connected": (HASH, 840_000, 3_000, 7_000, 60_000, 123_456_789),
    "utxocache:flush": (1_000, 2, 10, 2_000, False),
    "utxocache:add": (HASH, 1, 840_000, 5_000_000_000, True),
    "utxocache:spent": (HASH, 1, 840_000, 5_000_000_000, False),
    "utxocache:uncache": (HASH, 1, 840_000, 5_000_000_000, False),
    "coin_selection:selected_coins": ("", "bnb", 1_000, -7, 1_100),
    "coin_selection:normal_create_tx_internal": ("hot", True, 141, -1),
    "coin_selection:attempting_aps_create_tx": ("hot",),
    "coin_selection:aps_create_tx_internal": ("hot", True, False, 141, 0),
    "mempool:added": (HASH, 141, 1_000),
    "mempool:removed": (HASH, "expiry", 141, 1_000, 1_700_000_000),
    "mempool:replaced": (HASH, 141, 1_000, 1_700_000_000, HASH, 142, 2_000, True),
    "mempool:rejected": (HASH, "min relay fee not met"),
    "addrman:attempt_add": (True, 7, 63, ADDRESS, 64_500, "203.0.113.1", 0),
    "addrman:move_to_good": (7, 63, ADDRESS, 64_500, "203.0.113.1", 0),
    "udp:block_race_winner": (HASH, 840_000, "FIBRE/UDP", ADDRESS),
    "udp:block_race_time": (HASH, 840_000, 5_000_000, ADDRESS, -1, "n/a"),
    "udp:block_tail": (-3, 65_535, 255, b"\x01\x02"),
}
"""Every probe with arguments that fit it."""


def raise_semaphore(node: TracedNode, address: int, value: int) -> None:
    """Do what the kernel does when a tracer attaches: write to the semaphore in the process."""
    maps = Path(f"/proc/{node.pid}/maps").read_text(encoding="ascii").splitlines()
    start = next(int(line.split("-")[0], 16) for line in maps if line.endswith(str(node.binary)))
    with Path(f"/proc/{node.pid}/mem").open("r+b", buffering=0) as memory:
        memory.seek(start + address)
        memory.write(value.to_bytes(2, "little"))


def test_nothing_fires_while_nothing_is_attached() -> None:
    with TracedNode(fibre=True) as node:
        assert set(node.semaphores()) == set(CALLS)
        assert set(node.semaphores().values()) == {0}
        assert not any(node.probe(name, *arguments) for name, arguments in CALLS.items())
        assert node.flood("in", 1_000, 128).fired == 0


def test_each_probe_fires_while_its_own_semaphore_is_raised() -> None:
    with TracedNode(fibre=True) as node:
        places = {name: sites[0].semaphore for name, sites in read_binary(node.binary).sites().items()}
        for name, arguments in CALLS.items():
            raise_semaphore(node, places[name], 1)
            assert {one for one, value in node.semaphores().items() if value} == {name}
            assert [one for one, given in CALLS.items() if node.probe(one, *given)] == [name], arguments
            raise_semaphore(node, places[name], 0)


def test_texts_and_payloads_may_be_on_pages_that_are_not_there() -> None:
    with TracedNode() as node:
        raise_semaphore(node, read_binary(node.binary).sites()["net:inbound_message"][0].semaphore, 1)
        for mark in (DROPPED, NONE):
            assert node.probe("net:inbound_message", 1, mark + ADDRESS, "inbound", "ping", b"")
            assert node.message(f"{mark}pattern:100000:3")


def test_a_flood_fires_what_it_sends_at_the_rate_that_was_asked() -> None:
    with TracedNode() as node:
        raise_semaphore(node, read_binary(node.binary).sites()["net:outbound_message"][0].semaphore, 1)
        node.start_flood("out", 200, 4_096, rate=1_000, peers=3)
        slow = node.end_flood()
        assert (slow.sent, slow.fired) == (200, 200)
        assert slow.ns >= 199_000_000, "the last one is due after 199 ms"
        assert node.flood("out", 10_000, 128).fired == 10_000


def test_it_ends_as_it_is_told() -> None:
    for end in (TracedNode.end, TracedNode.crash, TracedNode.kill):
        with TracedNode() as node:
            end(node)
            assert not Path(f"/proc/{node.pid}").exists()
