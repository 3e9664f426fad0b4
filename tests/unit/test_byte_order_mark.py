"""Files that begin with a UTF-8 byte order mark, as some editors write it, are read like others."""

from __future__ import annotations

from codecs import BOM_UTF8
from pathlib import Path

from rules.load import load
from watchdog.offline.labels import read_labels
from watchdog.sources.rpc.lines import LineReader


def test_labels_and_rules_are_read(tmp_path: Path) -> None:
    (tmp_path / "labels.json").write_bytes(BOM_UTF8 + b"[]")
    (tmp_path / "rules.yaml").write_bytes(BOM_UTF8 + b"rules: {}\n")
    assert read_labels(tmp_path / "labels.json") == ()
    assert load([tmp_path / "rules.yaml"], packs=False).plans == ()


def test_the_first_line_of_snapshots_is_read_and_keeps_its_place(tmp_path: Path) -> None:
    path = tmp_path / "snapshots.jsonl"
    path.write_bytes(BOM_UTF8 + b"{}\n{}\n")
    reader = LineReader(str(path))
    lines = [reader.read(), reader.read()]
    reader.close()
    assert [(line.offset, line.data) for line in lines if line] == [(0, b"{}\n"), (6, b"{}\n")]
