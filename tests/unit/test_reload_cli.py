"""`watchdog reload`: exit codes for what is wrong before a service is asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from watchdog.cli.main import main


def test_a_mistake_in_the_configuration_is_1_and_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "watchdog.yaml"
    config.write_text("node: alice\nsauces: log:debug.log\n")
    assert main(["reload", "--config", str(config)]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("nothing was changed:\n")
    assert "sauces" in told.err


def test_no_configuration_and_no_service_are_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "watchdog.yaml"
    assert main(["reload", "--config", str(config)]) == 2
    assert "no such file" in capsys.readouterr().err
    config.write_text("node: alice\nsources: log:debug.log\n")
    assert main(["reload", "--config", str(config)]) == 2
    assert "no watchdog service runs" in capsys.readouterr().err
