"""`watchdog events`: the kinds of events and their fields."""

from __future__ import annotations

import argparse
import json
import sys

from watchdog.cli.arguments import add_declaring_argument, declare_kinds
from watchdog.cli.folding import fitted
from watchdog.core.kinds import KINDS, kind_named
from watchdog.docs_build.event_pages import as_data, listing, page_of

SUMMARY = "List the kinds of events that rules can read, or one kind with its fields, units and sources."


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "kind",
        nargs="?",
        metavar="KIND",
        help="a kind, such as p2p:addr, or a prefix of several, such as p2p",
    )
    add_declaring_argument(parser)
    parser.add_argument("--json", action="store_true", help="as JSON: an object for one kind, a list for several")


def run(args: argparse.Namespace) -> int:
    """Print the catalogue or a part of it; WatchdogError, with a hint, for an unknown kind."""
    declare_kinds(args.config)
    begin = args.kind or ""
    several = [kind for kind in KINDS.values() if kind.name.startswith(begin)]
    if begin not in KINDS and several:
        text = _json([as_data(kind) for kind in several]) if args.json else fitted(listing(several))
    else:
        kind = kind_named(args.kind)
        text = _json(as_data(kind)) if args.json else fitted(page_of(kind))
    sys.stdout.write(text)
    return 0


def _json(data: object) -> str:
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"
