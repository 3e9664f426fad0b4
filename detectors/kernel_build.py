"""Compiles kernel.c beside it when a wheel, or the editable installation of `make setup`, is built.

The kernel is optional: without a C compiler or Python's headers this says so in one line, and NumPy does the work.
This file is run by the build back end from its path, before any of our packages can be imported.

By hand: python detectors/kernel_build.py
"""

from __future__ import annotations

import importlib.util
import os
import shlex
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

HERE = Path(__file__).resolve().parent
SOURCE, LIBRARY = HERE / "kernel.c", HERE / "_kernel.abi3.so"
FLAGS = ("-std=c11", "-O2", "-fPIC", "-shared", "-Wall", "-Wextra", "-Wno-missing-field-initializers")
IN_WHEEL = "bitcoin_watchdog/_private/detectors/_kernel.abi3.so"
EXTRACT = HERE.parent / "watchdog" / "extract" / "build.py"  # the C parts of `watchdog extract`
COMPILE_S = 120.0


def build(target: Path = LIBRARY) -> str:
    """Compile the kernel to `target` and return why it failed, empty on success. A failure removes the old file."""
    compiler = shlex.split(os.environ.get("CC") or "cc")
    include = sysconfig.get_paths()["include"]
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        made = Path(folder) / target.name
        command = [*compiler, *FLAGS, f"-I{include}", str(SOURCE), "-o", str(made)]
        try:
            done = subprocess.run(  # noqa: S603 - the user's own compiler
                command, capture_output=True, text=True, check=False, timeout=COMPILE_S
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            problem = f"{compiler[0]}: {error}"
        else:
            lines = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines()
            problem = (lines or [f"{compiler[0]} failed"])[0] if done.returncode else ""
        if problem:
            target.unlink(missing_ok=True)
        else:
            made.replace(target)
    return problem


def _extract_build() -> ModuleType:
    """Return the module that builds the C parts of `watchdog extract`, loaded from its path."""
    spec = importlib.util.spec_from_file_location("extract_build", EXTRACT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class KernelHook(BuildHookInterface[Any]):
    """Puts the compiled parts into the wheel, whose tag names the platform; an editable one finds them in place."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile the kernel and the extractor; called by the build back end before it collects files."""
        problem = build()
        if problem:
            self.app.display_warning(f"without the C kernel, which is only slower: {problem}")
        extract = _extract_build()
        for line in extract.build():
            self.app.display_warning(line)
        made = {LIBRARY: IN_WHEEL} | {path: extract.IN_WHEEL + path.name for path in (extract.PROGRAM, extract.READER)}
        made = {path: place for path, place in made.items() if path.exists()}
        if made and version != "editable":
            platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
            build_data["pure_python"] = False
            build_data["tag"] = f"cp311-abi3-{platform}"
            build_data["force_include"].update({str(path): place for path, place in made.items()})


if __name__ == "__main__":
    sys.exit(build() or None)
