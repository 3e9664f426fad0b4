"""Ports of loopback for programs that cannot choose one themselves."""

from __future__ import annotations

import random
import socket
from pathlib import Path
from typing import Final

LEAST: Final = 10_000  # below are ports of well-known services
TRIES: Final = 100
GIVEN_OUT: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_port() -> int:
    """Return a port of loopback on which nothing listens now.

    It lies below those that the system gives out by itself: a program needs a second until it listens there, and other
    tests open connections and servers all the time.
    """
    beyond = int(GIVEN_OUT.read_text(encoding="ascii").split()[0]) if GIVEN_OUT.exists() else 0
    chance = random.SystemRandom()
    for _ in range(TRIES if beyond > LEAST + TRIES else 0):
        port = chance.randrange(LEAST, beyond)
        if _is_free(port):
            return port
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _is_free(port: int) -> bool:
    with socket.socket() as one:
        try:
            one.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
