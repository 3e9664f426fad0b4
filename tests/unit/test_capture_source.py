"""Capture files to events: merging, catalogue, types, what is not wanted."""

from __future__ import annotations

import resource
from pathlib import Path

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
from tests.support.catalogue import check_batch
from watchdog.core.source import END_OF_TIME_NS, SourceOptions
from watchdog.sources.capture.source import KINDS


def test_messages_of_all_files_come_in_time_order(tmp_path: Path) -> None:
    for at in range(40):
        folder = f"8.8.{at}.8_50000"
        append(tmp_path, folder, True, b"".join(ping(START_US + at + 100 * step) for step in range(30)))
        append(tmp_path, folder, False, b"".join(pong(START_US + at + 100 * step + 50) for step in range(30)))
    slices = slices_of(tmp_path)
    received, sent = column(slices, "net:inbound_message", "time_ns"), column(slices, "net:outbound_message", "time_ns")
    assert received == sorted(received, key=str)
    assert len(received) == len(sent) == 1200
    assert sent == sorted(sent, key=str)


def test_every_batch_is_as_the_catalogue_says(tmp_path: Path) -> None:
    handshake(tmp_path, PEER, START_US, inbound=True)
    handshake(tmp_path, OTHER, START_US + SECOND_US, inbound=False)
    for received in (False, True):
        data = [
            record(START_US + 2 * SECOND_US, type_, addr_payload(3)) for type_ in ("addr", "getaddr", "x\x01y", "inv")
        ]
        append(tmp_path, PEER, received, b"".join(data) + ping(START_US + 3 * SECOND_US))
    append(tmp_path, PEER, True, pong(START_US + 4 * SECOND_US) + bytes(9))
    kinds = set()
    for slice_ in slices_of(tmp_path):
        for batch in slice_.batches:
            check_batch(batch)
            kinds.add(batch.kind)
    assert (
        {"net:inbound_connection", "net:outbound_connection", "p2p:addr", "p2p:unknown", "source:gap"} <= kinds <= KINDS
    )


def test_no_row_is_behind_the_watermark_of_the_slices_before(tmp_path: Path) -> None:
    handshake(tmp_path, PEER, START_US, inbound=True)
    append(tmp_path, OTHER, True, b"".join(ping(START_US + at * MINUTE_US) for at in range(300)))
    watermark = 0
    for slice_ in slices_of(tmp_path):
        for batch in slice_.batches:
            assert int(batch.time_ns.min()) >= watermark, batch.kind
        watermark = slice_.until_ns
    assert watermark == END_OF_TIME_NS


def test_five_thousand_files_are_read_without_holding_them_open(tmp_path: Path) -> None:
    for at in range(2500):
        handshake(tmp_path, f"8.{at >> 8}.{at & 255}.8_50000", START_US + at * SECOND_US, inbound=True)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))
    try:
        slices = slices_of(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert column(slices, "net:inbound_connection", "conn") == list(range(2500))


def test_types_that_strangers_make_up_keep_their_names_and_cost_little(tmp_path: Path) -> None:
    data = b"".join(record(START_US + at, f"odd\x01{at:x}", b"payload") for at in range(5000))
    append(tmp_path, PEER, True, data + record(START_US + 5000, "odd\\x01"))
    slices = slices_of(tmp_path)
    names = column(slices, "p2p:unknown", "type")
    assert names[:2] == ["odd\\x010", "odd\\x011"]
    assert names[-1] == "odd\\x5cx01", "an escape cannot be forged"
    assert len(set(names)) == 5001
    assert column(slices, "net:inbound_message", "type") == names
    assert not any(column(slices, "net:inbound_message", "known"))


def test_unwanted_kinds_are_not_made(tmp_path: Path) -> None:
    handshake(tmp_path, PEER, START_US, inbound=True)
    slices = slices_of(tmp_path, SourceOptions(wanted=frozenset({"p2p:version"})))
    assert {batch.kind for slice_ in slices for batch in slice_.batches} == {"p2p:version"}
