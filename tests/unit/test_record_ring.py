"""`record` into a folder of rotated files, and of chosen events only."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.test_ring import START, piece, seconds
from watchdog.archive.reader import EventsFile
from watchdog.archive.writer import EventsWriter
from watchdog.cli.arguments import payload_size
from watchdog.cli.main import main
from watchdog.core.batch import Slice
from watchdog.core.errors import RuleError, WatchdogError
from watchdog.offline.record import RecordOptions, record, record_fleet

SOURCE = "capture:c"


@pytest.fixture
def source(tmp_path: Path) -> str:
    """An events file with a ping a second, of a hundred seconds."""
    path = tmp_path / "all.events"
    with EventsWriter(path, (SOURCE,), kinds={SOURCE: frozenset({"p2p:ping"})}) as file:
        for second in range(100):
            found = piece(second)
            file.write(Slice(SOURCE, found.batches, found.until_ns, {"at": second}))
    return f"events:{path}"


def test_a_folder_is_bounded_and_a_second_run_records_nothing_twice(source: str, tmp_path: Path) -> None:
    out = tmp_path / "ring"
    options = RecordOptions(keep=20_000, rotate=2_000)
    record([source], out, options)
    paths = sorted(out.glob("*.events"))
    assert sum(path.stat().st_size for path in paths) <= 20_000
    found = [second for path in paths for second in seconds(path)]
    assert found == list(range(found[0], 100))
    assert found[0] > 20
    record([source], out, options)
    again = [second for path in sorted(out.glob("*.events")) for second in seconds(path)]
    assert again.count(98) == 1, "the file that is recorded again ends where the first run ended"
    assert again[-1] == 99


def test_only_events_that_match_are_recorded(source: str, tmp_path: Path) -> None:
    out = tmp_path / "few.events"
    done = record([source], out, RecordOptions(where=f"time_ns >= {START + 90 * 10**9}"))
    assert done.events == 10
    with EventsFile(out, strict=True) as file:
        assert sum(batch.rows for one in file.slices() for batch in one.batches) == 10


@pytest.mark.parametrize("where", ["direction ==", "no_such_field > 3", "time_ns"])
def test_a_wrong_expression_is_said_before_anything_is_written(source: str, tmp_path: Path, where: str) -> None:
    with pytest.raises(RuleError):
        record([source], tmp_path / "out.events", RecordOptions(where=where))
    assert not (tmp_path / "out.events").exists()


def test_a_folder_needs_no_append(source: str, tmp_path: Path) -> None:
    with pytest.raises(WatchdogError, match="continued anyway"):
        record([source], tmp_path / "ring", RecordOptions(keep=1 << 20, append=True))


def test_each_node_has_a_folder_of_its_own(source: str, tmp_path: Path) -> None:
    record_fleet({"alice": [source]}, tmp_path / "all", RecordOptions(keep=1 << 20))
    assert [one for path in sorted((tmp_path / "all" / "alice").glob("*.events")) for one in seconds(path)] == [
        *range(100)
    ]


def test_options_that_a_file_of_answers_cannot_have(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "polls.jsonl")
    assert main(["record", "rpc:http://127.0.0.1:1", "--out", out, "--keep", "5MiB"]) == 2
    assert "which --keep does not apply to" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (["--keep", "12"], "is no size; write a number with MiB"),
        (["--rotate", "0MB"], "is no size"),
        (["--payload", "addr"], "is not TYPE=SIZE"),
        (["--payload", "averylongmessagetype=1kB"], "is not TYPE=SIZE"),
    ],
)
def test_options_are_checked(
    source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], option: list[str], said: str
) -> None:
    assert main(["record", source, "--out", str(tmp_path / "x"), *option]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "read"),
    [("*=4MiB", ("*", 4_000_000)), ("tx=1GiB", ("tx", 4_000_000)), ("a=b=64KiB", ("a=b", 65_536)), ("tx=0", ("tx", 0))],
)
def test_a_payload_larger_than_any_message_is_the_whole_message(text: str, read: tuple[str, int]) -> None:
    assert payload_size(text) == read
