"""Calls that may hang, each in a thread of its own, with one moment at which all of them are left.

A read from a dead network file system never returns, and nothing can end it from outside. So a thread that does not
answer in time is abandoned: it is a daemon and holds nothing, and the program ends without it.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Final, Generic, TypeVar

K = TypeVar("K")
T = TypeVar("T")
MOST: Final = 200  # threads at once


class Deadline:
    """A moment of the monotonic clock."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    @property
    def left_s(self) -> float:
        """Seconds until then, 0.0 after it."""
        return max(0.0, self._end - time.monotonic())


class Answer(Generic[T]):
    """The result of a call. error: what it raised, None when it returned `value`."""

    def __init__(self, value: T | None, error: Exception | None = None) -> None:
        self._value, self.error = value, error

    def get(self) -> T:
        """Return the value; raise what the call raised."""
        if self.error is not None:
            raise self.error
        return self._value  # type: ignore[return-value]  # set whenever no error is


class Background(Generic[T]):
    """A call that runs in a thread of its own while something else is waited for; it must end by itself."""

    def __init__(self, call: Callable[[], T]) -> None:
        self._inbox: SimpleQueue[tuple[str, Answer[T]]] = SimpleQueue()
        threading.Thread(target=_run, args=("", call, self._inbox), daemon=True, name="doctor beside").start()

    def get(self) -> T:
        """Wait for the result and return it once; raise what the call raised."""
        return self._inbox.get()[1].get()


def program_age_s() -> float:
    """Return for how many seconds this process has run; 0.0 where the system does not say."""
    try:
        fields = Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()
        begun_s = int(fields[19]) / os.sysconf("SC_CLK_TCK")  # starttime, proc(5)
        return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - begun_s)
    except (OSError, ValueError, IndexError, AttributeError):
        return 0.0


def ask_all(calls: Mapping[K, Callable[[], T]], deadline: Deadline) -> dict[K, Answer[T]]:
    """Run all calls at once and return the answers that came before the deadline, in the order of the calls.

    A key that is missing hangs. At most `MOST` calls are made; the first ones.
    """
    chosen = dict(list(calls.items())[:MOST])
    inbox: SimpleQueue[tuple[K, Answer[T]]] = SimpleQueue()
    for key, call in chosen.items():
        threading.Thread(target=_run, args=(key, call, inbox), daemon=True, name=f"doctor {key}").start()
    found: dict[K, Answer[T]] = {}
    while len(found) < len(chosen):
        try:
            key, answer = inbox.get(timeout=deadline.left_s)
        except Empty:
            break
        found[key] = answer
    return {key: found[key] for key in chosen if key in found}


def _run(key: K, call: Callable[[], T], inbox: SimpleQueue[tuple[K, Answer[T]]]) -> None:
    try:
        answer = Answer(call())
    except Exception as error:  # noqa: BLE001 - it is raised again where the answer is read
        answer = Answer(None, error)
    inbox.put((key, answer))
