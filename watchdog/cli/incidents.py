"""`watchdog incidents`: the stored history, and operators' actions on it."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from typing import cast

from alerts.case.house import incident_node
from alerts.incident_table import UnknownIncidentError
from alerts.store.actions import Verb
from alerts.store.cases import CaseQueries
from alerts.store.database import Database
from alerts.store.incidents import IncidentFilter, IncidentQueries
from alerts.store.redact import Redactor
from alerts.store.retention import remove_resolved
from alerts.store.verdicts import VERDICTS, OperatorVerdict
from watchdog.cli.database import add_verb, known_incident, run_verb
from watchdog.cli.folding import fitted
from watchdog.cli.history_filters import (
    MOST_EXPORTED,
    add_export_arguments,
    add_history_filters,
    add_words_filter,
    severities_of,
    since_ns_of,
    states_of,
)
from watchdog.cli.history_text import incident_page, incident_table
from watchdog.cli.moments import duration_ns
from watchdog.cli.operator import add_who_argument, operator_name
from watchdog.cli.output import add_json_arguments, check_output, json_line, json_text, write_output
from watchdog.cli.rule_advice import advice_lines, why_nothing_is_learnt
from watchdog.core.finding import ATTACKS, Attack
from watchdog.core.text import counted, printable

SUMMARY = "List, show, acknowledge, resolve, annotate, export and remove incidents of the stored history."
PORTION = 200  # incidents read at once by an export


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `watchdog incidents`."""
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    listing = add_verb(verbs, "list", "list the latest incidents", _list)
    _add_filters(listing, 50)
    listing.add_argument("--cursor", help="continue after an earlier page, which printed this cursor")
    add_json_arguments(listing)
    showing = add_verb(verbs, "show", "show one incident with evidence, changes, notes and deliveries", _show)
    _add_id(showing)
    showing.add_argument("--json", action="store_true", help="the JSON object")
    for name, line in (
        ("ack", "mark an incident as seen"),
        ("resolve", "close an incident; it reopens when the rule fires again"),
        ("note", "add a note to an incident"),
    ):
        page = add_verb(verbs, name, line, _act)
        page.set_defaults(verb=name)
        _add_id(page)
        page.add_argument(
            "text", nargs=None if name == "note" else "?", default="", help="a reason or note to store with it"
        )
        add_who_argument(page)
        if name == "resolve":
            _add_verdict(page)
    export = add_verb(
        verbs, "export", "export incidents with their evidence as JSON lines, addresses replaced", _export
    )
    _add_filters(export, 1_000)
    add_export_arguments(export)
    removing = add_verb(verbs, "remove", "remove old incidents that are resolved; all others stay", _remove)
    removing.add_argument(
        "--older-than",
        type=duration_ns,
        required=True,
        metavar="DURATION",
        help="resolved at least this long ago, such as 90d",
    )


def run(args: argparse.Namespace) -> int:
    """Run the verb; return the exit code."""
    return run_verb(args)


def _add_verdict(page: argparse.ArgumentParser) -> None:
    """Add the operator's verdict, which teaches the budget of the rule."""
    judged = page.add_mutually_exclusive_group()
    judged.add_argument(
        "--not-an-attack",
        action="store_const",
        dest="verdict",
        const="false_alarm",
        help="a false alarm: a rule with a budget learns from it",
    )
    judged.add_argument("--verdict", choices=VERDICTS, help="the same as a word; `attack` takes a false alarm back")


def _add_id(page: argparse.ArgumentParser) -> None:
    page.add_argument("id", metavar="ID", help="the incident's id, or its first digits (at least 4)")


def _add_filters(page: argparse.ArgumentParser, limit: int) -> None:
    add_history_filters(page, limit, MOST_EXPORTED, incident_node)
    add_words_filter(page, "attack", ATTACKS)


