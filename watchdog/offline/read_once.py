"""Sources read once, to their end. An error ends only its own source, and all damage is reported."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from watchdog.core.batch import Slice
from watchdog.core.errors import SourceError
from watchdog.core.source import END_OF_TIME_NS, FormCounting, Source
from watchdog.engine.coverage import GAP
from watchdog.sources.faults import Damaged
from watchdog.sources.shares import part_of_gaps, scheme_in, shares_of

SHOWN: Final = 10  # lines shown to people; the rest is a count


class FiniteSource:
    """A source for a replay, or a recording without --follow; the others are read on when it fails.

    faults: lines of damage, each with its place. last_word: give a failed source the end of time as its
    watermark, so that no rule waits for it; a recording does not, since a repaired input may be appended later.
    without: kinds that another source of the replay gives.
    """

    def __init__(self, source: Source, *, last_word: bool = True, without: frozenset[str] = frozenset()) -> None:
        self._source, self._last_word, self._without = source, last_word, without
        self._position: Mapping[str, object] = {}
        self._error = ""

    @property
    def name(self) -> str:
        """As the source's own."""
        return self._source.name

    @property
    def kinds(self) -> frozenset[str]:
        """As the source's own, without those that another one gives."""
        return self._source.kinds - self._without

    @property
    def ended(self) -> bool:
        """Whether it was read to its end, or to where it cannot be read."""
        return bool(self._error) or self._source.ended

    @property
    def progress(self) -> float:
        """Share of the input that was read, 0.0 to 1.0; all of it when no more can be."""
        return 1.0 if self._error else self._source.progress

    @property
    def faults(self) -> list[str]:
        """Lines of damage found so far, the same one perhaps twice."""
        found = self._source.faults.lines() if isinstance(self._source, Damaged) else []
        return [*found, self._error] if self._error else found

    @property
    def unread(self) -> list[str]:
        """A line for each form of which lines were not understood."""
        return unread_lines(self._source)

    def poll(self) -> Slice | None:
        """Return the next slice, None without news. An error of the source becomes a fault and ends it."""
        try:
            found = self._source.poll()
        except SourceError as error:
            self._error = str(error)
        except OSError as error:
            self._error = f"{self.name}: cannot be read: {(error.strerror or str(error)).lower()}"
        else:
            self._position = self._position if found is None else found.position
            return found if found is None or not self._without else self._narrowed(found)
        self._source.close()
        return Slice(self.name, (), END_OF_TIME_NS, self._position) if self._last_word else None

    def _narrowed(self, found: Slice) -> Slice:
        """Return a slice without the kinds of others; its gaps count for its own kinds only."""
        parts = (
            part_of_gaps(batch, self.kinds) if batch.kind == GAP else batch for batch in found.batches if batch.rows
        )
        kept = tuple(part for part in parts if part is not None and part.kind not in self._without)
        return replace(found, batches=kept)

    def close(self) -> None:
        """Close the source."""
        self._source.close()


def finite(sources: Iterable[Source], *, last_word: bool = True) -> list[FiniteSource]:
    """Wrap sources to be read once."""
    return [FiniteSource(source, last_word=last_word) for source in sources]


def replayed(sources: Sequence[Source]) -> list[FiniteSource]:
    """Wrap sources to be read once by rules: a kind that several schemes give comes from the first of them only."""
    without: dict[str, frozenset[str]] = {}
    for share in shares_of({source.name: source.kinds for source in sources}):
        first = scheme_in(share.members[0])
        for name in (one for one in share.members if scheme_in(one) != first):
            without[name] = without.get(name, frozenset()) | share.kinds
    return [FiniteSource(source, without=without.get(source.name, frozenset())) for source in sources]


def faults_of(sources: Sequence[Source]) -> tuple[str, ...]:
    """Return all damage found, a line for each file; none of followed sources."""
    return tuple(
        dict.fromkeys(line for source in sources if isinstance(source, FiniteSource) for line in source.faults)
    )


def unread_of(sources: Iterable[Source]) -> tuple[str, ...]:
    """Return a line for each source and line form with lines that were not understood."""
    return tuple(
        line
        for source in sources
        for line in (source.unread if isinstance(source, FiniteSource) else unread_lines(source))
    )


def unread_lines(source: Source) -> list[str]:
    """Return warnings about lines that resemble a known form; the lines themselves are untrusted and not shown."""
    forms = source.line_forms if isinstance(source, FormCounting) else {}
    warnings = []
    for form, (read, unread) in sorted(forms.items()):
        if unread and form == "untimed":
            warnings.append(
                f"{source.name}: {unread:,} lines have no time; was Bitcoin Core started with logtimestamps=0?"
            )
        elif unread:
            warnings.append(
                f"{source.name}: {unread:,} of {read + unread:,} lines of the form '{form}' were not understood; "
                "is Bitcoin Core newer than this program?"
            )
    return warnings


def shown(lines: Iterable[str]) -> list[str]:
    """Return at most `SHOWN` different lines, and a last one with the count of the others."""
    every = list(dict.fromkeys(lines))
    left = len(every) - SHOWN
    return [*every[:SHOWN], f"and {left} more damaged {'file' if left == 1 else 'files'}"] if left > 0 else every
