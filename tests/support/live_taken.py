"""Opens live sources for tests, and gathers what they give."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest

from tests.support.waiting import LIMIT_S, wait_until
from watchdog.core.batch import Batch
from watchdog.core.source import Source, SourceOptions
from watchdog.sources.registry import open_sources

S = TypeVar("S", bound=Source)


def live_sources(of: type[S], prefix: str = "") -> Iterator[Callable[..., S]]:
    """Yield what opens a source by the prefix and a text.

    At the end every source is closed, and its thread must have ended.
    """
    sources: list[Source] = []

    def open_(text: str, **options: object) -> S:
        (source,) = open_sources([prefix + text], SourceOptions(follow=True, **options))  # type: ignore[arg-type]
        sources.append(source)
        assert isinstance(source, of)
        return source

    yield open_
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("watchdog.sources.live.source.END_S", LIMIT_S / 2)  # a slow machine is no fault of theirs
        for source in sources:
            source.close()
        wait_until(lambda: all(getattr(source, "abandoned", None) is False for source in sources), "a thread is left")


def taken(source: Source, enough: Callable[[list[Batch]], bool]) -> list[Batch]:
    """Poll until there are enough batches, and return them all."""
    batches: list[Batch] = []

    def looked() -> bool:
        slice_ = source.poll()
        batches.extend(slice_.batches if slice_ is not None else ())
        return enough(batches)

    wait_until(
        looked,
        lambda: f"only {[(batch.kind, batch.rows) for batch in batches]}; {getattr(source, 'trouble', '')}",
    )
    return batches


def of_kind(batches: list[Batch], kind: str) -> list[Batch]:
    """Return the batches of a kind."""
    return [batch for batch in batches if batch.kind == kind]


def has(kind: str, rows: int = 1) -> Callable[[list[Batch]], bool]:
    """Return what is true of batches with at least so many rows of a kind."""
    return lambda batches: sum(batch.rows for batch in of_kind(batches, kind)) >= rows


def reasons(batches: list[Batch]) -> list[tuple[str, int]]:
    """Return the reason of each gap, and the events lost."""
    gaps = of_kind(batches, "source:gap")
    return [(batch.strings("reason").tolist()[0], int(batch.numbers("lost")[0])) for batch in gaps]
