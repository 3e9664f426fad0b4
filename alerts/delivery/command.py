"""A program of the operator's for each notice: no shell, its own process group, JSON on standard input.

It gets nothing of the watchdog's environment but `PASSED`: secrets come from there. What it writes is read up to
`OUTPUT_BYTES` and drained beyond. At its end, and at the deadline, its whole process group is killed.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

from alerts.delivery.answers import Response, shown
from alerts.delivery.blocking import EndSignal
from alerts.delivery.schedule import RetryDecision
from alerts.routing import Receiver

OUTPUT_BYTES = 64 * 1024
PASSED: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "USER", "LOGNAME", "TMPDIR")
REAP_S = 2.0  # for a killed process to end
LOOK_S = 0.05  # between two looks at a program that keeps its output open
MOST_ARGUMENTS = 100


def check(receiver: Receiver) -> Iterator[tuple[str, str]]:
    """Yield keys with their faults."""
    command = receiver.several("command")
    if not Path(command[0] if command else "").is_absolute():
        yield "command", "the program must be an absolute path: it is not looked up in PATH, and no shell runs it"
    elif not os.access(command[0], os.X_OK) or not Path(command[0]).is_file():
        yield "command", f"'{command[0][:200]}' is not a program that this user may run"
    if len(command) > MOST_ARGUMENTS:
        yield "command", f"more than {MOST_ARGUMENTS} arguments"


def run_command(receiver: Receiver, body: bytes, ending: EndSignal) -> Response:
    """Run the program once; blocks until the deadline at most. Exit code 0 is success."""
    began = time.monotonic()
    try:
        run = _Run(receiver, body)
    except (OSError, ValueError) as error:  # ValueError: a NUL in an argument
        reason = (error.strerror if isinstance(error, OSError) else None) or "cannot be started"
        return Response(None, None, f"cannot start the program: {shown(reason)}", time.monotonic() - began)
    with ending.reaching(run.kill):
        ended = run.watch(began + receiver.timeout_s)
    took_s = time.monotonic() - began
    if not ended:
        text = f"did not end in {receiver.timeout_s:g} s; its process group was killed"
        return Response(None, None, text, took_s, RetryDecision.FAILED)
    if run.code == 0:
        return Response(0, None, "", took_s, RetryDecision.ACCEPTED)
    how = f"exit code {run.code}" if run.code > 0 else f"ended by signal {-run.code}"
    said = shown(bytes(run.output[-1_000:]).decode("utf-8", "backslashreplace"))
    status = run.code if run.code > 0 else 128 - run.code
    return Response(status, None, f"{how}: {said}" if said else how, took_s, RetryDecision.FAILED)


def _standard_input() -> IO[bytes]:
    """Return a file in memory: a full disk must not hold alerts back."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("notice"), "w+b")
    return tempfile.TemporaryFile()


class _Run:
    """One process and its group. The leader is not reaped before the group was killed, so no other group is hit."""

    def __init__(self, receiver: Receiver, body: bytes) -> None:
        with _standard_input() as given:
            given.write(body)
            given.seek(0)
            self._process = subprocess.Popen(  # noqa: S603 (the operator's command, without a shell)
                list(receiver.several("command")),
                stdin=given,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={name: os.environ[name] for name in PASSED if name in os.environ},
                cwd="/",
                start_new_session=True,
            )
        assert self._process.stdout is not None
        self._out = self._process.stdout
        self.output = bytearray()
        self.code = 0
        self._lock, self._over = threading.Lock(), False

    def kill(self) -> None:
        """Kill the process and all of its group, unless it was reaped: then its number may be another's."""
        with self._lock:
            if not self._over:
                self._kill_group()

    def _kill_group(self) -> None:
        with suppress(ProcessLookupError, PermissionError):  # gone, or it changed its user: then it is not ours to end
            os.killpg(self._process.pid, signal.SIGKILL)

    def watch(self, deadline: float) -> bool:
        """Read what it writes until it ends. Return False when it did not end in time."""
        poll = select.poll()
        poll.register(self._out, select.POLLIN | select.POLLHUP)
        is_open, ended = True, False
        try:
            while not ended and time.monotonic() < deadline:
                if is_open and poll.poll(LOOK_S * 1000):
                    is_open = self._read()
                elif not is_open:
                    time.sleep(LOOK_S / 5)
                ended = self._has_ended()
            while ended and is_open and poll.poll(0) and time.monotonic() < deadline:
                is_open = self._read()  # its last words; a child that writes for ever is killed below
                if len(self.output) >= OUTPUT_BYTES:
                    break
        finally:
            self._end()
        return ended

    def _end(self) -> None:
        """Kill the group and reap the leader. One that may not be killed, as it changed its user, is left behind."""
        with self._lock:
            self._kill_group()
            self._over = True
        self._out.close()
        try:
            self.code = self._process.wait(REAP_S)
        except subprocess.TimeoutExpired:
            self.code = -signal.SIGKILL

    def _read(self) -> bool:
        """Take what there is. Return False at the end."""
        piece = os.read(self._out.fileno(), 65_536)
        self.output += piece[: OUTPUT_BYTES - len(self.output)]
        return bool(piece)

    def _has_ended(self) -> bool:
        return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
