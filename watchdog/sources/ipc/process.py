"""The child process as the service sees it: started, read in a thread, and left in order.

The child is never killed: a subscriber that dies has ended a node. The end of its standard input asks it to leave,
and it ends by itself within ten seconds (`watchdog.sources.ipc.child.main`), whatever becomes of us.
"""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

import watchdog.sources.ipc
from watchdog.core.text import printable
from watchdog.sources.ipc.pipe import Ask, BrokenPipeFrameError, FromChild, frame, next_from_child

MODULE: Final = "watchdog.sources.ipc.child"
LEAVE_S: Final = 10.0
"""As long as a child takes at most to leave its node."""
LAST_WORDS: Final = 2_000  # bytes of standard error that are kept
_ROOT: Final = str(Path(watchdog.sources.ipc.__path__[0]).parents[2])


_RUNNING: Final[set[ChildProcess]] = set()
_LOCK: Final = threading.Lock()


@atexit.register
def _leave_all() -> None:
    """Wait for children before this process ends: in a container all of them are killed with it."""
    end_s = time.monotonic() + LEAVE_S
    with _LOCK:
        running = list(_RUNNING)
    for one in running:
        one.leave()
    for one in running:
        one.join(max(0.0, end_s - time.monotonic()))


class Listener(Protocol):
    """Takes what a child says; called in a thread of the child's."""

    def took(self, message: FromChild) -> None:
        """Take a message. Must not wait."""
        ...

    def ended(self, why: str) -> None:
        """Note that the child has ended: nothing follows. why: how, for people; empty when it ended in order."""
        ...


class ChildProcess:
    """One started child. Raise OSError when it cannot be started."""

    def __init__(self, arguments: Sequence[str], listener: Listener) -> None:
        paths = os.pathsep.join(filter(None, (_ROOT, os.environ.get("PYTHONPATH", ""))))
        self._process = subprocess.Popen(  # noqa: S603 - our own module, with a path of the configuration
            [sys.executable, "-P", "-m", MODULE, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C at a terminal is for us; we then ask the child
            env={**os.environ, "PYTHONPATH": paths},
        )
        self._listener = listener
        self._words = b""
        self._lock = threading.Lock()
        self._ears = threading.Thread(target=self._hear, name="stderr of an ipc child", daemon=True)
        self._reader = threading.Thread(target=self._read, name="ipc child", daemon=True)

    def start(self) -> None:
        """Begin to read it."""
        with _LOCK:
            _RUNNING.add(self)
        self._ears.start()
        self._reader.start()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def ask(self, message: Ask) -> bool:
        """Write a request; return whether the child still reads."""
        assert self._process.stdin is not None
        try:
            with self._lock:
                self._process.stdin.write(frame(message))
                self._process.stdin.flush()
        except (OSError, ValueError):  # it has ended, or was asked to
            return False
        return True

    def leave(self) -> None:
        """Ask it to leave the node and to end; returns at once."""
        assert self._process.stdin is not None
        try:
            with self._lock:
                self._process.stdin.close()
        except OSError:  # a request that it no longer reads
            return

    def join(self, timeout_s: float) -> bool:
        """Wait for its end; return whether it came."""
        self._reader.join(timeout_s)
        return not self._reader.is_alive()

    def _hear(self) -> None:
        """Drain standard error, so that the child never waits; keep its end."""
        assert self._process.stderr is not None
        with self._process.stderr as stream:
            while chunk := stream.read1(65_536):  # type: ignore[attr-defined] # a BufferedReader
                self._words = (self._words + chunk)[-LAST_WORDS:]

    def _read(self) -> None:
        """Read the child to its end."""
        assert self._process.stdout is not None
        why = ""
        try:
            with self._process.stdout as pipe:
                while (message := next_from_child(pipe.read)) is not None:
                    self._listener.took(message)
        except BrokenPipeFrameError as error:
            why = str(error)
        except Exception as error:  # noqa: BLE001 - a report that nothing can take must end the child, and be heard
            why = f"{type(error).__name__}: {error}"
        self.leave()
        status = self._process.wait()
        self._ears.join()
        with _LOCK:
            _RUNNING.discard(self)
        if status:
            lines = self._words.decode("utf-8", "replace").strip().splitlines()
            why = f"its process ended with status {status}" + (f": {lines[-1]}" if lines else "")
        self._listener.ended(printable(why))
