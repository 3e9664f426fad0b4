"""Hashes for `requirements.lock`: `pip freeze | python -m tests.support.lock`, which is a part of `make lock`.

pip itself says which file it would install on each platform, and the file's hash; nothing is downloaded but metadata.
The lock is for CPython 3.11 to 3.13 on Linux, x86_64 and aarch64. A package without a wheel there comes as its source.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PYTHONS = ("3.11", "3.12", "3.13")
MACHINES = ("x86_64", "aarch64")
GLIBC_MOST = 39  # minor version of the C library; wheels for an older one are taken as well
HEAD = (
    "# Made by `make lock`; `make setup` installs exactly this, and checks every file against its hash. Every test\n"
    "# and `make check` run with it. For CPython 3.11 to 3.13 on Linux, x86_64 and aarch64.\n"
)


def platforms(machine: str) -> list[str]:
    """Platform tags that pip takes there, the newest first."""
    tags = [f"manylinux_2_{minor}_{machine}" for minor in range(GLIBC_MOST, 4, -1)]
    return [*tags, *(f"manylinux{year}_{machine}" for year in ("2014", "2010", "1")), f"linux_{machine}"]


def report(pins: Iterable[str], python: str, machine: str, folder: Path) -> list[dict[str, Any]]:  # pip's own form
    """What pip would install there: an item for each pin."""
    listing, found = folder / "pins", folder / f"{python}-{machine}.json"
    listing.write_text("\n".join(pins))
    where = [part for tag in platforms(machine) for part in ("--platform", tag)]
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--quiet", "--disable-pip-version-check", "--dry-run"]
    command += ["--ignore-installed", "--no-deps", "--prefer-binary", "--target", str(folder / "none"), *where]
    command += ["--implementation", "cp", "--python-version", python, "--report", str(found), "-r", str(listing)]
    subprocess.run(command, check=True)
    items: list[dict[str, Any]] = json.loads(found.read_bytes())["install"]
    return items


def missing(items: Iterable[Mapping[str, Any]], python: str, machine: str) -> list[str]:
    """Requirements of the packages that no pin fulfils there. `--require-hashes` would refuse them."""
    known = {canonicalize_name(one["metadata"]["name"]): one["metadata"]["version"] for one in items}
    there = {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "platform_machine": machine,
        "platform_system": "Linux",
        "sys_platform": "linux",
        "os_name": "posix",
        "extra": "",
    }
    found = []
    for one in items:
        for text in one["metadata"].get("requires_dist", ()):
            wanted = Requirement(text)
            if wanted.marker is not None and not wanted.marker.evaluate(there):
                continue
            version = known.get(canonicalize_name(wanted.name))
            if version is None or not wanted.specifier.contains(version, prereleases=True):
                found.append(f"{one['metadata']['name']} on {python}, {machine}: {text}")
    return found


def lock(pins: list[str]) -> str:
    """The lock file of these pins (`name==version`). SystemExit when a platform needs what they lack."""
    hashes: dict[str, set[str]] = {pin: set() for pin in pins}
    by_name = {canonicalize_name(pin.partition("==")[0]): pin for pin in pins}
    lacking: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for python in PYTHONS:
            for machine in MACHINES:
                items = report(pins, python, machine, Path(folder))
                lacking += missing(items, python, machine)
                for one in items:
                    pin = by_name[canonicalize_name(one["metadata"]["name"])]
                    hashes[pin].add(one["download_info"]["archive_info"]["hashes"]["sha256"])
    if lacking:
        raise SystemExit("\n".join(["packages are missing:", *lacking]))
    return HEAD + "".join(
        " \\\n".join([pin, *(f"    --hash=sha256:{one}" for one in sorted(found))]) + "\n"
        for pin, found in sorted(hashes.items(), key=lambda item: item[0].lower())
    )


if __name__ == "__main__":
    sys.stdout.write(lock([line.strip() for line in sys.stdin if "==" in line and not line.startswith("#")]))
