"""The filters that the lists and exports of incidents and of cases share."""

from __future__ import annotations

import time
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

from alerts.incident import RANK, IncidentState
from alerts.store.incidents import STATES
from watchdog.cli.arguments import some_of
from watchdog.cli.moments import moment
from watchdog.core.finding import SEVERITIES, Severity

MOST_EXPORTED = 100_000


def add_history_filters(page: ArgumentParser, limit: int, most: int, spelt: Callable[[str], str]) -> None:
    """Add `--state`, `--severity`, `--node`, `--since` and `--limit`.

    limit: the default one, at most `most`. spelt: the node's name in the spelling of what is filtered.
    """
    add_words_filter(page, "state", STATES)
    page.add_argument("--severity", choices=SEVERITIES, help="of this severity and above")
    page.add_argument("--node", type=spelt, metavar="NAME", help="of this node; '*' for those of no single node")
    page.add_argument("--since", type=moment, metavar="TIME", help="opened since: 2h, 7d, 2026-01-31T12:00 (UTC)")

    def count(text: str) -> int:
        if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= most):
            raise ArgumentTypeError(f"{text!r} is not a number from 1 to {most}")
        return int(text)

    page.add_argument(
        "--limit", type=count, default=limit, metavar="N", help=f"at most this many, up to {most} (default: {limit})"
    )


def add_words_filter(page: ArgumentParser, name: str, known: Sequence[str]) -> None:
    """Add an option that takes some of the known words, separated by commas."""
    page.add_argument(
        f"--{name}",
        action="extend",
        type=some_of(known),
        default=[],
        metavar=f"{name.upper()},...",
        help=f"some of {', '.join(known)}; separated by commas, or given again",
    )


def add_export_arguments(page: ArgumentParser) -> None:
    """Add `--redact-key-file` and `--out`."""
    page.add_argument(
        "--redact-key-file",
        type=Path,
        required=True,
        metavar="FILE",
        help="16 to 64 secret bytes; addresses and netgroups become hashes with this key, one for each address",
    )
    page.add_argument("--out", default="-", metavar="FILE|-", help="where to write (default: -, standard output)")


def states_of(args: Namespace) -> tuple[IncidentState, ...]:
    """Return the states that are asked for; empty for all."""
    return tuple(IncidentState(name) for name in args.state)


def severities_of(args: Namespace) -> tuple[Severity, ...]:
    """Return the severity that is asked for and those above; empty for all."""
    return tuple(one for one in SEVERITIES if args.severity and RANK[one] >= RANK[args.severity])


def since_ns_of(args: Namespace) -> int | None:
    """Return the time that is asked for, which may be given as a duration before now."""
    if args.since is None:
        return None
    value, is_duration = cast("tuple[int, bool]", args.since)
    return time.time_ns() - value if is_duration else value
