"""Which database a command works on."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

from alerts.incident_table import IncidentError, UnknownIncidentError
from alerts.store.cases import CaseQueries
from alerts.store.database import Database
from alerts.store.incidents import IncidentQueries
from watchdog.cli.state import DATABASE, state_folder
from watchdog.core.errors import StoreError
from watchdog.core.text import printable
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
            f"{VARIABLE}, else that of the configuration, else watchdog.db in the current folder, else that of a "
            "'watchdog run' without configuration)"
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
    url = _chosen(args.db, args.config)
    if url == DEFAULT and args.db is None and not Path(DATABASE).exists():
        hint = "name one with --db URL, or the service's configuration with --config FILE"
        raise StoreError(f"no {DATABASE} and no {DEFAULT_PATH} in this folder; {hint}")
    return Database.open(url, create=False)


def _chosen(given: str | None, config: Path | None) -> str:
    """Choose --db, else a given --config, else the environment, else the configuration here, else the default."""
    named = given or (None if config else os.environ.get(VARIABLE))
    if named:
        return database_url(named)
    if config is None and not DEFAULT_PATH.exists():
        kept = state_folder() / DATABASE
        return f"sqlite:///{kept}" if kept.exists() and not Path(DATABASE).exists() else DEFAULT
    try:
        return load_config(config or DEFAULT_PATH).database.reveal()
    except ConfigError as error:
        if error.unreadable:
            raise
        raise StoreError(f"{error.in_one_line()}; --db URL names the database without it") from None


def known_incident(queries: IncidentQueries, text: str) -> str:
    """Return the id that starts with these digits; UnknownIncidentError for none, IncidentError for several."""
    return the_one(queries.completed(id_digits(text, "incident")), text, "incident")


def known_case(queries: CaseQueries, text: str) -> dict[str, Any]:  # Any: JSON
    """Return the case that an id, that of a merged case, or its first digits name. Errors as for an incident."""
    found = {one["id"]: one for one in queries.named(id_digits(text, "case"))}
    return found[the_one(list(found), text, "case")]


def the_one(found: Sequence[str], text: str, what: str) -> str:
    """Return the only id that starts with `text`; UnknownIncidentError for none, IncidentError for several."""
    if not found:
        raise UnknownIncidentError(f"no {what} {text!r}")
    if len(found) > 1:
        raise IncidentError(f"{what} {text!r}: several start so, for example {' and '.join(found[:2])}")
    return found[0]


def id_digits(text: str, what: str) -> str:
    """Return `text` if an id may start with it; IncidentError otherwise."""
    if not re.fullmatch(r"[0-9a-f]{4,16}", text):
        raise IncidentError(f"{what} {printable(text)!r}: write its id, or at least its first 4 digits (0-9, a-f)")
    return text


def add_verb(
    verbs: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    line: str,
    work: Callable[[argparse.Namespace, Database], int],
) -> argparse.ArgumentParser:
    """Add a verb that works on a database; `run_verb` runs it. line: its help, without a final period."""
    page = verbs.add_parser(name, help=line, description=f"{line[0].upper()}{line[1:]}.", allow_abbrev=False)
    page.set_defaults(work=work)
    add_database_argument(page)
    return page


def run_verb(args: argparse.Namespace) -> int:
    """Open the database, run the verb and return its exit code; StoreError when the database is unusable."""
    database = opened(args)
    try:
        return cast("Callable[[argparse.Namespace, Database], int]", args.work)(args, database)
    finally:
        database.close()
