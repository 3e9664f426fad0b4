"""Recording and replaying the record gives the incidents of the recording itself, byte for byte."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.catalogue import check_batch
from watchdog.archive.reader import EventsFile
from watchdog.core.kinds import KINDS
from watchdog.core.payload_columns import with_payload_columns
from watchdog.offline.record import RecordOptions, record
from watchdog.offline.replay import ReplayOptions, replay


@pytest.mark.slow
@pytest.mark.golden
def test_a_recorded_recording_gives_the_same_incidents(recordings: Path, tmp_path: Path) -> None:
    source, copy = f"recording:{recordings / 'open-2'}", tmp_path / "copy.events"
    done = record([source], copy, RecordOptions(node="node"))
    assert done.events > 1_000_000
    assert replay([f"events:{copy}"], ReplayOptions()).lines() == replay([source], ReplayOptions(node="node")).lines()
    seen: dict[str, set[str]] = {}
    with EventsFile(copy, strict=True) as file:
        for batch in (batch for piece in file.slices() for batch in piece.batches):
            check_batch(with_payload_columns(batch))  # a recording without payloads does not have their columns
            seen.setdefault(batch.kind, set()).add(batch.source.partition(":")[0])
    assert all(sources <= set(KINDS[kind].sources) for kind, sources in seen.items()), "the page says who gives what"
    assert copy.stat().st_size < 25 << 20
