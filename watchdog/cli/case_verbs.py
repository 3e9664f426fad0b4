"""The verbs of `watchdog cases` with which operators act, and its export."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from typing import Any, cast

from alerts.case.acts import CaseVerb
from alerts.case.house import case_node
from alerts.incident_table import IncidentError
from alerts.render import time_text
from alerts.store.case_acts import CaseActs
from alerts.store.cases import CaseFilter, CaseQueries
from alerts.store.database import Database
from alerts.store.redact import Redactor
from watchdog.cli.database import add_verb, known_case
from watchdog.cli.history_filters import (
    MOST_EXPORTED,
    add_export_arguments,
    add_history_filters,
    severities_of,
    since_ns_of,
    states_of,
)
from watchdog.cli.operator import add_who_argument, operator_name
from watchdog.cli.output import check_output, json_line, write_output
from watchdog.core.text import printable

PORTION = 100  # cases read at once by an export
DONE = {"ack": "acknowledged", "resolve": "resolved", "note": "noted", "split": "split"}


def add_act_verbs(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verbs."""
    for name, line in (
        (
            "ack",
            "acknowledge a case as it is now; a higher severity, a new stage or a new party at high notifies again",
        ),
        ("resolve", "close a case; it reopens when a rule fires for it again"),
        ("note", "add a note to the story of a case"),
        ("split", "move a party out of a case into one of its own, for good"),
    ):
        page = add_verb(verbs, name, line, _act)
        page.set_defaults(verb=name, party="")
        add_case_id(page)
        if name == "split":
            page.add_argument("party", metavar="PARTY", help="a party of the case, or an address in it")
        page.add_argument("text", nargs="?", default="", help="a reason or note to store with it")
        page.add_argument("--text", dest="more", metavar="TEXT", help="the text as an option")
        add_who_argument(page)
    export = add_verb(verbs, "export", "export cases with claims and links as JSON lines, addresses replaced", _export)
    add_case_filters(export, 1_000, MOST_EXPORTED)
    add_export_arguments(export)


def add_case_id(page: argparse.ArgumentParser) -> None:
    """Add the id of a case."""
    page.add_argument("id", metavar="ID", help="id of the case or of a case merged into it, or its first digits")


def add_case_filters(page: argparse.ArgumentParser, limit: int, most: int) -> None:
    """Add the filters of lists of cases."""
    add_history_filters(page, limit, most, case_node)


def case_filter(args: argparse.Namespace) -> CaseFilter:
    """Return what the filters ask for."""
    return CaseFilter(states_of(args), severities_of(args), args.node, since_ns_of(args))


def story_lines(case: dict[str, Any]) -> list[str]:
    """Return the lines of the story of a case; empty without any."""
    lines = [
        f"  {time_text(int(one['time'] * 1e9))}  {one['what']:<12}  "
        + printable(": ".join(part for part in (one["who"], one["text"]) if part), 2_200)
        for one in case.get("story", ())
    ]
    beyond = case.get("story_beyond", 0)
    return [*lines, *([f"  {beyond} further lines are not kept"] if beyond else [])]


def _act(args: argparse.Namespace, database: Database) -> int:
    id_ = known_case(CaseQueries(database), args.id)["id"]
    if args.text and args.more is not None:
        raise IncidentError("the text is given twice: as an argument and with --text")
    text = args.text if args.more is None else args.more
    done = CaseActs(database).act(
        id_, cast("CaseVerb", args.verb), operator_name(args), text, time.time_ns(), party=args.party
    )
    told = DONE[args.verb]
    if done.already:
        told = f"is already {printable(done.already)}" + ("" if done.id is None else "; the text was added")
    elif args.verb == "split":
        told = f"{told}: {printable(args.party, 100)} gets a case of its own as soon as a service applies this"
    write_output("-", f"{id_} {told}\n")
    return 0


def _export(args: argparse.Namespace, database: Database) -> int:
    check_output(args.out)
    redactor = Redactor.from_file(args.redact_key_file)
    text = "".join(
        json_line(redactor.case(one)) for one in _whole(CaseQueries(database), case_filter(args), args.limit)
    )
    write_output(args.out, text)
    return 0


def _whole(queries: CaseQueries, wanted: CaseFilter, limit: int) -> Iterator[dict[str, Any]]:
    """Yield cases with claims and links, latest first, at most `limit`."""
    cursor: str | None = None
    while limit > 0:
        page = queries.page(wanted, min(PORTION, limit), cursor)
        found = (queries.one(row["id"]) for row in page.rows)
        yield from (one for one in found if one is not None)
        limit -= len(page.rows)
        cursor = page.cursor
        if cursor is None:
            return
