"""deliveries: a full outbox on SQLite sent to a fast receiver on this machine, which shares our event loop and core."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from alerts.delivery.sender import Sender
from alerts.incident import Reason
from alerts.notice import Notice
from alerts.routing import Receiver
from alerts.store.database import Database
from alerts.store.due import StoredOutbox
from alerts.store.writer import IncidentWriter
from benchmarks.rounds import Row, Settings
from tests.support.delivery import Seen, running, target, until
from tests.support.delivery_process import receiver_for
from tests.support.history import incident, record, told
from watchdog.core.finding import Evidence

LEAST_RATE = 300.0  # of issue 3
INCIDENTS, QUICK_INCIDENTS = 500, 50
REASONS = (Reason.OPENED, Reason.ESCALATED, Reason.UPDATED, Reason.RESOLVED)
EVENTS = 20  # of evidence, as the shipped rules have at most


def measure(settings: Settings) -> list[Row]:
    """Notices a second, signed, four of each incident; AssertionError when an incident's came out of order."""
    incidents = QUICK_INCIDENTS if settings.quick else INCIDENTS
    rates = []
    for _ in range(settings.rounds):
        with tempfile.TemporaryDirectory(prefix="watchdog-bench-") as folder:
            rates.append(asyncio.run(_sent_per_second(Path(folder), incidents)))
    rate, note = median(rates), f"SQLite, order kept for each incident; least {min(rates):,.0f}"
    return [Row("deliveries", rate, LEAST_RATE, "notices/s", rate / LEAST_RATE, "limit", 1.0, note)]


async def _sent_per_second(folder: Path, incidents: int) -> float:
    """Fill an outbox, then send all of it."""
    async with target() as there:
        receiver = receiver_for(there.url)
        database, notices = await asyncio.to_thread(_filled, folder, receiver, incidents)
        begun = time.perf_counter()
        async with running(Sender(StoredOutbox(database), [receiver])):
            await until(lambda: len(there.accepted) >= len(notices), 120)
            seconds = time.perf_counter() - begun
        assert _arrived(there.seen) == _made(notices), "a notice was lost, sent twice, or came out of order"
    await asyncio.to_thread(database.close)
    return len(notices) / seconds


def _filled(folder: Path, receiver: Receiver, incidents: int) -> tuple[Database, list[Notice]]:
    """Return a database with the notices of all incidents, none sent."""
    database = Database.open(f"sqlite:///{folder}/watchdog.db")
    events = tuple(Evidence(n, "p2p:addr", {"peer": "136.43.1.1:8333", "entries": 1000}) for n in range(EVENTS))
    wholes = [incident(number, evidence=events) for number in range(incidents)]
    notices: list[Notice] = []
    for sequence, reason in enumerate(REASONS, start=1):
        records = [record(whole, sequence, reason) for whole in wholes]
        new = told(records, receiver, now_ns=time.time_ns())
        IncidentWriter(database).record(records, new)
        notices += new
    return database, notices


def _made(notices: Sequence[Notice]) -> dict[str, list[str]]:
    """Return the ids of each incident in the order of its changes."""
    found: dict[str, list[str]] = defaultdict(list)
    for one in notices:
        found[one.incident_id].append(one.id)
    return found


def _arrived(seen: Sequence[Seen]) -> dict[str, list[str]]:
    """Return the ids of each incident in the order of arrival."""
    found: dict[str, list[str]] = defaultdict(list)
    for one in seen:
        found[json.loads(one.body)["data"]["id"]].append(one.id)
    return found
