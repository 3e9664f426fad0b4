"""Stores changes of incidents together with their notices, in one transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from sqlalchemy import Connection, and_, or_

from alerts.case.document import StoredCase
from alerts.incident import REPEATABLE, Incident
from alerts.notice import ChangeRecord, Notice
from alerts.store.actions import Action, waiting_for, with_waiting
from alerts.store.case_clocks import note_changes
from alerts.store.case_decisions import MadeDecision, store_decisions
from alerts.store.cases import case_now, store_cases
from alerts.store.database import Database, stored_json, stored_text
from alerts.store.schema import incident_changes, incident_pictures, incidents, outbox

SHOWN_ENTITIES = 5
KEPT_STEPS = 1_000
"""Steps of an incident up to this number have a row each; beyond it only those that people act on: an attacker who
makes an incident change for weeks must not fill the disk. The picture counts all of them."""


@dataclass(frozen=True, slots=True)
class Written:
    """new: how many changes the database did not have yet. shown: the records with what the history shows of them.

    cases: the same of cases that are not merged into others.
    """

    new: int = 0
    shown: Sequence[ChangeRecord] = ()
    cases: Sequence[StoredCase] = ()


class IncidentWriter:
    """Writes from one thread. Everything may be written again: what the database has stays as it is.

    A picture replaces an older one of its incident only, by the counts of `IncidentChange`; a change has the key
    (incident, `ChangeRecord.key`), a notice its id. Where an operator's action is stored that the record's book had
    not taken yet, the picture has it too (`actions.with_waiting`): the state that people see never goes back.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(
        self,
        records: Sequence[ChangeRecord],
        notices: Sequence[Notice],
        cases: Sequence[StoredCase] = (),
        decisions: Sequence[MadeDecision] = (),
    ) -> Written:
        """Store all of it in one transaction that survives a loss of power.

        StoreUnavailableError when nothing was stored and another try may help.
        """
        if not records and not notices and not cases and not decisions:
            return Written()
        pictures = {one.incident.id: one for one in _latest(records)}
        taken = {id_: one.taken for id_, one in pictures.items() if one.taken is not None}
        rows = _Rows(
            {id_: _incident_row(one) for id_, one in pictures.items()},
            {id_: _picture_row(one) for id_, one in pictures.items()},
            [_change_row(one) for one in records if _is_kept(one)],
            _notice_rows(notices),
        )

        def store(connection: Connection) -> Written:
            waiting = self._store_heads(connection, rows, pictures, taken)
            seen = store_cases(self._database, connection, cases)
            new = self._store_rest(connection, rows)
            store_decisions(self._database, connection, decisions)
            note_changes(self._database, connection, decisions)
            return Written(new, [_shown(one, waiting) for one in records], seen)

        return self._database.write(store, durable=True)

    def _store_heads(
        self, connection: Connection, rows: _Rows, pictures: Mapping[str, ChangeRecord], taken: Mapping[str, int]
    ) -> Mapping[str, Sequence[Action]]:
        """Store incidents and their documents; return the actions that their book had not taken yet.

        The actions are read after the first statement, which has locked the rows: on a server too, no action on
        these incidents can be stored from then to the end of the transaction.
        """
        if not rows.heads:
            return {}
        heads, bodies = dict(rows.heads), dict(rows.bodies)
        self._upsert(connection, list(heads.values()))
        waiting = waiting_for(connection, taken) if taken else {}
        for id_, behind in waiting.items():
            shown = with_waiting(pictures[id_], behind)
            heads[id_], bodies[id_] = _incident_row(shown), _picture_row(shown)
        if waiting:
            self._upsert(connection, [heads[id_] for id_ in waiting])
        self._store_pictures(connection, list(heads.values()), list(bodies.values()))
        return waiting

    def _upsert(self, connection: Connection, heads: list[dict[str, object]]) -> None:
        """Store the rows of incidents, except where a later one is stored."""
        statement = self._database.insert(incidents)
        fresh, known = statement.excluded, incidents.c
        newer = or_(fresh.sequence > known.sequence, and_(fresh.sequence == known.sequence, fresh.acted >= known.acted))
        given = {name: fresh[name] for name in heads[0] if name != "id"}
        connection.execute(statement.on_conflict_do_update(index_elements=["id"], set_=given, where=newer), heads)

    def _store_rest(self, connection: Connection, rows: _Rows) -> int:
        new = 0
        if rows.steps:
            counted = connection.execution_options(preserve_rowcount=True)
            fresh = self._database.insert(incident_changes).on_conflict_do_nothing()
            new = max(counted.execute(fresh, rows.steps).rowcount, 0)
        _insert_notices(self._database, connection, rows.notices)
        return new

    def _store_pictures(
        self, connection: Connection, heads: list[dict[str, object]], bodies: list[dict[str, object]]
    ) -> None:
        """Store the documents of those incidents whose row is now the given one."""
        wanted = {cast("str", head["id"]): (head["sequence"], head["acted"]) for head in heads}
        current: dict[str, tuple[int, int]] = {}
        for names in _portions(list(wanted)):
            columns = (incidents.c.id, incidents.c.sequence, incidents.c.acted)
            found = connection.execute(incidents.select().with_only_columns(*columns).where(incidents.c.id.in_(names)))
            current |= {row.id: (row.sequence, row.acted) for row in found}
        due = [
            body for body in bodies if current.get(cast("str", body["incident_id"])) == wanted[str(body["incident_id"])]
        ]
        if due:
            statement = self._database.insert(incident_pictures)
            fresh = {name: statement.excluded[name] for name in ("picture", "evidence")}
            connection.execute(statement.on_conflict_do_update(index_elements=["incident_id"], set_=fresh), due)


