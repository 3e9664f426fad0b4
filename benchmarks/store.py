"""store-changes: changes written with their outbox rows. history-pages: pages of a long history, on SQLite files."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median

from alerts.incident import Reason, State
from alerts.store.database import Database
from alerts.store.incidents import IncidentFilter, IncidentQueries
from alerts.store.writer import IncidentWriter
from benchmarks.rounds import Row, Settings
from tests.support.history import incident, record, told
from watchdog.core.finding import Evidence

LEAST_RATE, SLOWEST_MS, STEEPEST = 500.0, 100.0, 2.0  # of issue 3
NOISE_MS = 2.5  # a shorter page counts as this long in the comparison of lengths: below, a ratio is noise
RUNS = 15  # of each page
BATCH = 50
CHANGES, QUICK_CHANGES = 5_000, 500
LENGTHS, QUICK_LENGTHS = (10_000, 1_000_000), (1_000, 20_000)
FILTERS = {
    "first page": IncidentFilter(),
    "open": IncidentFilter(states=(State.OPEN,)),
    "critical": IncidentFilter(severities=("critical",)),
    "node": IncidentFilter(node="n3"),
    "rare on a node": IncidentFilter(states=(State.OPEN,), severities=("critical",), attacks=("chain",), node="n3"),
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
    '{"key":{"netgroup":"136.43.0.0/16"},"entities":["136.43.1.1"],"entities_beyond":0}', 3, 0
FROM n
"""
FILL_PICTURES = """
INSERT INTO incident_pictures
SELECT id, '{"summary":"' || hex(zeroblob(500)) || '"}', '["' || hex(zeroblob(300)) || '"]'
FROM incidents WHERE rowid >= :first AND rowid < :end
"""


def changes(settings: Settings) -> list[Row]:
    """Changes a second, each with 50 events of evidence and a notice, 50 in a transaction, on a SQLite file."""
    count = QUICK_CHANGES if settings.quick else CHANGES
    rates = []
    for _ in range(settings.rounds):
        with tempfile.TemporaryDirectory(prefix="watchdog-bench-") as folder:
            rates.append(written_per_second(Path(folder), count))
    rate, note = median(rates), f"SQLite, 50 events of evidence, {BATCH} a transaction; least {min(rates):,.0f}"
    return [Row("store-changes", rate, LEAST_RATE, "changes/s", rate / LEAST_RATE, "limit", 1.0, note)]


def pages(settings: Settings) -> list[Row]:
    """The slowest of first page, filtered pages and one incident, and how much slower a long history makes any."""
    short, long = QUICK_LENGTHS if settings.quick else LENGTHS
    with tempfile.TemporaryDirectory(prefix="watchdog-bench-") as folder:
        few, many = page_times(Path(folder), (short, long))
    slowest = max(many, key=lambda name: many[name])
    growth = {name: 1e3 * many[name] / max(1e3 * few[name], NOISE_MS) for name in many}
    steepest = max(growth, key=lambda name: growth[name])
    most_ms, times = 1e3 * many[slowest], growth[steepest]
    plain = max(many[name] / few[name] for name in many)
    note = f"'{slowest}' of {', '.join(many)}; {long:,} incidents"
    flat = f"'{steepest}', {short:,} to {long:,} incidents; {plain:.2g} times when short pages count as they are"
    return [
        Row("history-pages", most_ms, SLOWEST_MS, "ms", SLOWEST_MS / most_ms, "limit", 1.0, note),
        Row("history-flat", times, STEEPEST, "times", STEEPEST / times, "limit", 1.0, flat),
    ]


def written_per_second(folder: Path, count: int) -> float:
    """Changes a second in a new database; making them is not measured."""
    database = Database.open(f"sqlite:///{folder}/rate.db")
    writer = IncidentWriter(database)
    events = tuple(
        Evidence(n, "p2p:addr", {"peer": "136.43.1.1:8333", "entries": 1000, "user_agent": "/Satoshi:27.0.0/"})
        for n in range(50)
    )
    seconds = 0.0
    for start in range(0, count, BATCH):
        wholes = [incident(n // 2, evidence=events) for n in range(start, start + BATCH)]
        reasons = (Reason.OPENED, Reason.ESCALATED)
        records = [record(replace(one), n % 2 + 1, reasons[n % 2]) for n, one in enumerate(wholes)]
        begun = time.perf_counter()
        writer.record(records, told(records))
        seconds += time.perf_counter() - begun
    database.close()
    return count / seconds


def page_times(folder: Path, lengths: Sequence[int]) -> list[dict[str, float]]:
    """Median seconds of pages and of one incident in a history of each length, the lengths in turns."""
    databases = [_history(folder, length) for length in lengths]
    pages = [_pages(IncidentQueries(database), length) for database, length in zip(databases, lengths, strict=True)]
    times: list[dict[str, float]] = [{} for _ in lengths]
    for name in pages[0]:
        seconds: list[list[float]] = [[] for _ in lengths]
        for _ in range(RUNS):
            for found, ones in zip(seconds, pages, strict=True):
                begun = time.perf_counter()
                ones[name]()
                found.append(time.perf_counter() - begun)
        for one, found in zip(times, seconds, strict=True):
            one[name] = median(found)
    for database in databases:
        database.close()
    return times


def _history(folder: Path, length: int) -> Database:
    """A database with so many incidents."""
    database = Database.open(f"sqlite:///{folder}/pages-{length}.db")
    for first in range(0, length, 100_000):
        end = min(first + 100_000, length)
        database.write(lambda one, a=first, b=end: one.exec_driver_sql(FILL, {"first": a, "end": b}))  # type: ignore[misc] # a lambda's default
        rows = {"first": first + 1, "end": end + 1}
        database.write(lambda one, values=rows: one.exec_driver_sql(FILL_PICTURES, values))  # type: ignore[misc] # a lambda's default
    return database


def _pages(queries: IncidentQueries, length: int) -> dict[str, Callable[[], object]]:
    """What is asked, by name."""
    deep = f"i{1_700_000_000_000_000_000 + length // 2 * 1_000_000_000:x}.{0:016x}"
    asked: dict[str, Callable[[], object]] = {name: partial(queries.page, wanted) for name, wanted in FILTERS.items()}
    asked["in the middle"] = partial(queries.page, IncidentFilter(), cursor=deep)
    asked["one incident"] = partial(queries.one, f"{length // 3 * 7919:016x}")
    return asked
