"""`watchdog audit`: who changed what."""

from __future__ import annotations

import argparse
import json
import sys
from typing import cast

from alerts.render import time_text
from alerts.store.audit import MOST_ROWS, Audit
from alerts.store.database import Database
from watchdog.cli.database import add_verb, run_verb
from watchdog.cli.folding import fitted
from watchdog.cli.output import add_json_arguments, json_text, write_output
from watchdog.core.text import printable

SUMMARY = (
    "List who changed what: acknowledgements, notes, splits, silences, starts and reloads of the service, overrides of "
    "rules. Entries are never changed or removed."
)
DETAIL = 300  # characters of an entry's detail in the table
TIMES = ("until",)  # names of details in unix seconds


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `watchdog audit`."""
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    listing = add_verb(verbs, "list", "list the latest entries", _list)
    listing.add_argument(
        "--limit", type=_count, default=50, metavar="N", help=f"at most this many, up to {MOST_ROWS} (default: 50)"
    )
    listing.add_argument("--cursor", help="continue after an earlier page, which printed this cursor")
    add_json_arguments(listing)


def run(args: argparse.Namespace) -> int:
    """Run the verb; return the exit code."""
    return run_verb(args)


def _list(args: argparse.Namespace, database: Database) -> int:
    page = Audit(database).page(args.limit, args.cursor)
    if args.json or args.jsonl:
        write_output("-", json_text(page.rows, lines=args.jsonl))
    else:
        lines = [_line(row) for row in page.rows]
        write_output("-", fitted("\n".join(lines) + "\n") if lines else "no entries\n")
    if page.cursor is not None:
        sys.stderr.write(f"watchdog: there are more; continue with --cursor {page.cursor}\n")
    return 0


def _line(row: dict[str, object]) -> str:
    told = cast("dict[str, object]", row["detail"])
    detail = ", ".join(f"{name} {_value(name, value)}" for name, value in told.items())
    when = time_text(int(cast("float", row["time"]) * 1e9))
    head = f"{when}  {printable(str(row['who']), 100):<12}  {row['action']:<8}  {printable(str(row['subject']), 200)}"
    return f"{head}  {printable(detail, DETAIL)}".rstrip()


def _value(name: str, value: object) -> str:
    if name in TIMES and isinstance(value, int | float):
        return time_text(int(value * 1e9))
    return value if isinstance(value, str) else json.dumps(value)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= MOST_ROWS):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {MOST_ROWS}")
    return int(text)
