"""A node as its host sees it: `python -m tests.support.install_node FOLDER ENDPOINT`, as the user of the node.

Writes debug.log as Bitcoin Core does (reopened on SIGHUP) and publishes over ZMQ. Ends on SIGTERM.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

from tests.support.zmq_node import ZmqNode


def main(folder: Path, endpoint: str) -> None:
    """Run until SIGTERM: a block of about each second, and lines of the log."""
    os.umask(0o077)  # Bitcoin Core src/init.cpp
    ended, reopened = threading.Event(), threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    signal.signal(signal.SIGHUP, lambda *_: reopened.set())
    path = folder / "debug.log"
    log = path.open("a")

    def say(text: str) -> None:
        log.write(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}Z {text}\n")
        log.flush()

    node = ZmqNode(endpoint)
    say("Bitcoin Core version v29.0.0 (release build)")
    height = 0
    while not ended.wait(0.5):
        if reopened.is_set():
            reopened.clear()
            log.close()
            log = path.open("a")
        height += 1
        node.tip()
        say(f"[net] received: ping (8 bytes) peer={height}")
    say("Shutdown: done")
    node.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
