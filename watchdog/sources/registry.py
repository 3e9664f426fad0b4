"""The text that names a source on the command line: `capture:DIR`, `log:FILE`, and so on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Final

from watchdog.core.errors import SourceError, WatchdogError
from watchdog.core.source import Source, SourceOptions
from watchdog.sources.recording_folder import PARTS, kinds_of_part, open_recording, position_of, unseen

SYNTAX: Final = {
    "capture": "capture:DIR",
    "snapshots": "snapshots:FILE",
    "log": "log:FILE",
    "events": "events:FILE",
    "recording": "recording:DIR",
}
SEVERAL: Final = frozenset({"recording", "events"})  # their sources have names of their own


def _check_there(text: str, path: str) -> None:
    if not Path(path).exists():
        raise SourceError(f"{text!r}: no such file{_similar(path)}")


def open_source(text: str, options: SourceOptions) -> Source:
    """The source that `text` names; its name is `text`. SourceError says what is wrong, and what was perhaps meant.

    options.position: of this source. A recording and an events file are several sources: see `open_sources`.
    """
    scheme, path = split_source(text)
    if scheme in SEVERAL:
        raise SourceError(f"{text!r} is several sources; it cannot be opened as one")
    if scheme == "capture":
        from watchdog.sources.capture.source import CaptureSource  # noqa: PLC0415 - only what is asked for is loaded

        return CaptureSource(path, options)
    _check_there(text, path)
    if scheme == "snapshots":
        from watchdog.sources.rpc.snapshots_source import SnapshotsSource  # noqa: PLC0415 - only what is asked for is loaded

        return SnapshotsSource(path, options)
    from watchdog.sources.log.source import DebugLogSource  # noqa: PLC0415 - only what is asked for is loaded

    return DebugLogSource(path, options)


def open_sources(texts: Sequence[str], options: SourceOptions, *, torn_later: bool = False) -> list[Source]:
    """All sources that the texts name.

    A recording gives one for each part that somebody reads, an events file one for each source it was recorded from.

    options.position: maps names of sources to their positions, or None. SourceError when two have one name.
    torn_later: a part of a recording that cannot be unpacked says so at its first poll, so that the others can be read.
    """
    sources: list[Source] = []
    try:
        for text in texts:
            for source in _opened(text, options, torn_later=torn_later):
                twice = any(source.name == other.name for other in sources)
                sources.append(source)
                if twice:
                    raise SourceError(f"source {source.name!r} is given twice")
    except WatchdogError:
        for source in sources:
            source.close()
        raise
    return sources


def _opened(text: str, options: SourceOptions, *, torn_later: bool) -> list[Source]:
    scheme, path = split_source(text)
    if scheme == "recording":
        return open_recording(path, options, torn_later=torn_later)
    if scheme == "events":
        from watchdog.sources.events_file import open_events  # noqa: PLC0415 - only what is asked for is loaded

        _check_there(text, path)
        return open_events(path, options)
    return [open_source(text, replace(options, position=position_of(options, text)))]


def unseen_parts(texts: Sequence[str], wanted: frozenset[str]) -> list[str]:
    """Lines about what is not seen, or not in full: parts that a recording lacks, events files of one source.

    wanted: the kinds that somebody reads; a part that could give none of them is not missed.
    """
    lines = []
    for scheme, path in map(split_source, texts):
        if scheme == "recording":
            lines += unseen(path, wanted)
        if scheme == "events" and _is_one_source(path):
            lines.append(one_source_text(path))
    return lines


def _is_one_source(path: str) -> bool:
    from watchdog.sources.events_file import is_one_source  # noqa: PLC0415 - only what is asked for is loaded

    return is_one_source(path)


def one_source_text(path: str) -> str:
    """What to say of an events file that does not keep its sources apart."""
    line = f"'{path}' does not keep its sources apart and replays as one: completeness near its beginning is not always"
    return f"{line} that of the sources; record them again for that"


def kinds_of(name: str) -> frozenset[str] | None:
    """The kinds that a source of this name can give, as `Source.kinds` says; also of one that cannot be opened now.

    name: as of an open source; a recording's parts have names of their own. SourceError when it is not one.
    """
    scheme, _ = split_source(name)
    return kinds_of_part(scheme) if scheme in PARTS else None


def split_source(text: str) -> tuple[str, str]:
    """Scheme and path of a source text; SourceError when it is not one."""
    scheme, colon, path = text.partition(":")
    if not colon:
        raise SourceError(f"{text!r} is not a source{_meant(text)}")
    if scheme not in SYNTAX:
        close = get_close_matches(scheme, SYNTAX, 1)
        hint = f"did you mean {f'{close[0]}:{path}'!r}?" if close else f"expected one of {', '.join(SYNTAX.values())}"
        raise SourceError(f"unknown kind of source {scheme!r} in {text!r}; {hint}")
    if not path:
        raise SourceError(f"{text!r} lacks a path; expected {SYNTAX[scheme]}")
    return scheme, path


def _meant(text: str) -> str:
    """The source that a bare path probably is."""
    path = Path(text)
    scheme = ""
    if path.is_dir():
        parts = {name for names in PARTS.values() for name in names}
        scheme = "recording" if any((path / name).exists() for name in parts) else "capture"
    elif path.exists():
        scheme = "snapshots" if ".jsonl" in path.name else "log" if ".log" in path.name else "events"
    expected = ", ".join(SYNTAX.values())
    return f"; did you mean {f'{scheme}:{text}'!r}?" if scheme else f"; expected one of {expected}"


def _similar(path: str) -> str:
    """A file of nearly the same name in the same folder, as a hint."""
    folder = Path(path).parent
    try:
        names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    except OSError:
        names = []
    close = get_close_matches(Path(path).name, names, 1)
    return f"; did you mean {str(folder / close[0])!r}?" if close else ""
