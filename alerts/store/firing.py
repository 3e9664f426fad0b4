"""The incidents and cases that fire now, for receivers that forget what is not repeated."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, exists, or_, select

from alerts.incident import RANK, IncidentState
from alerts.notice import reasons_of
from alerts.store.schema import case_decisions, cases, incident_changes, incident_pictures, incidents, outbox
from watchdog.core.finding import SEVERITIES, Severity

REMEMBERED = 1_000  # cases; a node has at most some hundreds that are open
SHOWN = (
    "id", "root", "node", "state", "severity", "opened", "resolved", "headline", "stages", "acknowledged_by", "attack",
    "advice",
)  # fmt: skip
FIRING_TYPES = ("incident.opened", "incident.updated", "incident.escalated", "incident.acknowledged")
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


def firing_cases(connection: Connection, receiver: str) -> list[str]:
    """Return the ids of unresolved cases of which a notice was to be sent to a receiver, oldest first."""
    decisions = case_decisions.c
    sent = exists().where(decisions.case_id == cases.c.id, decisions.receiver == receiver, decisions.decision == "sent")
    wanted = select(cases.c.id).where(cases.c.state.in_(FIRING), sent).order_by(cases.c.opened_ns, cases.c.id)
    return list(connection.execute(wanted).scalars())


class FiringCases:
    """The objects of cases that fire, as far as an alert needs them. One thread uses it.

    The document of a large case has a megabyte, and this is asked for every minute: one that did not change is not read
    again.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[str, tuple[tuple[object, ...], dict[str, Any]]] = OrderedDict()  # Any: JSON

    def objects(self, connection: Connection, receiver: str, ids: Sequence[str]) -> list[dict[str, Any]]:  # Any: JSON
        """Return those of these cases that are not resolved by now, in the order of their ids.

        Their last notice has the severity of the last one that was made for the receiver: a later one may have been
        held back, as in a window of maintenance.
        """
        columns = (cases.c.id, cases.c.updated_ns, cases.c.state, cases.c.severity)
        wanted = select(*columns).where(cases.c.id.in_(ids), cases.c.state.in_(FIRING)).order_by(cases.c.id)
        found, sent = [], _sent_severities(connection, receiver, ids)
        for row in connection.execute(wanted).all():
            mark = (row.updated_ns, row.state, row.severity)
            if row.id not in self._known or self._known[row.id][0] != mark:
                text = connection.execute(select(cases.c.document).where(cases.c.id == row.id)).scalar_one()
                self._known[row.id] = mark, _shown(json.loads(text))
            self._known.move_to_end(row.id)
            found.append(_as_sent(self._known[row.id][1], sent.get(row.id)))
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return found


def _shown(document: Mapping[str, Any]) -> dict[str, Any]:  # Any: JSON
    """Return what an alert shows: without parties, claims and all but the last notice."""
    return {name: document.get(name) for name in SHOWN} | {"notices": list(document.get("notices") or ())[-1:]}


def _sent_severities(connection: Connection, receiver: str, ids: Sequence[str]) -> dict[str, str]:
    """Return, by case, the severity of the latest notice for a receiver; no entry where none is kept."""
    columns = outbox.c
    wanted = select(columns.case_id, columns.severity).where(columns.case_id.in_(ids), columns.receiver == receiver)
    return {case: severity for case, severity in connection.execute(wanted.order_by(columns.position))}  # noqa: C416 (rows are no pairs to mypy)


def _as_sent(shown: dict[str, Any], severity: str | None) -> dict[str, Any]:  # Any: JSON
    if severity is None or not shown["notices"]:
        return shown
    return {**shown, "notices": [{**shown["notices"][-1], "severity": severity}]}
