"""A service on polls of a mempool as it is seen from outside: API with a token, receivers, event stream."""

from __future__ import annotations

import json
import threading
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.rulesets import ESCALATING_MEMPOOL
from tests.support.waiting import LIMIT_S, wait_until

TOKEN = "open-sesame-open-sesame"
CONFIG = """
sources: snapshots:snapshots.jsonl
start: beginning
rules: rules.yaml
packs: false
checkpoint: {{every: 1s, folder: state}}
api: {{listen: "127.0.0.1:{port}", token: {{file: token}}}}
{receivers}
"""


def configure(folder: Path, port: int, **urls: str) -> None:
    """Write the configuration. urls: of receivers for incidents, by name."""
    keys = "about: incidents, allow_private: true, rate_per_minute: 0"
    parts = [f'  {name}: {{url: "{url}", {keys}}}\n' for name, url in urls.items()]
    named = "receivers:\n" + "".join(parts) if parts else ""
    (folder / "watchdog.yaml").write_text(CONFIG.format(port=port, receivers=named))


def prepare(folder: Path) -> None:
    """Write all else that it reads; nothing has been polled."""
    (folder / "state").mkdir()
    (folder / "token").write_text(f"{TOKEN}\n")
    (folder / "token").chmod(0o600)
    (folder / "rules.yaml").write_text(ESCALATING_MEMPOOL)
    (folder / "snapshots.jsonl").write_text("")


class Stream:
    """What the event stream says, read by a thread of its own."""

    def __init__(self, port: int) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []  # Any: JSON of the service
        self._answer = urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/events/stream", timeout=LIMIT_S)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        event = ""
        for line in self._answer:
            name, _, value = line.decode("ascii").rstrip("\n").partition(": ")
            if name == "event":
                event = value
            if name == "data":
                self.events.append((event, json.loads(value)))

    def until(self, wanted: Callable[[str, dict[str, Any]], bool]) -> dict[str, Any]:
        """The first event like this."""

        def matching() -> list[dict[str, Any]]:
            return [data for event, data in list(self.events) if wanted(event, data)]

        return wait_until(matching, lambda: f"not among {self.events}")[0]
