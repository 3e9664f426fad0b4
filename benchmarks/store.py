"""store-changes: changes written with their outbox rows, and what handing them over costs the engine. history-pages:
pages of a long history, on SQLite files.
"""

from __future__ import annotations

import operator
import queue
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median

from alerts.incident import IncidentState, Reason
from alerts.store.database import Database
from alerts.store.incidents import IncidentFilter, IncidentQueries
from alerts.store.writer import IncidentWriter
from benchmarks.rounds import Row, Settings
from tests.support.history import RECEIVER, incident, record, told
from watchdog.core.finding import Evidence
from watchdog.pipeline.clock import SystemClock
from watchdog.service.config.settings import QueueSettings
from watchdog.service.engine_thread import Bundle
from watchdog.service.writer_thread import Routes, WriterLoop

LEAST_RATE, SLOWEST_MS, STEEPEST = 500.0, 100.0, 2.0  # of issue 3
RUNS = 51  # of each page, behind WARM ones that are not counted
WARM = 3
LONGEST_WAIT = 0.01  # share of the engine's time
BATCH = 50
EVENTS = tuple(
    Evidence(n, "p2p:addr", {"peer": "136.43.1.1:8333", "entries": 1000, "user_agent": "/Satoshi:27.0.0/"})
    for n in range(50)
)
CHANGES, QUICK_CHANGES = 5_000, 500
LENGTHS, QUICK_LENGTHS = (10_000, 1_000_000), (1_000, 20_000)
FILTERS = {
    "first page": IncidentFilter(),
    "open": IncidentFilter(states=(IncidentState.OPEN,)),
    "critical": IncidentFilter(severities=("critical",)),
    "node": IncidentFilter(node="n3"),
    "rare on a node": IncidentFilter(
        states=(IncidentState.OPEN,), severities=("critical",), attacks=("chain",), node="n3"
    ),
    "matches nothing": IncidentFilter(node="nobody", severities=("info",)),
}
FILL = """
INSERT INTO incidents
WITH RECURSIVE n(i) AS (SELECT :first UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :end)
SELECT printf('%016x', i * 7919), 1700000000000000000 + i * 1000000000,
    CASE WHEN i % 1000 < 2 THEN 'open' WHEN i % 1000 = 2 THEN 'acknowledged' ELSE 'resolved' END,
    CASE WHEN i % 97 = 0 THEN 'critical' WHEN i % 11 = 0 THEN 'high' ELSE 'warning' END,
    CASE i % 5 WHEN 0 THEN 'eclipse' WHEN 1 THEN 'chain' ELSE 'addr-flooding' END,
    'n' || (i % 7), 'addr-beyond-limit', 'Peer sends too many addresses', printf('%032x', i), i, NULL, i, NULL,
    '136.43.1.1 sent 150 addresses beyond the limit', 1, 1, 0, 1.0,
    '{"key":{"netgroup":"136.43.0.0/16"},"entities":["136.43.1.1"],"entities_beyond":0}', 3, 0, 1.0, 'stable'
FROM n
"""
FILL_PICTURES = """
INSERT INTO incident_pictures
SELECT id, '{"summary":"' || hex(zeroblob(500)) || '"}', '["' || hex(zeroblob(300)) || '"]'
FROM incidents WHERE rowid >= :first AND rowid < :end
"""


def changes(settings: Settings) -> list[Row]:
    """Measure changes a second, each with 50 events of evidence and a notice, 50 in a transaction, on a SQLite file."""
    count = QUICK_CHANGES if settings.quick else CHANGES
    rates = []
    for _ in range(settings.rounds):
        with tempfile.TemporaryDirectory(prefix="watchdog-bench-") as folder:
            rates.append(written_per_second(Path(folder), count))
    rate, note = median(rates), f"SQLite, 50 events of evidence, {BATCH} a transaction; least {min(rates):,.0f}"
    return [Row("store-changes", rate, LEAST_RATE, "changes/s", rate / LEAST_RATE, "limit", 1.0, note), _waits(count)]


def _waits(count: int) -> Row:
    """Return the share of time that a thread loses to handing changes to the writer at the rate of the gate."""
    with tempfile.TemporaryDirectory(prefix="watchdog-bench-") as folder:
        lost, stored_s, full = handed_over(Path(folder), count)
    about = f"{LEAST_RATE:,.0f} changes/s; the queue was full {full} times; the last was stored {stored_s:.2f} s later"
    ratio = LONGEST_WAIT / max(lost, 1e-6)
    return Row("store-engine-waits", 100 * lost, 100 * LONGEST_WAIT, "% of time", ratio, "limit", 1.0, about)


