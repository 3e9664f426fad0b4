"""Messages of ZMQ publishers as events, and what their counters prove."""

from __future__ import annotations

import random
import struct

import msgspec
import numpy as np
import pytest

from tests.support.catalogue import check_batch
from watchdog.core.batch import Batch
from watchdog.core.errors import PositionError
from watchdog.sources.zmq.counters import ADDED, CONNECTED, DISCONNECTED, REMOVED, MempoolCounter, TopicCounter
from watchdog.sources.zmq.reader import SETTLE_NS, Drained, Reader, TopicState, ZmqPosition, position_from

TOPICS = frozenset({"hashblock", "sequence"})
SECOND = 1_000_000_000
NOW = 1_768_212_000 * SECOND


def counter(number: int) -> bytes:
    return struct.pack("<I", number % (1 << 32))


def tip(number: int, first_byte: int = 7) -> list[bytes]:
    return [b"hashblock", bytes([first_byte]) + bytes(30) + b"\x01", counter(number)]


def change(number: int, label: int, mempool: int | None = None) -> list[bytes]:
    tail = b"" if mempool is None else struct.pack("<Q", mempool)
    return [b"sequence", bytes([number % 256]) * 32 + bytes([label]) + tail, counter(number)]


def reader(position: ZmqPosition | None = None, wanted: frozenset[str] | None = None) -> Reader:
    wants = (lambda _kind: True) if wanted is None else wanted.__contains__
    return Reader("zmq:x", "alice", wants, position or ZmqPosition())


def read(at: Reader, second: float, *messages: list[bytes]) -> tuple[Batch, ...]:
    drained = Drained()
    for frames in messages:
        drained.add(frames, TOPICS)
    batches = at.read(drained, NOW + int(second * SECOND))
    for batch in batches:
        check_batch(batch)
    return batches


def gaps(batches: tuple[Batch, ...]) -> list[tuple[str, str, int]]:
    return [
        (batch.strings("kinds").tolist()[0], batch.strings("reason").tolist()[0], int(batch.numbers("lost")[0]))
        for batch in batches
        if batch.kind == "source:gap"
    ]


def kinds(batches: tuple[Batch, ...]) -> list[str]:
    return [batch.kind for batch in batches]


def test_a_tip_has_its_hash_in_internal_order() -> None:
    (batch,) = read(reader(), 0, tip(5))
    assert batch.kind == "zmq:tip"
    assert batch.columns["hash"].tolist() == [b"\x01" + bytes(30) + b"\x07"]
    assert batch.time_ns.tolist() == [NOW]


def test_blocks_and_mempool_changes_are_told_apart() -> None:
    messages = [change(0, ADDED, 10), change(1, REMOVED, 11), change(2, CONNECTED), change(3, DISCONNECTED)]
    blocks, mempool = read(reader(), 0, *messages)
    assert (blocks.kind, blocks.numbers("connected").tolist()) == ("zmq:block", [True, False])
    assert blocks.columns["hash"].tolist() == [b"\x02" * 32, b"\x03" * 32]
    assert (mempool.kind, mempool.numbers("added").tolist()) == ("zmq:mempool", [True, False])
    assert mempool.numbers("mempool_sequence").tolist() == [10, 11]


def test_kinds_that_nothing_reads_are_left_out_but_their_gaps_are_not() -> None:
    at = reader(wanted=frozenset({"zmq:tip", "source:gap"}))
    assert kinds(read(at, 0, change(0, ADDED, 1))) == []
    assert gaps(read(at, 1, change(5, ADDED, 6))) == [("zmq:block,zmq:mempool", "zmq-counter", 4)]


def test_a_jump_of_a_topic_counter_is_a_gap_with_the_count_since_the_message_before() -> None:
    at = reader()
    read(at, 0, tip(5))
    batches = read(at, 30, tip(9))
    assert gaps(batches) == [("zmq:tip", "zmq-counter", 3)]
    assert batches[0].numbers("from_ns").tolist() == [NOW]
    assert batches[0].numbers("to_ns").tolist() == [NOW + 30 * SECOND + 1]
    assert batches[0].time_ns.tolist() == [NOW + 30 * SECOND]


def test_topics_are_counted_apart() -> None:
    at = reader()
    read(at, 0, tip(5), change(1_000, ADDED, 1))
    assert gaps(read(at, 1, tip(6), change(1_001, ADDED, 2))) == []


