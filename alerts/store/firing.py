"""The incidents that fire now, for receivers that want them told again and again."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection, exists, or_, select

from alerts.incident import RANK, IncidentState
from alerts.notice import reasons_of
from alerts.store.schema import incident_changes, incident_pictures, incidents
from watchdog.core.finding import SEVERITIES, Severity

FIRING = (IncidentState.OPEN.value, IncidentState.ACKNOWLEDGED.value)


def firing_ids(connection: Connection, types: Collection[str], floor: Severity) -> list[str]:
    """Return the ids of unresolved incidents, oldest first.

    Only those with a change of one of these event types at `floor` or above, which the receiver has asked for.
    Incidents of rules whose maturity is `sandbox` are never sent.
    """
    loud = [one for one in SEVERITIES if RANK[one] >= RANK[floor]]
    changes = incident_changes.c
    wanted_change = exists().where(
        changes.incident_id == incidents.c.id,
        changes.reason.in_([reason.value for reason in reasons_of(types)]),
        changes.severity.in_(loud),
    )
    sendable = or_(incidents.c.maturity.is_(None), incidents.c.maturity != "sandbox")
    fires = (incidents.c.state.in_(FIRING), incidents.c.severity.in_(loud), sendable)
    wanted = select(incidents.c.id).where(*fires, wanted_change).order_by(incidents.c.opened_ns, incidents.c.id)
    return list(connection.execute(wanted).scalars())


def firing_pictures(connection: Connection, ids: Sequence[str]) -> list[dict[str, Any]]:  # Any: JSON of the database
    """Return the objects of those that are not resolved by now, in the order of their ids."""
    columns = (incident_pictures.c.picture,)
    wanted = (
        select(*columns)
        .join(incidents, incidents.c.id == incident_pictures.c.incident_id)
        .where(incidents.c.id.in_(ids), incidents.c.state.in_(FIRING))
        .order_by(incidents.c.id)
    )
    return [json.loads(row.picture) for row in connection.execute(wanted)]
