"""`watchdog init`: write a configuration for the nodes of this machine."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from watchdog.cli.exits import BAD_INPUT
from watchdog.cli.first_run import may_be_watched, print_report, shipped_plans
from watchdog.doctor.configuration import init_text, watched_together, writable_sources
from watchdog.doctor.examine import examine
from watchdog.service.config.read import DEFAULT_PATH

SUMMARY = (
    "Look for nodes as doctor does, and write a commented configuration with the sources that are open. Never replaces "
    "a file, and never writes a password. Exit code 2 without a node that can be heard, or when the file exists."
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "--out",
        default=str(DEFAULT_PATH),
        metavar="FILE",
        help=f"a new file, or - for standard output (default: {DEFAULT_PATH})",
    )
    parser.add_argument("--datadir", type=Path, metavar="DIR", help="look at the nodes of this datadir only")


def run(args: argparse.Namespace) -> int:
    """Write; the exit code. OSError, with the place, when the file exists or cannot be written."""
    if args.out != "-" and os.path.lexists(args.out):
        raise FileExistsError(17, "exists already, and is not replaced", args.out)
    report = examine(shipped_plans, args.datadir)
    nodes = [
        node for node in report.nodes if writable_sources(node) and (args.datadir is not None or may_be_watched(node))
    ]
    nodes = list(watched_together(nodes))
    if not nodes:
        print_report(report)
        return BAD_INPUT
    text = init_text(nodes)
    if args.out == "-":
        sys.stdout.write(text)
        return 0
    _create(Path(args.out), text)
    sys.stderr.write(f"{args.out}: written, for {len(nodes)} of {len(report.nodes)} nodes; try 'watchdog check'\n")
    return 0


def _create(path: Path, text: str) -> None:
    """Create a file that does not exist, not even as a link; a write that fails leaves none."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from None
