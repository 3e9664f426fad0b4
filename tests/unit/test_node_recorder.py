"""The recorder of a node by itself: what is recorded, what is dropped, and what its thread survives."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from alerts.incident import Reason
from alerts.notice import ChangeRecord
from alerts.store.recordings import RecordedFile
from tests.support.waiting import wait_until
from watchdog.archive.reader import EventsFile
from watchdog.archive.ring import Ring, TakenError
from watchdog.core.batch import Batch, Column, Slice, Strings
from watchdog.core.errors import StateError, StoreUnavailableError
from watchdog.pipeline.clock import SystemClock
from watchdog.service import recorder as recorder_module
from watchdog.service.config.settings import RecorderSettings
from watchdog.service.recorder import NodeRecorder
from watchdog.sources.live.inbox import Limits

SECOND = 1_000_000_000
START = 1_768_212_000 * SECOND
SOURCE = "stream:s or capture:c"
KINDS = frozenset({"p2p:ping", "rpc:mempool", "source:gap"})
MINUTE = 60 * SECOND


@dataclass
class Links:
    """What the database would have. failing: it does not answer."""

    stored: dict[str, list[RecordedFile]] = field(default_factory=dict)
    failing: bool = False

    def replace(self, incident_id: str, files: Sequence[RecordedFile], /) -> bool:
        if self.failing:
            raise StoreUnavailableError("the database is locked")
        self.stored[incident_id] = list(files)
        return True


def settings(folder: Path, **more: Any) -> RecorderSettings:
    given = RecorderSettings(folder, 1 << 20, KINDS, {}, "", MINUTE, MINUTE, 3_600 * SECOND)
    return replace(given, **more)


def recorder(folder: Path, links: Links | None = None, **more: Any) -> NodeRecorder:
    own = settings(folder, **more)
    return NodeRecorder("node", own, {SOURCE: KINDS}, links or Links(), clock=SystemClock(), wall_ns=time.time_ns)


def pings(second: int, *directions: str, kind: str = "p2p:ping") -> Slice:
    time_ns = START + second * SECOND
    rows = len(directions)
    columns: dict[str, Column] = {"time_ns": np.full(rows, time_ns), "direction": Strings.of(directions)}
    part = Slice(SOURCE, (Batch(kind, "node", "capture:c", columns),), time_ns)
    return Slice("capture:c", (), time_ns, {"at": second}, shared=(part,))


def change(reason: Reason, severity: str, second: int) -> ChangeRecord:
    made = SimpleNamespace(reason=reason, severity=severity, time_ns=START + second * SECOND)
    return cast("ChangeRecord", SimpleNamespace(change=made, incident=SimpleNamespace(id="ab" * 8)))


def read(folder: Path) -> Iterator[Batch]:
    for path in sorted(folder.glob("*.events")):
        with EventsFile(path) as file:
            assert file.sources in ((), (SOURCE,))
            for piece in file.slices():
                yield from piece.batches


def rows_of(folder: Path, kind: str = "p2p:ping") -> int:
    return sum(batch.rows for batch in read(folder) if batch.kind == kind)


def test_what_the_engine_took_is_recorded_under_the_names_that_it_knows(tmp_path: Path) -> None:
    one = recorder(tmp_path)
    one.take(pings(1, "in", "out"))
    one.take(pings(2, "in"))
    one.stop(10.0)
    assert rows_of(tmp_path) == 3
    assert {batch.source for batch in read(tmp_path)} == {"capture:c"}
    assert (one.status.events, one.status.error, one.dropped) == (3, "", 0)


def test_peers_are_chosen_and_other_kinds_are_not_touched(tmp_path: Path) -> None:
    one = recorder(tmp_path, peers='direction == "in"')
    one.take(pings(1, "in", "out", "in"))
    one.take(pings(2, "out", kind="rpc:mempool"))
    one.take(pings(3, "out", kind="p2p:pong"))
    one.stop(10.0)
    assert (rows_of(tmp_path), rows_of(tmp_path, "rpc:mempool"), rows_of(tmp_path, "p2p:pong")) == (2, 1, 0)


def test_what_finds_no_room_is_counted_and_a_gap_of_the_recording(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "LIMITS", Limits(1 << 20, 100))
    monkeypatch.setattr(recorder_module, "ROUND_S", 1.0)
    one = recorder(tmp_path)
    for second in range(1, 51):
        one.take(pings(second, *["in"] * 10))
    one.stop(10.0)
    lost = sum(int(batch.numbers("lost").sum()) for batch in read(tmp_path) if batch.kind == "source:gap")
    assert lost == one.dropped == 500 - rows_of(tmp_path)
    assert lost > 0


def failing(monkeypatch: pytest.MonkeyPatch, *errors: Exception) -> None:
    """Let the next writes of all rings fail."""
    monkeypatch.setattr(recorder_module, "RETRY_S", 0.1)
    monkeypatch.setattr(recorder_module, "ROUND_S", 0.05)
    written, faults = Ring.write, [*errors]

    def write(self: Ring, piece: Slice) -> bool:
        if faults:
            raise faults.pop()
        return written(self, piece)

    monkeypatch.setattr(Ring, "write", write)


def full() -> StateError:
    error = StateError("cannot write")
    error.__cause__ = OSError(28, "No space left on device")
    return error


def test_a_disk_that_refuses_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, full(), full(), full())
    one = recorder(tmp_path)
    one.take(pings(1, "in"))
    assert wait_until(lambda: bool(one.status.error))
    one.take(pings(2, "in"))
    assert wait_until(lambda: one.status.events == 2 and not one.status.error)
    one.stop(10.0)
    assert rows_of(tmp_path) == 2, "the slice that failed is written later"
    assert (one.status.errors, one.dropped) == (3, 0)


@pytest.mark.parametrize("error", [StateError("a slice is larger than 134217728 bytes"), MemoryError("no memory")])
def test_a_slice_that_cannot_be_written_is_a_gap_and_the_next_one_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    failing(monkeypatch, error)
    one = recorder(tmp_path)
    one.take(pings(1, "in", "in"))
    one.take(pings(2, "in"))
    one.stop(10.0)
    assert (rows_of(tmp_path), one.dropped, one.status.error) == (1, 2, "")
    (gap,) = [batch for batch in read(tmp_path) if batch.kind == "source:gap"]
    assert gap.numbers("lost").tolist() == [2]
    assert gap.strings("reason").tolist() == ["unwritable"]


def test_incidents_keep_their_files_and_the_database_hears_of_them_when_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "ROUND_S", 0.05)
    monkeypatch.setattr(recorder_module, "LINK_S", 0.05)
    links = Links(failing=True)
    one = recorder(tmp_path, links)
    one.take(pings(100, "in"))
    one.note(change(Reason.OPENED, "info", 100))
    one.note(change(Reason.UPDATED, "critical", 100))
    one.note(change(Reason.ESCALATED, "warning", 100))
    one.take(pings(161, "in"))
    kept = tmp_path / "kept" / ("ab" * 8)
    assert wait_until(lambda: len(list(kept.glob("*.events"))) == 1)
    assert links.stored == {}
    links.failing = False
    assert wait_until(lambda: bool(links.stored.get("ab" * 8)))
    (stored,) = links.stored["ab" * 8]
    assert Path(stored.path).parent == kept
    assert stored.from_ns <= START + 100 * SECOND <= stored.to_ns
    one.stop(10.0)


def test_incidents_that_find_no_room_in_the_queue_are_counted(tmp_path: Path) -> None:
    one = recorder(tmp_path)
    for second in range(recorder_module.MOST_INCIDENTS + 7):  # its thread has not begun yet
        one.note(change(Reason.OPENED, "warning", second))
    one.take(pings(1, "in"))
    one.stop(10.0)
    assert (one.status.incidents_dropped, one.status.error) == (7, "")


def test_a_folder_in_use_is_refused_and_one_that_fails_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = recorder(tmp_path / "r")
    with pytest.raises(TakenError):
        recorder(tmp_path / "r")
    first.stop(1.0)
    monkeypatch.setattr(recorder_module, "RETRY_S", 0.1)
    monkeypatch.setattr(recorder_module, "ROUND_S", 0.05)
    (tmp_path / "file").write_text("in the way")
    one = recorder(tmp_path / "file" / "r")
    assert "cannot record into" in one.status.error
    one.take(pings(1, "in"))
    (tmp_path / "file").unlink()
    assert wait_until(lambda: one.status.events == 1)
    one.stop(10.0)
    assert rows_of(tmp_path / "file" / "r") == 1
