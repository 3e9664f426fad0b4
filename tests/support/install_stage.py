"""Follows docs/INSTALL.md as root in a mount namespace of its own, and lets a node restart and rotate its log.

`unshare --mount --propagation private python -m tests.support.install_stage FOLDER RECEIVER_PORT ZMQ_PORT`: /etc is a
copy, /opt, /var/lib and /var/log are empty. The commands of the page run as they are written, but for addresses, and
for those that need a registry or a running systemd: the program is the one of this checkout. Prints what it saw.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from tests.support.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "INSTALL.md"
DATA, STATE = Path("/var/log/bitcoind"), Path("/var/lib/bitcoin-watchdog")
WATCHDOG = Path("/opt/bitcoin-watchdog/bin/watchdog")
STEPS = ("## 2. User and folders", "## 3. The doors of the node", "## 4. Configuration")


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a command; its output goes into the failure."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, cwd=ROOT)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done


def blocks(page: str, title: str) -> list[str]:
    """Return the shell commands of a section."""
    section = page.partition(f"{title}\n")[2].partition("\n## ")[0]
    return re.findall(r"```sh\n(.*?)```", section, re.DOTALL)


def make_host(folder: Path) -> None:
    """Give this namespace folders of its own, and let other users reach interpreter and checkout."""
    run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", str(folder))  # the copy of /etc ends with this namespace
    shutil.copytree("/etc", folder / "etc", symlinks=True)
    run("mount", "--bind", str(folder / "etc"), "/etc")
    for place in ("/opt", "/var/lib", "/var/log"):
        run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", place)
    for number, path in enumerate((Path(sys.base_prefix), Path(sys.prefix), ROOT)):
        open_way(path, folder / f"way{number}")
    WATCHDOG.parent.mkdir(parents=True)
    WATCHDOG.write_text(f'#!/bin/sh\ncd {ROOT}\nPYTHONPATH={ROOT} exec {sys.executable} -m watchdog "$@"\n')
    WATCHDOG.chmod(0o755)


def open_way(path: Path, aside: Path) -> None:
    """Let everybody reach a path below a folder that only root may enter."""
    shut = next((one for one in reversed(path.parents) if not one.stat().st_mode & 0o001), None)
    if shut is None:
        return
    aside.mkdir()
    run("mount", "--bind", str(path), str(aside))
    run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", str(shut))
    path.mkdir(parents=True)
    run("mount", "--bind", str(aside), str(path))


def follow(page: str, receiver_port: str, zmq_port: str) -> None:
    """Run the commands of the page."""
    page = page.replace("url: https://alerts.example.org/hooks/watchdog", f"url: http://127.0.0.1:{receiver_port}/ops")
    page = page.replace(
        "    secret: {file: ops.secret}",
        "    secret: {file: ops.secret}\n    allow_private: true\n    about: incidents",
    )
    page = page.replace("28332", zmq_port)
    for title in STEPS:
        for block in blocks(page, title):
            run("bash", "-euo", "pipefail", "-c", block)
            if title == STEPS[0] and "systemd-sysusers" in block:
                run("useradd", "--system", "--no-create-home", "bitcoin")


class Host:
    """The processes of the host: one node, one watchdog."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._log = (STATE.parent / "watchdog.log").open("wb")
        command = [str(WATCHDOG), "run", "--config", "/etc/bitcoin-watchdog/watchdog.yaml", "--no-web"]
        self.node = self.start_node()
        self.watchdog = subprocess.Popen(
            ["runuser", "-u", "watchdog", "--", *command], cwd=STATE, stdout=self._log, stderr=self._log
        )

    def text(self) -> str:
        """What the watchdog has logged."""
        return Path(self._log.name).read_text()

    def start_node(self) -> subprocess.Popen[bytes]:
        """Start the node as its own user."""
        arguments = [sys.executable, "-m", "tests.support.install_node", str(DATA), self._endpoint]
        return subprocess.Popen(["runuser", "-u", "bitcoin", "--", "env", f"PYTHONPATH={ROOT}", *arguments], cwd=DATA)

    def restart_node(self) -> None:
        """Restart it, and wait for its first lines."""
        before = self.lines("Bitcoin Core version")
        stop(self.node)
        self.node = self.start_node()
        wait_until(lambda: self.lines("Bitcoin Core version") > before)

    def rotate(self) -> None:
        """Rotate debug.log as logrotate does: a new name, then a SIGHUP for the node."""
        (DATA / "debug.log").rename(DATA / "debug.log.1")
        children = Path(f"/proc/{self.node.pid}/task/{self.node.pid}/children").read_text().split()
        os.kill(int(children[0]), signal.SIGHUP)
        wait_until((DATA / "debug.log").exists)

    def lines(self, text: str) -> int:
        """Return how many lines of the present log file have this text."""
        path = DATA / "debug.log"
        return path.read_text().count(text) if path.exists() else 0

    def rows(self, query: str) -> list[tuple[object, ...]]:
        """What a query of the watchdog's database answers; nothing before it exists."""
        if not (STATE / "watchdog.db").exists():
            return []
        with closing(sqlite3.connect(f"file:{STATE}/watchdog.db?mode=ro", uri=True, timeout=300)) as database:
            return database.execute(query).fetchall()

    def until(self, query: str) -> list[tuple[object, ...]]:
        """Wait for rows."""
        return wait_until(
            lambda: self.rows(query),
            lambda: f"{query}: {self.text()}{self.rows('SELECT rule, severity, summary FROM incidents')}",
            60,
        )


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process that runuser started."""
    process.send_signal(signal.SIGTERM)
    process.wait(300)


def main(arguments: Sequence[str]) -> None:
    """Install, then restart the node, rotate its log, and restart it twice more."""
    folder, receiver_port, zmq_port = Path(arguments[0]), arguments[1], arguments[2]
    make_host(folder)
    follow(PAGE.read_text(encoding="utf-8"), receiver_port, zmq_port)
    host = Host(f"tcp://127.0.0.1:{zmq_port}")
    try:
        wait_until(lambda: "watching 2 sources" in host.text(), host.text)
        wait_until(lambda: host.lines("ping"))
        host.restart_node()
        host.until("SELECT id FROM incidents WHERE rule = 'node-restart'")
        host.rotate()
        for _ in range(2):
            host.restart_node()
        host.until("SELECT id FROM incidents WHERE rule = 'node-restart' AND severity = 'warning'")
        host.until("SELECT id FROM outbox WHERE type = 'incident.escalated' AND status = 'sent'")
    finally:
        stop(host.node)
        stop(host.watchdog)
    seen = {
        "log": host.text(),
        "rules": host.rows("SELECT rule, severity FROM incidents"),
        "log_mode": (DATA / "debug.log").stat().st_mode & 0o007,
        "secret_mode": Path("/etc/bitcoin-watchdog/ops.secret").stat().st_mode & 0o777,
    }
    sys.stdout.write(json.dumps(seen))


if __name__ == "__main__":
    main(sys.argv[1:])
