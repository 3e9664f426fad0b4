"""A `watchdog.yaml` for the nodes that were found: with comments to be edited, or as `watchdog run` uses it itself."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from watchdog.core.text import printable
from watchdog.doctor.report import DoctorNode, NodeDoor
from watchdog.service.config.sources import same_source

HEAD: Final = """\
# bitcoin-watchdog, written by 'watchdog init'. 'watchdog check' reads this file, 'watchdog run' runs with it, and
# 'watchdog doctor --config' tries its sources. docs/CONFIG.md explains every key.
"""
TAIL: Final = """
# Alerts. 'watchdog receivers secret > ops.secret' makes the key that signs them, 'watchdog receivers test ops' tries.
# receivers:
#   ops:
#     url: https://example.org/hooks/watchdog
#     secret: {file: ops.secret}
#     severity: warning

# A sign of life: have the receiver alert when it stops.
# heartbeat:
#   receiver: ops
#   every: 5m

# Page and API. Any address but loopback needs a token.
# api:
#   listen: 127.0.0.1:8380

# Where state and history are; the folder of this file without these.
# checkpoint:
#   folder: /var/lib/watchdog
# database: sqlite:////var/lib/watchdog/watchdog.db
"""
USED: Final = ("rpc", "zmq", "log")
"""Doors that are written as sources. A capture is a comment: its files grow without limit."""
_PLAIN: Final = re.compile(r"[A-Za-z0-9/][A-Za-z0-9/._:+@-]*")


def init_text(nodes: Sequence[DoctorNode]) -> str:
    """Return a commented configuration with the open doors of these nodes; it holds no secret."""
    return f"{HEAD}\n{''.join(_nodes(nodes, comments=True))}{TAIL}"


def run_text(nodes: Sequence[DoctorNode], state: Path) -> str:
    """Return the configuration of a first run. state: the folder of checkpoint and database."""
    places = f"checkpoint: {{folder: {_value(str(state))}}}\ndatabase: {_value(f'sqlite:///{state}/watchdog.db')}\n"
    return f"{''.join(_nodes(nodes, comments=False))}{places}"


def writable_sources(node: DoctorNode) -> list[NodeDoor]:
    """Return the doors of a node that become sources; those whose path no text can hold are left out."""
    return [door for door in node.doors if door.door in USED and door.source and _is_text(door)]


def _is_text(door: NodeDoor) -> bool:
    return all(_encodable(text) for text in (door.source, *door.keys.values()))


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # a byte that is no UTF-8
        return False
    return True


def watched_together(nodes: Sequence[DoctorNode]) -> Sequence[DoctorNode]:
    """Return the nodes that one configuration can name: those with sources that no node before them has."""
    taken: set[tuple[str, str]] = set()
    chosen = []
    for node in nodes:
        own = {same_source(door.source) for door in writable_sources(node)}
        if own.isdisjoint(taken):
            chosen.append(node)
            taken |= own
    return chosen


def _nodes(nodes: Sequence[DoctorNode], *, comments: bool) -> Iterator[str]:
    """Yield the lines of one node at the top, of several below `nodes`."""
    several = len(nodes) > 1
    if several:
        yield "nodes:\n"
    for node in nodes:
        indent = "    " if several else ""
        if comments:
            yield f"{'  ' if several else ''}# {_about(node)}\n"
        yield f"  {node.name}:\n" if several else f"node: {node.name}\n"
        yield f"{indent}sources:\n"
        yield from (f"{indent}  {line}\n" for line in _sources(node, comments=comments))


def _about(node: DoctorNode) -> str:
    """Return a line on a node; nothing in it ends the line."""
    words = [node.user_agent or "a node", f"chain {node.chain}", f"in {node.datadir}" if node.datadir else ""]
    return printable(" ".join(word for word in words if word))


def _sources(node: DoctorNode, *, comments: bool) -> Iterator[str]:
    for door in writable_sources(node):
        scheme, _, place = door.source.partition(":")
        if scheme != "zmq":
            yield f"- {scheme}: {_value(place)}"
            yield from (f"  {name}: {_value(value)}" for name, value in door.keys.items())
        else:  # the place is a table: an endpoint for each topic
            yield f"- {scheme}: {{{', '.join(f'{name}: {_value(value)}' for name, value in door.keys.items())}}}"
    for door in node.doors if comments else ():
        if door.door == "capture" and door.source and _is_text(door):
            yield "# Messages, if the node runs with -capturemessages; prune removes files that were read."
            yield f"# - capture: {printable(_value(door.source.partition(':')[2]))}"
            yield "#   prune: {keep: 1GiB}"
    for door in node.doors if comments else ():
        if door.door in USED and not door.source:
            yield f"# {door.door}: {printable(door.text)}"


def _value(text: str) -> str:
    """Return a text as YAML: plain where that is safe, else in double quotes with escapes."""
    return text if _PLAIN.fullmatch(text) and not text.endswith(":") else json.dumps(text)
