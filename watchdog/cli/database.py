"""Which database a command works on."""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path

from alerts.incident_table import IncidentError, UnknownIncidentError
from alerts.store.database import Database
from alerts.store.incidents import IncidentQueries
from watchdog.core.errors import StoreError
from watchdog.service.config.read import DEFAULT_PATH, ConfigError, load_config

VARIABLE = "WATCHDOG_DB"
DEFAULT = "sqlite:///watchdog.db"


def add_database_argument(parser: argparse.ArgumentParser) -> None:
    """Add `--db` and `--config`, with the default in the help."""
    parser.add_argument(
        "--db",
        metavar="URL",
        help=(
            "the database: sqlite:///FILE, postgresql://USER@HOST/NAME or a file's path (default: the environment's "
            f"{VARIABLE}, else that of the configuration, else watchdog.db in the current folder)"
        ),
    )
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help=f"the service's configuration, which names the database (default: {DEFAULT_PATH} where there is one)",
    )


def database_url(given: str) -> str:
    """Return the URL of an argument; a plain path is an SQLite file. StoreError for anything else."""
    scheme, found, rest = given.partition("://")
    if scheme == "sqlite" and found and not rest.startswith("/"):
        raise StoreError(f"database {given!r}: a file comes after three slashes: 'sqlite:///{rest}'")
    path = Path(rest.removeprefix("/") if found else given)
    if (scheme == "sqlite" or not found) and path.is_dir():
        raise StoreError(f"database '{path}': that is a folder; name the file, such as '{path / 'watchdog.db'}'")
    return given if found else f"sqlite:///{given}"


def opened(args: argparse.Namespace) -> Database:
    """Open the database of a command, which must exist. StoreError when it or its configuration is unusable."""
    return Database.open(_chosen(args.db, args.config), create=False)


def _chosen(given: str | None, config: Path | None) -> str:
    """Choose --db, else a given --config, else the environment, else the configuration here, else the default."""
    named = given or (None if config else os.environ.get(VARIABLE))
    if named:
        return database_url(named)
    if config is None and not DEFAULT_PATH.exists():
        return DEFAULT
    try:
        return load_config(config or DEFAULT_PATH).database.reveal()
    except ConfigError as error:
        if error.unreadable:
            raise
        raise StoreError(f"{error.in_one_line()}; --db URL names the database without it") from None


def known_incident(queries: IncidentQueries, text: str) -> str:
    """Return the id that starts with these digits; UnknownIncidentError for none, IncidentError for several."""
    if not re.fullmatch(r"[0-9a-f]{4,16}", text):
        raise IncidentError(f"incident {text!r}: an id has 16 digits of 0-9 and a-f, the first 4 are needed")
    found = queries.completed(text)
    if not found:
        raise UnknownIncidentError(f"no incident {text!r}")
    if len(found) > 1:
        raise IncidentError(f"incident {text!r}: several start so, for example {' and '.join(found)}")
    return found[0]
