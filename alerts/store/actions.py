"""What operators do: acknowledge, resolve, note. Stored at once, and seen at once, whether a service runs or not.

An action changes the stored incident in its own transaction. A running service finds it (`Actions.after`), applies it
to its book with `at_ns` as the time, and records the change under the action's id: the same change, so nothing is
stored twice. A service that starts applies again those that are newer than its checkpoint.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from msgspec import structs
from sqlalchemy import Connection, Row, func, select, update

from alerts.incident import HistoryEntry, IncidentState, Reason
from alerts.incident_table import IncidentError, UnknownIncidentError
from alerts.notice import ChangeRecord
from alerts.store.audit import record_audit
from alerts.store.database import Database, stored_json, stored_text
from alerts.store.schema import actions, incident_changes, incident_pictures, incidents
from alerts.store.verdicts import VERDICTS, JudgedIncident, OperatorVerdict, judged_from, judged_of

Verb = Literal["ack", "resolve", "note"]
VERBS: tuple[Verb, ...] = ("ack", "resolve", "note")
WHO_LIMIT, TEXT_LIMIT = 100, 2_000  # characters, for API and command line
ACTIONS_KEY = 0x616374696F6E73
"""The name of PostgreSQL's advisory lock: "actions" as a number."""


@dataclass(frozen=True, slots=True)
class Action:
    """One deed of one operator; at_ns: wall clock, never before the incident's opening.

    verdict: what a resolution calls the incident; judged: what the engine learns of it.
    """

    id: int
    incident_id: str
    verb: Verb
    who: str
    text: str
    at_ns: int
    verdict: OperatorVerdict | None = None
    judged: JudgedIncident = field(default_factory=JudgedIncident)

    def as_object(self) -> dict[str, object]:
        """Return the object for API and command line; time in unix seconds."""
        deed = {"id": self.id, "action": self.verb, "who": self.who, "text": self.text, "time": self.at_ns / 1e9}
        return {**deed, "verdict": self.verdict}


@dataclass(frozen=True, slots=True)
class Done:
    """The outcome of an operator's request.

    id: of the action; None when nothing was stored. already: what the incident was before, where the action changes
    nothing: `acknowledged by anna` or `resolved`; else "".
    """

    id: int | None
    already: str = ""


class Actions:
    """Operators' actions in one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def act(
        self, incident_id: str, verb: Verb, who: str, text: str, at_ns: int, *, verdict: OperatorVerdict | None = None
    ) -> Done:
        """Store an action and what it changes. One that changes nothing is stored for its text or verdict only.

        UnknownIncidentError: no such incident. IncidentError: a resolved one cannot be acknowledged, a note has no
        text, the operator's name is missing, name or text is too long, a verdict comes with another verb than resolve.
        """
        if verdict is not None and verb != "resolve":
            raise IncidentError("a verdict comes with 'resolve'")
        who, text = who.strip(), text.strip()
        if not who:
            raise IncidentError("who does it? a name is needed")
        for what, value, most in (("name", who, WHO_LIMIT), ("text", text, TEXT_LIMIT)):
            if len(value) > most:
                raise IncidentError(f"{what} of {len(value)} characters: at most {most}")
        if verb == "note" and not text:
            raise IncidentError("a note needs a text")
        action = Action(0, stored_text(incident_id), verb, stored_text(who), stored_text(text), at_ns, verdict)
        return self._database.write(lambda connection: _act(connection, action), durable=True)

    def after(self, last_id: int, limit: int = 1_000) -> list[Action]:
        """Return actions with higher ids, in their order: what a service has yet to apply."""
        wanted = select(actions).where(actions.c.id > last_id).order_by(actions.c.id).limit(limit)
        return self._listed(wanted)

    def last_id(self) -> int:
        """Return the highest id; 0 without any action."""
        return self._database.read(lambda one: one.execute(select(func.max(actions.c.id))).scalar()) or 0

    def of(self, incident_id: str, limit: int = 1_000) -> list[Action]:
        """Return the first actions on one incident, in their order."""
        wanted = select(actions).where(actions.c.incident_id == incident_id).order_by(actions.c.id).limit(limit)
        return self._listed(wanted)

    def _listed(self, wanted: Any) -> list[Action]:  # Any: a Select of whatever columns the table has
        return self._database.read(lambda one: [_action(row) for row in one.execute(wanted)])


def effect(verb: Verb, who: str, state: IncidentState, acknowledged_by: str | None) -> Reason | None:
    """Return the reason of the change that an action makes, as the book decides it; None when it changes nothing."""
    if state is IncidentState.RESOLVED or verb == "note" or (verb == "ack" and acknowledged_by == who):
        return None
    return Reason.ACKNOWLEDGED if verb == "ack" else Reason.RESOLVED_BY_OPERATOR


def with_waiting(record: ChangeRecord, waiting: Sequence[Action]) -> ChangeRecord:
    """Return a record as the history shows it: with actions, in their order, that its book had not applied yet.

    The operator has had a confirmation, so a change under way must not show the state before it.
    """
    one, change = record.incident, record.change
    for action in waiting:
        reason = effect(action.verb, action.who, one.state, one.acknowledged_by)
        if reason is None:
            continue
        entry = HistoryEntry(action.at_ns, action.at_ns, reason, f"by {action.who}")
        one = replace(one, updated_ns=max(one.updated_ns, action.at_ns), history=(*one.history, entry))
        if reason is Reason.ACKNOWLEDGED:
            one = replace(one, state=IncidentState.ACKNOWLEDGED, acknowledged_by=action.who)
        else:
            one = replace(one, state=IncidentState.RESOLVED, resolved_ns=action.at_ns)
        change = structs.replace(change, acted=change.acted + 1)
    return replace(record, incident=one, change=change)


def waiting_for(connection: Connection, taken: Mapping[str, int]) -> dict[str, list[Action]]:
    """Return the actions that each incident's book has yet to apply: higher ids than given, without notes."""
    found: dict[str, list[Action]] = {}
    ids = list(taken)
    for start in range(0, len(ids), 500):  # few enough for the bound values of one statement
        portion = ids[start : start + 500]
        newer = (actions.c.incident_id.in_(portion), actions.c.id > min(taken[id_] for id_ in portion))
        for row in connection.execute(select(actions).where(*newer, actions.c.action != "note").order_by(actions.c.id)):
            if row.id > taken[row.incident_id]:
                found.setdefault(row.incident_id, []).append(_action(row))
    return found


