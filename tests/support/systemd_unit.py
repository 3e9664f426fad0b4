"""What tests ask of a systemd unit: its settings, and what systemd itself finds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.parts import program

INSTALLED = "/opt/bitcoin-watchdog/bin/watchdog"


def run(*command: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program for at most a minute."""
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, cwd=cwd)


def settings(name: str, unit: Path) -> list[str]:
    """Return the values of a setting, in order."""
    lines = unit.read_text(encoding="utf-8").splitlines()
    return [line.partition("=")[2] for line in lines if line.startswith(f"{name}=")]


def check_accepted(unit: Path, folder: Path, setting: str, mistake: str) -> None:
    """Assert that systemd accepts the unit, and finds a mistake put in the place of a setting.

    Where the package is not installed, its commands do not exist: systemd is asked about everything else.
    """
    analyze = program("systemd-analyze")
    here = folder / unit.name
    text = unit.read_text(encoding="utf-8").replace(INSTALLED, sys.executable)
    here.write_text(text)
    done = run(analyze, "verify", "--man=no", str(here))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert setting in text
    here.write_text(text.replace(setting, f"{mistake}=yes"))
    assert mistake in run(analyze, "verify", "--man=no", str(here)).stderr, "it would not find a mistake"


def check_exposure(unit: Path, most: int) -> None:
    """Assert that systemd rates the exposure of the unit at most so high, in tenths of a point."""
    program_ = program("systemd-analyze")
    done = run(program_, "security", "--offline=yes", f"--threshold={most}", "--no-pager", str(unit))
    assert done.returncode == 0, done.stdout + done.stderr
