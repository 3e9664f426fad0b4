"""The C reader alone, on memory that looks like rings: what a record says is checked before it is used."""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence

import pytest

from tests.support.extraction import ROOT
from tests.support.parts import lacking
from watchdog.extract.build import READER
from watchdog.extract.libbpf import ExtractError
from watchdog.extract.program import RING_NAMES
from watchdog.extract.reader import DrainedRecords, ProbePlan, RingReader

PAGE = os.sysconf("SC_PAGESIZE")
SIZE = 1 << 16
BUSY, DISCARDED = 1 << 31, 1 << 30
MESSAGE, EVENT, TEXT, PAYLOAD = 0, 1, 2, 3
HEAD = struct.Struct("=QIHH")


class Rings:
    """Files that look like the memory of BPF ring buffers: a consumer's page, a producer's page, the data."""

    def __init__(self) -> None:
        self._files = [os.memfd_create(f"ring-{name}") for name in RING_NAMES]
        for file in self._files:
            os.ftruncate(file, 2 * PAGE + 2 * SIZE)
        self._filled = [0] * len(self._files)
        self.reader = RingReader([(file, SIZE) for file in self._files])

    def put(self, ring: int, record: bytes, *, length: int | None = None) -> None:
        """Add a record; length: what its head says."""
        at = self._filled[ring]
        size = len(record) if length is None else length
        raw = struct.pack("=II", size, 0) + record
        os.pwrite(self._files[ring], raw, 2 * PAGE + at)
        self._filled[ring] = at + (len(raw) + 7) // 8 * 8
        os.pwrite(self._files[ring], struct.pack("=Q", self._filled[ring]), PAGE)

    def drain(self) -> DrainedRecords:
        """Drain once."""
        return self.reader.drain(0)

    def close(self) -> None:
        """Unmap and close."""
        self.reader.close()
        for file in self._files:
            os.close(file)


@pytest.fixture
def rings() -> Iterator[Rings]:
    if not READER.exists():
        lacking("the reader was not built: no C compiler")
    made = Rings()
    yield made
    made.close()


def message(
    time_ns: int = 1, *, slot: int = 0, sizes: Sequence[int] = (13, 8, 5), payload: bytes = b"", payload_size: int = -2
) -> bytes:
    """A message of peer 7; sizes: of address, connection type and message type, with NUL."""
    size = len(payload) if payload_size == -2 else payload_size
    head = HEAD.pack(time_ns, 4711, slot, 0)
    fixed = struct.pack("=qQiHHH3H", 7, 100, size, *sizes, 0, 0, 0)
    texts = b"ping".ljust(24, b"\0") + b"inbound".ljust(40, b"\0") + b"1.2.3.4:8333".ljust(264, b"\0")
    return head + fixed + texts + payload


def event(values: Sequence[int], area: bytes, *, slot: int = 1, time_ns: int = 1) -> bytes:
    """A record of another tracepoint."""
    return HEAD.pack(time_ns, 4711, slot, 0) + struct.pack("=12Q", *values, *[0] * (12 - len(values))) + area


def test_a_record_is_read_as_it_was_written(rings: Rings) -> None:
    rings.put(MESSAGE, message())
    rings.put(PAYLOAD, message(2, payload=b"\x01\x02"))
    found = rings.drain()
    assert found.messages.peer.tolist() == [7, 7]
    assert found.messages.payload_size.tolist() == [0, 2]
    assert bytes(found.messages.payload) == b"\x01\x02"
    assert [found.strings[code] for code in found.messages.address.tolist()] == [(b"1.2.3.4:8333", False)] * 2
    assert rings.drain().messages.time_ns.tolist() == []
    assert rings.reader.received()[:4] == (1, 0, 0, 1)


@pytest.mark.parametrize("payload_size", [3, 1 << 30, -5, -1, 1 << 22])
def test_a_payload_that_is_not_there_is_unreadable(rings: Rings, payload_size: int) -> None:
    rings.put(PAYLOAD, message(payload=b"\x01\x02", payload_size=payload_size))
    found = rings.drain().messages
    assert (found.payload_size.tolist(), len(found.payload)) == ([-1], 0)


@pytest.mark.parametrize("sizes", [(65_535, 8, 5), (13, 41, 5), (13, 8, 25), (0, 0, 0)])
def test_texts_of_impossible_sizes_are_unreadable(rings: Rings, sizes: tuple[int, int, int]) -> None:
    rings.put(MESSAGE, message(sizes=sizes))
    found = rings.drain().messages
    codes = (found.address[0], found.connection[0], found.type[0])
    expected = [size != true for size, true in zip(sizes, (13, 8, 5), strict=True)]
    assert [code < 0 for code in codes] == expected


