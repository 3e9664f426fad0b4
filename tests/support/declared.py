"""Declared tracepoints of one test: their kinds are known to the whole process, so they are taken back after it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from watchdog.core import declared, kinds


@contextmanager
def only_here() -> Iterator[None]:
    """Take back what is declared in the block."""
    before = set(declared._DECLARED)
    try:
        yield
    finally:
        for name in set(declared._DECLARED) - before:
            del declared._DECLARED[name]
            del kinds._TABLE[name]
