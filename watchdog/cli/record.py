"""`watchdog record`: what sources see, to a recording of our own format."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from watchdog.cli.arguments import add_kind_argument, declare_kinds, node_name, payload_size, size
from watchdog.cli.exits import INTERRUPTED
from watchdog.cli.fleet import add_fleet_arguments, fleet_of
from watchdog.cli.output import tell_damage, warn
from watchdog.cli.progress import ProgressBar
from watchdog.core.errors import WatchdogError
from watchdog.core.kinds import chosen_kinds
from watchdog.offline.record import RecordOptions, RecordProgress, record, record_fleet
from watchdog.offline.record_polls import has_live, record_polls, records_polls

SUMMARY = "Write what sources see to an events file, which `replay`, `export` and `events:FILE` read."


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "sources",
        nargs="*",
        metavar="SOURCE",
        help="capture:DIR, snapshots:FILE, log:FILE, rpc:http://HOST:PORT, stream:SOCKET, events:FILE, recording:DIR",
    )
    add_fleet_arguments(parser)
    parser.add_argument(
        "--out",
        required=True,
        type=Path,
        metavar="FILE",
        help="the events file to write; a single rpc: source gives a file of its answers, which snapshots: reads, "
        "when the name ends in .jsonl; of several nodes a folder, with NAME.events for each",
    )
    parser.add_argument("--append", action="store_true", help="append to an existing file")
    parser.add_argument(
        "--follow", action="store_true", help="wait for more at the end of the input, until interrupted"
    )
    parser.add_argument("--node", default="node", type=node_name, metavar="NAME", help="name that events carry")
    parser.add_argument("--asmap", metavar="FILE", help="asmap file of Bitcoin Core, for ASNs and netgroups")
    add_kind_argument(
        parser,
        "record only this kind or prefix (p2p); may be given again (default: all but rpc:addrman_entry)",
    )
    _add_choices(parser)


def _add_choices(parser: argparse.ArgumentParser) -> None:
    """Add what narrows a recording, and what bounds it."""
    parser.add_argument(
        "--keep", type=size, metavar="SIZE", help="write rotated files into the folder --out and keep at most this much"
    )
    parser.add_argument("--rotate", type=size, metavar="SIZE", help="begin a new file in the folder --out at this size")
    parser.add_argument(
        "--where", default="", metavar="EXPR", help="record only events that match, such as 'direction == \"in\"'"
    )
    parser.add_argument(
        "--payload",
        action="append",
        type=payload_size,
        default=[],
        metavar="TYPE=SIZE",
        help="record up to SIZE of the payload of messages of this type, * for all others; may be given again",
    )


def run(args: argparse.Namespace) -> int:
    """Record until the sources end; an interrupt ends a followed recording well. WatchdogError for --out -."""
    if str(args.out) == "-":
        raise WatchdogError("an events file needs a name, it cannot be standard output; give --out FILE")
    declare_kinds()
    fleet = fleet_of(args, {})
    options = _options(args)
    bar, last = ProgressBar(), RecordProgress(0.0, None, 0, 0)

    def show(step: RecordProgress) -> None:
        nonlocal last
        last = step
        bar.show(step.share, step.time_ns, step.events, 0, f"{step.size / 1e6:.1f} MB")

    def show_answers(answers: int, time_ns: int | None, size: int) -> None:
        show(RecordProgress(0.0, time_ns, answers, size))

    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if fleet is not None:
            last = record_fleet(fleet, args.out, options, show)
        elif records_polls(args.sources, args.out):
            _check_answers(args)
            record_polls(args.sources[0], args.out, show_answers, append=args.append)
        else:
            last = record(args.sources, args.out, options, show)
        code = 0
    except KeyboardInterrupt:
        code = 0 if options.follow else INTERRUPTED
    finally:
        signal.signal(signal.SIGTERM, before)
        bar.clear()
    size = args.out.stat().st_size if args.out.is_file() else last.size
    added, all_of_it = (" added", " in all") if args.append else ("", "")
    end = "" if code == 0 else ", interrupted"
    sys.stderr.write(f"{args.out}: {last.events:,} events{added}, {size / 1e6:.1f} MB{all_of_it}{end}\n")
    warn(last.warnings)
    damaged = tell_damage(last.faults)
    return code or damaged


def _check_answers(args: argparse.Namespace) -> None:
    """Raise WatchdogError for options that a file of answers cannot have."""
    given = {"--keep": args.keep, "--rotate": args.rotate, "--where": args.where, "--payload": args.payload}
    wrong = [option for option, value in given.items() if value]
    if wrong:
        raise WatchdogError(f"'{args.out}' would be a file of the node's answers, which {wrong[0]} does not apply to")


def _options(args: argparse.Namespace) -> RecordOptions:
    follow = args.follow or has_live(args.sources)
    return RecordOptions(
        chosen_kinds(args.kind),
        args.asmap,
        args.node,
        follow,
        args.append,
        where=args.where,
        payloads=dict(args.payload),
        keep=args.keep,
        rotate=args.rotate,
    )
