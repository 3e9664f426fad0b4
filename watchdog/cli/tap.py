"""`watchdog tap`: what sources give, as it comes, and measures of it."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from watchdog.cli.arguments import DetailFormatter, declare_kinds, node_name
from watchdog.cli.interrupts import Interrupt
from watchdog.cli.output import STDOUT, tell_damage, warn
from watchdog.core.core_constants import MAX_PROTOCOL_MESSAGE_LENGTH, MESSAGE_TYPE_SIZE
from watchdog.core.durations import SECOND_NS, UNITS_TEXT, parse_duration
from watchdog.core.sizes import parse_size
from watchdog.tap.query import Asked
from watchdog.tap.run import Screen, TapOptions, Tapped, tap

SUMMARY = (
    "Print what sources see: a line per event, JSON lines, the bytes of messages, or a table of measures. "
    "Files are read to their end, live sources until --count, --for or an interrupt."
)
EXAMPLES = """examples:
  watchdog tap capture:DIR --kinds net --measure 'n=count()' --measure 'bytes=sum(size)' --by type
  watchdog tap log:debug.log --follow --where 'direction == "in"'
  watchdog tap events:FILE --kinds p2p:addr --format json --count 10"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.epilog, parser.formatter_class = EXAMPLES, DetailFormatter
    parser.add_argument(
        "sources",
        nargs="+",
        metavar="SOURCE",
        help="any source: capture:DIR, snapshots:FILE, log:FILE, rpc:http://HOST:PORT, events:FILE, recording:DIR and "
        "others; several are merged in event time; give them before --kinds",
    )
    parser.add_argument(
        "--kinds",
        nargs="+",
        action="extend",
        default=[],
        metavar="KIND",
        help="only these kinds, or those with this prefix (p2p); default: all that the sources offer except heartbeats",
    )
    parser.add_argument("--where", default="", metavar="EXPR", help="only events for which this is true, as in rules")
    _add_measure_arguments(parser)
    parser.add_argument(
        "--format", choices=("line", "json", "hex"), default="line", help="default: line; hex shows messages with bytes"
    )
    parser.add_argument("--count", type=_count, default=0, metavar="N", help="stop after this many events")
    parser.add_argument(
        "--for",
        dest="span",
        type=_duration,
        default=0,
        metavar="DURATION",
        help="stop after this time: of the clock for live sources, of the events for files",
    )
    _add_further_arguments(parser)


def _add_further_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--follow", action="store_true", help="print only what is appended to files from now on")
    parser.add_argument("--record", type=Path, metavar="FILE", help="also record the events that pass to this file")
    parser.add_argument(
        "--payload",
        action="append",
        type=_payload,
        default=[],
        metavar="TYPE=SIZE",
        help="read at most this many bytes of messages of this type, '*' for all others; may be given again (default: "
        "whole messages with --format hex, else none)",
    )
    parser.add_argument("--node", default="node", type=node_name, metavar="NAME", help="name that events carry")
    parser.add_argument("--asmap", metavar="FILE", help="asmap file of Bitcoin Core, for ASNs and netgroups")


def _add_measure_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--measure",
        action="append",
        default=[],
        metavar="NAME=EXPR",
        help="print a table of this measure of rules (count, sum, distinct, quantile, ...) or of histogram(x), in "
        "powers of two, instead of events; may be given again",
    )
    parser.add_argument(
        "--by", type=_fields, default=(), metavar="FIELD,...", help="one row of the table per value of these fields"
    )
    parser.add_argument(
        "--every",
        type=_every,
        default=5 * SECOND_NS,
        metavar="DURATION|end",
        help="event time that a table covers (default: 5s); end: one table over everything",
    )


def run(args: argparse.Namespace) -> int:
    """Tap; 0 also after an interrupt or when the reader of the output has left, 2 where a file is damaged."""
    declare_kinds()
    payloads = dict(args.payload)
    if args.format == "hex" and not payloads:
        payloads = {"*": MAX_PROTOCOL_MESSAGE_LENGTH}
    options = TapOptions(
        kinds=tuple(name.strip() for text in args.kinds for name in text.split(",")),
        asked=Asked(args.where, tuple(args.measure), args.by, args.every),
        form=args.format,
        count=args.count,
        span_ns=args.span,
        record=args.record,
        payloads=payloads,
        node=args.node,
        asmap=args.asmap,
        follow=args.follow,
    )
    interrupt = Interrupt()
    try:
        tapped = tap(args.sources, options, Screen(_show, lambda line: warn([line]), interrupt.came))
    except BrokenPipeError:  # `| head` has seen enough
        _discard_stdout()
        return 0
    except KeyboardInterrupt:  # the second one, while the output was stuck
        return 0
    finally:
        interrupt.restore()
    return _told(tapped, args.record, filtered=bool(args.kinds or args.where))


def _told(tapped: Tapped, record: Path | None, *, filtered: bool) -> int:
    if record is not None:
        sys.stderr.write(
            f"{record}: {tapped.events:,} event{'' if tapped.events == 1 else 's'}, {tapped.size / 1e6:.1f} MB\n"
        )
    elif not tapped.events:
        warn(["no event matches" if filtered else "no events"])
    return tell_damage(tapped.faults)


def _show(text: str) -> None:
    sys.stdout.buffer.write(text.encode("utf-8", "backslashreplace"))
    sys.stdout.flush()


def _discard_stdout() -> None:
    """Send what is still buffered nowhere: the interpreter flushes once more at its end."""
    sink = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(sink, STDOUT)
    finally:
        os.close(sink)


def _fields(text: str) -> tuple[str, ...]:
    fields: Sequence[str] = [field.strip() for field in text.split(",")]
    if not all(fields):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of fields, such as direction,type")
    return tuple(dict.fromkeys(fields))


def _count(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 1 << 62:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def _duration(text: str) -> int:
    span_ns = parse_duration(text)
    if not span_ns:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration above 0, such as 30s; units are {UNITS_TEXT}")
    return span_ns


def _every(text: str) -> int:
    return 0 if text == "end" else _duration(text)


def _payload(text: str) -> tuple[str, int]:
    type_, equals, size_text = text.rpartition("=")
    size = int(size_text) if size_text.isdecimal() and len(size_text) < 12 else parse_size(size_text)
    if not equals or not type_ or len(type_) > 4 * MESSAGE_TYPE_SIZE or size is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not TYPE=SIZE, such as addrv2=64KiB")
    return type_, min(size, MAX_PROTOCOL_MESSAGE_LENGTH)