def test_a_counter_that_falls_is_one_restart_of_the_node_with_the_messages_missed_since() -> None:
    at = reader()
    read(at, 0, tip(5), change(1_000, ADDED, 70))
    batches = read(at, 60, change(4, ADDED, 5))
    assert gaps(batches) == [("zmq:block,zmq:mempool", "node-restart", 4)]
    assert kinds(batches) == ["source:gap", "node:started", "zmq:mempool"]
    later = read(at, 600, tip(2))  # of the same restart: no second one
    assert kinds(later) == ["source:gap", "zmq:tip"]
    assert gaps(later) == [("zmq:tip", "zmq-counter", 2)]


def test_a_node_that_restarts_and_is_heard_from_its_first_message_lost_nothing_that_is_known() -> None:
    at = reader()
    read(at, 0, tip(5))
    assert kinds(read(at, 60, tip(0))) == ["node:started", "zmq:tip"]
    assert kinds(read(at, 61, tip(1))) == ["zmq:tip"]


def test_the_end_of_32_bits_is_no_restart() -> None:
    at = reader()
    read(at, 0, tip(2**32 - 1))
    assert kinds(read(at, 1, tip(0))) == ["zmq:tip"]
    far = reader()
    read(far, 0, tip(2**32 - 3))
    batches = read(far, 1, tip(4))
    assert (kinds(batches), gaps(batches)) == (["source:gap", "zmq:tip"], [("zmq:tip", "zmq-counter", 6)])


def test_a_counter_that_repeats_is_a_restart() -> None:
    at = reader()
    read(at, 0, tip(5))
    assert "node:started" in kinds(read(at, 1, tip(5)))


def test_a_jump_of_the_mempool_number_is_a_gap_with_the_count() -> None:
    at = reader()
    read(at, 0, change(0, ADDED, 10))
    assert gaps(read(at, 1, change(1, ADDED, 15))) == [("zmq:block,zmq:mempool", "zmq-mempool-sequence", 4)]


def test_what_a_block_takes_out_of_the_mempool_is_no_gap() -> None:
    # A 10, block takes 11..13 silently and 14 in conflict, its message, A 15
    at = reader()
    read(at, 0, change(0, ADDED, 10), change(1, REMOVED, 14))
    assert gaps(read(at, 1, change(2, CONNECTED), change(3, ADDED, 15))) == []
    assert gaps(at.advance(NOW + 60 * SECOND)) == []
    assert gaps(read(at, 61, change(4, CONNECTED), change(5, ADDED, 900))) == []


def test_a_reorganisation_adds_transactions_before_its_blocks_are_told() -> None:
    at = reader()
    read(at, 0, change(0, ADDED, 10), change(1, DISCONNECTED), change(2, ADDED, 14), change(3, ADDED, 15))
    assert gaps(read(at, 1, change(4, CONNECTED), change(5, ADDED, 16))) == []


def test_missing_numbers_that_no_block_explains_are_lost_after_a_while() -> None:
    at = reader()
    read(at, 0, change(0, ADDED, 10), change(1, REMOVED, 14))
    assert gaps(at.advance(NOW + SETTLE_NS - 1)) == []
    assert gaps(at.advance(NOW + SETTLE_NS)) == [("zmq:block,zmq:mempool", "zmq-mempool-sequence", 3)]
    assert gaps(at.advance(NOW + 2 * SETTLE_NS)) == []


def test_messages_lost_are_not_counted_again_by_the_mempool_number() -> None:
    at = reader()
    read(at, 0, change(0, ADDED, 10))
    assert gaps(read(at, 1, change(5, ADDED, 15))) == [("zmq:block,zmq:mempool", "zmq-counter", 4)]


@pytest.mark.parametrize(
    "frames",
    [
        [],
        [b""],
        [b"hashblock"],
        [b"hashblock", bytes(32)],
        [b"hashblock", bytes(32), b"\0\0\0"],
        [b"hashblock", bytes(31), counter(6)],
        [b"hashblock", bytes(32), counter(6), b"more"],
        [b"sequence", bytes(32) + b"X", counter(6)],
        [b"sequence", bytes(32) + b"A", counter(6)],
        [b"sequence", bytes(32) + b"C" + bytes(8), counter(6)],
        [b"sequence", bytes(32) + b"A" + b"\xff" * 8, counter(6)],
        [b"sequencex", bytes(33), counter(6)],
        [b"\xff\xfe", bytes(33), counter(6)],
    ],
)
def test_what_is_no_message_of_the_node_is_counted_and_reported(frames: list[bytes]) -> None:
    at = reader()
    read(at, 0, tip(5), change(5, ADDED, 1))
    batches = read(at, 1, frames)
    assert [(reason, lost) for _, reason, lost in gaps(batches)] == [("zmq-unreadable", 1)]
    assert (kinds(batches), at.unreadable) == (["source:gap"], 1)


