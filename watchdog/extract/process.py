"""The process to trace: found by number, by pid file or by its binary, and found again after it ended.

What /proc says of another user's process is what everybody may see; its program often is not. Then the path of the
binary is needed, and a later process is known by its user, its name and the first word of its command line.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from watchdog.core.text import printable
from watchdog.extract.libbpf import ExtractError

PROC: Final = Path("/proc")
PID_FILE_BYTES: Final = 64  # a pid file holds one number
COMMAND_BYTES: Final = 4_096
NAME_BYTES: Final = 15  # of a process, as the kernel keeps it
DELETED: Final = " (deleted)"  # behind the path of a program whose file was replaced
OPEN: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
LARGEST_PID: Final = 1 << 22  # PID_MAX_LIMIT, include/linux/threads.h


@dataclass(frozen=True, slots=True)
class TracedProcess:
    """A running process. boot_ns: its start, since the epoch. ticks: its start as /proc has it, which tells two
    processes of one number apart. user: its effective user id. program: the path of its program, "" where this user
    may not see it. name: as the kernel keeps it.
    """

    pid: int
    ticks: int
    boot_ns: int
    user: int
    program: str
    name: str


def process_of(pid: int) -> TracedProcess | None:
    """Return what /proc says of a process; None when there is no such process, or it is ending."""
    try:
        folder = PROC / str(pid)
        user = folder.stat().st_uid
        fields = (folder / "stat").read_bytes()
        name = fields[fields.index(b"(") + 1 : fields.rindex(b")")]
        rest = fields.rpartition(b")")[2].split()
        if rest[0] in {b"Z", b"X"}:
            return None
        ticks = int(rest[19])  # starttime, proc(5)
    except (OSError, ValueError, IndexError):
        return None
    since_ns = ticks * 10**9 // os.sysconf("SC_CLK_TCK")
    # two clocks read one after the other differ by microseconds each time, and a process has one start
    offset_ns = round(time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME), -7)
    boot_ns = offset_ns + since_ns
    return TracedProcess(pid, ticks, boot_ns, user, _program(folder), name.decode(errors="replace"))


def _program(folder: Path) -> str:
    try:
        return str((folder / "exe").readlink()).removesuffix(DELETED)
    except OSError:
        return ""


def _command(pid: int) -> str:
    """Return the first word of a command line, "" for a process without one."""
    try:
        with (PROC / str(pid) / "cmdline").open("rb") as file:
            return os.fsdecode(file.read(COMMAND_BYTES).partition(b"\0")[0])
    except OSError:
        return ""


def written_pid(path: Path) -> int | None:
    """Return the number in a pid file; None before it is written. ExtractError: it cannot be read, or has no number."""
    shown = printable(str(path))
    try:
        handle = os.open(path, OPEN)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ExtractError(f"'{shown}': {(error.strerror or str(error)).lower()}") from None
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise ExtractError(f"'{shown}': not an ordinary file")
        text = os.read(handle, PID_FILE_BYTES).strip()
    finally:
        os.close(handle)
    if not text:
        return None  # it is being written
    if not text.isdigit() or not 0 < int(text) <= LARGEST_PID:
        raise ExtractError(f"'{shown}': no process number: '{printable(text.decode(errors='replace'), 40)}'")
    return int(text)


def _same(one: TracedProcess | None, other: TracedProcess | None) -> bool:
    """Return whether two looks saw the same process; what they saw of it may differ."""
    if one is None or other is None:
        return one is other
    return (one.pid, one.ticks) == (other.pid, other.ticks)


def _opened(path: Path) -> int:
    try:
        return os.open(path, OPEN)
    except OSError as error:
        raise ExtractError(f"'{printable(str(path))}': {(error.strerror or str(error)).lower()}") from None


class Finder:
    """Finds the process to trace. One of pid and pid_file, or neither: then the program itself says who hits first.

    binary: the path of its program, None to ask /proc.
    """

    def __init__(self, pid: int | None, pid_file: Path | None, binary: Path | None) -> None:
        self._pid, self._pid_file, self.binary = pid, pid_file, binary
        self._last: TracedProcess | None = None
        self._command = ""  # the first word of its command line: another node of this user has another one
        self._ended_ticks = 0
        self._held: tuple[TracedProcess | None, int] | None = None

    @property
    def claims(self) -> bool:
        """Whether the first process that hits a tracepoint is the one: only the binary is known."""
        return self._pid is None and self._pid_file is None

    def find(self) -> TracedProcess | None:
        """Return the process, None while it does not run. ExtractError: that will not change by waiting."""
        held = self._held[0] if self._held is not None else None
        if held is not None and _same(held, process_of(held.pid)):
            return held
        if self._pid_file is not None:
            found = self._by_file(self._pid_file)
        elif self._last is None and self._pid is not None:
            found = process_of(self._pid)
            if found is None:
                raise ExtractError(f"there is no process {self._pid}")
        else:
            found = None
        return found or (self._successor() if self._last is not None else None)

    def hold(self, process: TracedProcess | None) -> None:
        """Open its program now, while there are rights to. Errors as `opened`."""
        self._held = (process, self.opened(process))

    def opened(self, process: TracedProcess | None) -> int:
        """Open the program of a process for reading and return the descriptor. ExtractError names `--binary`.

        Its path is /proc/self/fd/N: so it stays readable when the file is replaced, and after rights were given up.
        """
        if self._held is not None and _same(self._held[0], process):
            handle, self._held = self._held[1], None
            return handle
        if self.binary is not None or process is None:
            return _opened(self.binary or Path())
        try:
            return os.open(PROC / str(process.pid) / "exe", OPEN)
        except PermissionError:
            if self._last is not None and self._last.program:
                return _opened(Path(self._last.program))  # seen when there were rights to see it
            reason = "this user may not see its program; give its path with --binary PATH"
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
        raise ExtractError(f"process {process.pid}: {reason}")

    def moved(self, handle: int) -> bool:
        """Return whether the path of the binary is another file now than the one that is open."""
        try:
            there = self.binary.stat() if self.binary is not None else None
        except OSError:
            return False  # it is being replaced, or its folder is closed to us
        here = os.fstat(handle)
        return there is not None and (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino)

    def note(self, process: TracedProcess) -> None:
        """Remember the process that is traced, so that its successor is known."""
        if not process.program and self._last is not None:
            process = replace(process, program=self._last.program)
        self._last, self._command = process, _command(process.pid) or self._command

    def ended(self, at_ns: int) -> None:
        """Note when it ended, CLOCK_BOOTTIME: processes that ran beside it are other nodes, not its successor."""
        self._ended_ticks = at_ns * os.sysconf("SC_CLK_TCK") // 10**9

    def _by_file(self, path: Path) -> TracedProcess | None:
        try:
            pid = written_pid(path)
        except ExtractError:
            if self._last is None:
                raise
            return None  # its folder may have been closed to us; the process itself is still looked for
        found = process_of(pid) if pid is not None else None
        return None if self._last is not None and _same(self._last, found) else found

    def _successor(self) -> TracedProcess | None:
        """Return a process like the last one that began when that had ended; the oldest of several."""
        found = [one for one in self._alike() if one.ticks >= self._ended_ticks]
        return min(found, key=lambda one: one.ticks, default=None)

    def _alike(self) -> Iterator[TracedProcess]:
        """Yield the other processes of the same user and program."""
        last = self._last
        assert last is not None
        for entry in os.listdir(PROC):  # noqa: PTH208 - hundreds of names twice a second
            if not entry.isdigit() or int(entry) == os.getpid():
                continue
            one = process_of(int(entry))
            other = one is not None and not _same(one, last) and one.user == last.user
            if one is not None and other and self._same_program(one, last):
                yield one

    def _same_program(self, one: TracedProcess, last: TracedProcess) -> bool:
        if one.program and last.program:
            return one.program == last.program
        command = _command(one.pid)
        if Path(command).is_absolute() and Path(self._command).is_absolute():
            return one.name == last.name and command == self._command
        path = str(self.binary or last.program)
        return one.name == last.name and Path(command).name == Path(path).name
