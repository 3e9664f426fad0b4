"""Every decoder on hostile input: never raises, never allocates beyond a bound, and no message sees another."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from watchdog.core.batch import Blobs, Column
from watchdog.core.enrich import Enricher
from watchdog.core.kinds import KINDS
from watchdog.sources.wire.decode import KNOWN_TYPES, decode
from watchdog.sources.wire.messages import Messages

TYPES = [*sorted(KNOWN_TYPES), "alert", "", "\x00\udcff"]
PARTS = frozenset({"p2p:addr_entry", "p2p:tx_input"})  # beside the event of the message
ENRICHER = Enricher()
Row = tuple[str, int, tuple[tuple[str, object], ...]]

# counts that decide what follows: small, wide, not in shortest form, at and above the limits
heads = st.sampled_from(
    [b"", b"\0", b"\1", b"\2", b"\x05", b"\x20", b"\xfc", b"\xfd\xfd\0", b"\xfd\xfc\0", b"\xfd\xe8\3", b"\xfd\xff\xff",
     b"\xfe\0\0\1\0", b"\xfe\0\0\0\2", b"\xfe\xff\xff\xff\xff", b"\xff" * 9, b"\xfe", b"\xff\0"]
)  # fmt: skip
hostile = st.builds(
    lambda front, head, rest, times: front + head + rest * times,
    st.sampled_from([b"", bytes(4), bytes(32), bytes(33), bytes(65), bytes(80), bytes(84), bytes(88)]),
    heads,
    st.binary(max_size=120),
    st.integers(1, 4),
)


def messages(type_: str, payloads: list[bytes]) -> Messages:
    count = len(payloads)
    sender = Blobs.of([payload[:16] for payload in payloads])
    times = np.arange(count, dtype=np.int64) * 0 + 1_700_000_000_000_000_000
    return Messages(type_, times, Blobs.of(payloads), np.ones(count, np.bool_), sender)


def rows(type_: str, payloads: list[bytes]) -> list[Row]:
    """Every event as plain values: kind, message, fields."""
    answer: list[Row] = []
    for one in decode(messages(type_, payloads), ENRICHER, lambda kind: True):
        columns: dict[str, Column] = one.columns
        plain = {name: column.tolist() for name, column in columns.items()}
        assert set(plain) <= set(KINDS[one.kind].fields)
        assert all(len(values) == len(one.rows) for values in plain.values())
        assert np.all(np.diff(one.rows) >= 0)
        for at, row in enumerate(one.rows.tolist()):
            answer.append((one.kind, row, tuple((name, values[at]) for name, values in plain.items())))
    return sorted(answer, key=lambda row: (row[1], row[0]))


@pytest.mark.fuzz
@settings(max_examples=300, deadline=None)
@given(st.sampled_from(TYPES), st.lists(hostile, min_size=1, max_size=6))
def test_messages_decoded_together_give_what_each_gives_alone(type_: str, payloads: list[bytes]) -> None:
    together = rows(type_, payloads)
    alone = [(kind, at, fields) for at, one in enumerate(payloads) for kind, _, fields in rows(type_, [one])]
    assert together == alone


@pytest.mark.fuzz
@settings(max_examples=200, deadline=None)
@given(st.sampled_from(TYPES), st.lists(st.binary(max_size=400), min_size=1, max_size=8))
def test_random_bytes_give_one_event_of_the_message_or_one_refusal(type_: str, payloads: list[bytes]) -> None:
    for row in range(len(payloads)):
        kinds = [kind for kind, at, _ in rows(type_, payloads) if at == row and kind not in PARTS]
        assert len(kinds) <= 1
        assert kinds or type_ in KNOWN_TYPES


@pytest.mark.fuzz
@pytest.mark.parametrize("type_", TYPES)
def test_many_messages_that_declare_much_and_hold_little_take_little_memory(type_: str) -> None:
    declared = [b"\xfd\xe8\3", b"\xfe\x50\xc3\0\0", b"\xfe\0\0\0\2", b"\xfd\xd0\7", b"\x65"]
    fronts = [b"", bytes(4), bytes(32), bytes(33), bytes(65), bytes(80), bytes(84), bytes(88)]
    payloads = [front + count + bytes(9) for front in fronts for count in declared] * 250
    several = messages(type_, payloads)
    tracemalloc.start()
    try:
        decode(several, ENRICHER, lambda kind: True)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 40 * len(several.payload.data) + 400 * len(several)


@pytest.mark.fuzz
@pytest.mark.parametrize("type_", ["addr", "addrv2", "inv", "headers", "tx", "cmpctblock"])
@pytest.mark.parametrize("byte", [0x00, 0x01, 0x04, 0x08, 0xFC, 0xFD, 0xFF])
def test_a_message_of_the_largest_size_is_decoded_with_bounded_work(type_: str, byte: int) -> None:
    for front in (b"", b"\xfd\xe8\3", b"\xfe\0\0\1\0", bytes(4) + b"\xfe\0\0\1\0"):
        payload = front + bytes([byte]) * (4_000_000 - len(front))
        assert len(rows(type_, [payload])) <= 1_001
