"""The payloads of messages: filled as asked, passed on, and never kept."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest

from rules.load import load
from tests.support.capture_files import OTHER, PEER, START_US, append, read_all, record, slices_of
from watchdog.archive.reader import EventsFile
from watchdog.archive.writer import EventsWriter
from watchdog.core.batch import Batch, Blobs, Strings
from watchdog.core.errors import RuleError
from watchdog.core.payload_columns import asked_payloads, has_payloads, with_payload_columns
from watchdog.core.source import SourceOptions
from watchdog.embedding.batches import batch_of
from watchdog.engine.lookback import FoundRows, Lookback
from watchdog.engine.report import evidence_of
from watchdog.offline.export import ExportFormat, ExportOptions, export
from watchdog.offline.replay import ReplayOptions, replay
from watchdog.sources.events_file import EventsFileSource
from watchdog.stream.payloads import cut_payloads

KIND = "net:inbound_message"
BLOCK = bytes(range(256)) * 400
MESSAGES = [("addr", b"abcdef"), ("inv", b""), ("block", BLOCK), ("strange", b"xyz"), ("addr", b"gh")]


def captured(folder: Path, payloads: dict[str, int]) -> Batch:
    """What a capture of MESSAGES gives to a reader that asks for these payloads."""
    if not folder.exists():
        for at, (type_, payload) in enumerate(MESSAGES):
            append(folder, (PEER, OTHER)[at % 2], True, record(START_US + at, type_, payload))
    options = SourceOptions(wanted=frozenset({KIND}), payloads=payloads)
    (batch,) = [batch for piece in slices_of(folder, options) for batch in piece.batches]
    return batch


def payloads_of(batch: Batch) -> list[bytes]:
    """The column as bytes."""
    column = batch.columns["payload"]
    assert isinstance(column, Blobs)
    return column.tolist()


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, [b"", b"", b"", b"", b""]),
        ({"addr": 3}, [b"abc", b"", b"", b"", b"gh"]),
        ({"*": 1_000_000}, [payload for _, payload in MESSAGES]),
        ({"*": 1, "addr": 0, "block": 100_000}, [b"", b"", BLOCK[:100_000], b"x", b""]),
    ],
)
def test_a_capture_fills_what_is_asked_for(tmp_path: Path, asked: dict[str, int], expected: list[bytes]) -> None:
    batch = captured(tmp_path / "capture", asked)
    assert payloads_of(batch) == expected
    assert batch.numbers("payload_size").tolist() == [len(payload) for payload in expected]
    assert batch.numbers("size").tolist() == [len(payload) for _, payload in MESSAGES]


def test_what_could_not_be_read_stays_so_where_it_was_asked_for() -> None:
    data = np.frombuffer(b"abc", np.uint8)
    starts, sizes = np.array([0, 3, 3]), np.array([3, -1, -1])
    columns = asked_payloads({"inv": 9}, Strings.of(["inv", "inv", "tx"]), data, starts, sizes)
    assert columns["payload"].tolist() == [b"abc", b"", b""]
    assert columns["payload_size"].tolist() == [3, -1, 0]


def test_a_subscriber_gets_no_more_than_it_asked_for(tmp_path: Path) -> None:
    batch = captured(tmp_path / "capture", {"*": 1_000_000})
    assert payloads_of(cut_payloads(batch, {"addr": 3})) == [b"abc", b"", b"", b"", b"gh"]
    assert cut_payloads(batch, {"*": 1_000_000}) is batch
    assert not has_payloads(cut_payloads(batch, {}))


@pytest.mark.parametrize("asked", [{}, {"*": 4}])
def test_a_recording_keeps_them_and_lacks_the_columns_without_any(tmp_path: Path, asked: dict[str, int]) -> None:
    made = captured(tmp_path / "capture", asked)
    with EventsWriter(tmp_path / "x.events", ("capture:x",)) as file:
        for piece in slices_of(tmp_path / "capture", SourceOptions(wanted=frozenset({KIND}), payloads=asked)):
            file.write(piece)
    with EventsFile(str(tmp_path / "x.events"), None) as stored:
        first = stored.next_slice()
        assert first is not None
        assert ("payload" in first.batches[0].columns) == bool(asked)
    source = EventsFileSource(str(tmp_path / "x.events"), SourceOptions())
    back = [batch for piece in read_all(source) for batch in piece.batches]
    assert payloads_of(back[0]) == payloads_of(made)
    assert back[0].numbers("payload_size").tolist() == made.numbers("payload_size").tolist()


def test_neither_the_lookback_nor_evidence_has_them(tmp_path: Path) -> None:
    batch = captured(tmp_path / "capture", {"*": 1_000_000})
    lookback = Lookback({KIND: 10**12})
    rows = np.arange(batch.rows)
    lookback.add(batch, {0: rows}, {0: np.zeros(batch.rows, np.int32)})
    (kept,) = lookback._kept[KIND]
    assert "payload" not in kept.batch.columns
    ((shown, *_),) = evidence_of([[FoundRows(kept.batch, rows)]], 9)
    assert "size" in shown.fields
    assert not {"payload", "payload_size"} & shown.fields.keys()


RULE = """
rules:
  with-payloads:
    title: t
    attack: message-anomaly
    severity: info
    on: net:inbound_message
    where: {where}
    by: [type]
    measure: {{n: sum(size)}}
    over: 1m
    fire: n > 0
    summary: s
