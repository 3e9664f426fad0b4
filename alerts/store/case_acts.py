"""What operators do with cases. Stored at once, and seen at once, whether a service runs or not.

An act changes the stored document of its case in its own transaction, and adds an entry to the audit. A running service
finds it (`CaseActs.after`) and applies it to its `CaseBook` in event time. Until then every row that the service stores
gets the act on top (`waiting_acts`), so what people see never goes back. A service that starts applies again those that
are newer than its checkpoint.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from sqlalchemy import Connection, Row, func, select, update

from alerts.case.acts import CaseAct, CaseVerb, acted_on, effect_of, named_party, split_fault
from alerts.case.document import LISTED_CLAIMS, StoredCase
from alerts.incident import IncidentState
from alerts.incident_table import IncidentError, UnknownIncidentError
from alerts.store.actions import TEXT_LIMIT, WHO_LIMIT, Done
from alerts.store.audit import record_audit
from alerts.store.database import LATEST_NS, Database, stored_json, stored_text
from alerts.store.schema import case_acts, case_aliases, cases

PARTY_LIMIT = 100  # characters
CASE_ACTS = 10_000  # of one case
ACTS_KEY = 0x6361736561637473
"""The name of PostgreSQL's advisory lock: "caseacts" as a number."""
PORTION = 500  # ids in one statement
LOOKS = 3  # for a case that is merged meanwhile


@dataclass(frozen=True, slots=True)
class CaseDone(Done):
    """The outcome of an operator's request. case: the id of the case, also where an alias was named."""

    case: str = ""


class CaseActs:
    """Operators' acts on the cases of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def act(self, case: str, verb: CaseVerb, who: str, text: str, at_ns: int, *, party: str = "") -> CaseDone:
        """Store an act and what it changes. One that changes nothing is stored for its text only.

        case: its id, or that of a case merged into it. party: what is split off. UnknownIncidentError: no such case.
        IncidentError: a resolved one cannot be acknowledged, no such party, a note has no text, the operator's name is
        missing, something is too long, or the audit is full.
        """
        who, text, party = who.strip(), text.strip(), named_party(party.strip()[: PARTY_LIMIT + 1])
        if not who:
            raise IncidentError("who does it? a name is needed")
        limits = (("name", who, WHO_LIMIT), ("text", text, TEXT_LIMIT), ("party", party, PARTY_LIMIT))
        for what, value, most in limits:
            if len(value) > most:
                raise IncidentError(f"{what} of {len(value)} characters: at most {most}")
        if verb == "note" and not text:
            raise IncidentError("a note needs a text")
        if (verb == "split") != bool(party):
            raise IncidentError("a split needs a party" if verb == "split" else f"'{verb}' takes no party")
        act = CaseAct(
            0,
            stored_text(case),
            "",
            verb,
            stored_text(who),
            stored_text(text),
            stored_text(party),
            min(at_ns, LATEST_NS),
        )
        return self._database.write(lambda connection: _act(connection, act), durable=True)

    def after(self, last_id: int, limit: int = 1_000) -> list[CaseAct]:
        """Return acts with higher ids, in their order: what a service has yet to apply."""
        wanted = select(case_acts).where(case_acts.c.id > last_id).order_by(case_acts.c.id).limit(limit)
        return self._database.read(lambda one: [_case_act(row) for row in one.execute(wanted)])

    def last_id(self) -> int:
        """Return the highest id; 0 without any act."""
        return self._database.read(lambda one: one.execute(select(func.max(case_acts.c.id))).scalar()) or 0


def waiting_acts(connection: Connection, rows: Sequence[StoredCase]) -> dict[str, list[CaseAct]]:
    """Return, by case, the acts that each row's book has yet to apply. Their cases must be locked."""
    found: dict[str, list[CaseAct]] = {}
    known = {one.id: one for one in rows}
    ids = list(known)
    for start in range(0, len(ids), PORTION):
        portion = ids[start : start + PORTION]
        taken = min(min(known[id_].waiting, default=known[id_].taken + 1) for id_ in portion)
        own = select(case_acts).where(case_acts.c.case_id.in_(portion), case_acts.c.id >= taken)
        for row in connection.execute(own.order_by(case_acts.c.id)):
            case = known[row.case_id]
            if row.id > case.taken or row.id in case.waiting:
                found.setdefault(row.case_id, []).append(_case_act(row))
    return found


