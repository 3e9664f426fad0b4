"""`watchdog serve-stream`: what sources see, to other programs over a Unix socket."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from pathlib import Path
from types import FrameType

from watchdog.cli.arguments import declare_kinds, node_name, speed
from watchdog.cli.output import tell_damage
from watchdog.core.text import counted, printable
from watchdog.offline.serve_stream import ServeOptions, serve_stream

SUMMARY = (
    "Serve what sources see to other programs over a Unix socket: stream:PATH reads it, and docs/STREAM.md "
    "describes other readers. Reading begins with the first reader and ends with the sources; a slow reader makes "
    "them wait."
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "sources",
        nargs="+",
        metavar="SOURCE",
        help="capture:DIR, snapshots:FILE, log:FILE, rpc:http://HOST:PORT, zmq:TOPIC=ENDPOINT, stream:SOCKET, "
        "events:FILE or recording:DIR; several are merged in event time",
    )
    parser.add_argument(
        "--socket", required=True, type=Path, metavar="PATH", help="where to serve; the socket is created"
    )
    parser.add_argument(
        "--group", default="", metavar="GROUP", help="a group whose members may connect (default: that of this user)"
    )
    parser.add_argument("--node", default="node", type=node_name, metavar="NAME", help="name that readers see")
    parser.add_argument(
        "--speed",
        type=speed,
        default=None,
        metavar="max|N",
        help="seconds of event time per real second (default: max, as fast as the readers)",
    )
    parser.add_argument("--follow", action="store_true", help="wait for more at the end of files, until interrupted")
    parser.add_argument("--asmap", metavar="FILE", help="asmap file of Bitcoin Core, for ASNs and netgroups")


def run(args: argparse.Namespace) -> int:
    """Serve until the sources end or an interrupt, which both end well; 1 when the input was damaged."""
    declare_kinds()
    options = ServeOptions(args.socket, args.group, args.node, args.speed, args.follow, args.asmap)
    stopping = threading.Event()
    place = printable(str(args.socket))

    def stop(_number: int, _frame: FrameType | None) -> None:
        if stopping.is_set():
            raise KeyboardInterrupt
        stopping.set()

    def ready(kinds: int) -> None:
        sys.stderr.write(f"watchdog: serving {counted(kinds, 'kind')} of events at '{place}'\n")
        sys.stderr.flush()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        served = serve_stream(args.sources, options, ready=ready, stopping=stopping)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    readers = counted(served.readers, "reader")
    sys.stderr.write(f"{place}: {served.events:,} events, {readers} at most at one time\n")
    return tell_damage(served.faults)
