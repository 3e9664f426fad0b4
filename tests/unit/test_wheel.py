"""The wheel, built, installed and started without any library, and beside the file-watching package."""

from __future__ import annotations

import sys
import venv
import zipfile
from pathlib import Path

import pytest

from tests.support.wheel import run
from watchdog.core.release import VERSION

pytestmark = pytest.mark.slow


@pytest.fixture
def environment(wheel: Path, tmp_path: Path) -> Path:
    """A fresh environment that holds the wheel and nothing else."""
    place = tmp_path / "environment"
    venv.create(place, with_pip=False, symlinks=True)
    options = ["--quiet", "--no-deps", "--no-index"]
    done = run(sys.executable, "-m", "pip", "--python", place, "install", *options, wheel, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    return place


def site_packages(environment: Path) -> Path:
    (place,) = environment.glob("lib/python*/site-packages")
    return place


def test_the_wheel_owns_one_name_and_has_all_files_of_the_packages(root: Path, wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name.split("/")[0] for name in names} == {"bitcoin_watchdog", f"bitcoin_watchdog-{VERSION}.dist-info"}
    public = {name for name in names if name.startswith("bitcoin_watchdog/") and "/_private/" not in name}
    assert public == {"bitcoin_watchdog/__init__.py", "bitcoin_watchdog/api.py"}
    packages = [root / name for name in ("watchdog", "rules", "detectors", "alerts")]
    files = [path for package in packages for path in package.rglob("*") if path.is_file()]
    wanted = {path.relative_to(root).as_posix() for path in files if "__pycache__" not in path.parts}
    packed = {name.removeprefix("bitcoin_watchdog/_private/") for name in names}
    assert "__init__.py" in packed  # of the private folder
    forgotten = wanted - packed - {f"watchdog/{name}.py" for name in ("_launcher", "_api", "_private")}  # moved
    assert not forgotten, f"not in the wheel: {sorted(forgotten)}"


def test_the_installed_command_answers_without_any_library(environment: Path, tmp_path: Path) -> None:
    done = run(environment / "bin" / "watchdog", "--version", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"watchdog {VERSION}\n", "")
    done = run(environment / "bin" / "watchdog", "--help", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: watchdog")


def test_the_wheel_and_the_file_watcher_do_not_touch_each_other(environment: Path, tmp_path: Path) -> None:
    theirs = site_packages(environment) / "watchdog"
    assert not theirs.exists(), "the wheel put files where the file watcher's belong"
    (theirs / "observers").mkdir(parents=True)
    (theirs / "__init__.py").write_text("")
    done = run(environment / "bin" / "watchdog", "--help", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert str(theirs) in done.stderr
    assert "environment of its own" in done.stderr


def test_removing_the_wheel_leaves_nothing(environment: Path, tmp_path: Path) -> None:
    done = run(
        sys.executable, "-m", "pip", "--python", environment, "uninstall", "--yes", "bitcoin-watchdog", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert not list(site_packages(environment).glob("bitcoin_watchdog*/*.py"))
