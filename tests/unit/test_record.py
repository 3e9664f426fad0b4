"""Record: all events of the sources are in the file, and recording resumes where it stopped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.archive_batches import contents, slice_of
from watchdog.archive.reader import EventsFile
from watchdog.archive.writer import EventsWriter
from watchdog.cli.main import main
from watchdog.core.batch import Slice
from watchdog.core.errors import SourceError, StateError
from watchdog.core.kinds import ALL_KINDS
from watchdog.core.recorded import LEFT_OUT
from watchdog.core.source import Source, SourceOptions
from watchdog.offline import record as record_module
from watchdog.offline.record import RecordOptions, RecordProgress, record


class ListSource:
    """A source that gives slices from a list; its position is how many it gave."""

    kinds = ALL_KINDS

    def __init__(self, name: str, pieces: list[Slice], options: SourceOptions) -> None:
        self.name, self._pieces, self.options, self.closed = name, pieces, options, False
        position = (options.position or {}).get(name)
        self._at = position["at"] if isinstance(position, dict) else 0

    @property
    def ended(self) -> bool:
        return self._at >= len(self._pieces)

    @property
    def progress(self) -> float:
        return self._at / max(1, len(self._pieces))

    def poll(self) -> Slice | None:
        piece = self._pieces[self._at]
        self._at += 1
        return Slice(self.name, piece.batches, piece.until_ns, {"at": self._at})

    def close(self) -> None:
        self.closed = True


Opened = Callable[[list[Slice]], list[ListSource]]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Opened:
    """Make `record` open one source of these slices for whatever it is asked to open."""

    def give(pieces: list[Slice]) -> list[ListSource]:
        made: list[ListSource] = []

        def open_sources(texts: list[str], options: SourceOptions, **_: bool) -> list[Source]:
            made[:] = [ListSource(text, pieces, options) for text in texts]
            return list(made)

        monkeypatch.setattr(record_module, "open_sources", open_sources)
        return made

    return give


def recorded(path: Path) -> list[Slice]:
    with EventsFile(path, strict=True) as file:
        return list(file.slices())


def named(pieces: list[Slice], name: str = "log:a") -> list[object]:
    return contents([Slice(name, piece.batches, piece.until_ns, {"at": at + 1}) for at, piece in enumerate(pieces)])


def test_slices_are_recorded_as_they_come(tmp_path: Path, opened: Opened) -> None:
    pieces = [slice_of(number) for number in range(4)]
    made = opened(pieces)
    steps: list[RecordProgress] = []
    done = record(["log:a"], tmp_path / "out", RecordOptions(node="alice"), steps.append)
    assert contents(recorded(tmp_path / "out")) == named(pieces)
    assert (done.events, done.share, len(steps)) == (120, 1.0, 4)
    assert done.size < (tmp_path / "out").stat().st_size
    (source,) = made
    assert source.closed
    assert source.options.node == "alice"
    assert source.options.wanted is not None
    assert not source.options.wanted & LEFT_OUT
    assert "p2p:addr_entry" in source.options.wanted


def test_appending_goes_on_behind_the_recorded_position(tmp_path: Path, opened: Opened) -> None:
    pieces = [slice_of(number) for number in range(5)]
    opened(pieces[:2])
    record(["log:a"], tmp_path / "out", RecordOptions(append=True))
    opened(pieces)
    record(["log:a"], tmp_path / "out", RecordOptions(append=True))
    assert contents(recorded(tmp_path / "out")) == named(pieces)


def test_an_interrupt_leaves_a_whole_file_to_go_on_with(tmp_path: Path, opened: Opened) -> None:
    pieces = [slice_of(number) for number in range(5)]
    opened(pieces)

    def interrupt(step: RecordProgress) -> None:
        if step.events >= 60:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        record(["log:a"], tmp_path / "out", RecordOptions(), interrupt)
    assert contents(recorded(tmp_path / "out")) == named(pieces[:2])
    record(["log:a"], tmp_path / "out", RecordOptions(append=True))
    assert contents(recorded(tmp_path / "out")) == named(pieces)


def test_an_existing_file_is_not_overwritten(tmp_path: Path, opened: Opened) -> None:
    opened([slice_of(0)])
    record(["log:a"], tmp_path / "out", RecordOptions())
    with pytest.raises(StateError, match=r"exists already; append to it \(--append\) or choose another name"):
        record(["log:a"], tmp_path / "out", RecordOptions())


def test_a_recording_is_not_recorded_into_itself(tmp_path: Path) -> None:
    with EventsWriter(tmp_path / "out") as out:
        out.write(slice_of(0))
    with pytest.raises(SourceError, match="cannot be recorded into itself"):
        record([f"events:{tmp_path / 'out'}"], tmp_path / "out", RecordOptions(append=True))


def test_the_command_copies_chosen_kinds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with EventsWriter(tmp_path / "a") as out:
        for number in range(3):
            out.write(slice_of(number))
    arguments = ["record", f"events:{tmp_path / 'a'}", "--out", str(tmp_path / "b")]
    assert main([*arguments, "--kind", "log:tip"]) == 0
    assert "30 events" in capsys.readouterr().err
    assert {batch.kind for piece in recorded(tmp_path / "b") for batch in piece.batches} == {"log:tip"}
    assert main(arguments) == 2
    assert capsys.readouterr().err.startswith(f"watchdog: '{tmp_path / 'b'}' exists already")
    assert main([*arguments, "--kind", "log:tipp"]) == 2
    assert "did you mean 'log:tip'" in capsys.readouterr().err


def test_standard_output_is_no_place_for_an_events_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["record", "events:a", "--out", "-"]) == 2
    assert "give --out FILE" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("follow", "code"), [(["--follow"], 0), ([], 130)])
def test_an_interrupted_recording_says_what_it_has(
    follow: list[str],
    code: int,
    tmp_path: Path,
    opened: Opened,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    opened([slice_of(number) for number in range(3)])

    def interrupted(*arguments: object) -> RecordProgress:
        record(*arguments)  # type: ignore[arg-type]  # as the command calls it
        raise KeyboardInterrupt

    monkeypatch.setattr("watchdog.cli.record.record", interrupted)
    assert main(["record", "log:a", "--out", str(tmp_path / "out"), *follow]) == code
    said = capsys.readouterr().err
    assert said.startswith(f"{tmp_path / 'out'}: 90 events, 0.")
    assert said.endswith(" MB\n" if follow else " MB, interrupted\n")
