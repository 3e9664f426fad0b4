"""Every kind of source, one row each; a source is named by a text such as `capture:DIR` or `log:FILE`.

A new source is a row here and a module that its opener imports. Nothing else knows schemes: the configuration asks for
the keys of a row, the feed for its mode and write delay, the documentation for its syntax.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

from watchdog.core.errors import SourceError, WatchdogError
from watchdog.core.source import Source, SourceOptions
from watchdog.sources.ipc import place as ipc_place
from watchdog.sources.kinds_given import (
    capture_kinds,
    ipc_kinds,
    log_kinds,
    rpc_kinds,
    snapshots_kinds,
    stream_kinds,
    zmq_kinds,
)
from watchdog.sources.nats.rows import ARCHIVE, NATS
from watchdog.sources.rpc import settings as rpc_settings
from watchdog.sources.scheme import FOLDER, SOCKET, Opener, Polls, Scheme, Setting, position_of
from watchdog.sources.zmq.endpoints import HASHBLOCK, SEQUENCE, check_zmq, kinds_at


def _open_capture(place: str, options: SourceOptions) -> Source:
    from watchdog.sources.capture.source import CaptureSource  # noqa: PLC0415 - loaded when first opened

    return CaptureSource(place, options)


def _open_snapshots(place: str, options: SourceOptions) -> Source:
    from watchdog.sources.rpc.snapshots_source import SnapshotsSource  # noqa: PLC0415 - loaded when first opened

    _check_there("snapshots", place)
    return SnapshotsSource(place, options)


def _open_log(place: str, options: SourceOptions) -> Source:
    from watchdog.sources.log.source import DebugLogSource  # noqa: PLC0415 - loaded when first opened

    _check_there("log", place)
    return DebugLogSource(place, options)


def _open_rpc(place: str, options: SourceOptions) -> Source:
    from watchdog.sources.rpc.rpc_source import open_rpc  # noqa: PLC0415 - loaded when first opened

    return open_rpc(place, options)


def _polls_rpc(place: str, receiver: object) -> Polls:
    from watchdog.sources.rpc.rpc_source import polls_of  # noqa: PLC0415 - loaded when first opened

    return polls_of(place, receiver)


def _open_ipc(place: str, options: SourceOptions) -> Source:
    from watchdog.sources.ipc.ipc_source import open_ipc  # noqa: PLC0415 - loaded when first opened

    return open_ipc(place, options)


def _polls_ipc(place: str, receiver: object) -> Polls:
    from watchdog.sources.ipc.ipc_source import polls_of  # noqa: PLC0415 - loaded when first opened

    return polls_of(place, receiver)


def _open_zmq(place: str, options: SourceOptions) -> Source:
    check_zmq(place, {})
    from watchdog.sources.zmq.source import ZmqSource  # noqa: PLC0415 - needs a package that may be missing

    return ZmqSource(place, options)


def _open_events(place: str, options: SourceOptions, _torn_later: bool) -> list[Source]:
    from watchdog.sources.events_file import open_events  # noqa: PLC0415 - loaded when first opened

    _check_there("events", place)
    return open_events(place, options)


def _open_recording(place: str, options: SourceOptions, torn_later: bool) -> list[Source]:
    from watchdog.sources.recording_folder import open_recording  # noqa: PLC0415 - loaded when first opened

    return open_recording(place, options, recorded_schemes(), torn_later=torn_later)


def _single(scheme: str, opener: Callable[[str, SourceOptions], Source]) -> Opener:
    """Return the opener of a scheme whose text names one source, with its own position and settings."""

    def opened(place: str, options: SourceOptions, _torn_later: bool) -> list[Source]:
        name = f"{scheme}:{place}"
        return [opener(place, replace(options, position=position_of(options, name)))]

    return opened


_CAPTURE_SETTINGS = (
    Setting(
        "prune", "sizes",
        "Remove files that were read to their end and are unchanged for 60 s, the oldest first, while the tree is "
        "larger than `keep`. Needs the right to write in the folders of peers, and is refused without. Only "
        "`watchdog run` removes files.",
        shown="off", unit="bytes", low=1 << 20, high=1 << 50, choices=("keep",),
    ),
)  # fmt: skip


def _open_stream(place: str, options: SourceOptions) -> Source:
    from watchdog.sources.stream.source import StreamSource  # noqa: PLC0415 - loaded when first opened

    return StreamSource(place, options)


def _check_stream(place: str, settings: Mapping[str, object]) -> str:
    from watchdog.sources.stream.subscription import check_stream  # noqa: PLC0415 - loaded when first asked for

    return check_stream(place, settings)


_ROWS = (
    # Write delays are generous: only rules that a source can feed wait for it, two seconds less would report no attack
    # sooner (rules on snapshots have panes of 10 s and more), and a busy node would lose events.
    Scheme(
        "capture",
        FOLDER,
        _single("capture", _open_capture),
        capture_kinds,
        write_delay_ns=250_000_000,  # Core's CaptureMessageToFile opens, writes and closes for each message
        settings=_CAPTURE_SETTINGS,
        recorded_as=("capture.tar.xz", "capture.tar.gz", "capture.tar", "capture"),
    ),
    Scheme(
        "snapshots",
        "FILE",
        _single("snapshots", _open_snapshots),
        snapshots_kinds,
        write_delay_ns=5_000_000_000,  # a round takes up to 2 s and is held back for QUIET_S; a slow node takes longer
        recorded_as=("snapshots.jsonl.xz", "snapshots.jsonl.gz", "snapshots.jsonl"),
        typical=".jsonl",
    ),
    Scheme(
        "log",
        "FILE",
        _single("log", _open_log),
        log_kinds,
        write_delay_ns=250_000_000,  # debug.log is written line by line
        recorded_as=("debug.log.gz", "debug.log.xz", "debug.log"),
        typical=".log",
        idle_slices=False,  # a line of any text makes a slice
    ),
    Scheme(
        "rpc",
        "http://HOST:PORT",
        _single("rpc", _open_rpc),
        rpc_kinds,
        mode="live",
        settings=rpc_settings.SETTINGS,
        place_is_path=False,
        idle_slices=False,  # a heartbeat only says that the node was asked
        check=rpc_settings.check,
        polls=_polls_rpc,
    ),
    Scheme(
        "ipc",
        SOCKET,
        _single("ipc", _open_ipc),
        ipc_kinds,
        mode="live",
        settings=ipc_place.SETTINGS,
        check=ipc_place.check_ipc,
        polls=_polls_ipc,
    ),
    Scheme(
        "zmq",
        "TOPIC=ENDPOINT",
        _single("zmq", _open_zmq),
        zmq_kinds,
        mode="live",
        place_is_path=False,
        parts=(
            Setting(HASHBLOCK, "text", "Endpoint of the node's -zmqpubhashblock, such as `tcp://127.0.0.1:28332`."),
            Setting(SEQUENCE, "text", "Endpoint of the node's -zmqpubsequence; it may be the same."),
        ),
        kinds_at=kinds_at,
        check=check_zmq,
    ),
    NATS,
    ARCHIVE,
    Scheme(
        "stream",
        "SOCKET",
        _single("stream", _open_stream),
        stream_kinds,
        mode="live",
        idle_slices=False,  # a heartbeat only says that the server is there
        check=_check_stream,
    ),
    Scheme(
        "events",
        "FILE",
        _open_events,
        None,
        mode="recorded",
        write_delay_ns=2_000_000_000,  # `watchdog record` writes what a poll gave
    ),
    Scheme("recording", FOLDER, _open_recording, None, mode="recorded", finished=True),
)
_USER_PART = re.compile(r"//[^\s@]*@")
SCHEMES: dict[str, Scheme] = {row.name: row for row in _ROWS}
"""The registry, by scheme, in the order of help texts."""


def scheme_of(text: str) -> Scheme:
    """Return the row of a source text or of an open source's name; SourceError when it is not one."""
    return SCHEMES[split_source(text)[0]]


