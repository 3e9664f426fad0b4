"""The paths of a configuration as this user finds them, and what the files show. Reads little and never waits.

For `check`, before anything runs: a service would find out as well, but only its log says so.
"""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from watchdog.core.kinds import any_kinds
from watchdog.core.river_classes import river_installed
from watchdog.core.text import printable
from watchdog.service.capabilities import Facts
from watchdog.service.config.settings import ServiceConfig
from watchdog.sources.capture.prune import prune_fault
from watchdog.sources.capture.tree import FILES
from watchdog.sources.log.categories import LogTail, look_at_tail
from watchdog.sources.registry import kinds_of, recorded_schemes, scheme_of, split_source
from watchdog.sources.scheme import FOLDER, SOCKET, Scheme

LOOKED_AT: Final = 50  # entries of a capture folder
_ARCHIVES: Final = (".tar", ".tar.xz", ".tar.gz")


@dataclass(frozen=True, slots=True)
class PathProblem:
    """One thing about a path. mistake: nothing but a change of rights or configuration helps; else a warning."""

    text: str
    mistake: bool = False


def check_paths(config: ServiceConfig) -> list[PathProblem]:
    """Return mistakes and warnings about the paths of sources, asmap, recorders and checkpoint, for this user."""
    found = [one for text in config.sources for one in path_problems(text, config.source_settings.get(text, {}))]
    if config.asmap is not None:
        found += _readable(Path(config.asmap), folder=False)
    recorded = [one.recorder.folder for one in config.nodes if one.recorder is not None]
    found += [one for folder in recorded for one in _writable(folder, "recordings")]
    return [*found, *_writable(config.checkpoint.folder, "checkpoints")]


def path_problems(text: str, settings: Mapping[str, object]) -> list[PathProblem]:
    """Return mistakes and warnings about the path of one source; none for a source that has no path."""
    found = list(_source(text))
    if settings.get("prune") and not found and (fault := prune_fault(Path(split_source(text)[1]))):
        found.append(PathProblem(f"prune: {fault}", mistake=True))
    return found


def source_kinds(sources: Iterable[str]) -> dict[str, frozenset[str]]:
    """Return the kinds that each source can give, before any is opened; all kinds where that is not known.

    A recording counts as its parts.
    """
    kinds: dict[str, frozenset[str]] = {}
    for text in sources:
        row, place = scheme_of(text), split_source(text)[1]
        if row.kinds is not None:
            kinds[text] = kinds_of(text)
            continue
        parts = [name for name, part in recorded_schemes().items() if row.finished and _holds(place, part)]
        kinds |= {f"{name}:{place}": kinds_of(f"{name}:{place}") for name in parts} or {text: any_kinds()}
    return kinds


def _holds(folder: str, part: Scheme) -> bool:
    return any(_exists(Path(folder) / name) for name in part.recorded_as)


def facts_of(sources: Iterable[str], asmap: str | None, seen: frozenset[str] = frozenset()) -> Facts:
    """Return what the ends of the logs show of -debug categories. asmap: its path, None for none."""
    tails = [look_at_tail(Path(path)) for scheme, path in map(split_source, sources) if scheme == "log"]
    net, addrman = _any(one.net for one in tails), _any(one.addrman for one in tails)
    return Facts(asmap is not None, seen, net, addrman, river=river_installed())


def _any(answers: Iterable[bool | None]) -> bool | None:
    known = list(answers)
    return True if True in known else None if None in known or not known else False


def _source(text: str) -> Iterator[PathProblem]:
    (scheme, place), row = split_source(text), scheme_of(text)
    if not row.place_is_path:
        return
    path = Path(place)
    if row.place == SOCKET:
        yield from _socket(path)
        return
    archive = scheme == "capture" and place.endswith(_ARCHIVES)
    faults = _readable(path, folder=row.place == FOLDER and not archive)
    yield from faults
    if faults or archive:
        return
    if scheme == "capture":
        yield from _capture(path)
    elif scheme == "log":
        yield from _log(path, look_at_tail(path))


