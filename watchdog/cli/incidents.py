"""`watchdog incidents`: the stored history, and operators' actions on it."""

from __future__ import annotations

import argparse
import getpass
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

from alerts.incident import RANK, IncidentState
from alerts.incident_table import UnknownIncidentError
from alerts.store.actions import Verb
from alerts.store.database import Database
from alerts.store.incidents import STATES, IncidentFilter, IncidentQueries
from alerts.store.redact import Redactor
from alerts.store.retention import remove_resolved
from watchdog.cli.arguments import some_of
from watchdog.cli.database import add_database_argument, known_incident, opened
from watchdog.cli.folding import fitted
from watchdog.cli.history_text import incident_page, incident_table
from watchdog.cli.moments import duration_ns, moment
from watchdog.cli.output import add_json_arguments, check_output, json_line, json_text, write_output
from watchdog.core.finding import ATTACKS, SEVERITIES, Attack
from watchdog.core.text import counted, printable

SUMMARY = "List, show, acknowledge, resolve, annotate, export and remove incidents of the stored history."
PORTION = 200  # incidents read at once by an export


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `watchdog incidents`."""
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    listing = _verb(verbs, "list", "the latest incidents", _list)
    _add_filters(listing, 50)
    listing.add_argument("--cursor", help="continue after an earlier page, which prints this cursor")
    add_json_arguments(listing)
    showing = _verb(verbs, "show", "one incident with evidence, changes, notes and deliveries", _show)
    _add_id(showing)
    showing.add_argument("--json", action="store_true", help="the JSON object")
    for name, line in (
        ("ack", "somebody has seen it"),
        ("resolve", "it is over; it reopens when the rule fires again"),
        ("note", "write something down"),
    ):
        page = _verb(verbs, name, line, _act)
        page.set_defaults(verb=name)
        _add_id(page)
        page.add_argument("text", nargs=None if name == "note" else "?", default="", help="what to keep with it")
        page.add_argument("--who", help="name of the operator (default: your login name)")
    export = _verb(verbs, "export", "incidents with their evidence as JSON lines, addresses replaced", _export)
    _add_filters(export, 1_000)
    export.add_argument(
        "--redact-key-file",
        type=Path,
        required=True,
        metavar="FILE",
        help="16 to 64 secret bytes; addresses and netgroups become hashes with this key, alike for alike",
    )
    export.add_argument("--out", default="-", metavar="FILE|-", help="where to write (default: -, standard output)")
    removing = _verb(verbs, "remove", "old incidents that are resolved; all others stay", _remove)
    removing.add_argument(
        "--older-than",
        type=duration_ns,
        required=True,
        metavar="DURATION",
        help="resolved at least this long ago, such as 90d",
    )


def run(args: argparse.Namespace) -> int:
    """Run the verb; return the exit code."""
    database = opened(args)
    try:
        return cast("Callable[[argparse.Namespace, Database], int]", args.work)(args, database)
    finally:
        database.close()


def _verb(
    verbs: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    line: str,
    work: Callable[[argparse.Namespace, Database], int],
) -> argparse.ArgumentParser:
    page = verbs.add_parser(name, help=line, description=f"{line[0].upper()}{line[1:]}.", allow_abbrev=False)
    page.set_defaults(work=work)
    add_database_argument(page)
    return page


def _add_id(page: argparse.ArgumentParser) -> None:
    page.add_argument("id", metavar="ID", help="the incident's id, or its first digits (at least 4)")


def _add_filters(page: argparse.ArgumentParser, limit: int) -> None:
    for name, known in (("state", STATES), ("attack", ATTACKS)):
        page.add_argument(
            f"--{name}",
            action="extend",
            type=some_of(known),
            default=[],
            metavar=f"{name.upper()},...",
            help=f"some of {', '.join(known)}; with commas between, or given again",
        )
    page.add_argument("--severity", choices=SEVERITIES, help="of this severity and above")
    page.add_argument("--node", metavar="NAME", help="of this node")
    page.add_argument("--since", type=moment, metavar="TIME", help="opened since: 2h, 7d, 2026-01-31T12:00 (UTC)")
    page.add_argument("--limit", type=_count, default=limit, metavar="N", help=f"at most this many (default: {limit})")


def _filter(args: argparse.Namespace) -> IncidentFilter:
    since_ns = None
    if args.since is not None:
        value, is_duration = cast("tuple[int, bool]", args.since)
        since_ns = time.time_ns() - value if is_duration else value
    return IncidentFilter(
        states=tuple(IncidentState(name) for name in args.state),
        severities=tuple(one for one in SEVERITIES if args.severity and RANK[one] >= RANK[args.severity]),
        attacks=tuple(cast("list[Attack]", args.attack)),
        node=args.node,
        since_ns=since_ns,
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
    write_output("-", json_line(one) if args.json else fitted(incident_page(one)))
    return 0


def _act(args: argparse.Namespace, database: Database) -> int:
    queries = IncidentQueries(database)
    id_ = known_incident(queries, args.id)
    who = args.who if args.who is not None else _login()
    done = queries.act(id_, cast("Verb", args.verb), who, args.text, time.time_ns())
    told = {"ack": "acknowledged", "resolve": "resolved", "note": "noted"}[args.verb]
    if done.already:
        told = f"is already {printable(done.already)}" + ("" if done.id is None else "; the text was added")
    write_output("-", f"{id_} {told}\n")
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


def _login() -> str:
    """Return the name of the user, or the number without a name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= 100_000):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 100000")
    return int(text)
