"""The paths of a configuration as this user finds them, and what the files show. Reads little and never waits.

For `check`, before anything runs: a service would find out as well, but only its log says so.
"""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from watchdog.core.text import printable
from watchdog.engine.source_groups import Kinds
from watchdog.service.capabilities import Facts
from watchdog.service.config.settings import ServiceConfig
from watchdog.sources.capture.tree import FILES
from watchdog.sources.log.categories import LogTail, look_at_tail
from watchdog.sources.recording_folder import PARTS
from watchdog.sources.registry import kinds_of, split_source

LOOKED_AT: Final = 50  # entries of a capture folder
_ARCHIVES: Final = (".tar", ".tar.xz", ".tar.gz")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing about a path. mistake: nothing but a change of rights or configuration helps; else a warning."""

    text: str
    mistake: bool = False


def check_paths(config: ServiceConfig) -> list[Finding]:
    """What is wrong or odd about the paths of sources, asmap and checkpoint, for the user that runs this."""
    found = [one for text in config.sources for one in _source(text)]
    if config.asmap is not None:
        found += _readable(Path(config.asmap), folder=False)
    return [*found, *_writable(config.checkpoint.folder)]


def source_kinds(sources: Iterable[str]) -> dict[str, Kinds]:
    """The kinds that each source can give, before any is opened; a recording is its parts. None: not known."""
    found: dict[str, Kinds] = {}
    for text in sources:
        scheme, path = split_source(text)
        if scheme != "recording":
            found[text] = kinds_of(text)
            continue
        parts = [part for part, names in PARTS.items() if any(_exists(Path(path) / name) for name in names)]
        found |= {f"{part}:{path}": kinds_of(f"{part}:{path}") for part in parts} or {text: None}
    return found


def facts_of(sources: Iterable[str], asmap: str | None, seen: frozenset[str] = frozenset()) -> Facts:
    """What the ends of the logs among the sources show of -debug categories. asmap: its path, None for none."""
    tails = [look_at_tail(Path(path)) for scheme, path in map(split_source, sources) if scheme == "log"]
    return Facts(asmap is not None, seen, _any(one.net for one in tails), _any(one.addrman for one in tails))


def _any(answers: Iterable[bool | None]) -> bool | None:
    known = list(answers)
    return True if True in known else None if None in known or not known else False


def _source(text: str) -> Iterator[Finding]:
    scheme, where = split_source(text)
    path = Path(where)
    archive = scheme == "capture" and where.endswith(_ARCHIVES)
    faults = _readable(path, folder=scheme == "recording" or (scheme == "capture" and not archive))
    yield from faults
    if faults or archive:
        return
    if scheme == "capture":
        yield from _capture(path)
    elif scheme == "log":
        yield from _log(path, look_at_tail(path))


def _readable(path: Path, *, folder: bool) -> list[Finding]:
    """A path that has to be there and be read; empty when it can be."""
    try:
        mode = path.stat().st_mode
    except PermissionError:
        return [Finding(_shut(path), mistake=True)]
    except (OSError, ValueError):
        return [Finding(f"{_shown(path)} does not exist (yet)")]
    if folder != stat.S_ISDIR(mode):
        wanted, given = ("folder", "file") if folder else ("file", "folder")
        return [Finding(f"{_shown(path)} is a {given}, and a {wanted} is wanted", mistake=True)]
    if not folder and not stat.S_ISREG(mode):
        return [Finding(f"{_shown(path)} is no regular file", mistake=True)]
    if not _may(path, os.R_OK | (os.X_OK if folder else 0)):
        return [Finding(f"{_shown(path)} cannot be read by user {user()}", mistake=True)]
    return []


def _shut(path: Path) -> str:
    """Which folder on the way to a path this user may not enter."""
    for parent in reversed(path.parents):
        if not _may(parent, os.X_OK):
            return f"{_shown(path)} cannot be reached: {_shown(parent)} cannot be searched by user {user()}"
    return f"{_shown(path)} cannot be reached by user {user()}"


def _capture(path: Path) -> Iterator[Finding]:
    """Whether a capture folder holds files of peers, and this user may read them."""
    found = 0
    try:
        with os.scandir(path) as entries:
            folders = [entry.path for entry in islice(entries, LOOKED_AT) if entry.is_dir()]
    except OSError as error:
        yield Finding(
            f"{_shown(path)} cannot be listed by user {user()}: {(error.strerror or '').lower()}", mistake=True
        )
        return
    for folder in folders:
        if not _may(Path(folder), os.R_OK | os.X_OK):
            yield Finding(f"{_shown(Path(folder))} cannot be read by user {user()}", mistake=True)
            return
        for file in (Path(folder) / name for name in FILES):
            found += _exists(file)
            if _exists(file) and not _may(file, os.R_OK):
                yield Finding(f"{_shown(file)} cannot be read by user {user()}", mistake=True)
                return
    if not found:
        yield Finding(f"{_shown(path)} holds no messages of any peer (yet): does the node run with -capturemessages?")


def _log(path: Path, tail: LogTail) -> Iterator[Finding]:
    if not tail.lines and path.suffix not in (".gz", ".xz"):
        yield Finding(f"{_shown(path)} has no line with a time at its end: is it a debug.log, with -logtimestamps?")
    for category, shown in (("net", tail.net), ("addrman", tail.addrman)):
        if shown is False:
            yield Finding(
                f"{_shown(path)} has no [{category}] line at its end: does the node run with -debug={category}?"
            )


def _writable(folder: Path) -> list[Finding]:
    """The folder of checkpoints, which a start makes when it is not there."""
    there = next((one for one in (folder, *folder.parents) if _exists(one)), None)
    if there is None or (there.is_dir() and _may(there, os.W_OK | os.X_OK)):
        return []
    if not there.is_dir():
        return [Finding(f"{_shown(there)} is a file, and a folder for checkpoints is wanted", mistake=True)]
    return [Finding(f"{_shown(there)} cannot be written by user {user()}: checkpoints go there", mistake=True)]


def _exists(path: Path) -> bool:
    try:
        path.lstat()
    except (OSError, ValueError):
        return False
    return True


def _may(path: Path, mode: int) -> bool:
    """The rights of the effective user, as opening a file takes them."""
    try:
        return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)
    except (OSError, ValueError):
        return False


def user() -> str:
    """The user whose rights count."""
    number = os.geteuid()
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _shown(path: Path) -> str:
    return printable(f"'{path}'")
