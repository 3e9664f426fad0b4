"""Figures of the store: changes written with their outbox rows, and pages of a long history."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median

from alerts.incident import Reason, State
from alerts.store.database import Database
from alerts.store.incidents import IncidentFilter, IncidentQueries
from alerts.store.writer import IncidentWriter
from tests.support.history import incident, record, told
from watchdog.core.finding import Evidence

BATCH = 50
LENGTHS = (10_000, 1_000_000)
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


def main() -> int:
    """Print the figures; 1 when one misses its gate."""
    with tempfile.TemporaryDirectory(prefix="watchdog-bench-") as folder:
        rate = written_per_second(Path(folder))
        print(f"changes with outbox rows written  {rate:10.0f} /s   gate >= 500")
        pages = {length: page_times(Path(folder), length) for length in LENGTHS}
    good = rate >= 500
    for name in pages[LENGTHS[0]]:
        short, long = (pages[length][name] * 1e3 for length in LENGTHS)
        fits = long <= 100 and long <= max(2 * short, 5)  # below 5 ms a ratio is noise
        good = good and fits
        missed = "" if fits else "  MISSED"
        print(f"{name:24} {short:7.2f} ms at {LENGTHS[0]}, {long:7.2f} ms at {LENGTHS[1]}{missed}")
    return 0 if good else 1


def written_per_second(folder: Path, count: int = 5_000) -> float:
    """Changes a second with 50 events of evidence and a notice each, in batches."""
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


def page_times(folder: Path, length: int) -> dict[str, float]:
    """Seconds, median of seven, of first pages and of one incident in a history of this length."""
    database = Database.open(f"sqlite:///{folder}/pages-{length}.db")
    for first in range(0, length, 100_000):
        end = min(first + 100_000, length)
        database.write(lambda one, a=first, b=end: one.exec_driver_sql(FILL, {"first": a, "end": b}))  # type: ignore[misc] # a lambda's default
        rows = {"first": first + 1, "end": end + 1}
        database.write(lambda one, values=rows: one.exec_driver_sql(FILL_PICTURES, values))  # type: ignore[misc] # a lambda's default
    queries = IncidentQueries(database)
    times = {name: timed(lambda wanted=wanted: queries.page(wanted)) for name, wanted in FILTERS.items()}  # type: ignore[misc] # a lambda's default
    deep = f"i{1_700_000_000_000_000_000 + length // 2 * 1_000_000_000:x}.{0:016x}"
    times["in the middle"] = timed(lambda: queries.page(IncidentFilter(), cursor=deep))
    times["one incident"] = timed(lambda: queries.one(f"{length // 3 * 7919:016x}"))
    database.close()
    return times


def timed(work: Callable[[], object]) -> float:
    """Median seconds of seven runs."""
    seconds = []
    for _ in range(7):
        begun = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begun)
    return median(seconds)


if __name__ == "__main__":
    sys.exit(main())