def handed_over(folder: Path, count: int) -> tuple[float, float, int]:
    """Hand changes one by one to a `WriterLoop` over a database, as `EngineLoop` does, at a steady pace.

    The share of that time in which the thread stood in the queue, the seconds that the writer needed behind the last
    change, and how often there was no room. AssertionError when a change was not stored.
    """
    database = Database.open(f"sqlite:///{folder}/waits.db")
    bundles: queue.Queue[Bundle] = queue.Queue(QueueSettings().changes)
    routes = Routes([RECEIVER], lambda id_: f"http://127.0.0.1/{id_}")
    writer = WriterLoop(
        IncidentWriter(database),
        bundles,
        routes,
        checkpoint=lambda _: folder / "checkpoint",
        clock=SystemClock(),
        wall_ns=time.time_ns,
        stored=lambda _: None,
    )
    given = [Bundle([record(incident(n, evidence=EVENTS))]) for n in range(count)]
    writer.start()
    inside, full, begun = 0.0, 0, time.perf_counter()
    for number, bundle in enumerate(given):
        time.sleep(max(begun + number / LEAST_RATE - time.perf_counter(), 0))
        entered = time.perf_counter()
        full += bundles.full()
        bundles.put(bundle)
        inside += time.perf_counter() - entered
    ended = time.perf_counter()
    bundles.put(Bundle(last=True))
    assert writer.join(120)
    assert writer.counts.fresh == count
    stored_s = time.perf_counter() - ended
    database.close()
    return inside / (ended - begun), stored_s, full


def pages(settings: Settings) -> list[Row]:
    """Return the slowest of first page, filtered pages and one incident, and the slowdown by a long history."""
    short, long = QUICK_LENGTHS if settings.quick else LENGTHS
    with tempfile.TemporaryDirectory(prefix="watchdog-bench-") as folder:
        few, many = page_times(Path(folder), (short, long))
    slowest = max(many, key=lambda name: median(many[name]))
    growth = {name: median(map(operator.truediv, many[name], few[name])) for name in many}
    steepest = max(growth, key=lambda name: growth[name])
    most_ms, times = 1e3 * median(many[slowest]), growth[steepest]
    note = f"'{slowest}' of {', '.join(many)}; {long:,} incidents"
    took = f"{1e3 * median(few[steepest]):.2f} to {1e3 * median(many[steepest]):.2f} ms"
    flat = f"'{steepest}', {short:,} to {long:,} incidents, {took}; the median of {RUNS} neighbouring pairs, no floor"
    return [
        Row("history-pages", most_ms, SLOWEST_MS, "ms", SLOWEST_MS / most_ms, "limit", 1.0, note),
        Row("history-flat", times, STEEPEST, "times", STEEPEST / times, "limit", 1.0, flat),
    ]


def written_per_second(folder: Path, count: int) -> float:
    """Return changes a second in a new database; making them is not measured."""
    database = Database.open(f"sqlite:///{folder}/rate.db")
    writer = IncidentWriter(database)
    seconds = 0.0
    for start in range(0, count, BATCH):
        wholes = [incident(n // 2, evidence=EVENTS) for n in range(start, start + BATCH)]
        reasons = (Reason.OPENED, Reason.ESCALATED)
        records = [record(replace(one), n % 2 + 1, reasons[n % 2]) for n, one in enumerate(wholes)]
        begun = time.perf_counter()
        writer.record(records, told(records))
        seconds += time.perf_counter() - begun
    database.close()
    return count / seconds


def page_times(folder: Path, lengths: Sequence[int]) -> list[dict[str, list[float]]]:
    """Seconds of pages and of one incident in a history of each length, the lengths in turns.

    The numbers at one place of the lists were measured right after each other: what slows the machine slows both.
    """
    databases = [_history(folder, length) for length in lengths]
    pages = [_pages(IncidentQueries(database), length) for database, length in zip(databases, lengths, strict=True)]
    times: list[dict[str, list[float]]] = [{name: [] for name in pages[0]} for _ in lengths]
    for name in pages[0]:
        for run in range(-WARM, RUNS):
            for found, ones in zip(times, pages, strict=True):
                begun = time.perf_counter()
                ones[name]()
                seconds = time.perf_counter() - begun
                if run >= 0:
                    found[name].append(seconds)
    for database in databases:
        database.close()
    return times


def _history(folder: Path, length: int) -> Database:
    """Fill a database with a number of incidents."""
    database = Database.open(f"sqlite:///{folder}/pages-{length}.db")
    for first in range(0, length, 100_000):
        end = min(first + 100_000, length)
        database.write(lambda one, a=first, b=end: one.exec_driver_sql(FILL, {"first": a, "end": b}))  # type: ignore[misc] # a lambda's default
        rows = {"first": first + 1, "end": end + 1}
        database.write(lambda one, values=rows: one.exec_driver_sql(FILL_PICTURES, values))  # type: ignore[misc] # a lambda's default
    return database


def _pages(queries: IncidentQueries, length: int) -> dict[str, Callable[[], object]]:
    """Return the queries by name."""
    deep = f"i{1_700_000_000_000_000_000 + length // 2 * 1_000_000_000:x}.{0:016x}"
    asked: dict[str, Callable[[], object]] = {name: partial(queries.page, wanted) for name, wanted in FILTERS.items()}
    asked["in the middle"] = partial(queries.page, IncidentFilter(), cursor=deep)
    asked["one incident"] = partial(queries.one, f"{length // 3 * 7919:016x}")
    return asked
