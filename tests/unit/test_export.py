"""Export: the same rows in every format, harmless text, whole files or none."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.archive_batches import START_NS, batch_of, slice_of
from watchdog.archive.writer import EventsWriter
from watchdog.cli.main import main
from watchdog.core.batch import Batch, Blobs, Slice, Strings
from watchdog.core.errors import WatchdogError
from watchdog.core.kinds import KINDS, chosen_kinds
from watchdog.offline import export as export_module
from watchdog.offline.export import ExportFormat, ExportOptions, export, plain_columns


def write_all(path: Path, pieces: list[Slice]) -> Path:
    with EventsWriter(path) as out:
        for piece in pieces:
            out.write(piece)
    return path


def unknown_batch(agent: str) -> Batch:
    return Batch("x:y", "n", "s", {"time_ns": np.zeros(1, np.int64), "agent": Strings.of([agent])})


@pytest.fixture
def written(tmp_path: Path) -> Path:
    return write_all(tmp_path / "a.events", [slice_of(number) for number in range(6)])


def test_json_lines_hold_every_row_in_order(written: Path, tmp_path: Path) -> None:
    done = export(str(written), str(tmp_path / "out"), ExportOptions("jsonl"))
    rows = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()]
    expected = [batch for number in range(6) for batch in slice_of(number).batches]
    assert [row["time_ns"] for row in rows] == [at for batch in expected for at in batch.time_ns.tolist()]
    assert done.rows == {"net:inbound_message": 120, "log:tip": 60}
    assert done.torn_at is None
    first = expected[0]
    assert rows[0]["kind"] == "net:inbound_message"
    assert rows[0]["size"] == first.numbers("size")[0]
    assert rows[0]["boot_ns"] == first.boot_ns
    assert isinstance(rows[0]["netgroup"], str)
    hashes = expected[1].columns["hash"]
    assert isinstance(hashes, Blobs)
    assert rows[20]["hash"] == hashes.tolist()[0].hex()


def test_csv_of_one_kind_is_a_file_and_of_all_a_folder(written: Path, tmp_path: Path) -> None:
    export(str(written), str(tmp_path / "one.csv"), ExportOptions("csv", frozenset({"log:tip"})))
    export(str(written), str(tmp_path / "all"), ExportOptions("csv"))
    assert sorted(path.name for path in (tmp_path / "all").iterdir()) == ["log_tip.csv", "net_inbound_message.csv"]
    one = (tmp_path / "one.csv").read_bytes()
    assert (tmp_path / "all" / "log_tip.csv").read_bytes() == one
    rows = list(csv.DictReader(io.StringIO(one.decode())))
    assert len(rows) == 60
    assert int(rows[0]["time_ns"]) == START_NS


def test_parquet_has_typed_columns(written: Path, tmp_path: Path) -> None:
    export(str(written), str(tmp_path / "all"), ExportOptions("parquet"))
    table = pyarrow.parquet.read_table(tmp_path / "all" / "net_inbound_message.parquet")
    batches = [slice_of(number).batches[0] for number in range(6)]
    assert table["size"].to_pylist() == [size for batch in batches for size in batch.numbers("size").tolist()]
    assert str(table.schema.field("size").type) == "uint32"
    assert str(table.schema.field("known").type) == "bool"
    assert str(table.schema.field("netgroup").type) == "string"
    tips = pyarrow.parquet.read_table(tmp_path / "all" / "log_tip.parquet")
    assert tips["hash"].to_pylist()[:10] == slice_of(0).batches[1].columns["hash"].tolist()


@given(st.text(max_size=20))
def test_no_cell_of_a_csv_is_a_formula_and_no_text_moves_the_cursor(text: str) -> None:
    out = io.BytesIO()
    writer = export_module._Csv(out)
    writer.write(unknown_batch(text))
    cell = next(csv.DictReader(io.StringIO(out.getvalue().decode())))["agent"]
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))
    assert cell.isprintable() or not cell


@given(st.text(max_size=20))
def test_json_lines_stay_one_line_whatever_a_peer_sends(text: str) -> None:
    out = io.BytesIO()
    export_module._JsonLines(out).write(unknown_batch(text))
    lines = out.getvalue().decode().split("\n")
    assert len(lines) == 2
    assert lines[0].isprintable()
    assert set(json.loads(lines[0])) == {"time_ns", "kind", "node", "source", "boot_ns", "agent"}


def test_numbers_that_json_does_not_know_become_null() -> None:
    batch = batch_of("addrman:rebucketed", 2)
    columns = dict(batch.columns) | {"moved_share": np.array([math.nan, 0.5])}
    out = io.BytesIO()
    export_module._JsonLines(out).write(Batch(batch.kind, "n", "s", columns))
    assert [json.loads(line)["moved_share"] for line in out.getvalue().splitlines()] == [None, 0.5]


def test_prefixes_read_as_text() -> None:
    batch = batch_of("log:addrman_removed", 3)
    columns = dict(batch.columns) | {"entry_netgroup": np.zeros(3, np.uint64)}
    assert plain_columns(Batch(batch.kind, "n", "s", columns))["entry_netgroup"] == ["unroutable"] * 3


def test_times_cut_rows(written: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    since = str(START_NS // 10**9 + 205)
    code = main(["export", str(written), "--format", "jsonl", "--since", since, "--until", "2026-02-02T02:45:01"])
    assert code == 0
    times = [(json.loads(line)["time_ns"] - START_NS) // 10**9 for line in capsysbinary.readouterr().out.splitlines()]
    assert times == [*range(205, 220), *range(205, 210), 300, 300]


def test_a_torn_file_is_exported_up_to_the_tear_and_says_so(
    written: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.truncate(written, written.stat().st_size // 2)
    assert main(["export", str(written), "--format", "jsonl", "--out", str(tmp_path / "out")]) == 2
    assert f"watchdog: '{written}' is torn at byte " in capsys.readouterr().err
    assert 30 < len((tmp_path / "out").read_text().splitlines()) < 150


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "csv"], "csv of several kinds needs --out FOLDER; or choose one --kind"),
        (["--format", "parquet", "--kind", "log:tip"], "parquet of this needs --out FILE"),
        (["--format", "jsonl", "--kind", "log:tipp"], "unknown kind 'log:tipp'; did you mean 'log:tip'?"),
        (["--format", "jsonl", "--since", "noon"], "'noon' is neither an ISO 8601 time nor unix seconds"),
        (["--format", "jsonl", "--out", "/nowhere/at/all"], "no such file or directory"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(
    written: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(written), *arguments]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


def test_a_folder_is_no_events_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(tmp_path), "--format", "jsonl"]) == 2
    assert f"watchdog record recording:{tmp_path} --out FILE" in capsys.readouterr().err


def test_a_missing_file_is_told_before_what_the_output_lacks(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "/nowhere/at/all", "--format", "csv"]) == 2
    assert capsys.readouterr().err == "watchdog: cannot read '/nowhere/at/all': no such file or directory\n"


def test_kinds_are_chosen_by_how_they_begin() -> None:
    assert chosen_kinds(["p2p"]) == frozenset(kind for kind in KINDS if kind.startswith("p2p"))
    assert chosen_kinds(["p2p:addr"]) == frozenset({"p2p:addr"})
    assert chosen_kinds([]) is None
    with pytest.raises(WatchdogError, match="unknown kind ''"):
        chosen_kinds([""])


def test_parquet_without_pyarrow_says_what_to_install(
    written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    assert main(["export", str(written), "--format", "parquet", "--out", str(tmp_path / "out")]) == 2
    assert "parquet needs pyarrow, which is not installed" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_failure_leaves_the_old_file_and_no_halves(
    written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    out.write_text("old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export_module._JsonLines, "close", full)
    with pytest.raises(OSError, match="No space left"):
        export(str(written), str(out), ExportOptions("jsonl"))
    assert out.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.events", "out"]


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
def test_a_pipe_or_device_is_written_to_and_not_replaced(written: Path, tmp_path: Path, form: ExportFormat) -> None:
    pipe, plain = tmp_path / "pipe", tmp_path / "plain"
    os.mkfifo(pipe)
    options = ExportOptions(form, frozenset({"log:tip"}))
    export(str(written), str(plain), options)
    with ThreadPoolExecutor(1) as reader:
        read = reader.submit(pipe.read_bytes)
        export(str(written), str(pipe), options)
        assert read.result(timeout=300) == plain.read_bytes()
    assert pipe.is_fifo()


def test_a_full_device_is_an_error(written: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    link = tmp_path / "full"
    link.symlink_to("/dev/full")
    assert main(["export", str(written), "--format", "jsonl", "--out", str(link)]) == 2
    assert capsys.readouterr().err == f"watchdog: '{link}': no space left on device\n"


def test_several_kinds_do_not_go_into_a_file(written: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out").write_text("old")
    assert main(["export", str(written), "--format", "csv", "--out", str(tmp_path / "out")]) == 2
    assert "csv of several kinds goes to a folder" in capsys.readouterr().err
    assert (tmp_path / "out").read_text() == "old"
