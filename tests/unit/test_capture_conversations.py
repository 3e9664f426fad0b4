"""Capture files to events: connections, their directions and ends, questions and their answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.capture_files import (
    MINUTE_US,
    OTHER,
    PEER,
    SECOND_US,
    START_US,
    addr_payload,
    append,
    column,
    handshake,
    ping,
    pong,
    record,
    slices_of,
)


def test_who_speaks_first_opened_the_connection(tmp_path: Path) -> None:
    handshake(tmp_path, PEER, START_US, inbound=True)
    handshake(tmp_path, "9.9.9.9_50000", START_US, inbound=False)
    slices = slices_of(tmp_path)
    assert column(slices, "net:inbound_connection", "peer") == ["8.8.8.8:50000"]
    assert column(slices, "net:outbound_connection", "peer") == ["9.9.9.9:50000"]


@pytest.mark.parametrize(
    ("folder", "asked", "direction"),
    [("8.8.8.8_50000", False, "in"), ("8.8.8.8_8333", False, "out"), ("8.8.8.8_50000", True, "out")],
    ids=["ephemeral-port", "listening-port", "we-send-getaddr"],
)
def test_with_equal_timestamps_other_evidence_decides(tmp_path: Path, folder: str, asked: bool, direction: str) -> None:
    handshake(tmp_path, folder, START_US, inbound=True, reply_us=0)
    if asked:
        append(tmp_path, folder, False, record(START_US, "getaddr"))
    assert set(column(slices_of(tmp_path), "p2p:version", "direction")) == {direction}


def test_a_peer_that_skips_the_handshake_is_inbound(tmp_path: Path) -> None:
    append(tmp_path, PEER, True, ping(START_US))
    assert column(slices_of(tmp_path), "net:inbound_message", "direction") == ["in"]


def test_a_second_version_that_we_send_is_a_new_connection(tmp_path: Path) -> None:
    for at in range(3):
        handshake(tmp_path, OTHER, START_US + at * MINUTE_US, inbound=False)
        append(tmp_path, OTHER, True, ping(START_US + at * MINUTE_US + SECOND_US))
    slices = slices_of(tmp_path)
    assert column(slices, "net:outbound_connection", "conn") == [0, 1, 2]
    assert column(slices, "net:outbound_connection", "connections") == [1, 1, 1]
    assert column(slices, "net:closed_connection", "lived_s") == [1, 1]
    assert column(slices, "net:inbound_message", "conn") == [0, 0, 1, 1, 2, 2]
    assert column(slices, "net:inbound_message", "age_s") == [0, 1, 0, 1, 0, 1]


def test_an_inbound_peer_that_comes_back_begins_with_its_own_version(tmp_path: Path) -> None:
    for at in range(2):
        handshake(tmp_path, PEER, START_US + at * MINUTE_US, inbound=True, reply_us=300)
    slices = slices_of(tmp_path)
    assert column(slices, "net:inbound_message", "conn") == [0, 1]
    assert column(slices, "net:inbound_connection", "connections") == [1, 1]


def test_a_version_that_the_peer_repeats_is_no_new_connection(tmp_path: Path) -> None:
    handshake(tmp_path, PEER, START_US, inbound=True)
    append(tmp_path, PEER, True, record(START_US + SECOND_US, "version", bytes(85)) * 3)
    assert column(slices_of(tmp_path), "net:inbound_connection", "conn") == [0]


def test_twenty_silent_minutes_end_a_connection_when_they_are_over(tmp_path: Path) -> None:
    handshake(tmp_path, PEER, START_US, inbound=True)
    handshake(tmp_path, OTHER, START_US, inbound=False)
    for minute in range(1, 40):
        append(tmp_path, OTHER, True, ping(START_US + minute * MINUTE_US))
    slices = slices_of(tmp_path)
    assert column(slices, "net:closed_connection", "peer") == ["8.8.8.8:50000"]
    assert column(slices, "net:closed_connection", "time_ns") == [(START_US + 50_000 + 20 * MINUTE_US) * 1000]
    for slice_ in slices:
        for batch in slice_.batches:
            assert batch.time_ns.min() >= START_US * 1000


def test_the_addr_bucket_follows_the_connection(tmp_path: Path) -> None:
    handshake(tmp_path, OTHER, START_US, inbound=False)
    append(tmp_path, OTHER, False, record(START_US + 60_000, "getaddr"))
    append(tmp_path, OTHER, True, record(START_US + SECOND_US, "addr", addr_payload(600)))
    append(tmp_path, OTHER, True, record(START_US + SECOND_US, "addr", addr_payload(600)))
    slices = slices_of(tmp_path)
    assert column(slices, "p2p:addr", "processed") == [600, 401]
    assert column(slices, "p2p:addr", "beyond_limit") == [0, 199]
    assert column(slices, "p2p:addr", "solicited") == [True, False]
    assert column(slices, "p2p:getaddr", "repeat") == [1]


def test_pongs_answer_pings_of_the_other_side(tmp_path: Path) -> None:
    handshake(tmp_path, PEER, START_US, inbound=True)
    append(tmp_path, PEER, False, ping(START_US + SECOND_US, 1))
    append(tmp_path, PEER, True, pong(START_US + SECOND_US + 250, 1) + pong(START_US + SECOND_US + 300, 1))
    slices = slices_of(tmp_path)
    assert column(slices, "p2p:pong", "solicited") == [True, False]
    assert column(slices, "p2p:pong", "rtt_us") == [250, -1]


def test_headers_are_solicited_once_for_each_getheaders(tmp_path: Path) -> None:
    handshake(tmp_path, PEER, START_US, inbound=True)
    locator = (70016).to_bytes(4, "little") + b"\0" + bytes(32)
    append(tmp_path, PEER, False, record(START_US + SECOND_US, "getheaders", locator))
    append(tmp_path, PEER, True, b"".join(record(START_US + at * SECOND_US, "headers", b"\0") for at in (2, 3)))
    assert column(slices_of(tmp_path), "p2p:headers", "solicited") == [True, False]
