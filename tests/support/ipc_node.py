"""A node that plays Bitcoin Core over IPC: a process of its own behind a real Unix socket."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.fake_node import v30

ROOT = Path(__file__).resolve().parents[2]
OLD_S = 3_600.0


def answers(height: int = 100) -> dict[str, Any]:
    """Return the answers of a healthy node; those that need parameters are fixed."""
    return {method: one if not callable(one) else one([height]) for method, one in v30(height).items()}


class IpcNode:
    """Starts the process and moves it; a context manager that ends it. layout: of `tests.support.ipc_wire.INITS`."""

    def __init__(self, folder: Path, layout: str = "v31-rpc", **state: Any) -> None:
        self.socket, self.layout, self._state = folder / "node.sock", layout, state
        self._process: subprocess.Popen[str] | None = None
        self.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.end()

    def start(self, layout: str = "", *, age_s: float = OLD_S) -> None:
        """Start it, and wait until it listens. age_s: how long ago it claims to have made its socket."""
        self.layout = layout or self.layout
        self.socket.unlink(missing_ok=True)
        command = [sys.executable, "-m", "tests.support.ipc_node_process", str(self.socket), self.layout]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        self._say(answers())
        made_s = time.time() - age_s
        os.utime(self.socket, (made_s, made_s))
        if self._state:
            self.set(**self._state)

    @property
    def status(self) -> int | None:
        """With what it ended; None while it runs."""
        assert self._process is not None
        return self._process.poll()

    def set(self, **state: Any) -> None:
        """Change attributes of its `World`."""
        self._say({"do": "set", **state})

    def tip(self, height: int, branch: int = 0) -> None:
        """Give it another tip."""
        self._say({"do": "tip", "height": height, "branch": branch})

    def answer(self, **answers: Any) -> None:
        """Change answers by method."""
        self._say({"do": "answer", "answers": answers})

    def notify(self, do: str, **of: Any) -> None:
        """Call its subscribers, and wait until they have returned."""
        told = self._say({"do": do, **of})
        assert not told, told

    def report(self) -> Counter[str]:
        """Return what clients did, counted; 0 for what they did not."""
        return Counter(self._say({"do": "report"}))

    def end(self) -> None:
        """End it, as at kill -9."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait(300)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process = None

    def _say(self, line: dict[str, Any]) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(line) + "\n")
        self._process.stdin.flush()
        told = self._process.stdout.readline()
        assert told, f"the fake node ended with {self._process.wait(300)}"
        return dict(json.loads(told))
