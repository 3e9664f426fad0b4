"""The sources of a configuration, tried as the service would use them, beside the nodes that were found."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from watchdog.core.text import printable
from watchdog.doctor.examine import DoorAnswer, door_calls, node_report
from watchdog.doctor.far_doors import zmq_door_of
from watchdog.doctor.file_doors import CAPTURES
from watchdog.doctor.hang_guard import Answer, Deadline, ask_all
from watchdog.doctor.ipc_door import ipc_door_of, sockets_of
from watchdog.doctor.nodes import DetectedNode
from watchdog.doctor.report import DOORS, DoctorNode, DoorName, NodeDoor
from watchdog.doctor.rpc_door import Heard, ask_methods, open_door, url_of
from watchdog.doctor.tracepoint_door import socket_door
from watchdog.service.config.settings import ServiceConfig
from watchdog.service.source_paths import path_problems, user
from watchdog.sources.registry import split_source
from watchdog.sources.rpc.errors import RpcCredentialsError, RpcUnauthorizedError
from watchdog.sources.rpc.methods import LINES_FOR_NODE, WHY_THREE
from watchdog.sources.rpc.settings import credentials_of
from watchdog.sources.rpc.url import NodeUrl

DOOR_OF: Final[Mapping[str, DoorName]] = {
    "rpc": "rpc", "snapshots": "rpc", "zmq": "zmq", "log": "log", "capture": "capture", "stream": "tracepoints",
    "ipc": "ipc",
}  # fmt: skip
"""The door that a source goes through, by scheme; recordings go through none."""


@dataclass(slots=True)
class Configured:
    """One node of the configuration. sources: texts by door. others: sources that go through none.

    node: the one of this machine that it means; None for a node elsewhere, or one that does not run.
    """

    name: str
    sources: dict[DoorName, str] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)
    node: DetectedNode | None = None


def configured_nodes(config: ServiceConfig, found: Sequence[DetectedNode]) -> list[Configured]:
    """Return the nodes of a configuration, each with the node of this machine that has its RPC or its files."""
    made = []
    for settings in config.nodes:
        one = Configured(settings.name)
        for text in settings.sources:
            scheme = split_source(text)[0]
            if scheme in DOOR_OF:
                one.sources.setdefault(DOOR_OF[scheme], text)
            else:
                one.others.append(text)
        one.node = next((node for node in found if _means(one.sources.values(), node)), None)
        made.append(one)
    return made


def configured_reports(
    config: ServiceConfig, found: Sequence[DetectedNode], deadline: Deadline
) -> tuple[list[DoctorNode], list[DoctorNode]]:
    """Try all sources and all other doors at once; return the configured nodes, then those that no source means.

    An RPC that the configuration names is asked once, with the credentials of the configuration.
    """
    chosen = configured_nodes(config, found)
    rest = [node for node in found if all(one.node is not node for one in chosen)]
    calls: dict[tuple[int, str], Callable[[], DoorAnswer]] = {}
    who = user()
    for number, one in enumerate(chosen):
        own = {} if one.node is None else door_calls(one.node, who, deadline)
        own = {**own, **_source_calls(one, config, deadline)}
        calls |= {(number, name): call for name, call in own.items()}
    for number, node in enumerate(rest, len(chosen)):
        calls |= {(number, name): call for name, call in door_calls(node, who, deadline).items()}
    answers = ask_all(calls, deadline)

    def of(number: int) -> dict[str, Answer[DoorAnswer] | None]:
        return {name: answers.get((number, name)) for name in DOORS if (number, name) in calls}

    reports = [_report(one, config, of(number)) for number, one in enumerate(chosen)]
    return reports, [node_report(node, of(number)) for number, node in enumerate(rest, len(chosen))]


def _means(texts: Iterable[str], node: DetectedNode) -> bool:
    """Return whether one of these sources reads this node."""
    return any(_is_of(*split_source(text), node) for text in texts)


def _is_of(scheme: str, place: str, node: DetectedNode) -> bool:
    if scheme == "rpc":
        url, own = NodeUrl.of(place), None if node.apart else url_of(node)
        return own is not None and url.is_loopback and url.port == own.port
    if node.folder is None:
        return False
    if scheme == "ipc":
        return any(os.path.normpath(place) == os.path.normpath(own) for own in sockets_of(node))
    paths = {"log": node.path("debuglogfile", "debug.log"), "capture": node.folder / CAPTURES}
    own_path = paths.get(scheme)
    return own_path is not None and os.path.normpath(place) == os.path.normpath(own_path)


def _source_calls(one: Configured, config: ServiceConfig, deadline: Deadline) -> dict[str, Callable[[], DoorAnswer]]:
    return {
        door: _caller(door, text, config.source_settings.get(text, {}), deadline) for door, text in one.sources.items()
    }


def _caller(door: DoorName, text: str, settings: Mapping[str, object], deadline: Deadline) -> Callable[[], DoorAnswer]:
    if split_source(text)[0] == "rpc":
        return lambda: _rpc(text, settings, deadline)
    if split_source(text)[0] == "zmq":
        return lambda: _zmq(text, deadline)
    if split_source(text)[0] == "stream":
        return lambda: _stream(text, deadline)
    if split_source(text)[0] == "ipc":
        return lambda: _ipc(text, settings, deadline)
    return lambda: _path(door, text, settings)


def _rpc(text: str, settings: Mapping[str, object], deadline: Deadline) -> tuple[NodeDoor, Heard]:
    """Ask a configured RPC as the service would."""
    url = NodeUrl.of(split_source(text)[1])
    heard = ask_methods(url, credentials_of(url, settings), deadline)
    failure = heard.failure
    if failure is None:
        chain = settings.get("chain")
        door = open_door(url, heard, chain if isinstance(chain, str) else None, {})
        return replace(door, source=text if door.source else ""), heard
    fix: tuple[str, ...] = ()
    if isinstance(failure, (RpcCredentialsError, RpcUnauthorizedError)):
        fix = (*LINES_FOR_NODE, f"# {WHY_THREE}")
    return NodeDoor("rpc", "problem", f"{url.shown}: {failure.why}", fix), heard


def _zmq(text: str, deadline: Deadline) -> NodeDoor:
    """Try the endpoints of a configured source."""
    parts = (part.partition("=") for part in split_source(text)[1].split(","))
    door = zmq_door_of({topic: endpoint for topic, _, endpoint in parts}, deadline)
    return replace(door, source=text if door.level == "ok" else "")


def _stream(text: str, deadline: Deadline) -> NodeDoor:
    """Try the socket of a configured stream."""
    door = socket_door(Path(split_source(text)[1]), user(), deadline)
    return replace(door, source=text if door.level == "ok" else "")


def _ipc(text: str, settings: Mapping[str, object], deadline: Deadline) -> NodeDoor:
    """Connect to the socket of a configured source."""
    found = path_problems(text, settings)
    if found:
        return NodeDoor("ipc", "problem", "; ".join(one.text for one in found))
    door = ipc_door_of(Path(split_source(text)[1]), deadline)
    return replace(door, source="" if door.level == "problem" else text)


def _path(door: DoorName, text: str, settings: Mapping[str, object]) -> NodeDoor:
    """Look at the path of a configured source."""
    place = Path(split_source(text)[1])
    found = path_problems(text, settings)
    wrong = [one.text for one in found if one.mistake]
    if wrong or (found and not place.exists()):
        return NodeDoor(door, "problem", "; ".join(wrong or [one.text for one in found]))
    if found:
        return NodeDoor(door, "optional", "; ".join(one.text for one in found), source=text)
    return NodeDoor(door, "ok", f"{printable(text)} can be read", source=text)


def _report(one: Configured, config: ServiceConfig, answers: Mapping[str, Answer[DoorAnswer] | None]) -> DoctorNode:
    """Return the report of a configured node: its sources, and the doors that it does not use."""
    base = node_report(one.node, answers, one.name)
    doors = [_unused(door) if door.door not in one.sources else door for door in base.doors]
    if config.asmap is not None:
        there = os.access(config.asmap, os.R_OK)
        text = f"{printable(config.asmap)} {'can be read' if there else 'cannot be read by this user'}"
        asmap = NodeDoor("asmap", "ok" if there else "problem", text, source=config.asmap if there else "")
        doors = [asmap if door.door == "asmap" else door for door in doors]
    return replace(base, doors=tuple(doors))


def _unused(door: NodeDoor) -> NodeDoor:
    """Return a door that the configuration does not name: it may be open or closed, but gives nothing now."""
    if door.door == "asmap":
        return door if door.level == "problem" else replace(door, source="")
    level = "optional" if door.level == "ok" or door.door == "rpc" else door.level
    if not door.source:
        return replace(door, level=level)
    scheme, _, place = door.source.partition(":")
    line = f"# in watchdog.yaml: - {scheme}: {printable(place)}" if place else f"# in watchdog.yaml: - {scheme}: ..."
    return replace(door, level=level, text=f"{door.text}; not in the configuration", source="", fix=(line,))
