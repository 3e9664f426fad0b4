"""`watchdog deliveries`: notices to receivers: sent, waiting and dead."""

from __future__ import annotations

import argparse
import sys
import time

from alerts.store.cases import CaseQueries
from alerts.store.database import Database
from alerts.store.incidents import IncidentQueries
from alerts.store.outbox import STATUSES, Outbox
from watchdog.cli.database import add_database_argument, known_case, known_incident, run_verb
from watchdog.cli.folding import fitted
from watchdog.cli.history_text import delivery_table
from watchdog.cli.output import add_json_arguments, json_text, write_output
from watchdog.core.text import printable
from watchdog.located_yaml.suggest import did_you_mean

SUMMARY = "List deliveries to receivers, and send some of them again."


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `watchdog deliveries`."""
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    listing = verbs.add_parser("list", help="list the latest deliveries", allow_abbrev=False)
    listing.set_defaults(work=_list)
    listing.add_argument(
        "--status", choices=STATUSES, help="waiting, sent, merged (part of another notice) or dead (undeliverable)"
    )
    listing.add_argument("--receiver", metavar="NAME", help="to this receiver")
    listing.add_argument("--incident", metavar="ID", help="of this incident; at least the first 4 digits")
    listing.add_argument("--case", metavar="ID", help="of this case; at least the first 4 digits")
    listing.add_argument("--node", metavar="NAME", help="of incidents and cases of this node")
    listing.add_argument(
        "--limit", type=int, default=50, metavar="N", help="at most this many (default: 50, most: 1000)"
    )
    listing.add_argument("--cursor", help="continue after an earlier page, which printed this cursor")
    add_json_arguments(listing)
    resend = verbs.add_parser(
        "resend", help="send again, with the same id; a running service does it within seconds", allow_abbrev=False
    )
    resend.set_defaults(work=_resend)
    resend.add_argument("ids", nargs="+", metavar="ID", help="ids of deliveries, msg_...")
    for page in (listing, resend):
        add_database_argument(page)


def run(args: argparse.Namespace) -> int:
    """Run the verb; return the exit code."""
    return run_verb(args)


def _list(args: argparse.Namespace, database: Database) -> int:
    outbox = Outbox(database)
    incident = args.incident and known_incident(IncidentQueries(database), args.incident)
    page = outbox.page(
        receiver=args.receiver,
        status=args.status,
        incident=incident,
        case=args.case and known_case(CaseQueries(database), args.case)["id"],
        node=args.node,
        limit=args.limit,
        cursor=args.cursor,
    )
    rows = [row.as_object() for row in page.rows]
    if args.json or args.jsonl:
        write_output("-", json_text(rows, lines=args.jsonl))
    else:
        write_output("-", fitted(delivery_table(rows)) if rows else "no deliveries\n")
    known = {name for name, _ in outbox.counts()} if args.receiver is not None and not rows else {args.receiver}
    if args.receiver not in known:
        hint = did_you_mean(args.receiver, sorted(known)) or "is the name right?"
        sys.stderr.write(f"watchdog: no delivery to a receiver '{printable(args.receiver)}' is kept; {hint}\n")
    if page.cursor is not None:
        sys.stderr.write(f"watchdog: there are more; continue with --cursor {page.cursor}\n")
    return 0


def _resend(args: argparse.Namespace, database: Database) -> int:
    outbox = Outbox(database)
    for id_ in args.ids:
        outbox.one(id_)  # a wrong id among them: none is sent
    for id_ in args.ids:
        delivery = outbox.resend(id_, time.time_ns())
        write_output("-", f"{id_} waits for {delivery.notice.receiver}\n")
    return 0
