"""Damaged input: what was found before the damage is told, then the damage, with exit code 2."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from watchdog.cli.main import main
from watchdog.service.record import RecordOptions, record

DEMO = Path(__file__).resolve().parents[2] / "demo" / "recording"


def test_a_torn_recording_gives_its_incidents_and_exit_2(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    whole, torn = tmp_path / "whole.events", tmp_path / "torn.events"
    record([f"recording:{DEMO}"], whole, RecordOptions(node="node"))
    torn.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    assert main(["replay", f"events:{torn}"]) == 2
    told = capfd.readouterr()
    assert "addr-pattern-2021" in {json.loads(line)["rule"] for line in told.out.splitlines()}
    assert "torn at byte" in told.err
    assert told.err.count("\n") == 1


def test_a_cut_archive_gives_what_came_before_and_exit_2(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "recording"
    shutil.copytree(DEMO, folder)
    log = folder / "debug.log.gz"
    log.write_bytes(log.read_bytes()[:-2_000])
    assert main(["replay", f"recording:{folder}"]) == 2
    told = capfd.readouterr()
    assert told.out.count("\n") >= 1
    assert "debug.log.gz" in told.err
