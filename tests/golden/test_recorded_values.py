"""Fields of closed sets, which rules may compare with their values only, hold nothing else in what sources give."""

from __future__ import annotations

from pathlib import Path

import pytest

from watchdog.core.kinds import KINDS
from watchdog.core.source import SourceOptions
from watchdog.pipeline.scheduler import merged
from watchdog.sources.registry import open_sources

pytestmark = pytest.mark.golden
CLOSED = {
    kind.name: {name: set(field.values) for name, field in kind.fields.items() if field.values}
    for kind in KINDS.values()
}


def odd_values(text: str) -> set[tuple[str, str, str]]:
    """(kind, field, value) of what the catalogue does not know; all fields that were seen must be many."""
    odd, seen = set(), set()
    sources = open_sources([text], SourceOptions(wanted=frozenset(name for name, fields in CLOSED.items() if fields)))
    for piece in merged(sources):
        for batch in piece.batches:
            for name, known in CLOSED[batch.kind].items():
                column = batch.strings(name)
                seen.add((batch.kind, name))
                odd |= {(batch.kind, name, column.values[code]) for code in set(column.codes.tolist())} - {
                    (batch.kind, name, value) for value in known
                }
    for source in sources:
        source.close()
    assert len(seen) > 50
    return odd


def test_the_recording_of_the_demo(root: Path) -> None:
    assert odd_values(f"recording:{root / 'demo' / 'recording'}") == set()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["open-3", "open-4"])
def test_recordings_of_a_real_node(name: str, recordings: Path) -> None:
    assert odd_values(f"recording:{recordings / name}") == set()
