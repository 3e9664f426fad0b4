"""A process that stores incidents and delivers them, made to be killed: `-m tests.support.delivery_process`.

Like the service after a kill, it makes the same changes again from the start and stores what is new. It ends by
itself when everything was stored and delivered.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from dataclasses import replace

from alerts.book import IncidentBook
from alerts.decide import decide, notices
from alerts.delivery.sender import Sender
from alerts.incident import IncidentChange
from alerts.notice import EVENT_TYPES, ChangeRecord, Notice
from alerts.routing import Receiver
from alerts.store.database import Database
from alerts.store.due import StoredOutbox
from alerts.store.outbox import Outbox
from alerts.store.writer import IncidentWriter
from tests.support.delivery import SECRET
from watchdog.core.finding import Change, Finding, Severity

SECOND = 1_000_000_000
START_NS = 1_780_000_000 * SECOND
KILLS = int(os.environ.get("WATCHDOG_KILLS", "12"))  # `make kills` asks for 200
INCIDENTS = 5 * max(KILLS, 12)  # so that something is left to do whenever a kill comes
OPENINGS = 400
STEPS: tuple[tuple[Change, Severity], ...] = (("fire", "warning"), ("escalate", "high"), ("clear", "high"))


def finding(incident: int, step: int) -> Finding:
    """Step 0 opens the incident, step 1 makes it worse, step 2 clears it."""
    change, severity = STEPS[step]
    return Finding(
        rule="flood",
        attack="addr-flooding",
        severity=severity,
        node="node",
        change=change,
        time_ns=START_NS + (step * INCIDENTS + incident) * SECOND,
        since_ns=START_NS,
        key={"peer": str(incident)},
        incident={"netgroup": f"10.{incident}.0.0/16"},
        entities=(f"10.{incident}.0.1",),
        measures={"beyond": step},
        summary=f"incident {incident} step {step}",
        resolve_after_ns=SECOND,
    )


def story() -> list[ChangeRecord]:
    """All changes of all incidents, the same in every run."""
    book, records = IncidentBook(), []

    def note(changes: list[IncidentChange]) -> None:
        for change in changes:
            incident = book.table.incident(change.id)
            assert incident is not None
            records.append(ChangeRecord(incident, change, "Flood"))

    for step in range(len(STEPS)):
        for incident in range(INCIDENTS):
            one = finding(incident, step)
            note(book.apply(one))
            note(book.advance(one.time_ns))
    note(book.advance(START_NS + (len(STEPS) * INCIDENTS + 1_000) * SECOND))
    return records


def openings() -> list[ChangeRecord]:
    """Only the first step, of many incidents."""
    book, records = IncidentBook(), []
    for number in range(OPENINGS):
        for change in book.apply(replace(finding(number, 0), time_ns=START_NS + number * SECOND)):
            incident = book.table.incident(change.id)
            assert incident is not None
            records.append(ChangeRecord(incident, change, "Flood"))
    return records


def told(records: list[ChangeRecord], receiver: Receiver, now_ns: int) -> list[Notice]:
    """What the receiver is to hear."""
    return [
        one
        for record in records
        for one in notices(record, decide(record, [receiver]), lambda id_: f"http://x/{id_}", now_ns)
    ]


async def serve(database: Database, receiver: Receiver, records: list[ChangeRecord]) -> None:
    """Write and send side by side until all is done."""
    outbox, writer, stop = Outbox(database), IncidentWriter(database), asyncio.Event()
    sender = Sender(StoredOutbox(database), [receiver])
    sending = asyncio.create_task(sender.run(stop))
    for start in range(0, len(records), 7):
        part = records[start : start + 7]
        await asyncio.to_thread(writer.record, part, told(part, receiver, time.time_ns()))
        await sender.poke()
        await asyncio.sleep(0.01)
    while await asyncio.to_thread(outbox.counts):  # noqa: ASYNC110 (another process's progress)
        await asyncio.sleep(0.05)
    stop.set()
    await sending


def receiver_for(url: str) -> Receiver:
    """Hears everything."""
    return Receiver(
        "ops", url, about="incidents", secrets=(SECRET,), events=EVENT_TYPES, rate_per_minute=0, allow_private=True
    )


def main() -> None:
    """Arguments: the database's URL and the receiver's, and `openings` for many of these at the default rate."""
    database = Database.open(sys.argv[1], exclusive=True)
    receiver = receiver_for(sys.argv[2])
    if sys.argv[3:] == ["openings"]:
        asyncio.run(serve(database, replace(receiver, rate_per_minute=60), openings()))
    else:
        asyncio.run(serve(database, receiver, story()))
    database.close()


if __name__ == "__main__":
    main()
