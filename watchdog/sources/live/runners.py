"""How a producer runs: in a thread, in an event loop of its own, or as a child process.

Each runner starts its producer at once, hands it an inbox, and reports its failure to that inbox. `stop` only asks;
`join` waits a bounded time. A producer that does not end is abandoned: a thread stays behind as a daemon with a closed
inbox, a child process is killed.
"""

from __future__ import annotations

import asyncio
import subprocess
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import IO, Any, Final, Protocol

from watchdog.core.errors import SourceError, WatchdogError
from watchdog.core.text import printable
from watchdog.sources.live.inbox import Inbox

END_S: Final = 2.0  # a producer that needs longer to end is abandoned
STDERR_BYTES: Final = 2_000  # the end of a child's standard error that goes into its error message


class Runner(Protocol):
    """A started producer."""

    def stop(self) -> None:
        """Ask the producer to end; returns at once."""
        ...

    def join(self, timeout_s: float) -> bool:
        """Wait for its end; whether it came within `timeout_s`."""
        ...

    def abandon(self) -> None:
        """Do without its end: kill a child, leave a thread behind."""
        ...


Produce = Callable[[Inbox, threading.Event], None]
"""A producer in a thread: runs until it returns (its input has ended) or the event is set. May raise."""
ProduceAsync = Callable[[Inbox], Coroutine[Any, Any, None]]
"""A producer in an event loop: runs until it returns or is cancelled. May raise; must not block the loop."""
ReadChild = Callable[[IO[bytes], Inbox], None]
"""Reads a child's standard output until its end and hands batches to the inbox. May raise."""


def _report(inbox: Inbox, error: BaseException) -> None:
    """Report a producer's failure to the inbox in one line; no traceback reaches an operator's alert."""
    text = error.in_one_line() if isinstance(error, WatchdogError) else f"{type(error).__name__}: {error}"
    inbox.fail(printable(text))


class ThreadRunner:
    """Runs `produce` in a daemon thread."""

    def __init__(self, produce: Produce, inbox: Inbox) -> None:
        self._stopping = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(produce, inbox), name=f"source {inbox.name}", daemon=True
        )
        self._thread.start()

    def _run(self, produce: Produce, inbox: Inbox) -> None:
        try:
            produce(inbox, self._stopping)
        except Exception as error:  # noqa: BLE001 - whatever fails in a producer is a fault of that source
            _report(inbox, error)
        else:
            inbox.end()

    def stop(self) -> None:
        """Set the producer's event."""
        self._stopping.set()

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def abandon(self) -> None:
        """Leave the thread, which cannot be killed; its inbox is closed, so nothing it does later has an effect."""


class LoopRunner:
    """Runs `produce` in an event loop of its own, in a daemon thread."""

    def __init__(self, produce: ProduceAsync, inbox: Inbox) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._lock = threading.Lock()
        self._stopping = False
        self._thread = threading.Thread(
            target=self._run, args=(produce, inbox), name=f"source {inbox.name}", daemon=True
        )
        self._thread.start()

    def _run(self, produce: ProduceAsync, inbox: Inbox) -> None:
        try:
            asyncio.run(self._main(produce, inbox))
        except Exception as error:  # noqa: BLE001 - whatever fails in a producer is a fault of that source
            _report(inbox, error)
        else:
            inbox.end()

    async def _main(self, produce: ProduceAsync, inbox: Inbox) -> None:
        with self._lock:
            if self._stopping:
                return
            self._loop, self._task = asyncio.get_running_loop(), asyncio.ensure_future(produce(inbox))
        try:
            await self._task
        except asyncio.CancelledError:
            if not self._stopping:
                raise SourceError("the source was cancelled from within") from None

    def stop(self) -> None:
        """Cancel the producer's task."""
        with self._lock:
            self._stopping = True
            if self._loop is not None and self._task is not None and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._task.cancel)

    def join(self, timeout_s: float) -> bool:
        """Wait for the loop's thread."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def abandon(self) -> None:
        """Leave a blocked loop, which cannot be stopped; its inbox is closed, so it has no further effect."""


class ChildRunner:
    """Runs `arguments` as a child process and reads its standard output in a daemon thread.

    A child that exits with another status than 0 is a failure, named with the end of its standard error.
    """

    def __init__(self, arguments: Sequence[str], read: ReadChild, inbox: Inbox) -> None:
        self._arguments = list(arguments)
        self._child: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        self._last_words = b""
        self._thread = threading.Thread(target=self._run, args=(read, inbox), name=f"source {inbox.name}", daemon=True)
        self._thread.start()

    def _start(self) -> subprocess.Popen[bytes] | None:
        """Start the child, in the reader's thread: a slow disk must not hold up the engine. None once stopped."""
        if self._stopping.is_set():
            return None
        try:
            self._child = subprocess.Popen(  # noqa: S603 - the caller names our program or one of the operator
                self._arguments,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise SourceError(f"cannot start {printable(self._arguments[0])}: {error.strerror}") from None
        if self._stopping.is_set():  # `stop` may have come before there was a child to end
            self._child.terminate()
        return self._child

    def _hear(self, stderr: IO[bytes]) -> None:
        """Drain standard error, so that the child never blocks on it; keep its end."""
        with stderr as stream:
            while chunk := stream.read1(65_536):  # type: ignore[attr-defined] # a BufferedReader
                self._last_words = (self._last_words + chunk)[-STDERR_BYTES:]

    def _run(self, read: ReadChild, inbox: Inbox) -> None:
        try:
            child = self._start()
        except SourceError as error:
            _report(inbox, error)
            return
        if child is not None:
            self._follow(child, read, inbox)

    def _follow(self, child: subprocess.Popen[bytes], read: ReadChild, inbox: Inbox) -> None:
        """Read a started child to its end and judge how it ended."""
        assert child.stdout is not None
        assert child.stderr is not None
        ears = threading.Thread(target=self._hear, args=(child.stderr,), name=f"stderr of {inbox.name}", daemon=True)
        ears.start()
        try:
            with child.stdout as pipe:
                read(pipe, inbox)
        except Exception as error:  # noqa: BLE001 - whatever fails in a producer is a fault of that source
            child.kill()
            _report(inbox, error)
        status = child.wait()
        if status and not self._stopping.is_set():
            ears.join(END_S)
            lines = self._last_words.decode(errors="replace").strip().splitlines()
            inbox.fail(printable(f"its process ended with status {status}" + (f": {lines[-1]}" if lines else "")))
        else:
            inbox.end()

    def stop(self) -> None:
        """Send SIGTERM."""
        self._stopping.set()
        if self._child is not None:
            self._child.terminate()

    def join(self, timeout_s: float) -> bool:
        """Wait for the reader, which ends after the process."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def abandon(self) -> None:
        """Send SIGKILL; the reader meets the end of the pipe and collects the process."""
        if self._child is not None:
            self._child.kill()
