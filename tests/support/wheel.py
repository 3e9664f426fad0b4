"""The wheel of this tree, and processes that use it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def run(*command: str | Path, cwd: Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, without a terminal."""
    return subprocess.run(
        [*map(str, command)], cwd=cwd, env=env, capture_output=True, text=True, check=False, timeout=300
    )


def built_wheel(root: Path, out: Path) -> Path:
    """Build the wheel with the back end of the lock, without network, and return its path."""
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(out)]
    done = run(sys.executable, "-m", "pip", "wheel", *options, root, cwd=out)
    assert done.returncode == 0, done.stderr
    (built,) = out.glob("*.whl")
    return built