def _action(row: Row[Any]) -> Action:
    verdict = next((one for one in VERDICTS if one == row.verdict), None)
    return Action(row.id, row.incident_id, row.action, row.who, row.text, row.at_ns, verdict, judged_from(row.judged))


def _act(connection: Connection, action: Action) -> Done:
    """Store an action that has no id yet, and what it changes.

    One at a time, on a server too: ids must be seen in their order, or a service that asks for what is new behind the
    last id would miss one that was given earlier and stored later.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(ACTIONS_KEY)))
    own = select(incidents).where(incidents.c.id == action.incident_id).with_for_update()  # SQLite: locked as a whole
    head = connection.execute(own).first()
    if head is None:
        raise UnknownIncidentError(f"no incident {action.incident_id!r}")
    if action.verb == "ack" and head.state == IncidentState.RESOLVED:
        raise IncidentError(f"incident {head.id!r} is resolved: it cannot be acknowledged")
    reason = effect(action.verb, action.who, IncidentState(head.state), head.acknowledged_by)
    already = "" if reason or action.verb == "note" else _as_it_is(head)
    if already and not action.text and action.verdict is None:
        return Done(None, already)
    action = replace(action, at_ns=max(action.at_ns, head.opened_ns))
    row = {
        "incident_id": head.id,
        "action": action.verb,
        "who": action.who,
        "text": action.text,
        "at_ns": action.at_ns,
        "verdict": action.verdict,
        "judged": None if action.verdict is None else _judged(connection, head).as_text(),
    }
    id_: int = connection.execute(actions.insert().values(**row).returning(actions.c.id)).scalar_one()
    action = replace(action, id=id_)
    told = {"verdict": action.verdict, "text": action.text}
    detail = {"node": head.node, **{name: value for name, value in told.items() if value}}
    record_audit(connection, action.verb, action.who, f"incident {head.id}", at_ns=action.at_ns, detail=detail)
    if reason is Reason.ACKNOWLEDGED:
        fresh = {"state": IncidentState.ACKNOWLEDGED.value, "acknowledged_by": action.who}
        _change(connection, head, action, reason, fresh)
    elif reason is not None:
        _change(connection, head, action, reason, {"state": IncidentState.RESOLVED.value})
    return Done(id_, already)


def _judged(connection: Connection, head: Row[Any]) -> JudgedIncident:
    own = select(incident_pictures.c.picture).where(incident_pictures.c.incident_id == head.id)
    return judged_of(head.rule, head.node, json.loads(connection.execute(own).scalar_one()))


def _as_it_is(head: Row[Any]) -> str:
    """Return the state of an incident in words, as `Done.already` has it."""
    return "resolved" if head.state == IncidentState.RESOLVED else f"acknowledged by {head.acknowledged_by}"


def _change(connection: Connection, head: Row[Any], action: Action, reason: Reason, fresh: Mapping[str, str]) -> None:
    """Store the change as the book makes it: a row, the incident's own columns, and a step in its document."""
    at_ns, counts = action.at_ns, {"sequence": head.sequence, "acted": head.acted + 1}
    step = {"time_ns": at_ns, "reason": reason.value, "text": f"by {action.who}", "severity": head.severity}
    row = {"incident_id": head.id, "change": -action.id, "state": fresh["state"], **counts, **step}
    connection.execute(incident_changes.insert().values(**row))
    ended = {"resolved_ns": at_ns} if reason is Reason.RESOLVED_BY_OPERATOR else {}
    updated_ns = max(head.updated_ns, at_ns)
    statement = update(incidents).where(incidents.c.id == head.id)
    connection.execute(statement.values(**fresh, **ended, updated_ns=updated_ns, acted=counts["acted"]))
    place = incident_pictures.c.incident_id == head.id
    picture = json.loads(connection.execute(select(incident_pictures.c.picture).where(place)).scalar_one())
    seen = {"time": at_ns / 1e9, "until": at_ns / 1e9, "reason": reason.value, "text": step["text"], "count": 1}
    picture |= {**fresh, "updated": updated_ns / 1e9, "changes": [*picture["changes"], seen]}
    picture |= {"resolved": at_ns / 1e9} if ended else {}
    connection.execute(update(incident_pictures).where(place).values(picture=stored_json(picture)))
