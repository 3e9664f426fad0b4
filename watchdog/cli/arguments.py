"""Arguments that several commands share, and their values."""

from __future__ import annotations

import argparse
import math
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Sequence
from pathlib import Path

from watchdog.core.core_constants import MAX_PROTOCOL_MESSAGE_LENGTH
from watchdog.core.recorded import MESSAGE_TYPE
from watchdog.core.sizes import UNITS_TEXT, parse_size

LONGEST_NODE = 64  # characters
DEFAULT_PATH = Path("watchdog.yaml")


class DetailFormatter(argparse.HelpFormatter):
    """Keeps the lines of a text that has several, such as an epilog, and folds all others."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if "\n" in text:
            return "".join(indent + line for line in text.splitlines(keepends=True))
        return super()._fill_text(text, width, indent)


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
    return "; name another with --config, or write one: 'watchdog init', or README.md, 'Watch a node'"


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


def add_declaring_argument(parser: ArgumentParser) -> None:
    """Add `--config` to a command that needs no configuration, only its `tracepoints`; see `declare_kinds`."""
    line = "the configuration whose 'tracepoints' are kinds as well (default: watchdog.yaml, where it exists)"
    parser.add_argument("--config", type=Path, metavar="FILE", help=line)


def declare_kinds(config: Path | None = None) -> None:
    """Make the tracepoints of a configuration known as kinds; without one, those of watchdog.yaml where it exists.

    ConfigError: their declarations are wrong, or the file that was named cannot be read.
    """
    path = config or DEFAULT_PATH
    if config is None and not (path.is_file() and b"tracepoints" in path.read_bytes()):
        return
    from watchdog.service.config.read import declare_tracepoints

    declare_tracepoints(path)


def add_kind_argument(parser: ArgumentParser, line: str) -> None:
    """Add `--kind KIND`, which may be repeated; `watchdog.core.kinds.chosen_kinds` reads it."""
    parser.add_argument("--kind", action="append", default=[], metavar="KIND", help=line)


def speed(text: str) -> float | None:
    """Parse `max` (None) or a positive number, for `--speed`; ArgumentTypeError for anything else."""
    if text == "max":
        return None
    try:
        factor = float(text)
    except ValueError:
        factor = math.nan
    if not (math.isfinite(factor) and factor > 0):
        raise ArgumentTypeError(f"{text!r} is neither 'max' nor a number above 0")
    return factor


def size(text: str) -> int:
    """Read a size such as 500MiB; ArgumentTypeError when it is none."""
    found = parse_size(text)
    if not found:
        raise ArgumentTypeError(f"{text!r} is no size; write a number with {UNITS_TEXT}, such as 500MiB")
    return found


def payload_size(text: str) -> tuple[str, int]:
    """Read `TYPE=SIZE`, a message type (or *) and bytes of its payload; ArgumentTypeError when it is none.

    No message is larger than 4,000,000 bytes, so a larger size means whole messages. A plain 0 needs no unit.
    """
    name, equals, number = text.rpartition("=")
    if not equals or not MESSAGE_TYPE.fullmatch(name):
        raise ArgumentTypeError(f"{text!r} is not TYPE=SIZE, such as addr=64KiB or '*=4MB'")
    return name, 0 if number == "0" else min(size(number), MAX_PROTOCOL_MESSAGE_LENGTH)


def some_of(known: Sequence[str]) -> Callable[[str], list[str]]:
    """Return a parser of `a,b`, for `action="extend"`; it raises ArgumentTypeError for the first unknown word."""

    def read(text: str) -> list[str]:
        words = [word.strip() for word in text.split(",")]
        for word in words:
            if word not in known:
                raise ArgumentTypeError(f"invalid choice: {word!r} (choose from {', '.join(known)})")
        return words

    return read
