"""The `watchdog` command: finds the subcommand, runs it, and turns errors into one line and an exit code.

Each command is a module of this package with `SUMMARY: str`, `configure(parser) -> None` and `run(args) -> int`. Only
the module of the command that was asked for is imported, so help starts fast and needs no library.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import importlib
import importlib.util
import json
import os
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn, Protocol, cast

from watchdog.cli.arguments import config_hint
from watchdog.cli.exits import BAD_INPUT, BROKEN_PIPE, INTERRUPTED
from watchdog.core.errors import WatchdogError
from watchdog.core.release import VERSION
from watchdog.core.text import is_encodable

COMMANDS = (
    ("replay", "run the rules over recordings, as fast as possible, and print the incidents"),
    ("evaluate", "measure the rules on labelled recordings: found, missed, delay, false alarms"),
    ("rules", "check, list and describe rules"),
    ("record", "record what sources see to an events file"),
    ("serve-stream", "serve what sources see to other programs over a Unix socket"),
    ("export", "turn a recording into Parquet, CSV or JSON lines"),
    ("tap", "print what sources see, live: lines, JSON, bytes, or tables of measures"),
    ("top", "show a node and its peers on one screen, from a running service or a source"),
    ("events", "list the kinds of events and their fields"),
    ("tracepoints", "list the tracepoints of a node's binary and the kinds that they supply"),
    ("extract", "read a node's tracepoints and serve them as a stream"),
    ("doctor", "find the nodes of this machine, and print how to open each of their sources"),
    ("init", "write a configuration for the nodes of this machine"),
    ("run", "watch nodes until stopped"),
    ("check", "check the whole configuration without touching node or network"),
    ("reload", "apply changed rules, receivers and nodes to the running service"),
    ("incidents", "list, show, acknowledge, resolve, annotate and export stored incidents"),
    ("cases", "list, show, acknowledge, resolve, annotate and split cases, one for each attack"),
    ("silences", "list, add, extend, expire and preview silences"),
    ("audit", "list who changed what"),
    ("deliveries", "list what was sent to receivers, and send again"),
    ("receivers", "list receivers, send one a test, preview a message, make a signing secret"),
    ("drill", "test the alerts: a marked case through the running service to every receiver"),
    ("receive", "receive webhooks, verify and print them: for demos and debugging"),
)
"""Every command in the order of the help page, with its line there; one without a module is not shown."""

STDOUT = 1


class Command(Protocol):
    """What a module of a command has."""

    SUMMARY: str

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add the command's arguments."""
        ...

    def run(self, args: argparse.Namespace) -> int:
        """Do the work; return the exit code."""
        ...


class OneLineParser(argparse.ArgumentParser):
    """An argument parser whose errors are one line that names the help page, exit code 2."""

    def error(self, message: str) -> NoReturn:
        """Print the error and leave; a word that is no choice comes with the nearest one."""
        wrong = re.search(r"invalid choice: '(.*)' \(choose from (.*)\)$", message)
        if wrong:
            names = [name.strip("' ") for name in wrong[2].split(",")]
            near = difflib.get_close_matches(wrong[1], names, n=1)
            hint = f"did you mean {near[0]!r}" if near else f"expected {', '.join(names)}"
            message = f"{message[: wrong.start()]}invalid choice: {wrong[1]!r}, {hint}"
        self.exit(BAD_INPUT, f"watchdog: {one_line(message)}; see '{self.prog} --help'\n")

    def _print_message(self, message: str, file: Any = None) -> None:  # Any: argparse promises a `write` only
        """Write help, version or an error. argparse's own would swallow a full disk, and exit with 0."""
        stream = sys.stderr if file is None else file
        if message and stream is not None:  # it is None when the shell closed it
            stream.write(message)

    def parse_known_args(  # type: ignore[override]  # the overloads of argparse come to this
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse, and leave at an unknown argument: only here it is known which command it was meant for."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            options = re.findall(r"--[a-z-]+", self.format_usage())
            near = difflib.get_close_matches(unknown[0].partition("=")[0], options, n=1)
            hint = f", did you mean {near[0]!r}" if near else ""
            if not unknown[0].startswith("-") and getattr(found, "text", None):
                hint = "; a text of several words needs quotes around it"
            self.error(f"unknown argument {unknown[0]!r}{hint}")
        return found, unknown


def available() -> tuple[str, ...]:
    """Return the commands whose module exists, in the order of the help page."""
    return tuple(name for name, _ in COMMANDS if importlib.util.find_spec(module_of(name)) is not None)


def module_of(name: str) -> str:
    """Return the module of a command."""
    return f"watchdog.cli.{name.replace('-', '_')}"


def main(argv: Sequence[str]) -> int:
    """Run one command line, without the program's name; the exit code.

    0 and 1 are the command's own answers; 2 is bad input or a failing disk, said in one line on standard error; 130 an
    interrupt; 141 a reader of our output that went away.
    """
    args = argparse.Namespace()
    _open_closed_stdout()
    try:
        code = _run(argv, args)
        sys.stdout.flush()
    except WatchdogError as error:
        _settle_stdout()
        text = error.in_one_line()
        config = getattr(args, "config", None)
        text = text + config_hint(config) if config is not None and text.startswith(f"{config}: ") else text
        _answer_in_json(text, args)
        return _fail(text)
    except KeyboardInterrupt:
        _settle_stdout()
        return INTERRUPTED
    except BrokenPipeError:
        _settle_stdout()
        return BROKEN_PIPE
    except UnicodeEncodeError:
        odd = next((one for one in argv if not is_encodable(one)), "")
        if not odd:
            raise
        _settle_stdout()
        return _fail(f"'{odd}' is not UTF-8, and the watchdog's files cannot hold it: make a link with another name")
    except OSError as error:
        _settle_stdout()
        text = _os_error_text(error, args)
        if error.filename is not None:  # otherwise it may be our output that fails
            _answer_in_json(text, args)
        return _fail(text)
    return code


def _answer_in_json(text: str, args: argparse.Namespace) -> None:
    """Print errors as documents too with `--json`: parsers of standard output get one in any case."""
    if getattr(args, "json", False) is True:
        with contextlib.suppress(OSError, ValueError):  # the line on standard error follows
            sys.stdout.write(json.dumps({"error": one_line(text)}) + "\n")
            sys.stdout.flush()


def one_line(text: str) -> str:
    """Return text as one line without control characters: line breaks become '; ', others are escaped."""
    joined = "; ".join(part.strip() for part in text.splitlines() if part.strip())
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in joined)


