"""A copy of Bitcoin Core's source: its version, and the texts of its log calls."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from pathlib import Path

from watchdog.core.errors import WatchdogError

FILES = (
    "src/addrman.cpp",
    "src/i2p.cpp",
    "src/init.cpp",
    "src/init/common.cpp",
    "src/logging.cpp",
    "src/net.cpp",
    "src/net_processing.cpp",
    "src/netbase.cpp",
    "src/netgroup.cpp",
    "src/validation.cpp",
)
_VERSION = re.compile(r"CLIENT_VERSION_(MAJOR|MINOR)(?:,| )\s*(\d{1,4})\)")
_TOKENS = re.compile(r"""//[^\n]*|/\*.*?\*/|"((?:[^"\\\n]|\\.)*)"|'(?:[^'\\\n]|\\.)+'|\s+|.""", re.DOTALL)
_CONVERSION = re.compile(r"%[-+ #0]*\d*(?:\.\d+)?(?:hh|h|ll|l|z|j|t)?[a-zA-Z]")


class CoreSource:
    """A work tree of Bitcoin Core, or a bare repository, which is read at its HEAD.

    version: (major, minor) as the build files say; minor 99 is master on the way to the next release. WatchdogError
    for a folder that is neither.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._bare = not (folder / "src").is_dir()
        if self._bare and self._git("cat-file", "-e", "HEAD:src/net.cpp") is None:
            raise WatchdogError(f"'{folder}' holds no source of Bitcoin Core: no src/net.cpp, as files or at HEAD")
        self.version = self._read_version()

    def _git(self, *arguments: str) -> str | None:
        """Return the output of a git command, None when it fails or the folder is no repository."""
        options = ["--git-dir", str(self._folder)] if self._bare else ["-C", str(self._folder)]
        try:
            command = ["git", *options, *arguments]
            done = subprocess.run(command, capture_output=True, check=False)  # noqa: S603  (no shell; our own words)
        except FileNotFoundError:
            return None
        return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None

    @cache  # noqa: B019  (one object for a run of the check)
    def text(self, path: str) -> str:
        """Return the text of a file of the tree, empty without such a file."""
        if self._bare:
            return self._git("show", f"HEAD:{path}") or ""
        file = self._folder / path
        return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""

    def _read_version(self) -> tuple[int, int]:
        for path in ("CMakeLists.txt", "configure.ac"):
            numbers = dict(_VERSION.findall(self.text(path).replace("[", "").replace("]", "")))
            if {"MAJOR", "MINOR"} <= numbers.keys():
                return int(numbers["MAJOR"]), int(numbers["MINOR"])
        raise WatchdogError(f"'{self._folder}' names no version of Bitcoin Core in CMakeLists.txt or configure.ac")

    def texts(self) -> frozenset[str]:
        """Return every string of the files that log what we read, conversions as `%`, without a newline at the end."""
        return frozenset(text for path in FILES for text in strings_of(self.text(path)))

    @cache  # noqa: B019  (one object for a run of the check)
    def holds(self, commit: str) -> bool | None:
        """Return whether a commit is part of the tree's history, None when its repository does not know."""
        if self._git("cat-file", "-e", f"{commit}^{{commit}}") is None:
            return None
        return self._git("merge-base", "--is-ancestor", commit, "HEAD") is not None


def strings_of(source: str) -> set[str]:
    """Return the string literals of C++ text, adjacent ones joined, each conversion written as `%`."""
    strings: set[str] = set()
    parts: list[str] = []
    for token in _TOKENS.finditer(source):
        if token[1] is not None:
            parts.append(token[1])
        elif not (token[0].isspace() or token[0].startswith(("//", "/*"))):
            if parts:
                strings.add(_CONVERSION.sub("%", "".join(parts)).removesuffix("\\n"))
            parts = []
    return strings
