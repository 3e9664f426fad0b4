"""The node that is traced: its process, its program, and the events of its start and end."""

from __future__ import annotations

import os
import select
from dataclasses import dataclass
from typing import Final

import numpy as np

from watchdog.core.batch import Batch, Column, Strings
from watchdog.core.text import printable
from watchdog.extract.offers import STARTED, STOPPED, BinaryOffer
from watchdog.extract.process import TracedProcess
from watchdog.extract.rings import SOURCE, TraceBatches

SHUTDOWN: Final = "shutdown"  # the reason that a log gives, too
PROCESS: Final = "process"


@dataclass(slots=True, eq=False)
class Traced:
    """One node. process: None until the first one hits. handle: its program, open; watch: its pidfd, -1 without one.

    gone: it had ended before it could be watched.
    """

    process: TracedProcess | None
    handle: int
    offer: BinaryOffer
    maker: TraceBatches
    watch: int = -1
    gone: bool = False

    @property
    def path(self) -> str:
        """Where its program can be opened, also after its file was replaced."""
        return f"/proc/self/fd/{self.handle}"

    @property
    def boot_ns(self) -> int:
        """Its start since the epoch, 0 while it is not known."""
        return self.process.boot_ns if self.process is not None else 0

    @property
    def name(self) -> str:
        """What people call it."""
        one = self.process
        return "the first process of this binary" if one is None else f"process {one.pid} ({printable(one.name)})"

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.gone or (self.watch >= 0 and bool(select.select([self.watch], [], [], 0)[0]))

    def started(self, time_ns: int) -> Batch:
        """Return its start as an event."""
        release = self.offer.release
        columns: dict[str, Column] = {
            "time_ns": np.array([time_ns], np.int64),
            "reason": Strings.constant(PROCESS, 1),
            "version": Strings.constant("" if release.startswith("unknown") else release, 1),
        }
        return self._batch(STARTED, columns)

    def stopped(self, time_ns: int, reason: str) -> Batch:
        """Return its end as an event."""
        columns: dict[str, Column] = {
            "time_ns": np.array([time_ns], np.int64),
            "reason": Strings.constant(reason, 1),
        }
        return self._batch(STOPPED, columns)

    def close(self) -> None:
        """Close what is open."""
        for one in (self.handle, self.watch):
            if one >= 0:
                os.close(one)

    def _batch(self, kind: str, columns: dict[str, Column]) -> Batch:
        return Batch(kind, self.maker.node, SOURCE, columns, self.boot_ns)


def ending(code: int) -> str:
    """Return the reason of node:stopped. code: as wait(2) has it."""
    if signal := code & 0x7F:
        return f"killed by signal {signal}"
    status = code >> 8 & 0xFF
    return f"exit code {status}" if status else SHUTDOWN