@dataclass(frozen=True, slots=True)
class _Rows:
    """What one transaction writes, made before it begins; heads and bodies by incident."""

    heads: Mapping[str, dict[str, object]]
    bodies: Mapping[str, dict[str, object]]
    steps: list[dict[str, object]]
    notices: list[dict[str, object]]


def shown(incident: Mapping[str, object]) -> str:
    """Return the JSON that a list shows beside the columns: key, first entities, and the number of others."""
    entities = cast("list[str]", incident["entities"])
    beyond = cast("int", incident["entities_beyond"]) + max(len(entities) - SHOWN_ENTITIES, 0)
    return stored_json({"key": incident["key"], "entities": entities[:SHOWN_ENTITIES], "entities_beyond": beyond})


def _latest(records: Sequence[ChangeRecord]) -> list[ChangeRecord]:
    """Return the newest record of each incident: one picture is written, however many changes it took."""
    newest: dict[str, ChangeRecord] = {}
    for record in records:
        known = newest.get(record.incident.id)
        if known is None or _version(record) >= _version(known):
            newest[record.incident.id] = record
    return list(newest.values())


def _shown(record: ChangeRecord, waiting: Mapping[str, Sequence[Action]]) -> ChangeRecord:
    """Return a record with those actions on its incident that its own book had not taken."""
    behind = [one for one in waiting.get(record.incident.id, ()) if record.taken is not None and one.id > record.taken]
    return with_waiting(record, behind) if behind else record


def _version(record: ChangeRecord) -> tuple[int, int]:
    return record.change.sequence, record.change.acted


def _is_kept(record: ChangeRecord) -> bool:
    return record.change.reason not in REPEATABLE or record.change.sequence <= KEPT_STEPS


def _incident_row(record: ChangeRecord) -> dict[str, object]:
    one: Incident = record.incident
    return {
        "id": one.id,
        "opened_ns": one.opened_ns,
        "state": one.state.value,
        "severity": one.severity,
        "attack": one.attack,
        "node": stored_text(one.node),
        "rule": stored_text(one.rule),
        "title": stored_text(record.title),
        "fingerprint": one.fingerprint,
        "updated_ns": one.updated_ns,
        "cleared_ns": one.cleared_ns,
        "resolved_ns": one.resolved_ns,
        "acknowledged_by": None if one.acknowledged_by is None else stored_text(one.acknowledged_by),
        "summary": stored_text(one.summary),
        "findings": one.findings,
        "members": one.members,
        "firing": one.firing,
        "completeness": one.completeness,
        "watched": one.watched,
        "maturity": one.maturity,
        "shown": shown({"key": dict(one.key), "entities": list(one.entities), "entities_beyond": one.entities_beyond}),
        "sequence": record.change.sequence,
        "acted": record.change.acted,
    }


def _picture_row(record: ChangeRecord) -> dict[str, object]:
    picture = {name: value for name, value in record.document.items() if name != "evidence"}
    evidence = stored_json(record.document["evidence"])
    return {"incident_id": record.incident.id, "picture": stored_json(picture), "evidence": evidence}


def _change_row(record: ChangeRecord) -> dict[str, object]:
    change = record.change
    return {
        "incident_id": change.id,
        "change": record.key,
        "sequence": change.sequence,
        "acted": change.acted,
        "time_ns": change.time_ns,
        "reason": change.reason.value,
        "text": stored_text(change.text),
        "state": change.state.value,
        "severity": change.severity,
    }


def store_notices(database: Database, connection: Connection, notices: Sequence[Notice]) -> None:
    """Store notices within a transaction; those that are known stay as they are."""
    _insert_notices(database, connection, _notice_rows(notices))


def _insert_notices(database: Database, connection: Connection, rows: list[dict[str, object]]) -> None:
    if rows:
        _name_cases(connection, rows)
        connection.execute(database.insert(outbox).on_conflict_do_nothing(index_elements=["id"]), rows)


def _notice_rows(notices: Iterable[Notice]) -> list[dict[str, object]]:
    """Return rows of the outbox; a body that several notices share is encoded once."""
    encoded: dict[int, str] = {}
    rows: list[dict[str, object]] = []
    for notice in notices:
        body = encoded.get(id(notice.body))
        if body is None:
            body = encoded[id(notice.body)] = stored_json(notice.body)
        rows.append(
            {
                "id": notice.id,
                "receiver": stored_text(notice.receiver),
                "incident_id": notice.incident_id or None,
                "case_id": None,
                "subject": notice.subject,
                "type": notice.type,
                "severity": notice.severity,
                "status": "waiting",
                "attempts": 0,
                "created_ns": notice.created_ns,
                "next_ns": notice.created_ns,
                "body": body,
            }
        )
    return rows


def _name_cases(connection: Connection, rows: Sequence[dict[str, object]]) -> None:
    """Fill in the stored case that each notice of a case belongs to now; it may have merged since."""
    roots = {str(row["subject"]) for row in rows if row["incident_id"] is None}
    if roots:
        now = case_now(connection, roots)
        for row in rows:
            row["case_id"] = now.get(str(row["subject"])) if row["incident_id"] is None else None


def _portions(names: list[str], size: int = 500) -> list[list[str]]:
    """Split a list into portions short enough for the bound values of one statement."""
    return [names[start : start + size] for start in range(0, len(names), size)]