def _filter(args: argparse.Namespace) -> IncidentFilter:
    return IncidentFilter(
        states=states_of(args),
        severities=severities_of(args),
        attacks=tuple(cast("list[Attack]", args.attack)),
        node=args.node,
        since_ns=since_ns_of(args),
    )


def _list(args: argparse.Namespace, database: Database) -> int:
    queries = IncidentQueries(database)
    page = queries.page(_filter(args), args.limit, args.cursor)
    if args.json or args.jsonl:
        write_output("-", json_text(page.rows, lines=args.jsonl))
    else:
        write_output("-", fitted(incident_table(page.rows)) if page.rows else "no incidents\n")
    if not page.rows:
        _hint_node(queries, args.node)
    if page.cursor is not None:
        sys.stderr.write(f"watchdog: there are more; continue with --cursor {page.cursor}\n")
    return 0


def _hint_node(queries: IncidentQueries, node: str | None) -> None:
    """Warn on standard error of an unknown node: an empty answer would look like peace."""
    if node is not None and not queries.page(IncidentFilter(node=node), 1).rows:
        sys.stderr.write(f"watchdog: no incident of a node '{printable(node)}' is kept; is the name right?\n")


def _show(args: argparse.Namespace, database: Database) -> int:
    queries = IncidentQueries(database)
    id_ = known_incident(queries, args.id)
    one = queries.one(id_)
    if one is None:
        raise UnknownIncidentError(f"no incident {id_!r}")
    one["cases"] = CaseQueries(database).of_incident(id_)
    if args.json:
        write_output("-", json_line(one))
        return 0
    lines = advice_lines(cast("str", one["rule"]), args.config)
    advice = "".join(f"  {line}\n" for line in lines)
    write_output("-", fitted(incident_page(one) + (f"\nwhat to do:\n{advice}" if advice else "")))
    return 0


def _act(args: argparse.Namespace, database: Database) -> int:
    queries = IncidentQueries(database)
    id_ = known_incident(queries, args.id)
    verdict = cast("OperatorVerdict | None", getattr(args, "verdict", None))
    done = queries.act(id_, cast("Verb", args.verb), operator_name(args), args.text, time.time_ns(), verdict=verdict)
    told = {"ack": "acknowledged", "resolve": "resolved", "note": "noted"}[args.verb]
    if done.already:
        added = " and ".join([*(["the text"] if args.text else []), *(["the verdict"] if verdict else [])])
        told = f"is already {printable(done.already)}" + (f"; {added} was added" if added else "")
    if verdict:
        told += f": {verdict.replace('_', ' ')}"
    write_output("-", f"{id_} {told}\n")
    if verdict and (unlearning := why_nothing_is_learnt(queries.rule_of(id_), args.config)):
        sys.stderr.write(f"watchdog: {unlearning}\n")
    return 0


def _export(args: argparse.Namespace, database: Database) -> int:
    check_output(args.out)
    redactor, queries = Redactor.from_file(args.redact_key_file), IncidentQueries(database)
    text = "".join(json_line(redactor.incident(one)) for one in _whole_incidents(queries, _filter(args), args.limit))
    write_output(args.out, text)
    if not text:
        _hint_node(queries, args.node)
    return 0


def _whole_incidents(queries: IncidentQueries, wanted: IncidentFilter, limit: int) -> Iterator[dict[str, object]]:
    """Yield incidents with their evidence, latest first, at most `limit`."""
    cursor: str | None = None
    while limit > 0:
        page = queries.page(wanted, min(PORTION, limit), cursor)
        found = (queries.one(cast("str", row["id"])) for row in page.rows)
        yield from (one for one in found if one is not None)
        limit -= len(page.rows)
        cursor = page.cursor
        if cursor is None:
            return


def _remove(args: argparse.Namespace, database: Database) -> int:
    gone = remove_resolved(database, time.time_ns() - args.older_than)
    write_output("-", f"{counted(gone, 'incident')} removed\n")
    return 0
