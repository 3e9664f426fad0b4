"""`watchdog extract`: a node's tracepoints as a stream, read by a small program with few rights."""

from __future__ import annotations

import argparse
from pathlib import Path

from watchdog.core.errors import WatchdogError
from watchdog.core.kinds import chosen_kinds

SUMMARY = (
    "Read a running node's tracepoints through eBPF and serve them at a socket, which stream:SOCKET reads. It needs "
    "CAP_BPF and CAP_PERFMON; started as root it gives up all else once the socket is bound. When the node ends, it "
    "waits for the next one."
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--pid", type=_pid, metavar="N", help="the node's process")
    which.add_argument("--pidfile", type=Path, metavar="FILE", help="the node's pid file; it may appear later")
    parser.add_argument(
        "--binary",
        type=Path,
        metavar="PATH",
        help="the node's program: alone for the first process that runs it, now or later; beside --pid or --pidfile "
        "where this user may not see the program of that process",
    )
    parser.add_argument("--socket", required=True, type=Path, metavar="PATH", help="where to serve; mode 0660")
    parser.add_argument("--group", metavar="GROUP", help="the group that may read the socket")
    parser.add_argument(
        "--kinds", nargs="+", default=[], metavar="KIND", help="offer only these kinds, or those with this prefix (net)"
    )


def run(args: argparse.Namespace) -> int:
    """Serve until interrupted; WatchdogError when it cannot start."""
    if args.pid is None and args.pidfile is None and args.binary is None:
        raise WatchdogError("which node? give one of --pid N, --pidfile FILE, --binary PATH")
    from watchdog.extract.command import ExtractOptions, extract

    extract(ExtractOptions(args.socket, args.pid, args.pidfile, args.binary, args.group, chosen_kinds(args.kinds)))
    return 0


def _pid(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) <= 1 << 22:
        raise argparse.ArgumentTypeError(f"expected the number of a process, found {text!r}")
    return int(text)
