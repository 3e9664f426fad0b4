"""Joins the decisions on a case with the deliveries of their notices: why each receiver heard of it or did not."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, literal, select

from alerts.decide import HeldReason
from alerts.notice import case_event_id
from alerts.store.case_decisions import HELD, SENT, decisions_of
from alerts.store.cases import cases_holding
from alerts.store.database import Database, stored_text
from alerts.store.schema import case_aliases, cases, outbox

PORTION = 500  # ids in one statement
FateRow = Mapping[str, Any]  # Any: columns, or JSON


@dataclass(frozen=True, slots=True)
class CaseFates:
    """What can be asked for of one case. Objects are JSON-able; times in unix seconds.

    asked: what the given id means: `case`, `alias` or `incident`. decisions: by event time. pending: what waits to be
    notified, and until when; None without it.
    """

    case: str
    root: str
    asked: str
    decisions: Sequence[dict[str, object]]
    pending: Mapping[str, object] | None

    def as_object(self) -> dict[str, object]:
        """Return the object of the API and of `--json`."""
        return {"case": self.case, "root": self.root, "decisions": list(self.decisions), "pending": self.pending}


def fates_of(database: Database, id_: str, receiver: str | None = None) -> CaseFates | None:
    """Return the decisions on a case by its id, that of a case merged into it, or that of an incident in it.

    None: no such id, or an incident that is part of no case.
    """
    found = database.read(lambda connection: _case(connection, stored_text(id_)))
    if found is None:
        return None
    case, asked = found
    id_, pending = str(case["id"]), case.get("pending")
    decided = decisions_of(database, id_, receiver)
    delivered = database.read(lambda connection: _delivered(connection, decided))
    return CaseFates(
        id_,
        str(case.get("root") or id_),
        asked,
        [_fate(one, delivered.get(_notice(one))) for one in decided],
        pending if isinstance(pending, dict) else None,
    )


def _case(connection: Connection, id_: str) -> tuple[FateRow, str] | None:
    """Return the document of the case, and what the id means: `case`, `alias` or `incident`."""
    own = connection.execute(select(cases.c.document).where(cases.c.id == id_)).scalar()
    if own is not None:
        return json.loads(own), "case"
    by_alias = select(cases.c.document).join(case_aliases, case_aliases.c.case_id == cases.c.id)
    merged = connection.execute(by_alias.where(case_aliases.c.alias == id_)).scalar()
    if merged is not None:
        return json.loads(merged), "alias"
    holding = next(cases_holding(connection, id_), None)
    return None if holding is None else (holding, "incident")


def _notice(decision: FateRow) -> str:
    return case_event_id(decision["type"], decision["root"], decision["number"], decision["receiver"])


def _delivered(connection: Connection, decided: Sequence[FateRow]) -> dict[str, FateRow]:
    """Return the notices that decisions made, by their ids; old ones are gone."""
    ids = sorted({_notice(one) for one in decided if one["decision"] == SENT})
    later = outbox.alias("later")
    behind = (
        select(func.count())
        .where(later.c.receiver == outbox.c.receiver, later.c.status == "sent")
        .where(later.c.settled_ns >= outbox.c.created_ns, outbox.c.status == literal("waiting", literal_execute=True))
        .scalar_subquery()
    )
    shown = [column for column in outbox.c if column.name != "body"]
    found: dict[str, FateRow] = {}
    for start in range(0, len(ids), PORTION):
        asked = select(*shown, behind.label("overtaken")).where(outbox.c.id.in_(ids[start : start + PORTION]))
        found |= {row["id"]: dict(row) for row in connection.execute(asked).mappings()}
    return found


def _fate(decision: FateRow, delivery: FateRow | None) -> dict[str, object]:
    """Return a decision with its delivery. One that waits though others were accepted waits for the receiver's rate."""
    held, reason, detail = decision["decision"] == HELD, decision["reason"], decision["detail"]
    status = None if held or delivery is None else delivery["status"]
    if delivery is not None and status == "waiting" and not delivery["attempts"] and delivery["overtaken"]:
        held, reason = True, HeldReason.RATE.value
        detail = f"{delivery['overtaken']} other notices were accepted while it waited"
    known = delivery if delivery is not None and not held else {"settled_ns": None, "last_error": None}
    return {
        "time": decision["time_ns"] / 1e9,
        "decided": decision["decided_ns"] / 1e9,
        "type": decision["type"],
        "number": decision["number"],
        "root": decision["root"],
        "receiver": decision["receiver"],
        "decision": HELD if held else SENT,
        "reason": reason or None,
        "detail": detail,
        "place": decision["place"],
        "delivery": None if decision["decision"] == HELD else _notice(decision),
        "status": status,
        "settled": None if known["settled_ns"] is None else known["settled_ns"] / 1e9,
        "error": known["last_error"],
    }
