"""Beside the file-watching package named `watchdog` the command refuses to start, in one line that names the cure."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from watchdog._launcher import foreign_watchdog


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """An import path with a package of the file watcher's layout, which says so when it is imported."""
    folder = tmp_path / "site-packages" / "watchdog"
    for name in ("observers", "tricks", "utils"):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text("")
    for name in ("__init__", "events", "version", "watchmedo"):
        (folder / f"{name}.py").write_text("print('the file watcher was imported')\n")
    return folder.parent


def launch(launcher: Path, path: str) -> subprocess.CompletedProcess[str]:
    """Start the launcher as the installed command does: by its file, not by the name `watchdog`."""
    code = f"import runpy, sys; sys.exit(runpy.run_path({str(launcher)!r})['main']())"
    return subprocess.run(
        [sys.executable, "-c", code, "--version"],
        env={**os.environ, "PYTHONPATH": path},
        cwd=launcher.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.mark.parametrize("first", ["theirs", "ours"])
def test_the_command_refuses_to_start_beside_the_file_watcher(root: Path, foreign: Path, first: str) -> None:
    paths = [str(foreign), str(root)] if first == "theirs" else [str(root), str(foreign)]
    done = launch(root / "watchdog" / "_launcher.py", os.pathsep.join(paths))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"watchdog: the file-watching package of the same name is installed in '{foreign / 'watchdog'}'; "
        "give bitcoin-watchdog an environment of its own, for example one made with 'python3 -m venv'\n"
    )


def test_the_command_starts_where_it_is_alone(root: Path) -> None:
    done = launch(root / "watchdog" / "_launcher.py", str(root))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("watchdog ")


def test_a_folder_merged_of_both_packages_is_found(tmp_path: Path) -> None:
    (tmp_path / "watchdog" / "core").mkdir(parents=True)
    assert foreign_watchdog([str(tmp_path)]) is None
    (tmp_path / "watchdog" / "watchmedo.py").write_text("")
    assert foreign_watchdog(["", str(tmp_path)]) == str(tmp_path / "watchdog")


def test_paths_that_cannot_be_read_count_as_empty(tmp_path: Path) -> None:
    archive = tmp_path / "library.zip"
    archive.write_bytes(b"PK")
    assert foreign_watchdog([str(archive), str(tmp_path / "absent"), "nul\0byte"]) is None


def test_our_own_tree_is_not_taken_for_the_file_watcher(root: Path) -> None:
    assert foreign_watchdog([str(root)]) is None
