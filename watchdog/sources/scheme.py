"""The form of a row in the registry of sources, and what rows and the sources that hold several share."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from watchdog.core.errors import PositionError
from watchdog.core.source import Source, SourceOptions

Mode = Literal["followed", "recorded", "live"]
"""followed: a file or folder that grows. recorded: holds the sources of an earlier run, under names of their own, and
is read whole. live: runs beside the engine and says by itself how far it has come."""
FOLDER: Final = "DIR"  # `Scheme.place` of a source that reads a folder
SOCKET: Final = "SOCKET"  # of one that connects to a Unix socket
Opener = Callable[[str, SourceOptions, bool], list[Source]]
"""Opens the sources behind the text after the colon. The flag: a part that cannot be unpacked fails at its first poll,
not here. Raises SourceError when nothing can be read, PositionError when `SourceOptions.position` is damaged. A live
source starts its producer and returns at once."""

PlaceCheck = Callable[[str, Mapping[str, object]], str]
"""Reads the text after the colon, and the settings where there are any, without opening anything. Returns a warning,
empty without one; raises SourceError for a mistake, without repeating the text: it may hold a password."""


class Polls(Protocol):
    """A polled source whose answers go to a receiver of the caller as they are."""

    def run(self, stopping: threading.Event) -> None:
        """Poll in this thread until the event is set."""
        ...


@dataclass(frozen=True, slots=True)
class Setting:
    """One further key of a source that `watchdog.yaml` gives as a mapping.

    type: how the configuration reads and documents its value. default: as written in the file, empty for none.
    low, high: bounds of a whole number, of durations in nanoseconds, or of sizes in bytes. choices: the values of a
    choice, or the names of intervals or sizes. shown: words for the default in the documentation, where `default` does
    not say it.
    """

    name: str
    type: Literal["text", "path", "whole", "duration", "flag", "secret", "choice", "intervals", "sizes"]
    about: str
    default: str = ""
    required: bool = False
    unit: str = ""
    low: int = 0
    high: int = 0
    choices: tuple[str, ...] = ()
    shown: str = ""


@dataclass(frozen=True, slots=True)
class Scheme:
    """One kind of source: everything that other modules know of it.

    name: the text before the colon. place: the word for the text after it, in messages. open: see `Opener`.
    kinds: the kinds that it can give, imported when called; None for recorded sources, whose files list their kinds.
    write_delay_ns: how long after its event time an event may still be on its way into the file, or be held back by
    the source. place_is_path: the place is a path, relative to the folder of the configuration. recorded_as: names in a
    recording folder, the usual one first; empty for a source that recordings do not contain. typical: a part of file
    names that suggests this scheme. idle_slices: a slice without events shows that the input grows. finished: never
    followed, its times are of the past. check: see `PlaceCheck`. polls: polls the text after the colon for a receiver
    (`watchdog.sources.rpc.poller.RoundReceiver`); None for sources that are not polled. parts: keys of a place that is
    written as a mapping; its text joins them as `KEY=VALUE,...`. kinds_at: the kinds of one place, where these are
    fewer.
    """

    name: str
    place: str
    open: Opener
    kinds: Callable[[], frozenset[str]] | None
    mode: Mode = "followed"
    write_delay_ns: int = 0
    settings: tuple[Setting, ...] = ()
    place_is_path: bool = True
    recorded_as: tuple[str, ...] = ()
    typical: str = ""
    idle_slices: bool = True
    finished: bool = False
    check: PlaceCheck | None = None
    polls: Callable[[str, object], Polls] | None = None
    parts: tuple[Setting, ...] = ()
    kinds_at: Callable[[str], frozenset[str]] | None = None

    @property
    def syntax(self) -> str:
        """The form of its text: `log:FILE`."""
        return f"{self.name}:{self.place}"


def position_of(options: SourceOptions, name: str) -> Mapping[str, object] | None:
    """Return where one of several sources resumes, None for its start.

    `options.position` maps names of sources to positions. An empty position, which older checkpoints hold for a source
    without events, counts as None. Raises PositionError when the entry is not a mapping.
    """
    position = options.position.get(name) if options.position is not None else None
    if position is not None and not isinstance(position, Mapping):
        raise PositionError(f"position of {name!r} is not a mapping; the checkpoint is damaged")
    return position or None
