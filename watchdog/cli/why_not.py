"""`watchdog cases why-not`: to whom the changes of a case were sent, and why they were held back from others."""

from __future__ import annotations

import argparse
import time

from alerts.case.story import SPLIT_FROM
from alerts.case.why_not import fate_lines
from alerts.incident_table import UnknownIncidentError
from alerts.store.case_fates import CaseFates, fates_of
from alerts.store.cases import CaseQueries
from alerts.store.database import Database
from alerts.store.incidents import IncidentQueries
from alerts.store.outbox import Outbox
from watchdog.cli.database import add_verb, id_digits, known_case, known_incident
from watchdog.cli.folding import fitted
from watchdog.cli.moments import moment
from watchdog.cli.output import json_text, write_output
from watchdog.cli.rule_words import silenced_incident
from watchdog.core.text import printable

UNDECIDED = (
    "nothing was decided: no receiver is about cases ('about: cases' in watchdog.yaml), or the case was stored by "
    "'watchdog replay --db', which sends nothing"
)
SPLIT_OFF = (
    "nothing was decided: an operator split this case off one that was over, so that it opened without a "
    "notice; its later changes are notified"
)
MOST_DELIVERIES = 100
FULL = 16  # digits of an id


def configure(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb."""
    page = add_verb(verbs, "why-not", "show why receivers were notified of a case, or were not", _why_not)
    page.add_argument(
        "id", metavar="ID", help="id of a case, of one merged into it, or of an incident; the first digits are enough"
    )
    page.add_argument("--receiver", metavar="NAME", help="for this receiver only")
    page.add_argument(
        "--at",
        type=moment,
        metavar="TIME",
        help="the latest decisions up to this time: '2h' ago, or '2026-01-31T12:00' (UTC)",
    )
    page.add_argument("--json", action="store_true", help="the object of the API")


def _why_not(args: argparse.Namespace, database: Database) -> int:
    id_ = _known(database, args.id)
    fates = fates_of(database, id_, args.receiver)
    if args.json and fates is not None:
        write_output("-", json_text([fates.as_object()], lines=True))
        return 0
    at_s = None if args.at is None else _seconds(*args.at)
    if fates is None:
        lines = [f"incident {id_} is part of no case: no one is notified", *silenced_incident(args, database, id_)]
    else:
        others = _of_others(database, id_, args.receiver) or [_undecided(database, fates.case)]
        lines = _lines(fates, id_, at_s, others)
    lines += _of_incident(database, id_, args.receiver) if fates is None or fates.asked == "incident" else []
    write_output("-", fitted("\n".join(lines) + "\n"))
    return 0


def _known(database: Database, text: str) -> str:
    """Return the full id that these digits begin: of a case, else of an incident. Errors as of `known_incident`."""
    id_digits(text, "case or incident")
    try:
        case = str(known_case(CaseQueries(database), text)["id"])
    except UnknownIncidentError:
        try:
            return known_incident(IncidentQueries(database), text)
        except UnknownIncidentError:
            raise UnknownIncidentError(f"no case or incident {text!r}") from None
    return case if case.startswith(text) or len(text) < FULL else text  # an alias in full stays one


def _lines(fates: CaseFates, id_: str, at_s: float | None, others: list[str]) -> list[str]:
    lines = [] if fates.asked == "case" else [f"{fates.asked} {id_} is part of case {fates.case}"]
    found = fate_lines(fates.decisions, fates.pending, at_s)
    if not found and at_s is not None and fates.decisions:
        found = ["nothing had changed by then"]
    return [*lines, *(found or others)]


def _undecided(database: Database, case: str) -> str:
    """Return why no change of a case was decided."""
    story = CaseQueries(database).named(case)[0].get("story", [])
    lines = (line["text"].partition(" ")[2] for line in story if line["what"] == "split")
    return SPLIT_OFF if any(line.startswith(SPLIT_FROM) for line in lines) else UNDECIDED


def _of_others(database: Database, id_: str, receiver: str | None) -> list[str]:
    """Return which receivers have decisions where the one that was asked for has none."""
    every = None if receiver is None else fates_of(database, id_)
    names = sorted({str(one["receiver"]) for one in every.decisions}) if every is not None else []
    if receiver is None or not names or receiver in names:
        return []
    shown = ", ".join(printable(name) for name in names)
    return [f"nothing was decided for the receiver {printable(receiver)!r}; there are decisions for {shown}"]


def _of_incident(database: Database, id_: str, receiver: str | None) -> list[str]:
    """Return a line for each notice to receivers about incidents."""
    page = Outbox(database).page(incident=id_, receiver=receiver, limit=MOST_DELIVERIES)
    return [
        f"{printable(one.notice.receiver)} (about incidents): {one.notice.type} {one.status} ({one.notice.id})"
        for one in reversed(page.rows)
    ]


def _seconds(value_ns: int, before: bool) -> float:
    return (time.time_ns() - value_ns if before else value_ns) / 1e9
