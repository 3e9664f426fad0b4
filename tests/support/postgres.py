"""A real PostgreSQL server for tests: in a folder of its own, without a network port, as an ordinary user."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.event_loops import scenery

ORDINARY_USERS = ("postgres", "nobody")  # PostgreSQL refuses to run as root


def binaries() -> Path | None:
    """The folder of Debian's newest PostgreSQL programs, None when the package is not installed."""
    folders = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    return max(folders, key=lambda path: int(path.parent.name), default=None)


class Server:
    """One server and its folder. `start` and `stop` may be repeated; `remove` ends it for good."""

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        self._user = _ordinary_user()
        self.folder = Path(tempfile.mkdtemp(prefix="watchdog-pg-"))
        if self._user is not None:
            shutil.chown(self.folder, self._user)
        self.folder.chmod(0o711)
        self._run("initdb", "-D", str(self.folder / "data"), "-U", "watchdog", "-A", "trust", "-E", "UTF8", "--no-sync")
        self.start()

    def start(self) -> None:
        """Serve on a socket in the folder; returns when it answers."""
        options = f"-c listen_addresses='' -c unix_socket_directories={self.folder} -c fsync=off -c shared_buffers=16MB"
        log = str(self.folder / "log")
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-w", "-l", log, "-o", options, "start")

    def stop(self) -> None:
        """End it at once, as at a crash of the machine's service."""
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-w", "-m", "immediate", "stop")

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """A server that hangs: it keeps all connections, takes new ones, and answers nothing."""
        main = int(scenery((self.folder / "data" / "postmaster.pid").read_text).split()[0])
        os.kill(main, signal.SIGSTOP)  # first, so that it starts nobody new
        processes = [main, *scenery(lambda: _children(main))]
        for process in processes:
            os.kill(process, signal.SIGSTOP)
        try:
            yield
        finally:
            for process in processes:
                os.kill(process, signal.SIGCONT)

    def url(self, name: str) -> str:
        """The URL of a new, empty database."""
        self._run("createdb", "-h", str(self.folder), "-U", "watchdog", name)
        return f"postgresql://watchdog@/{name}?host={self.folder}"

    def remove(self) -> None:
        """Stop it and remove its folder."""
        if (self.folder / "data" / "postmaster.pid").exists():
            self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            (str(self._programs / program), *arguments),
            user=self._user,
            cwd=self.folder,
            check=True,
            timeout=300,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


def _children(process: int) -> list[int]:
    """Processes that a process has started and that still run."""
    listed = Path(f"/proc/{process}/task/{process}/children").read_text(encoding="ascii")
    return [int(one) for one in listed.split()]


def _ordinary_user() -> str | None:
    """Whom to run as: ourselves unless we are root."""
    if os.getuid():
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in ORDINARY_USERS if name in names)
