"""Which messages name a new block: those that cost work, each block once; and how old the newest one is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.capture_files import (
    MINUTE_US,
    OTHER,
    PEER,
    SECOND_US,
    START_US,
    append,
    column,
    drained,
    events,
    follower,
    handshake,
    ping,
    record,
    slices_of,
)
from tests.support.chain import EASIEST, HARDER, block_inv, compact, hash_of, headers, mined
from watchdog.core.errors import StateError
from watchdog.sources.capture import new_blocks
from watchdog.sources.capture.new_blocks import BLOCKS_KEPT, NewBlocks

START_S = START_US // SECOND_US
HOUR_US = 60 * MINUTE_US


@pytest.fixture(autouse=True)
def costly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work that tests can do counts as much as a real chain's."""
    monkeypatch.setattr(new_blocks, "EASY", 1 << 250)


def named(tmp_path: Path) -> list[object]:
    """Hashes of the blocks that a capture names, in order."""
    return column(slices_of(tmp_path), "p2p:new_block", "hash")


def send(tmp_path: Path, at_us: int, type_: str, payload: bytes, *, folder: str = PEER, received: bool = True) -> None:
    """One message of a peer."""
    append(tmp_path, folder, received, record(at_us, type_, payload))


def test_a_block_is_named_once_by_whatever_message_and_peer(tmp_path: Path) -> None:
    header = mined(START_S)
    send(tmp_path, START_US, "headers", headers(header))
    send(tmp_path, START_US + SECOND_US, "cmpctblock", compact(header), folder=OTHER)
    send(tmp_path, START_US + 2 * SECOND_US, "headers", headers(header), folder=OTHER)
    send(tmp_path, START_US + 3 * SECOND_US, "block", header + b"\x01" + bytes(60))
    slices = slices_of(tmp_path)
    assert column(slices, "p2p:new_block", "hash") == [hash_of(header)]
    assert column(slices, "p2p:new_block", "type") == ["headers"]
    assert column(slices, "p2p:new_block", "flow") == ["received"]


@pytest.mark.parametrize("type_", ["headers", "cmpctblock", "inv"])
def test_what_the_node_sends_is_told_beside_what_it_receives(tmp_path: Path, type_: str) -> None:
    header = mined(START_S)
    send(tmp_path, START_US, "headers", headers(header))
    payload = {"headers": headers(header), "cmpctblock": compact(header), "inv": block_inv(header)}[type_]
    send(tmp_path, START_US + SECOND_US, type_, payload, folder=OTHER, received=False)
    assert column(slices_of(tmp_path), "p2p:new_block", "flow") == ["received", "sent"]


# What one peer sends for nothing, once a real block was seen: none of it names a block.
def forged(kind: str, at_us: int) -> tuple[str, bytes]:
    now = at_us // SECOND_US
    return {
        "zeros": ("headers", headers(bytes(80))),
        "own easy target": ("headers", headers(mined(now, EASIEST, salt=5))),
        "old": ("headers", headers(mined(now - 3 * 3600, salt=6))),
        "of the future": ("headers", headers(mined(now + 3 * 3600, salt=7))),
        "no work": ("headers", headers(mined(now, salt=8)[:76] + b"\xff\xff\xff\xff")),
        "negative target": ("headers", headers(mined(now)[:72] + (0x1FFFFFFF).to_bytes(4, "little") + bytes(4))),
        "compact": ("cmpctblock", compact(bytes(80))),
        "block": ("block", bytes(80) + b"\x01" + bytes(60)),
        "inv": ("inv", block_inv(bytes(80))),
        "cut short": ("headers", headers(mined(now, salt=9))[:-1]),
        "empty": ("headers", b"\0"),
        "nothing": ("headers", b""),
    }[kind]


FORGED = ("zeros", "own easy target", "old", "of the future", "no work", "negative target", "compact", "block", "inv")
BROKEN = ("cut short", "empty", "nothing")


@pytest.mark.parametrize("kind", [*FORGED, *BROKEN])
def test_what_costs_no_work_names_no_block(tmp_path: Path, kind: str) -> None:
    real = mined(START_S)
    send(tmp_path, START_US, "headers", headers(real))
    for minute in range(1, 6):
        at_us = START_US + minute * MINUTE_US
        send(tmp_path, at_us, *forged(kind, at_us), folder=f"9.9.{minute}.9_{50000 + minute}")
    assert named(tmp_path) == [hash_of(real)]


def test_a_real_block_named_again_an_hour_later_is_not_new(tmp_path: Path) -> None:
    real = [mined(START_S, salt=n) for n in range(3)]
    send(tmp_path, START_US, "headers", headers(*real))
    for n, header in enumerate(real):
        send(tmp_path, START_US + HOUR_US + n, "headers", headers(header))
    assert sorted(map(str, named(tmp_path))) == sorted(str(hash_of(header)) for header in real)


