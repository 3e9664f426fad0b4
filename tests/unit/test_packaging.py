"""What the files of the project promise: the lock, the bounds, the names that we must not take, no private places."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.support.lock import MACHINES, PYTHONS, missing
from tests.support.parts import program

FOREIGN_NAMES = {"events", "version", "observers", "tricks", "utils", "watchmedo"}
"""Modules of the file-watching package: one of the same name here would run the wrong code in a merged folder."""


def pins(path: Path) -> dict[str, str]:
    """Distribution (lower case) -> version of a file of `name==version` lines, with or without hashes below."""
    texts = path.read_text(encoding="utf-8").splitlines()
    lines = [line.split("#")[0].rstrip("\\").strip() for line in texts if not line.startswith("    --hash=")]
    return {name.lower(): version for name, _, version in (line.partition("==") for line in lines if line)}


def requirements(root: Path) -> dict[str, str]:
    """Distribution (lower case) -> lower bound, of all dependencies and extras in pyproject.toml."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    return {name.lower(): bound for name, _, bound in (line.partition(">=") for line in lines)}


def test_the_lock_pins_every_dependency_and_not_the_file_watcher(root: Path) -> None:
    locked = pins(root / "requirements.lock")
    assert "watchdog" not in locked
    assert set(requirements(root)) <= set(locked)
    assert all(re.fullmatch(r"[\w.+]+", version) for version in locked.values()), "a line is not name==version"


def test_every_pin_has_the_hashes_of_its_files_and_setup_checks_them(root: Path) -> None:
    parts = re.split(r"^(?=\w)", (root / "requirements.lock").read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    assert len(parts) == len(pins(root / "requirements.lock"))
    for part in parts:
        first, *rest = part.rstrip().split(" \\\n")
        assert re.fullmatch(r"[\w.-]+==[\w.+]+", first)
        assert rest, f"{first} has no hash"
        assert all(re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}", line) for line in rest), first
    compiled = next(part for part in parts if part.startswith("numpy=="))
    assert compiled.count("--hash") >= len(PYTHONS) * len(MACHINES)
    assert "--require-hashes --requirement requirements.lock" in (root / "Makefile").read_text(encoding="utf-8")


def test_a_lock_that_lacks_a_package_on_one_platform_is_refused() -> None:
    needs = {"name": "one", "version": "1", "requires_dist": ["two>=2; python_version < '3.12'", "gone; extra == 'x'"]}
    items: list[dict[str, object]] = [{"metadata": needs}, {"metadata": {"name": "Two", "version": "1.9"}}]
    assert missing(items, "3.11", "x86_64") == ["one on 3.11, x86_64: two>=2; python_version < '3.12'"]
    assert missing(items, "3.13", "aarch64") == []


def test_the_lowest_lock_has_exactly_the_lower_bounds(root: Path) -> None:
    assert pins(root / "requirements-lowest.lock") == requirements(root)


def test_no_module_takes_a_name_of_the_file_watcher(root: Path) -> None:
    ours = {path.stem for path in (root / "watchdog").iterdir()}
    assert not ours & FOREIGN_NAMES


def test_the_make_targets_that_the_readme_names_exist(root: Path) -> None:
    text = (root / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", text, re.MULTILINE))
    assert {"setup", "demo", "run", "test", "check", "bench", "docs"} <= targets


def test_continuous_integration_runs_the_same_check(root: Path) -> None:
    script = root / ".ci" / "run"
    assert script.stat().st_mode & 0o111, ".ci/run is not executable"
    assert script.read_text(encoding="utf-8").splitlines()[-1] == "exec make check"


def tracked_texts(root: Path) -> dict[str, str]:
    """Every text file under version control, by path; files with a null byte are data."""
    git = program("git")
    try:
        listing = subprocess.run([git, "ls-files", "-z"], cwd=root, capture_output=True, check=True, timeout=300).stdout
    except subprocess.CalledProcessError:
        pytest.skip("not a git checkout: the list of files is not known")
    paths = [root / name for name in listing.decode().split("\0") if name]
    contents = {path.relative_to(root).as_posix(): path.read_bytes() for path in paths if path.is_file()}
    return {name: data.decode(errors="replace") for name, data in contents.items() if b"\0" not in data[:65536]}


def test_no_file_names_a_registry_host_or_a_place_of_one_machine(root: Path) -> None:
    hosts = ["py" + "pi.org", "python" + "hosted.org", "conda" + ".anaconda.org", "npm" + "js.org", "crates" + ".io"]
    places = ["work", "tmp", "root"]
    pattern = re.compile("|".join([*map(re.escape, hosts), *(rf"(?<![\w.~>)}}-])/{name}/" for name in places)]))
    found = [
        f"{name}:{number}: {match[0]!r}"
        for name, text in tracked_texts(root).items()
        for number, line in enumerate(text.splitlines(), 1)
        if (match := pattern.search(line))
    ]
    assert not found, "\n".join(found)