def _readable(path: Path, *, folder: bool) -> list[PathProblem]:
    """Check a path that must be readable; empty when it is."""
    try:
        mode = path.stat().st_mode
    except PermissionError:
        return [PathProblem(_shut(path), mistake=True)]
    except (OSError, ValueError):
        return [PathProblem(f"{_shown(path)} does not exist (yet)")]
    if folder != stat.S_ISDIR(mode):
        wanted, given = ("folder", "file") if folder else ("file", "folder")
        return [PathProblem(f"{_shown(path)} is a {given}, and a {wanted} is wanted", mistake=True)]
    if not folder and not stat.S_ISREG(mode):
        return [PathProblem(f"{_shown(path)} is no regular file", mistake=True)]
    if not _may(path, os.R_OK | (os.X_OK if folder else 0)):
        return [PathProblem(f"{_shown(path)} cannot be read by user {user()}", mistake=True)]
    return []


def _socket(path: Path) -> Iterator[PathProblem]:
    """Check a socket that this user must be able to connect to; its node may be down."""
    try:
        mode = path.stat().st_mode
    except PermissionError:
        yield PathProblem(_shut(path), mistake=True)
    except (OSError, ValueError):
        yield PathProblem(f"{_shown(path)} does not exist (yet)")
    else:
        if not stat.S_ISSOCK(mode):
            yield PathProblem(f"{_shown(path)} is no socket", mistake=True)
        elif not _may(path, os.W_OK):
            text = f"user {user()} cannot connect to {_shown(path)}: it needs write permission"
            yield PathProblem(text, mistake=True)


def _shut(path: Path) -> str:
    """Return which folder on the way to a path this user may not enter."""
    for parent in reversed(path.parents):
        if not _may(parent, os.X_OK):
            return f"{_shown(path)} cannot be reached: {_shown(parent)} cannot be searched by user {user()}"
    return f"{_shown(path)} cannot be reached by user {user()}"


def _capture(path: Path) -> Iterator[PathProblem]:
    """Check that a capture folder holds files of peers, and that this user may read them."""
    found = 0
    try:
        with os.scandir(path) as entries:
            folders = [entry.path for entry in islice(entries, LOOKED_AT) if entry.is_dir()]
    except OSError as error:
        yield PathProblem(
            f"{_shown(path)} cannot be listed by user {user()}: {(error.strerror or '').lower()}", mistake=True
        )
        return
    for folder in folders:
        if not _may(Path(folder), os.R_OK | os.X_OK):
            yield PathProblem(f"{_shown(Path(folder))} cannot be read by user {user()}", mistake=True)
            return
        for file in (Path(folder) / name for name in FILES):
            found += _exists(file)
            if _exists(file) and not _may(file, os.R_OK):
                yield PathProblem(f"{_shown(file)} cannot be read by user {user()}", mistake=True)
                return
    if not found:
        yield PathProblem(
            f"{_shown(path)} holds no messages of any peer (yet): does the node run with -capturemessages?"
        )


def _log(path: Path, tail: LogTail) -> Iterator[PathProblem]:
    if not tail.lines and path.suffix not in (".gz", ".xz"):
        yield PathProblem(f"{_shown(path)} has no line with a time at its end: is it a debug.log, with -logtimestamps?")
    for category, shown in (("net", tail.net), ("addrman", tail.addrman)):
        if shown is False:
            yield PathProblem(
                f"{_shown(path)} has no [{category}] line at its end: does the node run with -debug={category}?"
            )


def _writable(folder: Path, what: str) -> list[PathProblem]:
    """Check the folder of checkpoints or recordings, which a start creates if missing."""
    there = next((one for one in (folder, *folder.parents) if _exists(one)), None)
    if there is None or (there.is_dir() and _may(there, os.W_OK | os.X_OK)):
        return []
    if not there.is_dir():
        return [PathProblem(f"{_shown(there)} is a file, and a folder for {what} is wanted", mistake=True)]
    return [PathProblem(f"{_shown(there)} cannot be written by user {user()}: {what} go there", mistake=True)]


def _exists(path: Path) -> bool:
    try:
        path.lstat()
    except (OSError, ValueError):
        return False
    return True


def _may(path: Path, mode: int) -> bool:
    """Return whether the effective user has these rights."""
    try:
        return os.access(path, mode, effective_ids=bool(os.supports_effective_ids))
    except (OSError, ValueError):
        return False


def user() -> str:
    """Return the name of the effective user."""
    number = os.geteuid()
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _shown(path: Path) -> str:
    return printable(f"'{path}'")
