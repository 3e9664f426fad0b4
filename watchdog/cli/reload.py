"""`watchdog reload`: the running service reads rules and receivers again."""

from __future__ import annotations

import argparse
import sys

from watchdog.cli.arguments import add_config_argument
from watchdog.cli.exits import WRONG
from watchdog.service.config.read import ConfigError, load_config
from watchdog.service.pid_file import ask_reload

SUMMARY = (
    "Make the running service reload its configuration and rules, and apply all changes or none. "
    "Exit code 0 when they apply, 1 for mistakes (nothing changes), 2 when no service answers."
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `watchdog reload`."""
    add_config_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Ask, wait, and print the answer. A mistake in the configuration is found here already: it says where to ask."""
    try:
        config = load_config(args.config)
    except ConfigError as error:
        if error.unreadable:
            raise
        sys.stderr.write(f"nothing was changed:\n{error}\n")
        return WRONG
    answer = ask_reload(config.checkpoint.folder)
    (sys.stdout if answer.ok else sys.stderr).write(f"{answer.text}\n")
    return 0 if answer.ok else WRONG
