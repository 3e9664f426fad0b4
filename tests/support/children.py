"""Processes that a test starts: a test that fails ends them instead of waiting for them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import AnyStr


@contextmanager
def killed_on_failure(process: subprocess.Popen[AnyStr]) -> Iterator[subprocess.Popen[AnyStr]]:
    """`with process:`, but an exception in the block kills it first: by itself, `Popen` would wait for its end."""
    with process:
        try:
            yield process
        except BaseException:
            process.kill()
            raise
