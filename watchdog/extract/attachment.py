"""Which tracepoints stay attached: those that some reader wants, and for a while those that one wanted."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Final

from watchdog.extract.libbpf import ExtractError
from watchdog.extract.probes import Probes

LINGER_S: Final = 30.0
"""How long a tracepoint stays attached after the last reader left: a reader that restarts finds it as it was."""


class Attachment:
    """Attaches and detaches by what is wanted. failed: kind -> why, of those that could not be attached."""

    def __init__(self, probes: Probes) -> None:
        self._probes = probes
        self._wanted: frozenset[str] = frozenset()
        self._left_at: dict[str, float] = {}
        self.failed: dict[str, str] = {}

    def want(self, kinds: AbstractSet[str], binary: str, process: int, now: float) -> dict[str, str]:
        """Attach to these kinds; others stay for LINGER_S from when they were first not wanted. Returns new failures.

        now: seconds of a monotonic clock. process: -1 for every process that runs the binary.
        """
        self._wanted = frozenset(kinds)
        self.failed = {kind: why for kind, why in self.failed.items() if kind in kinds}
        new = {}
        for kind in sorted(kinds - self._probes.attached - self.failed.keys()):
            try:
                self._probes.attach(kind, binary=binary, process=process)
            except ExtractError as error:
                new[kind] = error.in_one_line()
        self.failed.update(new)
        self._left_at = {
            kind: self._left_at.get(kind, now) for kind in self._probes.attached if kind not in self._wanted
        }
        return new

    def tidy(self, now: float) -> None:
        """Detach what no reader has wanted for LINGER_S."""
        for kind, since in list(self._left_at.items()):
            if now - since >= LINGER_S:
                self._probes.detach(kind)
                del self._left_at[kind]

    def release(self) -> None:
        """Detach from a process that has ended."""
        for kind in self._probes.attached:
            self._probes.detach(kind)
        self._left_at.clear()
        self.failed.clear()