def test_without_any_work_a_block_needs_three_addresses(tmp_path: Path) -> None:
    for n in range(5):  # one address, many connections
        send(tmp_path, START_US + n, "headers", headers(bytes(80)), folder=f"9.9.9.9_{50000 + n}")
    assert named(tmp_path) == []
    for n in range(2):
        send(tmp_path, START_US + SECOND_US + n, "headers", headers(bytes(80)), folder=f"9.9.{n}.8_50000")
    assert named(tmp_path) == [hash_of(bytes(80))]


def test_where_work_costs_seconds_a_block_needs_three_addresses_or_this_node(tmp_path: Path) -> None:
    many, one, ours = (mined(START_S, EASIEST, salt=n) for n in range(3))
    for n in range(3):
        send(tmp_path, START_US + n, "headers", headers(many), folder=f"9.9.{n}.9_50000")
        send(tmp_path, START_US + SECOND_US + n, "headers", headers(one), folder=f"7.7.7.7_{50000 + n}")
    send(tmp_path, START_US + 2 * SECOND_US, "cmpctblock", compact(ours), received=False)
    assert named(tmp_path) == [hash_of(many), hash_of(ours)]


# The first blocks of Bitcoin, difficulty 1: what costs work on the real chain needs one message
def test_a_header_of_the_real_chain_counts_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    merkle = bytes.fromhex("4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b")[::-1]
    numbers = (1231006505, 0x1D00FFFF, 2083236893)
    genesis = b"\1\0\0\0" + bytes(32) + merkle + b"".join(n.to_bytes(4, "little") for n in numbers)
    send(tmp_path, 1231006505 * SECOND_US + 600 * SECOND_US, "headers", headers(genesis))
    (found,) = named(tmp_path)
    assert isinstance(found, bytes)
    assert found[::-1].hex() == "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f"


def test_the_age_of_the_newest_block_is_told_while_there_are_messages(tmp_path: Path) -> None:
    append(tmp_path, PEER, True, ping(START_US))
    send(tmp_path, START_US + MINUTE_US, "headers", headers(mined(START_S)))
    for minute in (7, 8, 30):
        append(tmp_path, OTHER, False, ping(START_US + minute * MINUTE_US))
    slices = slices_of(tmp_path)
    ages = [-1, 6 * 60, 29 * 60]
    seen = column(slices, "chain:block_age", "block_age_s")
    assert [age for age in seen if age in ages] == ages
    assert len(seen) <= 5


def test_a_resumed_source_remembers_the_blocks_and_the_work(tmp_path: Path) -> None:
    handshake(tmp_path, PEER, START_US, inbound=True)
    real = mined(START_S)
    send(tmp_path, START_US + SECOND_US, "headers", headers(real))
    first = drained(follower(tmp_path))
    later_us = START_US + 10 * MINUTE_US
    send(tmp_path, later_us, "headers", headers(real, mined(START_S + 600, EASIEST, salt=1), mined(START_S + 600)))
    append(tmp_path, PEER, True, ping(later_us + MINUTE_US))
    resumed = drained(follower(tmp_path, first[-1].position))
    assert column([*first, *resumed], "p2p:new_block", "hash") == [hash_of(real), hash_of(mined(START_S + 600))]
    new = [one for one in events(slices_of(tmp_path)) if str(one[0]).startswith(("p2p:new_block", "chain:block_age"))]
    both = [one for one in events([*first, *resumed]) if str(one[0]).startswith(("p2p:new_block", "chain:block_age"))]
    assert both == new


def test_a_position_of_before_there_were_new_blocks_goes_on_without_any(tmp_path: Path) -> None:
    handshake(tmp_path, PEER, START_US, inbound=True)
    position = dict(drained(follower(tmp_path))[-1].position or {})
    del position["blocks"]
    send(tmp_path, START_US + SECOND_US, "headers", headers(mined(START_S)))
    append(tmp_path, PEER, True, ping(START_US + MINUTE_US))
    assert len(column(drained(follower(tmp_path, position)), "p2p:new_block", "hash")) == 1


@pytest.mark.parametrize("saved", [5, {}, {"hardest": "x"}, {"hardest": "0", "step": 0, "last_us": 0, "known": [[1]]}])
def test_a_damaged_position_is_refused(saved: object) -> None:
    with pytest.raises(StateError, match="damaged"):
        NewBlocks(saved)


def test_blocks_are_remembered_up_to_a_bound(tmp_path: Path) -> None:
    for n in range(BLOCKS_KEPT + 20):
        send(tmp_path, START_US + n * 1000, "headers", headers(mined(START_S, EASIEST, salt=n)), received=False)
    last = drained(follower(tmp_path))[-1].position
    assert last is not None
    blocks = last["blocks"]
    assert isinstance(blocks, dict)
    assert len(blocks["known"]) <= BLOCKS_KEPT


def test_harder_is_harder() -> None:
    assert int.from_bytes(hash_of(mined(START_S, HARDER)), "little") < 1 << 247