def test_texts_and_hashes_outside_of_a_record_are_unreadable(rings: Rings) -> None:
    plan = ProbePlan(count=4)
    for at, (what, place) in enumerate(((2, 0), (3, 255), (2, 200), (4, 30))):
        plan.what[at], plan.place[at] = what, place
    rings.reader.set_plan(1, plan)
    rings.put(TEXT, event([4, 32, 4, 200], b"abc\0".ljust(264, b"\0")))
    found = rings.drain()
    assert found.events.values[0, :4].tolist() == [0, -1, -1, -1]
    assert found.strings == ((b"abc", False),)


@pytest.mark.parametrize(
    ("ring", "record", "length"),
    [
        (MESSAGE, message(), SIZE),
        (MESSAGE, message()[:100], None),
        (EVENT, b"", None),
        (MESSAGE, message(slot=64), None),
        (EVENT, event([], b"", slot=65_535), None),
    ],
)
def test_what_the_program_does_not_write_ends_the_reading(
    rings: Rings, ring: int, record: bytes, length: int | None
) -> None:
    rings.put(ring, record, length=length)
    with pytest.raises(ExtractError, match="holds what the program does not write"):
        rings.drain()


def test_discarded_records_are_passed_over_and_unfinished_ones_hold_back_younger_ones(rings: Rings) -> None:
    rings.put(MESSAGE, message(), length=len(message()) | DISCARDED)
    rings.put(MESSAGE, message(5))
    rings.put(MESSAGE, message(6), length=len(message()) | BUSY)
    rings.put(PAYLOAD, message(4, payload=b"x"))
    rings.put(PAYLOAD, message(9, payload=b"y"))
    found = rings.drain()
    assert bytes(found.messages.payload) == b"x"
    assert len(found.messages.time_ns) == 2
    deadline = time.monotonic() + 10
    while not len(later := rings.drain().messages.time_ns) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(later) == 1  # a second later the rest no longer waits for it


def test_records_come_in_the_order_of_time_and_late_ones_at_the_watermark(rings: Rings) -> None:
    now = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    rings.put(MESSAGE, message(now - 3))
    rings.put(EVENT, event([], b"", time_ns=now - 2))
    rings.put(PAYLOAD, message(now - 4, payload=b"x"))
    found = rings.drain()
    assert found.messages.payload_size.tolist() == [1, 0]
    assert found.clamped == 0
    rings.put(MESSAGE, message(now - 10**9))
    late = rings.drain()
    assert (late.clamped, late.messages.time_ns.tolist()) == (1, [found.until_ns])
    assert late.until_ns >= found.until_ns


def test_a_full_buffer_ends_a_drain_and_nothing_is_lost(rings: Rings) -> None:
    for number in range(120):
        rings.put(PAYLOAD, message(number + 1, payload=b"x" * 8))
    found = rings.reader.drain(0, rows=1 << 30)
    assert found.messages.payload_end.tolist() == [8 * (at + 1) for at in range(120)]


FUZZ = """
import random, sys
from tests.unit.test_extract_reader import Rings, fuzzed
for seed in range(int(sys.argv[1])):
    fuzzed(random.Random(seed))
"""


def fuzzed(chance: random.Random) -> None:
    """Fill rings with damaged records and drain them: it ends with rows or with the one error."""
    rings = Rings()
    plan = ProbePlan(count=chance.randrange(13), length=chance.randrange(256), large=chance.randrange(2))
    ctypes.memmove(ctypes.addressof(plan) + 4, chance.randbytes(24), 24)
    rings.reader.set_plan(1, plan)
    for _ in range(chance.randrange(20)):
        made = chance.choice([message(payload=b"abc"), event([chance.getrandbits(64)] * 12, chance.randbytes(300))])
        record = bytearray(made)
        for _ in range(chance.randrange(8)):
            record[chance.randrange(len(record))] = chance.randrange(256)
        length = None if chance.random() < 0.9 else chance.getrandbits(32)
        kept = chance.randrange(len(record)) if chance.random() < 0.1 else len(record)
        rings.put(chance.randrange(9), bytes(record[:kept]), length=length)
    with contextlib.suppress(ExtractError):  # the one way to end
        for _ in range(3):
            rings.drain()
    rings.close()


@pytest.mark.fuzz
def test_damaged_records_never_end_the_process() -> None:
    if not READER.exists():
        lacking("the reader was not built: no C compiler")
    subprocess.run([sys.executable, "-c", FUZZ, "400"], check=True, timeout=300, cwd=ROOT)
