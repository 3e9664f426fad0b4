"""docs/UPGRADE.md both ways: the program of commit 03b34e2 itself works on what an upgrade kept for it."""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.parts import lacking, program
from tests.support.receiver import Receiver
from tests.support.service_process import ROOT, rows
from tests.support.waiting import wait_until

OLD = ROOT / "tests" / "data" / "03b34e2"
WATCHING = "watching 3 sources of node alice"
NEWER = "was written by a newer version of the watchdog"


@pytest.fixture(scope="module")
def old_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree of that commit, which runs with the packages of this one."""
    archive = subprocess.run(
        [program("git"), "archive", "03b34e2"], cwd=ROOT, capture_output=True, timeout=60, check=False
    )
    if archive.returncode:
        lacking("the history of this checkout does not reach back to 03b34e2")
    tree = tmp_path_factory.mktemp("old")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as packed:
        packed.extractall(tree, filter="data")
    return tree


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    one = Receiver()
    yield one
    one.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a service of that commit."""
    with tarfile.open(OLD / "service.tar.xz") as packed:
        packed.extractall(tmp_path / "state", filter="data")
    shutil.copy(OLD / "watchdog.yaml", tmp_path / "state")
    return tmp_path / "state"


def run_once(tree: Path, folder: Path, receiver: Receiver) -> str:
    """Start a program on the folder, end it once it watches or refuses; its log."""
    log = folder / "log"
    names = {"WATCHDOG_TEST_OPS": receiver.url_of("ops"), "WATCHDOG_TEST_LATE": receiver.url_of("late")}
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "watchdog", "run", "--no-web", "--config", "watchdog.yaml"],
            cwd=folder,
            stdout=file,
            stderr=file,
            env={**os.environ, "PYTHONPATH": str(tree), **names},
        )
    try:
        wait_until(lambda: WATCHING in log.read_text() or process.poll() is not None, log.read_text)
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(300)
    finally:
        process.kill()
    return log.read_text()


def incidents(folder: Path) -> set[object]:
    return {id_ for (id_,) in rows(folder, "SELECT id FROM incidents")}


def test_back_from_the_copy_of_the_folder(folder: Path, receiver: Receiver, old_program: Path, tmp_path: Path) -> None:
    before = incidents(folder)
    shutil.copytree(folder, tmp_path / "before")
    assert WATCHING in run_once(ROOT, folder, receiver)
    assert before <= incidents(folder)
    refused = run_once(old_program, folder, receiver)
    assert NEWER in refused
    assert WATCHING not in refused
    assert before <= incidents(folder), "an older program changes nothing in it"
    folder.rename(tmp_path / "after")
    shutil.copytree(tmp_path / "before", folder)
    assert WATCHING in run_once(old_program, folder, receiver)
    assert before <= incidents(folder)


def test_back_from_the_copy_that_the_migration_made(folder: Path, receiver: Receiver, old_program: Path) -> None:
    before = incidents(folder)
    assert WATCHING in run_once(ROOT, folder, receiver)
    (copy,) = folder.glob("watchdog.db.backup-*")
    copy.replace(folder / "watchdog.db")
    for name in ("watchdog.db-wal", "watchdog.db-shm", "watchdog.checkpoint"):
        (folder / name).unlink(missing_ok=True)
    assert WATCHING in run_once(old_program, folder, receiver)
    assert before <= incidents(folder)
