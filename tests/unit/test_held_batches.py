"""Small batches wait for the end of a pane: they come out joined, in order, and a checkpoint has them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from rules.load import load_text
from watchdog.core.batch import Batch, Blobs, Column, Slice, Strings
from watchdog.core.finding import Finding
from watchdog.core.payload_columns import PAYLOAD, no_payloads
from watchdog.engine.engine import Engine
from watchdog.engine.held_batches import MOST, HeldBatches

KIND = "net:inbound_message"
SOURCE = "capture:a"


def batch(
    first: int, rows: int = 2, *, boot_ns: int = 7, source: str = SOURCE, more: Mapping[str, Column] | None = None
) -> Batch:
    times = np.arange(first, first + rows, dtype=np.int64)
    columns: dict[str, Column] = {
        "time_ns": times,
        "type": Strings.of([f"type {at}" for at in times.tolist()]),
        "raw": Blobs.of([str(at).encode() for at in times.tolist()]),
    }
    return Batch(KIND, "node", source, columns | dict(more or {}), boot_ns)


def told(batches: list[Batch]) -> list[list[int]]:
    return [one.time_ns.tolist() for one in batches]


def test_what_waits_comes_out_as_one_batch_in_order_of_arrival() -> None:
    held = HeldBatches()
    assert [held.add(batch(first)) for first in (0, 10, 20)] == [[], [], []]
    (joined,) = held.take()
    assert joined.time_ns.tolist() == [0, 1, 10, 11, 20, 21]
    assert joined.strings("type").tolist() == [f"type {at}" for at in joined.time_ns.tolist()]
    raw = joined.columns["raw"]
    assert isinstance(raw, Blobs)
    assert raw.tolist() == [str(at).encode() for at in joined.time_ns.tolist()]
    assert (joined.kind, joined.source, joined.boot_ns) == (KIND, SOURCE, 7)
    assert held.take() == []


def test_other_processes_sources_and_columns_are_not_joined() -> None:
    held, number = HeldBatches(), np.zeros(2, np.int32)
    parts = [
        batch(0),
        batch(10, boot_ns=8),
        batch(20, boot_ns=8, source="capture:b"),
        batch(30, boot_ns=8, source="capture:b", more={"number": number}),
        batch(40, boot_ns=8, source="capture:b", more={"number": number.astype(np.int64)}),
    ]
    assert [told(held.add(part)) for part in parts] == [[], [[0, 1]], [[10, 11]], [[20, 21]], [[30, 31]]]
    assert told(held.take()) == [[40, 41]]


def test_no_more_rows_wait_than_the_limit_and_large_batches_do_not() -> None:
    held = HeldBatches()
    assert held.add(batch(0, MOST - 1)) == []
    assert held.add(batch(MOST, 1)) == []
    (full,) = held.add(batch(2 * MOST, 1))
    assert full.rows == MOST
    before, large = held.add(batch(3 * MOST, MOST))
    assert (before.rows, large.rows) == (1, MOST)
    assert held.take() == []


def test_payloads_do_not_wait() -> None:
    held = HeldBatches()
    held.add(batch(0, more=no_payloads(2)))
    (kept,) = held.take()
    assert PAYLOAD not in kept.columns


RULE = """
rules:
  many-pings:
    title: Many pings
    attack: message-anomaly
    severity: warning
    on: [p2p:ping]
    by: []
    measure: {n: count()}
    over: 1m
    pane: 10s
    fire: n >= 40
    clear: n < 20
    summary: "{n} pings"
"""
SECOND_NS = 1_000_000_000


def polls() -> list[Slice]:
    """A ping a poll, one a second: the rule fires behind the 40th and clears after the last."""
    pieces = []
    for second in range(200):
        columns: dict[str, Column] = {"time_ns": np.array([second * SECOND_NS + 5]), "nonce": np.zeros(1, np.uint64)}
        rows = (Batch("p2p:ping", "node", SOURCE, columns),) if second < 55 else ()
        pieces.append(Slice(SOURCE, rows, (second + 1) * SECOND_NS))
    return pieces


def engine() -> Engine:
    return Engine(load_text(RULE).plans, {SOURCE: frozenset({"p2p:ping"})})


def changes(found: list[Finding]) -> list[tuple[str, int]]:
    return [(one.change, one.time_ns // SECOND_NS) for one in found]


def test_a_finding_comes_with_the_poll_that_ends_its_pane() -> None:
    one = engine()
    when = [(index, change) for index, piece in enumerate(polls()) for change in changes(one.process(piece))]
    assert when[0] == (39, ("fire", 40))
    assert [change for _, change in when] == [("fire", 40), ("clear", 100)]


def test_a_checkpoint_within_a_pane_has_what_waits() -> None:
    whole, found = engine(), []
    for piece in polls():
        found += changes(whole.process(piece))
    again, resumed = engine(), []
    for index, piece in enumerate(polls()):
        resumed += changes(again.process(piece))
        if index % 7 == 3:
            saved, again = again.snapshot(), engine()
            again.restore(saved)
    assert resumed == found != []