def with_acts(row: StoredCase, acts: Sequence[CaseAct]) -> StoredCase:
    """Return a row as the history shows it: with acts that its book had not applied."""
    document = acted_on(row.document, acts)
    resolved_ns = row.resolved_ns
    if resolved_ns is None and document["resolved"] is not None:
        resolved_ns = next(one.at_ns for one in acts if one.verb == "resolve")
    return replace(row, document=document, state=cast("str", document["state"]), resolved_ns=resolved_ns)


def move_acts(connection: Connection, aliases: Mapping[str, str]) -> None:
    """Give the acts on merged cases to the survivors, by alias, before the rows of the former are removed.

    Locks those rows first: no act on them can be stored from here to the end of the transaction.
    """
    names = sorted(aliases)
    for start in range(0, len(names), PORTION):
        portion = names[start : start + PORTION]
        connection.execute(select(cases.c.id).where(cases.c.id.in_(portion)).order_by(cases.c.id).with_for_update())
        mine = connection.execute(select(case_acts.c.case_id).where(case_acts.c.case_id.in_(portion)).distinct())
        for case_id in mine.scalars().all():
            moved = update(case_acts).where(case_acts.c.case_id == case_id)
            connection.execute(moved.values(case_id=aliases[case_id]))


def _case_act(row: Row[Any]) -> CaseAct:
    return CaseAct(row.id, row.case_id, row.node, row.action, row.who, row.text, row.party, row.at_ns)


def _locked(connection: Connection, case: str) -> Row[Any]:
    """Return the row of a case, by its id or that of a case merged into it, locked. UnknownIncidentError."""
    for _ in range(LOOKS):
        alias = connection.execute(select(case_aliases.c.case_id).where(case_aliases.c.alias == case)).scalar()
        own = select(cases).where(cases.c.id == (alias or case)).with_for_update()  # SQLite: locked as a whole
        row = connection.execute(own).first()
        if row is not None:
            return row
    raise UnknownIncidentError(f"no case {case!r}")


def _act(connection: Connection, act: CaseAct) -> CaseDone:
    """Store an act that has no id yet, and what it changes.

    One at a time, on a server too: ids must be seen in their order, or a service that asks for what is new behind the
    last id would miss one that was given earlier and stored later.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(ACTS_KEY)))
    row = _locked(connection, act.case)
    document = json.loads(row.document)
    state, by = IncidentState(row.state), document.get("acknowledged_by")
    if act.verb == "ack" and state is IncidentState.RESOLVED:
        raise IncidentError(f"case {row.id!r} is resolved: it cannot be acknowledged")
    if act.verb == "split" and act.party not in document.get("split_off", []):
        fault = split_fault(document, act.party, LISTED_CLAIMS)
        if fault:
            raise IncidentError(f"case {row.id!r}: {fault}")
    already = _already(act, state, by, document)
    if already and not act.text:
        return CaseDone(None, already, row.id)
    of_case = select(func.count()).select_from(case_acts).where(case_acts.c.case_id == row.id)
    if connection.execute(of_case).scalar_one() >= CASE_ACTS:
        raise IncidentError(f"case {row.id!r}: operators have acted on it {CASE_ACTS} times, which is the most")
    act = replace(act, case=row.id, node=row.node, at_ns=max(act.at_ns, row.opened_ns))
    values = {
        "case_id": act.case,
        "node": act.node,
        "action": act.verb,
        "who": act.who,
        "text": act.text,
        "party": act.party,
        "at_ns": act.at_ns,
    }
    id_: int = connection.execute(case_acts.insert().values(**values).returning(case_acts.c.id)).scalar_one()
    seen = acted_on(document, [act])
    fresh = {"document": stored_json(seen), "state": seen["state"]}
    ended = seen["state"] == IncidentState.RESOLVED.value != row.state
    fresh |= {"resolved_ns": act.at_ns} if ended else {}
    connection.execute(update(cases).where(cases.c.id == row.id).values(**fresh))
    detail = {name: value for name, value in (("text", act.text), ("party", act.party)) if value}
    detail = {"node": act.node, **detail}
    record_audit(connection, act.verb, act.who, f"case {row.id}", at_ns=act.at_ns, detail=detail)
    return CaseDone(id_, already, row.id)


def _already(act: CaseAct, state: IncidentState, by: str | None, document: Mapping[str, Any]) -> str:
    """Return what the case is already, where the act changes nothing, as `Done.already` has it; else ""."""
    if act.verb == "note" or effect_of(act.verb, act.who, state, by) is not None:
        return ""
    if act.verb == "split":
        return "split" if act.party in document.get("split_off", []) else ""
    return "resolved" if state is IncidentState.RESOLVED else f"acknowledged by {by}"
