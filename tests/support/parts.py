"""Real parts that tests need: programs of the system, and what lies beside the repository.

Where a part is missing, the test is skipped and says so; in CI (CI=true), where .ci/run installs all parts, it fails.
`../shared` is not part of a clone: its absence is a failure with WATCHDOG_REQUIRE_RECORDINGS=1 only.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

SHARED = Path(__file__).resolve().parents[2].parent / "shared"


def lacking(reason: str) -> NoReturn:
    """A part is missing: skip, in CI fail."""
    _leave(reason, fails=os.environ.get("CI", "").lower() in ("true", "1"))


def program(*names: str) -> str:
    """The path of the first of these programs that is installed; `lacking` without any."""
    found = next((path for name in names if (path := shutil.which(name))), None)
    return found or lacking(f"not installed: {' or '.join(names)}")


def shared(name: str) -> Path:
    """A folder of `../shared`; the test is skipped where it is absent."""
    folder = SHARED / name
    if not folder.is_dir():
        reason = f"'../shared/{name}' beside the repository does not exist"
        _leave(reason, fails=os.environ.get("WATCHDOG_REQUIRE_RECORDINGS") == "1")
    return folder


def _leave(reason: str, *, fails: bool) -> NoReturn:
    if fails:
        pytest.fail(reason)
    pytest.skip(reason)
