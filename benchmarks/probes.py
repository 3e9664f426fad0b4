"""probe-cpu, probe-loss, probe-node-cost, live-probes: the extractor beside a process with Core's tracepoints.

The process is tests/support/traced_node.c, which hits its tracepoints at a given rate or as fast as it can.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from benchmarks.rivals.plain_ring import PlainRing
from benchmarks.rounds import Row, Settings, SkippedError, by_cost, in_turns
from tests.support.extraction import attach_all
from tests.support.traced_node import Flood, TracedNode
from watchdog.extract.libbpf import ExtractError
from watchdog.extract.probes import Probes

INBOUND = "net:inbound_message"
RATE, SIZE = 100_000, 128  # of probe-cpu
FLOODS = ((100_000, 128), (30_000, 4_096), (1_000, 100_000), (5, 4_000_000))
"""Messages a second and bytes of each: the rates of probe-loss."""
CPU_S, LOSS_S, COST_HITS = 2.0, 10.0, 200_000
QUICK_S, QUICK_HITS = 0.5, 20_000
BCC = "a callback for each record that copies its bytes"
BCC_NOTE = "bcc's form over libbpf, without its compiler"
CPU_GATE, COST_GATE = 4.0, 0.5  # a quarter of the rival; at most twice the rival


def cpu(settings: Settings) -> list[Row]:
    """Reader's CPU for each record of 128 bytes at 100,000 a second, in ns."""
    seconds = QUICK_S if settings.quick else CPU_S
    with TracedNode() as node:
        ours = partial(_our_cpu, node, seconds)
        measured = in_turns(settings.rounds, ours, partial(_rival_cpu, node, seconds))
    return [by_cost("probe-cpu", measured, "ns a record", BCC, gate=CPU_GATE, note=BCC_NOTE)]


def loss(settings: Settings) -> list[Row]:
    """Messages that are neither received nor counted, at full and at half rates; and those lost at half rates."""
    seconds = QUICK_S if settings.quick else LOSS_S
    wrong = lost_at_half = lost_at_full = 0
    for rate, size in FLOODS:
        for share in (1.0, 0.5):
            flood, received, lost, payloads = _flooded(rate * share, size, seconds)
            wrong += abs(flood.fired - received - lost)
            if share == 1.0:
                lost_at_full += lost + payloads
            else:
                lost_at_half += lost + payloads
    note = f"{lost_at_full} counted as lost at full rates"
    return [
        _none("probe-loss", wrong, "neither received nor counted", note),
        _none("probe-loss-half", lost_at_half, "lost at half of the rates", "messages or payloads"),
    ]


def node_cost(settings: Settings) -> list[Row]:
    """Measure what a hit with 128 bytes of payload costs the traced process, in ns."""
    hits = QUICK_HITS if settings.quick else COST_HITS
    with TracedNode() as node:
        measured = in_turns(settings.rounds, partial(_our_cost, node, hits), partial(_rival_cost, node, hits))
    rival = "a program with one ring and no filter"
    return [by_cost("probe-node-cost", measured, "ns a hit", rival, gate=COST_GATE)]


def _none(name: str, many: int, what: str, note: str) -> Row:
    return Row(name, float(many), 0.0, "records", 0.0 if many else 1.0, f"none {what}", 1.0, note)


def _our_cpu(node: TracedNode, seconds: float, _: int = 0) -> float:
    with _probes(node) as loaded:
        used, records = _drained(node, seconds, lambda: len(loaded.drain(0.05, pause_s=0.005).messages.time_ns))
    return used / records * 1e9


def _rival_cpu(node: TracedNode, seconds: float, _: int = 0) -> float:
    with _rival(node) as rival:

        def drain() -> int:
            time.sleep(0.005)
            return rival.drain()

        used, records = _drained(node, seconds, drain)
    return used / records * 1e9


def _drained(node: TracedNode, seconds: float, drain: Callable[[], int]) -> tuple[float, int]:
    """Return CPU seconds of this thread, and records, while the node floods."""
    count = int(RATE * seconds)
    node.start_flood("in", count, SIZE, rate=RATE)
    records, start, end = 0, time.thread_time(), time.monotonic() + 20 * seconds + 20
    while records < 0.9 * count and time.monotonic() < end:
        records += drain()
    used = time.thread_time() - start
    flood = node.end_flood()
    drain()
    if records < 0.9 * count:
        raise SkippedError(f"{records} of {flood.fired} records came: the machine is too slow for this rate")
    return used, records


def _our_cost(node: TracedNode, hits: int, _: int = 0) -> float:
    with _probes(node) as loaded, _draining(lambda: loaded.drain(0.05)):
        return _ns_a_hit(node, hits)


def _rival_cost(node: TracedNode, hits: int, _: int = 0) -> float:
    with _rival(node) as rival:

        def drain() -> None:
            time.sleep(0.005)
            rival.drain()

        with _draining(drain):
            return _ns_a_hit(node, hits)


def _ns_a_hit(node: TracedNode, hits: int) -> float:
    flood = node.flood("in", hits, SIZE)
    return flood.ns / flood.fired


def _flooded(rate: float, size: int, seconds: float) -> tuple[Flood, int, int, int]:
    """Return the flood, messages received, messages counted as lost, and payloads that are missing of the former."""
    received = payloads = 0

    def take(seconds: float) -> int:
        nonlocal received, payloads
        sizes = loaded.drain(seconds).messages.payload_size
        received += len(sizes)
        payloads += int((sizes != size).sum())
        return len(sizes)

    with TracedNode() as node, _probes(node, 4 << 20) as loaded:
        node.start_flood("in", max(1, int(rate * seconds)), size, rate=max(1, int(rate)))
        over = threading.Event()
        floods: list[Flood] = []

        def wait() -> None:
            floods.append(node.end_flood())
            over.set()

        waiting = threading.Thread(target=wait)
        waiting.start()
        while not over.is_set():
            take(0.1)
        while take(0.1):
            pass
        waiting.join()
        counts = loaded.counts()
    if payloads != counts.lost_payloads:
        raise AssertionError(f"{payloads} payloads are missing, {counts.lost_payloads} were counted")
    return floods[0], received, counts.lost_records, payloads


@contextmanager
def _probes(node: TracedNode, payload: int = SIZE) -> Iterator[Probes]:
    try:
        loaded = Probes()
    except ExtractError as error:
        raise SkippedError(str(error)) from None
    try:
        loaded.set_payloads({"*": payload})
        attach_all(loaded, node, [INBOUND])
        yield loaded
    finally:
        loaded.close()


@contextmanager
def _rival(node: TracedNode) -> Iterator[PlainRing]:
    rival = PlainRing(node.binary, node.pid)
    try:
        yield rival
    finally:
        rival.close()


@contextmanager
def _draining(drain: Callable[[], object]) -> Iterator[None]:
    """Drain in a thread of its own meanwhile."""
    over = threading.Event()

    def work() -> None:
        while not over.is_set():
            drain()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