def recorded_schemes() -> dict[str, Scheme]:
    """Return the rows of sources that a recording folder can contain, by scheme."""
    return {name: row for name, row in SCHEMES.items() if row.recorded_as}


def open_sources(texts: Sequence[str], options: SourceOptions, *, torn_later: bool = False) -> list[Source]:
    """Open all sources that the texts name; the caller closes them.

    A recording opens one source for each part with wanted kinds, an events file one for each recorded source; any other
    text opens one source of that name. `options.position` maps names of sources to positions, `options.settings` texts
    to their settings. torn_later: a part of a recording that cannot be unpacked raises at its first poll, so that
    the others can be read. Raises SourceError when one cannot be opened (the others are closed) or two have one name.
    """
    sources: list[Source] = []
    try:
        for text in texts:
            scheme, place = split_source(text)
            own = replace(options, settings=_settings_of(options, text))
            for source in SCHEMES[scheme].open(place, own, torn_later):
                twice = any(source.name == other.name for other in sources)
                sources.append(source)
                if twice:
                    raise SourceError(f"source {source.name!r} is given twice")
    except WatchdogError:
        for source in sources:
            source.close()
        raise
    return sources


def open_polls(text: str, receiver: object) -> Polls:
    """Return what polls a source for a receiver of its answers; SourceError when the source is not polled."""
    scheme, place = split_source(text)
    polls = SCHEMES[scheme].polls
    if polls is None:
        raise SourceError(f"{text!r} is not polled")
    return polls(place, receiver)


