"""`watchdog record`: what sources see, to a recording of our own format."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from watchdog.cli.arguments import add_kind_argument, node_name
from watchdog.cli.exits import INTERRUPTED
from watchdog.cli.output import tell_damage, warn
from watchdog.cli.progress import ProgressBar
from watchdog.core.errors import WatchdogError
from watchdog.core.kinds import chosen_kinds
from watchdog.offline.record import RecordOptions, RecordProgress, record

SUMMARY = "Write what sources see to an events file, which `replay`, `export` and `events:FILE` read."


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "sources", nargs="+", metavar="SOURCE", help="capture:DIR, snapshots:FILE, log:FILE, events:FILE, recording:DIR"
    )
    parser.add_argument("--out", required=True, type=Path, metavar="FILE", help="the events file to write")
    parser.add_argument("--append", action="store_true", help="append to an existing file")
    parser.add_argument(
        "--follow", action="store_true", help="wait for more at the end of the input, until interrupted"
    )
    parser.add_argument("--node", default="node", type=node_name, metavar="NAME", help="name that events carry")
    parser.add_argument("--asmap", metavar="FILE", help="asmap file of Bitcoin Core, for ASNs and netgroups")
    add_kind_argument(
        parser,
        "record only this kind, or those that begin so (p2p); may be given again (default: all but rpc:addrman_entry)",
    )


def run(args: argparse.Namespace) -> int:
    """Record until the sources end; an interrupt ends a followed recording well. WatchdogError for --out -."""
    if str(args.out) == "-":
        raise WatchdogError("an events file needs a name, it cannot be standard output; give --out FILE")
    options = RecordOptions(chosen_kinds(args.kind), args.asmap, args.node, args.follow, args.append)
    bar, last = ProgressBar(), RecordProgress(0.0, None, 0, 0)

    def show(step: RecordProgress) -> None:
        nonlocal last
        last = step
        bar.show(step.share, step.time_ns, step.events, 0, f"{step.size / 1e6:.1f} MB")

    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        last = record(args.sources, args.out, options, show)
        code = 0
    except KeyboardInterrupt:
        code = 0 if args.follow else INTERRUPTED
    finally:
        signal.signal(signal.SIGTERM, before)
        bar.clear()
    size = args.out.stat().st_size if args.out.exists() else last.size
    added, all_of_it = (" added", " in all") if args.append else ("", "")
    end = "" if code == 0 else ", interrupted"
    sys.stderr.write(f"{args.out}: {last.events:,} events{added}, {size / 1e6:.1f} MB{all_of_it}{end}\n")
    warn(last.warnings)
    damaged = tell_damage(last.faults)
    return code or damaged
