"""A real `watchdog run` beside a test: started, told things, killed, and what it left in its database."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

from tests.support.waiting import LIMIT_S, wait_until

ROOT = Path(__file__).resolve().parents[2]
START = 1_768_212_000  # unix seconds of the first poll
ALL_ENDED = "all sources have ended"
WATCHING = "watching "


started: list[ServiceProcess] = []
"""All of this test run, so that a failing test leaves none behind (see `end_all`)."""


class ServiceProcess:
    """One process of the command in a folder of its own; the log goes to `log` there, one run after the other.

    program: the module that is run as the command, and arguments of its own.
    """

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        program: Sequence[str] = ("watchdog",),
    ) -> None:
        self.folder, self.log = folder, folder / "log"
        started.append(self)
        self._begin = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *program, "run", "--config", str(folder / "watchdog.yaml"), *arguments],
                cwd=ROOT,
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})},
            )

    def text(self) -> str:
        """What this run has logged so far."""
        return self.log.read_bytes()[self._begin :].decode("utf-8", "replace")

    def wait_for(self, text: str, limit_s: float = LIMIT_S) -> None:
        """Until the log has it; fails when the process ends before, or in time."""

        def logged() -> bool:
            if text in self.text():
                return True
            assert self.process.poll() is None, f"ended with {self.process.returncode}: {self.text()}"
            return False

        wait_until(logged, lambda: f"no {text!r} in: {self.text()}", limit_s)

    def url(self) -> str:
        """Where page and API are, once the log says so."""
        self.wait_for("page and API at http://")
        return str(re.findall(r"page and API at (http://\S+)", self.text())[-1])

    def metrics(self) -> str:
        """What `/metrics` shows now."""
        with urllib.request.urlopen(f"{self.url()}/metrics", timeout=LIMIT_S) as answer:
            return str(answer.read().decode())

    def end(self) -> float:
        """SIGTERM; the seconds until it has ended, which must be well."""
        begun = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(300) == 0, self.text()
        return time.monotonic() - begun

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait(300)


def end_all() -> None:
    """Kill what still runs."""
    for service in started:
        if service.process.poll() is None:
            service.kill()
    started.clear()


def run_command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """One command beside the service."""
    return subprocess.run(
        [sys.executable, "-m", "watchdog", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def rows(folder: Path, query: str) -> list[tuple[object, ...]]:
    """What a query of the service's database answers."""
    with closing(sqlite3.connect(f"file:{folder / 'watchdog.db'}?mode=ro", uri=True, timeout=300)) as database:
        return database.execute(query).fetchall()


def until_rows(folder: Path, query: str, wanted: int, limit_s: float = LIMIT_S) -> list[tuple[object, ...]]:
    """The answer as soon as it has that many rows."""
    answers: list[list[tuple[object, ...]]] = [[]]

    def answered() -> bool:
        answers[0] = rows(folder, query) if (folder / "watchdog.db").exists() else []
        return len(answers[0]) >= wanted

    wait_until(answered, lambda: f"{len(answers[0])} rows, {wanted} wanted: {query}", limit_s)
    return answers[0]


def mempool_line(second: int, transactions: int) -> str:
    """One poll of getmempoolinfo, as a line of a snapshots file."""
    result = {"loaded": True, "size": transactions, "bytes": 1, "usage": 1, "maxmempool": 300_000_000}
    return json.dumps({"time": START + second, "kind": "getmempoolinfo", "result": result}) + "\n"


def grow(folder: Path, begin: int, sizes: Sequence[int]) -> None:
    """Append polls of these sizes to the snapshots of a service's folder, one each ten seconds of event time."""
    polls(folder, [(10 * (begin + at), size) for at, size in enumerate(sizes)])


def polls(folder: Path, of: Iterable[tuple[int, int]]) -> None:
    """Append polls to the same file: second and transactions of each."""
    with (folder / "snapshots.jsonl").open("a") as file:
        file.write("".join(mempool_line(second, transactions) for second, transactions in of))
