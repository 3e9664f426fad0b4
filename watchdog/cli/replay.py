"""`watchdog replay`: recordings in, incidents out."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

from watchdog.cli.arguments import add_rule_arguments, declare_kinds, node_name, speed
from watchdog.cli.database import database_url
from watchdog.cli.exits import INTERRUPTED
from watchdog.cli.fleet import add_fleet_arguments, fleet_of
from watchdog.cli.interrupts import Interrupt
from watchdog.cli.output import check_output, cut_text, late_text, tell_damage, warn, write_output
from watchdog.cli.progress import ProgressBar
from watchdog.offline.replay import Progress, ReplayOptions, ReplayResult, replay
from watchdog.offline.replay_fleet import replay_fleet

SUMMARY = (
    "Run the rules over recordings and print the incidents: one JSON object per line, ordered by opening time. "
    "Exit code 0 whatever was found, 2 for bad input; of damaged input, the readable part is used."
)
WIDTH_OFF_TERMINAL = 100  # columns of a table that goes to a pipe or file: wide enough for every rule's id


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `watchdog replay`."""
    parser.add_argument(
        "sources",
        nargs="*",
        metavar="SOURCE",
        help="capture:DIR, snapshots:FILE, log:FILE, events:FILE, recording:DIR or stream:SOCKET; several are merged "
        "in event time",
    )
    add_fleet_arguments(parser)
    add_rule_arguments(parser)
    parser.add_argument(
        "--node", default="node", type=node_name, metavar="NAME", help="name of the node that was recorded"
    )
    parser.add_argument(
        "--speed",
        type=speed,
        default=None,
        metavar="max|N",
        help="seconds of event time per real second (default: max, as fast as possible)",
    )
    parser.add_argument("--out", default="-", metavar="FILE|-", help="where to write (default: -, standard output)")
    parser.add_argument(
        "--checkpoint",
        type=Path,
        metavar="FILE",
        help="save the state here every 10 s, on an interrupt, and before the first damage of the input; the same "
        "command resumes from it",
    )
    parser.add_argument(
        "--db",
        metavar="URL",
        help="also store the incidents in this database (sqlite:///FILE or postgresql://...); again, it adds nothing",
    )
    parser.add_argument("--table", action="store_true", help="print a table for people instead of JSON lines")
    parser.add_argument(
        "--cases",
        action="store_true",
        help="print cases instead of incidents: one for each attack, with the notices that people would get",
    )


def run(args: argparse.Namespace) -> int:
    """Replay, then write; return 130 when interrupted with a checkpoint to resume from."""
    check_output(args.out)
    declare_kinds()
    result = _replayed(args)
    if not result.titles:
        warn(["no rules are in force; add --rules PATH or leave out --no-packs"])
    elif not result.events:
        warn(["no events in the input that these rules read"])
    warn(result.unseen)
    if not result.finished:
        sys.stderr.write(
            f"watchdog: interrupted, state kept in '{args.checkpoint}'; the same command resumes from it\n"
        )
        return INTERRUPTED
    write_output(args.out, _text(result, args))
    warn(late_text(result.late))
    warn(cut_text(result.cut))
    code = tell_damage(result.faults)
    if result.held:
        kept = (
            f"state from before the damage kept in '{args.checkpoint}'{', and so is the database' if args.db else ''}"
        )
        sys.stderr.write(f"watchdog: {kept}; the same command resumes from it when the input is repaired\n")
    return code


def _replayed(args: argparse.Namespace) -> ReplayResult:
    """Replay with a progress bar; with a checkpoint, an interrupt ends it where it can resume."""
    fleet = fleet_of(args, {"--checkpoint": args.checkpoint, "--db": args.db})
    options = ReplayOptions(
        rules=args.rules,
        packs=not args.no_packs,
        asmap=args.asmap,
        node=args.node,
        speed=args.speed,
        checkpoint=args.checkpoint,
        database=args.db and database_url(args.db),
    )
    bar = ProgressBar()

    def show(step: Progress) -> None:
        bar.show(step.share, step.time_ns, step.events, step.incidents)

    interrupt = Interrupt() if args.checkpoint is not None else None
    try:
        if fleet is not None:
            return replay_fleet(fleet, options, progress=show)
        return replay(args.sources, options, progress=show, stopped=interrupt.came if interrupt else lambda: False)
    finally:
        bar.clear()
        if interrupt:
            interrupt.restore()


def _text(result: ReplayResult, args: argparse.Namespace) -> str:
    if not args.table:
        return result.case_lines() if args.cases else result.lines()
    colour = args.out == "-" and sys.stdout.isatty() and not os.environ.get("NO_COLOR")  # https://no-color.org
    width = shutil.get_terminal_size((WIDTH_OFF_TERMINAL, 24)).columns
    return result.cases_table(width, colour=colour) if args.cases else result.table(width, colour=colour)
