"""Compiles the C parts of `watchdog extract` in place: the BPF program with clang, the reader with any C compiler.

Both are optional: without them everything else works, and `extract` names what to install. detectors/kernel_build.py
runs this by its path, before any of our packages can be imported.

By hand: python watchdog/extract/build.py
"""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
SOURCE: Final = HERE / "bpf" / "watchdog.bpf.c"
PROGRAM: Final = HERE / "_watchdog.bpf.o"
READER: Final = HERE / "_reader.so"
IN_WHEEL: Final = "bitcoin_watchdog/_private/watchdog/extract/"
TARGETS: Final = {"x86_64": "x86", "aarch64": "arm64"}
"""The machines that the program is built for, and libbpf's names of them."""
COMPILE_S: Final = 120.0
BY_HAND: Final = f"then run 'python {HERE / 'build.py'}'"


def build_program(target: Path = PROGRAM, *, clang: str = "", source: Path = SOURCE) -> str:
    """Compile a BPF program to `target` and return why it failed, empty on success. A failure removes the old one."""
    machine = platform.machine()
    if sys.platform != "linux" or machine not in TARGETS:
        target.unlink(missing_ok=True)
        return f"BPF programs for {sys.platform} on {machine} are not supported"
    compiler = shlex.split(clang or os.environ.get("CLANG") or "clang")
    flags = ["-target", "bpf", "-mcpu=v3", "-O2", "-g", "-Wall", "-Werror", f"-D__TARGET_ARCH_{TARGETS[machine]}"]
    include = f"-I/usr/include/{machine}-linux-gnu"  # Debian has the machine's own headers there, clang looks elsewhere
    return _compile([*compiler, *flags, include, "-c", str(source), "-o"], target)


def build_reader(target: Path = READER) -> str:
    """Compile the reader to `target` and return why it failed, empty on success. A failure removes the old file."""
    compiler = shlex.split(os.environ.get("CC") or "cc")
    flags = ["-std=c11", "-O2", "-fPIC", "-shared", "-Wall", "-Wextra", "-Werror"]
    return _compile([*compiler, *flags, str(HERE / "reader.c"), "-o"], target)


def _compile(command: list[str], target: Path) -> str:
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        made = Path(folder) / target.name
        try:
            done = subprocess.run(  # noqa: S603 - the user's own compiler
                [*command, str(made)], capture_output=True, text=True, check=False, timeout=COMPILE_S
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            problem = f"{command[0]}: {error}"
        else:
            lines = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines()
            problem = (lines or [f"{command[0]} failed"])[0] if done.returncode else ""
        if problem:
            target.unlink(missing_ok=True)
        else:
            made.replace(target)
    return problem


def build() -> list[str]:
    """Compile both and return what is missing, one line each."""
    problems = {"the BPF program": build_program(), "the reader of its rings": build_reader()}
    return [f"without {part}, which only 'watchdog extract' needs: {why}" for part, why in problems.items() if why]


if __name__ == "__main__":
    sys.exit("\n".join(build()) or None)
