"""Ways to hear a node that are no files: ZMQ and IPC."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Final
from urllib.parse import urlsplit

from watchdog.core.text import printable
from watchdog.doctor.hang_guard import Deadline
from watchdog.doctor.nodes import DetectedNode
from watchdog.doctor.report import NodeDoor
from watchdog.sources.registry import SCHEMES

TOPICS: Final = ("hashblock", "sequence")  # what the watchdog reads of Core's five
PORT: Final = 28332  # of Core's own examples, doc/zmq.md
CONNECT_S: Final = 1.0
INSTALL: Final = "pip install 'bitcoin-watchdog[zmq]'"
_PLAIN: Final = re.compile(r"(tcp|ipc)://[A-Za-z0-9.:/_@\[\]-]+")
LINES: Final = tuple(f"zmqpub{topic}=tcp://127.0.0.1:{PORT}" for topic in TOPICS)


def zmq_door(node: DetectedNode, deadline: Deadline) -> NodeDoor:
    """Return whether the node publishes what the watchdog reads, and whether its port is open."""
    bound = {topic: values[0] for topic in TOPICS if (values := node.settings.values(f"zmqpub{topic}"))}
    if node.apart or not bound:
        return NodeDoor("zmq", "optional", "closed: it would report each block and mempool entry at once", LINES)
    endpoints = {topic: reached_at(endpoint) for topic, endpoint in bound.items()}
    return zmq_door_of(endpoints, deadline)


def zmq_door_of(endpoints: Mapping[str, str], deadline: Deadline) -> NodeDoor:
    """Return the door of these endpoints, by topic. Only loopback is tried: other hosts are not this machine's."""
    shown = ", ".join(f"{topic} at {printable(endpoint)}" for topic, endpoint in endpoints.items())
    for endpoint in dict.fromkeys(endpoints.values()):
        if fault := endpoint_fault(endpoint, deadline):
            return NodeDoor("zmq", "problem", f"{printable(endpoint)}: {fault}")
    if "zmq" not in SCHEMES:
        return NodeDoor("zmq", "optional", f"open ({shown}), but this version does not read it")
    if find_spec("zmq") is None:
        return NodeDoor("zmq", "optional", f"open ({shown}), but the package pyzmq is missing", (INSTALL,))
    plain = all(_PLAIN.fullmatch(endpoint) for endpoint in endpoints.values())
    place = ",".join(f"{topic}={endpoint}" for topic, endpoint in endpoints.items())
    return NodeDoor("zmq", "ok", shown, source=f"zmq:{place}" if plain else "", keys=endpoints)


def reached_at(endpoint: str) -> str:
    """Return where to connect to an endpoint that a node binds: any address of the machine is reached on loopback."""
    for every, loopback in (("tcp://*:", "tcp://127.0.0.1:"), ("tcp://0.0.0.0:", "tcp://127.0.0.1:"),
                            ("tcp://[::]:", "tcp://[::1]:")):  # fmt: skip
        if endpoint.startswith(every):
            return loopback + endpoint.removeprefix(every)
    return endpoint


def endpoint_fault(endpoint: str, deadline: Deadline) -> str:
    """Return why a loopback endpoint is closed; empty when it is open, or not ours to try."""
    try:
        parts = urlsplit(endpoint)
        address, port = ipaddress.ip_address(parts.hostname or ""), parts.port
    except ValueError:
        return ""
    if parts.scheme != "tcp" or not port or not address.is_loopback:
        return ""
    try:
        with socket.create_connection((str(address), port), timeout=max(0.01, min(CONNECT_S, deadline.left_s))):
            return ""
    except OSError as error:
        return (error.strerror or "no answer").lower()
