"""Damage of a finite input, for people: a line for each damaged file, with the place of the first damage in it.

Events tell the rules that something is missing (`source:gap`); these lines name the file to
look at. A source that is followed has none: a torn end is what a growing file looks like.
"""

from __future__ import annotations

from typing import Final, Protocol, runtime_checkable

from watchdog.core.errors import SourceError

MORE: Final = "; and more after it"


class TornError(SourceError):
    """A packed file that cannot be unpacked, or not to its end."""


class SourceFaults:
    """What one source found: by file the text of its first damage. As many entries as the input has files at most."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self._more: set[str] = set()

    def note(self, file: str, text: str) -> None:
        """Note damage in `file`; text: the place, a colon, what it is. The same damage may be noted again."""
        if self._texts.setdefault(file, text) != text:
            self._more.add(file)

    def __len__(self) -> int:
        return len(self._texts)

    def lines(self) -> list[str]:
        """Return a line for each file, in the order in which they were found."""
        return [f"{text}{MORE}" if file in self._more else text for file, text in self._texts.items()]


@runtime_checkable
class Damaged(Protocol):
    """A source that knows of damage in its input, beside the errors that it raises."""

    @property
    def faults(self) -> SourceFaults:
        """What was found so far: noted at the latest when the slice is given that the damage has changed."""
        ...
