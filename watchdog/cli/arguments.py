"""Arguments that several commands share, and their values."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Sequence
from pathlib import Path

LONGEST_NODE = 64  # characters


def node_name(text: str) -> str:
    """Check the name of a node; ArgumentTypeError when it is blank, too long or not printable."""
    if not text.strip():
        raise ArgumentTypeError("a node needs a name that is not empty")
    if len(text) > LONGEST_NODE or not text.isprintable():
        raise ArgumentTypeError(f"a node's name has at most {LONGEST_NODE} printable characters")
    return text


def config_hint(path: object) -> str:
    """Return a hint about a missing configuration; empty when it exists or the command has none."""
    if not isinstance(path, Path) or path.exists():
        return ""
    return "; name another with --config, or write one: README.md, 'Watch a node', has an example"


def add_rule_arguments(parser: ArgumentParser) -> None:
    """Add the arguments for rules and asmap."""
    parser.add_argument(
        "--rules",
        action="append",
        type=Path,
        default=[],
        metavar="PATH",
        help="a rule file, or a folder of *.yaml; may be given again, after the shipped packs",
    )
    parser.add_argument("--no-packs", action="store_true", help="leave the shipped rules out")
    parser.add_argument("--asmap", metavar="FILE", help="asmap file of Bitcoin Core, for ASNs and netgroups")


def add_config_argument(parser: ArgumentParser) -> None:
    """Add `--config`."""
    parser.add_argument(
        "--config", type=Path, default=Path("watchdog.yaml"), metavar="FILE", help="default: watchdog.yaml"
    )


def add_kind_argument(parser: ArgumentParser, line: str) -> None:
    """Add `--kind KIND`, which may be repeated; `watchdog.core.kinds.chosen_kinds` reads it."""
    parser.add_argument("--kind", action="append", default=[], metavar="KIND", help=line)


def some_of(known: Sequence[str]) -> Callable[[str], list[str]]:
    """Return a parser of `a,b`, for `action="extend"`; it raises ArgumentTypeError for the first unknown word."""

    def read(text: str) -> list[str]:
        words = [word.strip() for word in text.split(",")]
        for word in words:
            if word not in known:
                raise ArgumentTypeError(f"invalid choice: {word!r} (choose from {', '.join(known)})")
        return words

    return read
