"""Debian's Alertmanager on 127.0.0.1: alone, without a cluster, without receivers."""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.parts import program
from tests.support.ports import free_port
from tests.support.waiting import LIMIT_S, wait_until

PROGRAM = "prometheus-alertmanager"
Alerts = list[dict[str, Any]]  # Any: JSON of Alertmanager's API


class Alertmanager:
    """One server; `start` after `stop` serves the same port, without the alerts of before: these are in memory."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()
        (folder / "alertmanager.yml").write_text("route: {receiver: none}\nreceivers: [{name: none}]\n")
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Serve; returns when it is ready."""
        arguments = [
            f"--config.file={self._folder}/alertmanager.yml",
            f"--storage.path={self._folder}/data",
            f"--web.listen-address=127.0.0.1:{self._port}",
            "--cluster.listen-address=",
        ]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen([program(PROGRAM), *arguments], stdout=log, stderr=log)
        until(self._ready)

    def stop(self) -> None:
        """SIGKILL: nothing is kept."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(300)
            self._process = None

    def alerts(self) -> Alerts:
        """What fires, as its API says."""
        with urllib.request.urlopen(f"{self.url}/api/v2/alerts", timeout=300) as answer:
            return list(json.load(answer))

    def post(self, alerts: object) -> None:
        """Alerts by hand."""
        body = json.dumps(alerts).encode()
        headers = {"Content-Type": "application/json"}
        urllib.request.urlopen(urllib.request.Request(f"{self.url}/api/v2/alerts", body, headers), timeout=300).close()

    def severities(self) -> list[str]:
        """Of what fires."""
        return sorted(one["labels"]["severity"] for one in self.alerts())

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=300) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False


def until(condition: Callable[[], bool], limit_s: float = LIMIT_S) -> None:
    """Wait for what another process does; AssertionError when it does not come."""
    wait_until(condition, limit_s=limit_s)
