"""bitcoind on regtest, in a folder of its own, for tests that BITCOIN_NODE switches on."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.support.ports import free_port
from tests.support.waiting import wait_until

BINARY = os.environ.get("BITCOIN_NODE", "")
WHY_NOT = "BITCOIN_NODE names no bitcoind; set it to run a real node"
ALONE = ("-networkactive=0", "-listen=0", "-connect=0")


class RealNode:
    """bitcoind on regtest. lines: of bitcoin.conf. options: more of its command line; by default it has no network."""

    def __init__(self, folder: Path, lines: Sequence[str] = (), options: Sequence[str] = ALONE) -> None:
        self.folder, self.port, self._options = folder, free_port(), options
        (folder / "bitcoin.conf").write_text("\n".join(["regtest=1", "[regtest]", *lines, ""]))
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        """Where its RPC answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None
        return self._process.pid

    @property
    def cookie(self) -> Path:
        """Its cookie file."""
        return self.folder / "regtest" / ".cookie"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = [*self._options, "-dnsseed=0", "-server=1", f"-rpcport={self.port}"]
        self._process = subprocess.Popen(
            [BINARY, f"-datadir={self.folder}", *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_until(lambda: self.answers("uptime") is not None, "the node does not answer")

    def call(self, method: str, *params: object) -> Any:
        """Call anything with the cookie, as another program of the house would."""
        body = json.dumps({"id": 1, "method": method, "params": list(params)}).encode()
        header = "Basic " + b64encode(self.cookie.read_bytes()).decode()
        request = urllib.request.Request(self.url, body, {"Authorization": header})
        with urllib.request.urlopen(request, timeout=300) as answer:
            return json.loads(answer.read())["result"]

    def answers(self, method: str) -> Any:
        """Call a method; None while the node does not answer."""
        try:
            return self.call(method)
        except (OSError, urllib.error.URLError):
            return None

    def stop(self) -> None:
        """Stop it, if it runs."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(300)
            self._process = None
