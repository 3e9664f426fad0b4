"""`watchdog export`: a recording to Parquet, CSV, JSON lines or Core's message capture."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path

from watchdog.cli.arguments import add_kind_argument, declare_kinds
from watchdog.cli.output import tell_damage
from watchdog.core.errors import WatchdogError
from watchdog.core.kinds import chosen_kinds
from watchdog.core.text import counted
from watchdog.offline.export import Exported, ExportOptions, export
from watchdog.offline.export_capture import CaptureExport, export_capture

SUMMARY = (
    "Turn an events file into Parquet, CSV, JSON lines or the files of -capturemessages. Byte strings are hex, in "
    "wire order."
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("file", metavar="FILE", help="an events file, as `watchdog record` writes it")
    parser.add_argument("--format", required=True, choices=("parquet", "csv", "jsonl", "capture"), help="what to write")
    add_kind_argument(parser, "export only this kind or prefix (p2p); may be given again (default: all)")
    parser.add_argument("--since", type=_time_ns, metavar="TIME", help="start: ISO 8601 (UTC) or unix seconds")
    parser.add_argument("--until", type=_time_ns, metavar="TIME", help="end, not included")
    parser.add_argument(
        "--out",
        default="-",
        metavar="PATH|-",
        help="file, or for CSV and Parquet of several kinds a folder with one file per kind, or for capture a new "
        "folder (default: standard output)",
    )


def run(args: argparse.Namespace) -> int:
    """Export; 2 when the file was torn, after everything before the tear was exported."""
    if Path(args.file).is_dir():
        raise WatchdogError(
            f"'{args.file}' is a folder, not an events file; make one: watchdog record recording:{args.file} --out FILE"
        )
    declare_kinds()
    if args.format == "capture":
        return _export_capture(args)
    done = export(args.file, args.out, ExportOptions(args.format, chosen_kinds(args.kind), args.since, args.until))
    sys.stderr.write(f"{args.file}: {sum(done.rows.values()):,} events of {_kinds(len(done.rows))}\n")
    return _torn(args.file, done)


def _export_capture(args: argparse.Namespace) -> int:
    if args.out == "-":
        raise WatchdogError("a capture is a folder; give --out DIR")
    if args.kind:
        raise WatchdogError("a capture holds messages only; leave --kind out")
    done = export_capture(args.file, Path(args.out), args.since, args.until)
    sys.stderr.write(f"{args.file}: {counted(done.messages, 'message')} of {counted(len(done.peers), 'peer')}\n")
    if done.cut:
        lack = "their payload is not whole in the recording (see --payload of 'watchdog record')"
        sys.stderr.write(f"left out: {counted(done.cut, 'message')}, {lack}\n")
    if done.odd:
        sys.stderr.write(f"left out: {counted(done.odd, 'message')} of a type that is not printable\n")
    return _torn(args.file, done)


def _torn(file: str, done: Exported | CaptureExport) -> int:
    if done.torn_at is None:
        return 0
    torn = f"torn at byte {done.torn_at.offset} ({done.torn_at.reason})"
    return tell_damage([f"'{file}' is {torn}; everything before it was exported"])


def _kinds(number: int) -> str:
    return "1 kind" if number == 1 else f"{number} kinds"


def _time_ns(text: str) -> int:
    """Return the unix time in ns of an ISO 8601 time (UTC without an offset) or of unix seconds."""
    try:
        whole, _, part = text.partition(".")
        if whole.isdecimal() and (not part or part.isdecimal()):
            return int(whole) * 1_000_000_000 + int(part.ljust(9, "0")[:9] or 0)
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither an ISO 8601 time nor unix seconds") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) * 1_000
