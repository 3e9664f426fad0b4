"""What commands write to standard error beside their results."""

from __future__ import annotations

import pytest

from watchdog.cli.output import warn


def test_no_name_can_pass_for_a_line_of_ours(capsys: pytest.CaptureFixture[str]) -> None:
    warn(["no 'a\nwatchdog: all is well\x1b[2J'", "second"])
    assert capsys.readouterr().err == (
        "watchdog: warning: no 'a\n  watchdog: all is well\\x1b[2J'\nwatchdog: warning: second\n"
    )
