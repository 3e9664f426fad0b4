"""rpc-addrman: the second of two getrawaddrman answers to change events, against json.loads and a comparison of dicts.

65,000 entries; 1 % of the positions changed hands and 5 % have another time. Both sides hold their previous state and
give the same batches; CPU time, and the peak of memory above what is held, are measured for the second answer alone.
"""

from __future__ import annotations

import gc
import random
import tracemalloc
from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec

from benchmarks.rivals.dict_addrman import DictAddrman
from benchmarks.rounds import Row, Settings, by_cost, cpu_seconds, in_turns
from watchdog.core.batch import Batch
from watchdog.core.enrich import Enricher
from watchdog.sources.rpc import answers
from watchdog.sources.rpc.address_facts import AddressFacts
from watchdog.sources.rpc.addrman_diff import KINDS, AddrmanDiff
from watchdog.sources.rpc.columns import RpcRows

ENTRIES, QUICK = 65_000, 6_500
TRIED_SHARE: Final = 0.2
HANDS, STAMPS = 0.01, 0.05  # share of positions that changed hands, or have another time only
FIRST_S: Final = 1_768_212_000
MEMORY_GATE, CPU_GATE = 2.0, 3.0
Entry = dict[str, object]
Make = Callable[[bytes], Callable[[bytes], tuple[Batch, ...]]]
"""Takes the first answer; returns what turns the second one into batches."""
Tables = dict[str, dict[str, Entry]]


def measure(settings: Settings) -> list[Row]:
    """CPU seconds and peak bytes of the second answer; both sides must find the same slots."""
    entries = QUICK if settings.quick else ENTRIES
    first, second = answers_of(entries)
    ours, theirs = _events(_ours(first)(second)), _events(_rival(first)(second))
    if ours != theirs or not ours:
        raise AssertionError("both sides must give the same events")

    def cost(make: Make, _: int) -> float:
        take = make(first)
        gc.collect()
        return cpu_seconds(lambda: take(second))

    def peak(make: Make, _: int) -> float:
        tracemalloc.start()
        take = make(first)
        gc.collect()
        held, _peak = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        take(bytes(bytearray(second)))  # the answer itself comes with the second poll
        _now, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return (most - held) / 1e6

    note = f"{entries:,} entries; 1 % changed hands, 5 % another time"
    spent = in_turns(settings.rounds, partial(cost, _ours), partial(cost, _rival))
    memory = in_turns(max(2, settings.rounds // 2), partial(peak, _ours), partial(peak, _rival))
    return [
        by_cost("rpc-addrman", spent, "s", "json.loads and dicts", gate=CPU_GATE, note=note),
        by_cost(
            "rpc-addrman-peak", memory, "MB", "json.loads and dicts", gate=MEMORY_GATE, note="above the held state"
        ),
    ]


def _ours(first: bytes) -> Callable[[bytes], tuple[Batch, ...]]:
    rows = RpcRows("node", "rpc:node", frozenset(KINDS).__contains__)
    diff = AddrmanDiff(rows, AddressFacts(Enricher(None, {}), 200_000))
    diff.report(_tables(first), FIRST_S * 10**9, _no_loss)

    def take(second: bytes) -> tuple[Batch, ...]:
        diff.report(_tables(second), (FIRST_S + 600) * 10**9, _no_loss)
        return rows.take()

    return take


def _rival(first: bytes) -> Callable[[bytes], tuple[Batch, ...]]:
    held = DictAddrman(first, FIRST_S)
    return lambda second: held.changes(second, FIRST_S + 600)


def _events(batches: tuple[Batch, ...]) -> list[tuple[object, ...]]:
    """Return the rows of all batches, in order."""
    rows: list[tuple[object, ...]] = []
    for batch in batches:
        rows += [(batch.kind, *row) for row in zip(*(one.tolist() for one in batch.columns.values()), strict=True)]
    return rows


def _tables(body: bytes) -> answers.Tables:
    tables = answers.tables(body, _no_loss)
    assert tables is not None
    return tables


def _no_loss(reason: str, count: int) -> None:
    raise AssertionError(f"{reason}: {count}")


def answers_of(entries: int, seed: int = 7) -> tuple[bytes, bytes]:
    """Return two answers of a node, ten minutes apart."""
    draw = random.Random(seed)
    tried = int(entries * TRIED_SHARE)
    first: Tables = {"new": _table(draw, entries - tried, 1_024), "tried": _table(draw, tried, 256)}
    second: Tables = {name: dict(table) for name, table in first.items()}
    for table in second.values():
        for key in draw.sample(sorted(table), int(len(table) * (HANDS + STAMPS))):
            stamped = draw.random() < STAMPS / (HANDS + STAMPS)
            table[key] = {**table[key], "time": FIRST_S + draw.randrange(600)} if stamped else _entry(draw)
    return _body(first), _body(second)


def _table(draw: random.Random, count: int, buckets: int) -> dict[str, Entry]:
    places = sorted(draw.sample(range(buckets * 64), count))
    return {f"{place // 64}/{place % 64}": _entry(draw) for place in places}


def _entry(draw: random.Random) -> Entry:
    address, source = (".".join(str(draw.randrange(1, 250)) for _ in range(4)) for _ in range(2))
    time_s = FIRST_S - draw.randrange(30 * 86_400)
    return {
        "address": address,
        "mapped_as": draw.randrange(60_000),
        "port": 8333,
        "network": "ipv4",
        "services": 1033,
        "time": time_s,
        "source": source,
        "source_network": "ipv4",
        "source_mapped_as": draw.randrange(60_000),
    }


def _body(tables: Tables) -> bytes:
    return msgspec.json.encode({"result": tables, "error": None, "id": 1})