"""


def test_rules_can_read_the_size_and_not_the_payload(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULE.format(where='payload == "x"'))
    with pytest.raises(RuleError) as caught:
        load([rules], packs=False)
    assert "'payload' is bytes, which rules cannot read" in str(caught.value)
    rules.write_text(RULE.format(where="payload_size < size"))
    captured(tmp_path / "capture", {})
    result = replay([f"capture:{tmp_path / 'capture'}"], ReplayOptions(rules=[rules], packs=False))
    assert {one.key["type"] for one in result.incidents} == {"addr", "block", "strange"}


def test_a_program_that_does_not_know_them_may_leave_them_out(tmp_path: Path) -> None:
    whole = captured(tmp_path / "capture", {})
    columns = {name: column for name, column in whole.columns.items() if name not in {"payload", "payload_size"}}
    bare = Batch(whole.kind, whole.node, whole.source, columns)
    filled = with_payload_columns(bare)
    assert payloads_of(filled) == [b""] * 5
    assert filled.numbers("payload_size").tolist() == [0] * 5
    assert with_payload_columns(whole) is whole
    row = {name: column.tolist()[0] for name, column in columns.items()}
    made = batch_of(KIND, [row], node="n", source="s")
    assert payloads_of(made) == [b""]


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
def test_a_file_with_and_without_payloads_is_exported(tmp_path: Path, form: ExportFormat) -> None:
    """The columns are missing from blocks in which no one asked for any."""
    file, folder = tmp_path / "x.events", tmp_path / "capture"
    several: tuple[dict[str, int], ...] = ({}, {"*": 4})
    for asked in several:
        captured(folder, asked)
        with EventsWriter(file, ("capture:x",), append=file.exists()) as out:
            for piece in slices_of(folder, SourceOptions(wanted=frozenset({KIND}), payloads=asked)):
                out.write(piece)
    options = ExportOptions(form, frozenset({KIND}))
    export(str(file), str(tmp_path / f"x.{form}"), options)
    if form == "parquet":
        table = pyarrow.parquet.read_table(tmp_path / "x.parquet").to_pydict()
        assert table["payload"] == [b""] * 5 + [payload[:4] for _, payload in MESSAGES]
        return
    lines = (tmp_path / f"x.{form}").read_text().splitlines()
    if form == "csv":
        rows = list(csv.DictReader(lines))
        assert [row["payload"] for row in rows] == [""] * 5 + [payload[:4].hex() for _, payload in MESSAGES]
    else:
        rows = [json.loads(line) for line in lines]
        assert [row.get("payload") for row in rows] == [None] * 5 + [payload[:4].hex() for _, payload in MESSAGES]
