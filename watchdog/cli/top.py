"""`watchdog top`: a node and its peers on one screen, from a running service or from a source."""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time
from pathlib import Path

from watchdog.cli.arguments import node_name
from watchdog.cli.output import tell_damage
from watchdog.core.errors import WatchdogError
from watchdog.top.api_reader import DEFAULT_URL, ApiReader
from watchdog.top.facts import FactReader, NodeLook, TopError
from watchdog.top.source_reader import SourceReader
from watchdog.top.wording import plain_table

SUMMARY = (
    "Show the peers of a node with their rates by message type, pings and addresses, its chain, mempool and address "
    "tables, and the open incidents. Into a pipe or a file it prints one table."
)
SETTLE_S = 5.0  # that a live source has for a single table
LARGEST_TOKEN_FILE = 4_096  # bytes


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "source",
        nargs="?",
        metavar="SOURCE",
        help="a source to read without a service, such as capture:DIR or rpc:http://HOST:PORT; then no rules run",
    )
    parser.add_argument("--api", metavar="URL", help=f"address of a running service (default: {DEFAULT_URL})")
    parser.add_argument("--token", type=Path, metavar="FILE", help="file with the token of its API")
    parser.add_argument(
        "--node", type=node_name, metavar="NAME", help="the node to show first (default: the first one)"
    )


def run(args: argparse.Namespace) -> int:
    """Show the screen until it is closed; print one table where there is no terminal."""
    terminal = sys.stdout.isatty() and sys.stdin is not None and sys.stdin.isatty()
    if terminal and importlib.util.find_spec("textual") is None:
        raise WatchdogError(
            "the screen needs textual, which is not installed: pip install 'bitcoin-watchdog[top]'; "
            "'watchdog top | cat' prints one table without it"
        )
    reader = _reader(args, once=not terminal)
    try:
        if isinstance(reader, SourceReader) and not terminal:
            reader.settled(SETTLE_S)
        look = _first_look(reader, args)
        if not terminal:
            sys.stdout.write("".join(f"{line}\n" for line in plain_table(look, time.time())))
            return tell_damage(reader.faults) if isinstance(reader, SourceReader) else 0
        from watchdog.top.app import TopApp

        screen = TopApp(reader, args.node or "")
        screen.run()
        return screen.return_code or 0
    finally:
        reader.close()


def _first_look(reader: FactReader, args: argparse.Namespace) -> NodeLook:
    """Look once before there is a screen, so that a wrong address is a line on standard error. TopError: see there."""
    try:
        return reader.look(args.node or "")
    except TopError as error:
        hint = (
            "; start it with 'watchdog run', or give --api URL or a SOURCE" if args.api is args.source is None else ""
        )
        raise TopError(f"{error}{hint}") from None


def _reader(args: argparse.Namespace, *, once: bool) -> FactReader:
    if args.source is None:
        return ApiReader(args.api or DEFAULT_URL, _token(args.token))
    if args.api is not None or args.token is not None:
        raise WatchdogError("give a SOURCE, or --api with --token; not both")
    return SourceReader([args.source], args.node or "node", once=once)


def _token(path: Path | None) -> str:
    """Return the token in a file, without line breaks around it; empty without a file."""
    if path is None:
        return ""
    with path.open("rb") as file:
        content = file.read(LARGEST_TOKEN_FILE + 1)
    token = content.decode("utf-8", "replace").strip()
    if len(content) > LARGEST_TOKEN_FILE or not token or not token.isascii() or not token.isprintable():
        raise WatchdogError(f"'{path}' holds no token: one line of printable ASCII")
    return token