def _settings_of(options: SourceOptions, text: str) -> Mapping[str, object]:
    settings = options.settings.get(text)
    return settings if isinstance(settings, Mapping) else {}


def unseen_parts(texts: Sequence[str], wanted: frozenset[str]) -> list[str]:
    """Return a line for each part that a recording lacks, and for each events file that replays as one source.

    wanted: the kinds that are read; a part that gives none of them is not missed.
    """
    lines = []
    for scheme, place in map(split_source, texts):
        if scheme == "recording":
            from watchdog.sources.recording_folder import unseen  # noqa: PLC0415 - loaded when first asked for

            lines += unseen(place, recorded_schemes(), wanted)
        if scheme == "events" and _is_one_source(place):
            lines.append(one_source_text(place))
    return lines


def _is_one_source(path: str) -> bool:
    from watchdog.sources.events_file import is_one_source  # noqa: PLC0415 - loaded when first asked for

    return is_one_source(path)


def one_source_text(path: str) -> str:
    """Return the warning about an events file that does not keep its sources apart."""
    line = f"'{path}' does not keep its sources apart and replays as one: completeness near its beginning is not always"
    return f"{line} that of the sources; record them again for that"


def kinds_of(name: str) -> frozenset[str]:
    """Return the kinds that a source of this name can give, as `Source.kinds` does, without opening it.

    Raises SourceError for a name that is no source, and for a recorded one: its file lists its kinds.
    """
    scheme, place = split_source(name)
    row = SCHEMES[scheme]
    if row.kinds_at is not None:
        return row.kinds_at(place)
    if row.kinds is None:
        raise SourceError(f"the kinds of {name!r} are known once it is open")
    return row.kinds()


def reads_file(text: str, path: Path) -> bool:
    """Return whether a source reads this events file, under whatever path; SourceError when `text` is no source."""
    scheme, place = split_source(text)
    recorded = SCHEMES[scheme].mode == "recorded"
    return recorded and Path(place).exists() and path.exists() and Path(place).samefile(path)


def split_source(text: str) -> tuple[str, str]:
    """Split a source text into its scheme and its place; SourceError with a hint when it is not one."""
    scheme, colon, place = text.partition(":")
    if not colon:
        raise SourceError(f"{masked(text)!r} is not a source{_meant(text)}")
    if scheme not in SCHEMES:
        close = get_close_matches(scheme, SCHEMES, 1)
        meant = f"{close[0]}:{place}" if close else f"rpc:{text}" if scheme == "http" else ""
        hint = f"did you mean {masked(meant)!r}?" if meant else f"expected one of {', '.join(syntaxes())}"
        raise SourceError(f"unknown kind of source {scheme!r} in {masked(text)!r}; {hint}")
    if not place:
        lack = "a path" if SCHEMES[scheme].place_is_path else "its address"
        raise SourceError(f"{text!r} lacks {lack}; expected {SCHEMES[scheme].syntax}")
    check = SCHEMES[scheme].check
    if check is not None:
        check(place, {})
    return scheme, place


def syntaxes() -> list[str]:
    """Return the form of each scheme's text, for hints and documentation."""
    return [row.syntax for row in SCHEMES.values()]


def masked(text: str) -> str:
    """Return a source's text without the user part of a URL, for messages."""
    return _USER_PART.sub("//***@", text)


def _meant(text: str) -> str:
    """Return a hint with the scheme that a bare path suggests."""
    path = Path(text)
    scheme = ""
    if path.is_dir():
        parts = {name for row in recorded_schemes().values() for name in row.recorded_as}
        scheme = "recording" if any((path / name).exists() for name in parts) else "capture"
    elif path.exists():
        typical = (row.name for row in SCHEMES.values() if row.typical and row.typical in path.name)
        scheme = next(typical, "events")
    return f"; did you mean {f'{scheme}:{text}'!r}?" if scheme else f"; expected one of {', '.join(syntaxes())}"


def _check_there(scheme: str, path: str) -> None:
    if not Path(path).exists():
        raise SourceError(f"{f'{scheme}:{path}'!r}: no such file{_similar(path)}")
    if Path(path).is_char_device() or Path(path).is_block_device():  # without an end: a read would take all memory
        raise SourceError(f"{f'{scheme}:{path}'!r}: a device, not a file")


def _similar(path: str) -> str:
    """Return a hint with a file of nearly the same name in the same folder."""
    folder = Path(path).parent
    try:
        names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    except OSError:
        names = []
    close = get_close_matches(Path(path).name, names, 1)
    return f"; did you mean {str(folder / close[0])!r}?" if close else ""
