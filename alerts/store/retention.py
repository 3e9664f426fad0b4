"""Removes old incidents and deliveries in small batches, so that other writers wait only briefly for the lock."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from sqlalchemy import Connection, delete, exists, literal, select

from alerts.incident import IncidentState
from alerts.store.cases import remove_cases
from alerts.store.database import LATEST_NS, Database
from alerts.store.patience import RETENTION_S, patience
from alerts.store.schema import incidents, outbox

BATCH = 200
"""Incidents in one transaction: with 50 events of evidence each, it holds the write lock for hundredths of a second."""
DELIVERY_BATCH = 1_000
"""Deliveries in one transaction: a row has a body of some kilobytes and nothing hangs on it."""
CASE_BATCH = 100
"""Cases in one transaction: with a thousand decisions each, it holds the write lock for tenths of a second."""
PAUSE_S = 0.05


def remove_resolved(
    database: Database,
    before_ns: int,
    *,
    stopped: Callable[[], bool] = lambda: False,
    pause: Callable[[float], None] = time.sleep,
) -> int:
    """Remove incidents that were resolved before an event time, in batches, until `stopped()`; how many went.

    Changes, evidence, notes and deliveries go with them; cases that were resolved before go too. Open and acknowledged
    incidents stay, however old, and so do those with a notice that still waits for its receiver.
    StoreUnavailableError when the database does not take it; what was removed until then is removed.
    """
    total, before_ns = 0, min(before_ns, LATEST_NS)
    while not stopped():
        gone = database.write(partial(_remove, before_ns=before_ns, size=BATCH))
        total += gone
        if gone < BATCH:
            break
        pause(PAUSE_S)
    while not stopped() and database.write(partial(_remove_cases, before_ns=before_ns)) == CASE_BATCH:
        pause(PAUSE_S)
    return total


def remove_settled(
    database: Database,
    before_ns: int,
    *,
    stopped: Callable[[], bool] = lambda: False,
    pause: Callable[[float], None] = time.sleep,
) -> int:
    """Remove deliveries settled before a wall clock time, in batches, until `stopped()`. Return their number.

    Those that wait stay, however old, and so does one that is sent again. StoreUnavailableError when the database does
    not take it; what was removed until then is removed.
    """
    total, before_ns = 0, min(before_ns, LATEST_NS)
    while not stopped():
        gone = database.write(partial(_remove_settled, before_ns=before_ns))
        total += gone
        if gone < DELIVERY_BATCH:
            break
        pause(PAUSE_S)
    return total


def _remove_cases(connection: Connection, before_ns: int) -> int:
    with patience(connection, RETENTION_S):
        return remove_cases(connection, before_ns, CASE_BATCH)


def _remove(connection: Connection, before_ns: int, size: int) -> int:
    with patience(connection, RETENTION_S):
        return _removed(connection, before_ns, size)


def _removed(connection: Connection, before_ns: int, size: int) -> int:
    waits = exists().where(
        outbox.c.incident_id == incidents.c.id, outbox.c.status == literal("waiting", literal_execute=True)
    )
    old = (
        select(incidents.c.id)
        .where(incidents.c.state == IncidentState.RESOLVED.value, incidents.c.resolved_ns < before_ns, ~waits)
        .order_by(incidents.c.resolved_ns, incidents.c.id)
        .limit(size)
    )
    ids = list(connection.execute(old).scalars())
    if ids:
        connection.execute(delete(incidents).where(incidents.c.id.in_(ids)))
    return len(ids)


def _remove_settled(connection: Connection, before_ns: int) -> int:
    columns = outbox.c
    old = (
        select(columns.position)
        .where(columns.settled_ns < before_ns, columns.status != literal("waiting", literal_execute=True))
        .order_by(columns.settled_ns, columns.position)
        .limit(DELIVERY_BATCH)
    )
    with patience(connection, RETENTION_S):
        return connection.execute(delete(outbox).where(columns.position.in_(old))).rowcount
