"""Which database a command works on."""

from __future__ import annotations

import argparse
import os

from alerts.store.database import Database

VARIABLE = "WATCHDOG_DB"
DEFAULT = "sqlite:///watchdog.db"


def add_database_argument(parser: argparse.ArgumentParser) -> None:
    """`--db`, with its default in the help."""
    parser.add_argument(
        "--db",
        metavar="URL",
        help=(
            "the database: sqlite:///FILE, postgresql://USER@HOST/NAME or a file's path "
            f"(default: the environment's {VARIABLE}, else watchdog.db in the current folder)"
        ),
    )


def database_url(given: str | None) -> str:
    """The URL to use: the argument, else the environment, else the default; a plain path is an SQLite file."""
    url = given or os.environ.get(VARIABLE) or DEFAULT
    return url if "://" in url else f"sqlite:///{url}"


def opened(args: argparse.Namespace) -> Database:
    """The database of a command, which must exist. StateError when it cannot be used."""
    return Database.open(database_url(args.db), create=False)
