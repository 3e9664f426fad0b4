"""With `--json`, standard output is one JSON document also when the command fails."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from watchdog.cli.main import main


@pytest.mark.parametrize(
    "line",
    [
        "incidents list --db {0}/none.db --json",
        "incidents show abc --db {0}/none.db --json",
        "deliveries list --db {0}/none.db --json",
        "receivers list --config {0}/none.yaml --json",
        "rules list --rules {0}/none.yaml --json",
        "rules show no-such-rule --json",
        "events no:such_kind --json",
        "evaluate {0}/none --json",
    ],
)
def test_an_error_is_one_document_and_one_line(line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(line.format(tmp_path).split()) == 2
    told = capsys.readouterr()
    document = json.loads(told.out)
    assert list(document) == ["error"]
    assert told.err == f"watchdog: {document['error']}\n"


def test_without_it_standard_output_stays_empty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for more in ("", " --jsonl"):
        assert main(f"incidents list --db {tmp_path}/none.db{more}".split()) == 2
        assert not capsys.readouterr().out
