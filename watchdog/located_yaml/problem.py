"""Located problems: a mistake in a file, its place, and a hint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from watchdog.core.errors import RuleError

MOST_PROBLEMS = 200  # more do not help; a hostile file must not make us write for minutes
WIDEST_LINE = 160  # characters of a source line that are shown
LONGEST_TEXT = 2_000  # characters of a message and of a hint, which may hold a name as long as the file


@dataclass(frozen=True, slots=True, eq=False)
class SourceText:
    """A file as it was read: the name that people gave it, and its lines without ends."""

    name: str
    text: str = ""
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Location:
    """A stretch of one line of a file; line and column count from 1, in characters."""

    source: SourceText
    line: int = 1
    column: int = 1
    width: int = 1

    def __str__(self) -> str:
        return f"{self.source.name}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake. unreadable: the file itself could not be read (exit code 2)."""

    place: Location
    message: str
    hint: str = ""
    unreadable: bool = False

    def render(self) -> str:
        """Render `file:line:column: message`, the source line with a caret, and the hint.

        A file that could not be read has no lines: its name stands alone.
        """
        place = self.place.source.name if self.unreadable else str(self.place)
        parts = [f"{plain(place)}: {plain(self.message)}"]
        shown = self._excerpt()
        if shown:
            parts.append(shown)
        if self.hint:
            parts.append(f"  hint: {plain(self.hint)}")
        return "\n".join(parts)

    def _excerpt(self) -> str:
        """Return the source line with a caret below the place; empty without such a line."""
        lines, number = self.place.source.lines, self.place.line
        if not 1 <= number <= len(lines):
            return ""
        start = max(0, self.place.column - WIDEST_LINE // 2) if self.place.column > WIDEST_LINE else 0
        line = plain(lines[number - 1][start : start + WIDEST_LINE]).rstrip()
        before = min(self.place.column - 1 - start, len(line))
        width = max(1, min(self.place.width, len(line) - before))
        gutter = " " * 5
        return f"{number:5d} | {line}\n{gutter} | {' ' * before}{'^' * width}"


class RuleSetError(RuleError):
    """A rule set cannot be used; `problems` has every mistake of every file."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(problem.render() for problem in problems))
        self.problems = problems

    def in_one_line(self) -> str:
        """Return the first problem with its hint, and the count of the others."""
        first, more = self.problems[0], len(self.problems) - 1
        place = first.place.source.name if first.unreadable else str(first.place)
        hint = f"; {first.hint}" if first.hint else ""
        rest = f" (and {more} more: 'watchdog rules check' shows them all)" if more else ""
        return f"{plain(place)}: {plain(first.message + hint)}{rest}"


@dataclass(slots=True)
class Report:
    """Collects problems and warnings of a whole rule set.

    At most MOST_PROBLEMS are kept; `dropped` counts the rest, whose hints are never computed.
    """

    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    dropped: int = 0

    def error(self, place: Location, message: str, hint: str | Callable[[], str] = "") -> None:
        """Note a mistake; a callable hint is only called when the mistake is kept."""
        if len(self.problems) >= MOST_PROBLEMS:
            self.dropped += 1
            return
        text = hint if isinstance(hint, str) else hint()
        self.problems.append(Problem(place, _short(message), _short(text)))

    def unreadable(self, name: str, reason: str) -> None:
        """Note that a file cannot be read at all."""
        self.problems.append(Problem(Location(SourceText(name)), reason, unreadable=True))

    def warn(self, place: Location, message: str, hint: str = "") -> None:
        """Note something that deserves a look but does not stop the rule set."""
        if len(self.warnings) < MOST_PROBLEMS:
            self.warnings.append(Problem(place, _short(message), _short(hint)))

    def ordered(self) -> tuple[Problem, ...]:
        """Return all mistakes by file, line and column; a last one has the count of those dropped."""
        found = sorted(self.problems, key=lambda p: (p.place.source.name, p.place.line, p.place.column))
        if self.dropped:
            found.append(Problem(found[-1].place, f"and {self.dropped} more mistakes"))
        return tuple(found)


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 1]}…"


def plain(text: str) -> str:
    """Return one line without control characters, so that a file cannot control the terminal."""
    return "".join(char if char.isprintable() else " " for char in text)