def test_any_bytes_are_survived() -> None:
    random_ = random.Random(11)
    at = reader()
    for second in range(2_000):
        frames = [random_.randbytes(random_.randrange(45)) for _ in range(random_.randrange(5))]
        if frames and random_.random() < 0.7:
            frames[0] = random_.choice([b"hashblock", b"sequence"])
        if len(frames) > 2 and random_.random() < 0.7:
            frames[1] = random_.randbytes(32) + random_.choice([b"", b"C", b"A" + random_.randbytes(8)])
            frames[2] = random_.randbytes(4)
        read(at, second, frames)


def test_times_never_fall_below_the_watermark() -> None:
    at = reader()
    read(at, 10, tip(0))
    (batch,) = read(at, 5, tip(1))
    assert batch.time_ns.tolist() == [NOW + 10 * SECOND]


def test_batches_of_any_size_give_the_same_gaps() -> None:
    random_ = random.Random(3)
    labels, numbers, number = [], [], 0
    for _ in range(500):
        label = random_.choice([ADDED] * 8 + [REMOVED] * 4 + [CONNECTED, DISCONNECTED])
        number += random_.choice([1] * 20 + [3]) if label in {ADDED, REMOVED} else 0
        labels.append(label)
        numbers.append(number)
    whole = MempoolCounter()
    lost = whole.note(np.array(labels, np.uint8), np.array(numbers, np.uint64))
    for size in (1, 2, 7, 50):
        parts = MempoolCounter()
        steps = range(0, len(labels), size)
        split = [
            parts.note(np.array(labels[at : at + size], np.uint8), np.array(numbers[at : at + size], np.uint64))
            for at in steps
        ]
        assert (sum(split), parts) == (lost, whole)
    assert lost


def test_a_position_resumes_the_counters_and_drops_times_that_are_not_believed() -> None:
    at = reader()
    read(at, 0, tip(5))
    saved = {"topics": {"hashblock": {"counter": {"last": 5}, "time_ns": NOW}}, "until_ns": NOW}
    again = reader(position_from(saved, NOW))
    assert gaps(read(again, 60, tip(8))) == [("zmq:tip", "zmq-counter", 2)]
    position = position_from(saved, NOW - 1)
    assert (position.until_ns, position.topics["hashblock"]) == (0, TopicState(TopicCounter(5), 0))


def test_the_counter_of_a_topic_that_nothing_reads_is_old_after_a_start() -> None:
    saved = ZmqPosition({"hashblock": TopicState(TopicCounter(5), NOW)}, until_ns=NOW)
    at = reader(saved, wanted=frozenset({"source:gap"}))
    assert gaps(read(at, 60, tip(50))) == [], "messages 6 to 49 may have come before the end of the run before"
    assert gaps(read(at, 61, tip(53))) == [("zmq:tip", "zmq-counter", 2)]
    fallen = reader(ZmqPosition({"hashblock": TopicState(TopicCounter(5), NOW)}), wanted=frozenset({"source:gap"}))
    assert "node:started" in kinds(read(fallen, 60, tip(2)))


@pytest.mark.parametrize(
    "saved",
    [{"topics": 5}, {"topics": {"hashblock": {"counter": {"last": 2**32}}}}, {"until_ns": "now"}, {"mempool": None}],
)
def test_a_damaged_position_is_refused(saved: dict[str, object]) -> None:
    with pytest.raises(PositionError, match="zmq: the position is damaged"):
        position_from(saved, NOW)


@pytest.mark.parametrize("label", [ADDED, REMOVED])
def test_mempool_numbers_that_jump_to_and_fro_stay_within_a_checkpoint(label: int) -> None:
    at = reader()
    read(at, 0, *(change(number, label, (number % 2) * ((1 << 63) - 1)) for number in range(12)))
    at.advance(NOW + 2 * SETTLE_NS)
    saved = msgspec.msgpack.decode(msgspec.msgpack.encode(msgspec.to_builtins(at.position)))
    assert position_from(saved, NOW + 3 * SETTLE_NS) == at.position


def test_counters_without_any_order_are_one_gap_and_one_restart() -> None:
    at = reader()
    read(at, 0, tip(0))
    batches = read(at, 1, *(tip(number * 7_919 % 1_000) for number in range(1, 900)))
    (gap,) = gaps(batches)
    assert gap[:2] == ("zmq:tip", "node-restart")
    assert gap[2] > 0
    assert kinds(batches).count("node:started") == 1
