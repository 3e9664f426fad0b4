"""A source that had given nothing has no position; a damaged one is named together with what mends it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.clock_rig import Rig
from watchdog.core.errors import PositionError, SourceError
from watchdog.core.source import SourceOptions
from watchdog.pipeline.checkpoint import read_checkpoint, write_checkpoint
from watchdog.sources.registry import open_sources

SCHEMES = ["log", "snapshots", "capture", "events"]


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize(
    ("scheme", "missing"), [*((one, False) for one in SCHEMES), *((one, True) for one in SCHEMES if one != "events")]
)
def test_a_source_stopped_before_its_first_event_is_read_after_a_start(
    tmp_path: Path, scheme: str, missing: bool, old: bool
) -> None:
    polls = tmp_path / "other.jsonl"
    polls.touch()
    rig = Rig(tmp_path, scheme, f"snapshots:{polls}", missing=missing)
    for _ in range(3):
        with polls.open("a") as file:
            file.write(rig.poll(0))
        rig.run(4, rate=0)
    rig.loop._keep()
    rig.gather()
    assert rig.saved is not None
    assert list(rig.saved.positions) == [f"snapshots:{polls}"]
    name = rig.feed.channels[0].name
    if old:  # as commit 03b34e2 wrote it
        rig.saved = replace(rig.saved, positions={**rig.saved.positions, name: {}})
    write_checkpoint(tmp_path / "kept", rig.saved)
    rig.feed.close()
    rig.saved = read_checkpoint(tmp_path / "kept")
    if missing:
        rig.prepare()
    rig.start()
    rig.run(70)
    assert {one.name: one.error for one in rig.feed.channels} == {name: "", f"snapshots:{polls}": ""}
    assert sum(many for (_, source), many in rig.loop.watch.seen.items() if source == name) > 20
    rig.feed.close()


@pytest.mark.parametrize("position", [{"bogus": 1}, {"offset": "x"}, {"read": 1, "who": [], "peers": 3, "place": 7}])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_damaged_position_names_the_file_to_remove_and_the_cost(
    tmp_path: Path, scheme: str, position: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    rig = Rig(tmp_path, scheme)
    rig.run(5)
    name = rig.feed.channels[0].name
    with pytest.raises(PositionError):
        open_sources([f"{scheme}:{rig.path}"], SourceOptions(follow=True, position={name: position}))
    rig.loop._keep()
    rig.gather()
    assert rig.saved is not None
    rig.saved = replace(rig.saved, positions={name: position})
    rig.feed.close()
    cure = "stop the service and remove 'watchdog.checkpoint': every source is then read as at a first start"
    if scheme == "events":  # its sources have the names that the file gives them, so the service does not start
        with pytest.raises(PositionError, match=cure):
            rig.start()
        return
    rig.start()
    said = [record.message for record in caplog.records if name in record.message]
    assert cure in said[-1]
    rig.feed.close()


def test_an_events_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"events:.*events': no such file"):
        Rig(tmp_path, "events", missing=True)
