"""Source texts: those that open, and the errors of those that do not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.capture_files import START_US, append, handshake, read_all, record
from watchdog.core.errors import SourceError
from watchdog.core.source import SourceOptions
from watchdog.sources.registry import open_sources

OPTIONS = SourceOptions()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("captur:/x", "did you mean 'capture:/x'"),
        ("usb:/x", "expected one of capture:DIR"),
        ("capture", "'capture' is not a source"),
        ("log:", "lacks a path; expected log:FILE"),
        ("snapshots:/no/such", "no such file"),
        ("events:/no/such", "no such file"),
        ("log:/dev/zero", "a device, not a file"),
        ("snapshots:/dev/zero", "a device, not a file"),
        ("capture:/no/such", "no such folder"),
        ("recording:/no/such", "no such recording folder"),
    ],
)
def test_a_wrong_text_is_one_line_with_place_and_hint(text: str, message: str) -> None:
    with pytest.raises(SourceError) as caught:
        open_sources([text], OPTIONS)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_bare_path_is_answered_with_what_it_probably_is(tmp_path: Path) -> None:
    (tmp_path / "debug.log").touch()
    (tmp_path / "snapshots.jsonl").touch()
    for path, scheme in ((tmp_path, "recording"), (tmp_path / "debug.log", "log")):
        with pytest.raises(SourceError, match=f"did you mean '{scheme}:"):
            open_sources([str(path)], OPTIONS)


def test_a_mistyped_file_is_answered_with_its_neighbour(tmp_path: Path) -> None:
    (tmp_path / "debug.log").touch()
    with pytest.raises(SourceError, match=r"did you mean '.*debug\.log'"):
        open_sources([f"log:{tmp_path}/debug.lgo"], OPTIONS)


def test_a_capture_keeps_the_name_it_was_given(tmp_path: Path) -> None:
    handshake(tmp_path, "8.8.8.8_8333", START_US, inbound=False)
    [source] = open_sources([f"capture:{tmp_path}"], OPTIONS)
    assert source.name == f"capture:{tmp_path}"
    assert read_all(source)[-1].source == source.name


def test_a_source_named_twice_is_refused(tmp_path: Path) -> None:
    append(tmp_path, "8.8.8.8_8333", True, record(START_US, "verack"))
    with pytest.raises(SourceError, match="given twice"):
        open_sources([f"capture:{tmp_path}"] * 2, OPTIONS)


def test_a_recording_opens_only_the_parts_that_somebody_reads(tmp_path: Path) -> None:
    append(tmp_path / "capture", "8.8.8.8_8333", True, record(START_US, "verack"))
    (tmp_path / "debug.log").touch()
    (tmp_path / "snapshots.jsonl").touch()
    text = f"recording:{tmp_path}"
    sources = open_sources([text], OPTIONS)
    assert [one.name.split(":")[0] for one in sources] == ["capture", "snapshots", "log"]
    for source in sources:
        source.close()
    only = open_sources([text], SourceOptions(wanted=frozenset({"p2p:addr"})))
    assert [one.name for one in only] == [f"capture:{tmp_path}/capture"]


def test_each_part_of_a_recording_gets_its_own_position(tmp_path: Path) -> None:
    handshake(tmp_path / "capture", "8.8.8.8_8333", START_US, inbound=False)
    wanted = frozenset({"p2p:version"})
    [source] = open_sources([f"recording:{tmp_path}"], SourceOptions(wanted=wanted))
    position = {source.name: read_all(source)[-1].position}
    [again] = open_sources([f"recording:{tmp_path}"], SourceOptions(wanted=wanted, position=position))
    assert read_all(again) == []


def test_a_folder_without_any_part_is_no_recording(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no recording in"):
        open_sources([f"recording:{tmp_path}"], OPTIONS)