def _run(argv: Sequence[str], args: argparse.Namespace) -> int:
    """Parse and run; the exit code, also of a parser that left because of help or a wrong argument."""
    try:
        command = _parse(argv, args)
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else 0
    return command.run(args)


def program_parser() -> OneLineParser:
    """Return the parser of the program itself, without its commands."""
    parser = OneLineParser(
        prog="watchdog", description="Watch Bitcoin nodes: events in, incidents out.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"watchdog {VERSION}")
    return parser


def _parse(argv: Sequence[str], args: argparse.Namespace) -> Command:
    """Fill the namespace and return the command's module; SystemExit for help, version and wrong arguments."""
    names = available()
    parser = program_parser()
    chosen = argv[0] if argv else ""
    if chosen and not chosen.startswith("-") and chosen not in names:
        near = difflib.get_close_matches(chosen, names, n=1)
        parser.error(f"unknown command {chosen!r}" + (f", did you mean {near[0]!r}" if near else ""))
    listing = parser.add_subparsers(metavar="COMMAND", required=True)
    command: Command | None = None
    for name, line in COMMANDS:
        if name not in names:
            continue
        page = listing.add_parser(name, help=line, allow_abbrev=False)
        if name == chosen:
            command = cast("Command", importlib.import_module(module_of(name)))
            page.description = command.SUMMARY
            command.configure(page)
    parser.parse_args(argv, args)
    if command is None:
        parser.error("a command is needed")
    return command


def _fail(message: str) -> int:
    """Print the one line of an error; exit code 2."""
    sys.stderr.write(f"watchdog: {one_line(message)}\n")
    return BAD_INPUT


def _os_error_text(error: OSError, args: argparse.Namespace) -> str:
    """Return the system's reason with the file: the error's own, else the requested output.

    A text that is not the system's own for that number says itself what it is about, such as an address that is taken.
    """
    reason = (error.strerror or str(error) or type(error).__name__).lower()
    if error.filename is None and error.errno is not None and reason != os.strerror(error.errno).lower():
        return reason
    place = error.filename if error.filename is not None else getattr(args, "out", None)
    if isinstance(place, bytes):
        place = os.fsdecode(place)
    return f"'{place}': {reason}" if place not in (None, "-") else f"standard output or input: {reason}"


def _open_closed_stdout() -> None:
    """Replace a standard output that the shell closed by one that cannot be written to.

    So every command that prints fails like on a full disk, and its number does not go to the next file that is opened,
    which may be a database.
    """
    if sys.stdout is None:
        handle = 0
        while handle < STDOUT:  # the lowest number that is free; standard input may be closed, too
            handle = os.open(os.devnull, os.O_RDONLY)
        sys.stdout = os.fdopen(handle, "w", closefd=False)


def _settle_stdout() -> None:
    """Write out what is buffered or, where that fails, send it nowhere: the interpreter flushes once more at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        sink = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(sink, sys.stdout.fileno())
        finally:
            os.close(sink)
