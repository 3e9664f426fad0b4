"""Ports of loopback for programs that cannot choose one themselves."""

from __future__ import annotations

import socket


def free_port() -> int:
    """Return a port of loopback on which nothing listens now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
