"""Paths of the repository that its pages name, for the test that each of them exists.

A path is text in back quotes, outside code blocks, that begins with an entry of the root (`docs/adr/`, `Makefile`) or
ends like a source file (`rivals/pure_python.py`). Paths inside the wheel (`bitcoin_watchdog/`) are left out. A sentence
that begins with "Adds" names files that a later change will create; these must not exist, so that the sentence is
rewritten once the change is made.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

WHEEL = "bitcoin_watchdog/"
_FENCED = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
_QUOTED = re.compile(r"`([^`\s]+)`")
_ADDS = re.compile(r"(?:^|(?<=\s))Adds (?:[^.]|\.(?!\s))*\.(?=\s|$)")
_PATH = re.compile(r"[\w.-]+(?:/[\w.-]+)*/?")
_SOURCE = re.compile(r"/[\w-]+\.(?:py|c|js|md|capnp|toml|lock)$")


@dataclass(frozen=True, slots=True)
class NamedPath:
    """A path as a page names it; `planned` when a later change will create it."""

    page: str
    path: str
    planned: bool = False


def pages(root: Path) -> Iterator[Path]:
    """Return the tracked Markdown files, without the changelog: its entries name paths of their time."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "*.md"], cwd=root, capture_output=True, text=True, check=True
    ).stdout.split("\0")
    return (root / name for name in sorted(listed) if name and name != "CHANGELOG.md" and (root / name).exists())


def named_paths(page: str, text: str, tops: frozenset[str]) -> Iterator[NamedPath]:
    """Yield the paths in the text of a page; `tops` are the entries of the repository's root."""
    prose = _FENCED.sub("", text)
    planned = {quoted for sentence in _ADDS.findall(prose) for quoted in _QUOTED.findall(sentence)}
    for quoted in dict.fromkeys(_QUOTED.findall(prose)):
        path = re.sub(r":{1,2}[a-z_]\w*$", "", quoted)
        if not _PATH.fullmatch(path) or path.startswith(WHEEL):
            continue
        if path.split("/")[0] in tops or _SOURCE.search(path):
            yield NamedPath(page, path, quoted in planned)


def exists(root: Path, named: NamedPath) -> bool:
    """Return whether the path exists, below the root or beside its page, or is one that a command writes."""
    if any((folder / named.path).exists() for folder in (root, (root / named.page).parent)):
        return True
    written = (named.path, named.path.rstrip("/") + "/")
    return subprocess.run(["git", "check-ignore", *written], cwd=root, capture_output=True, check=False).returncode == 0
