"""The IPC socket of a node: whether this user may open it, and what its node offers behind it."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from watchdog.core.text import printable
from watchdog.doctor.hang_guard import Deadline
from watchdog.doctor.nodes import DetectedNode
from watchdog.doctor.report import Level, NodeDoor
from watchdog.doctor.rights import may, user_name
from watchdog.doctor.small_file import reason
from watchdog.sources.ipc.client import IpcClient
from watchdog.sources.ipc.layouts import UNKNOWN, InitLayout
from watchdog.sources.ipc.pipe import Events, Mark, NodeOpened, Tip
from watchdog.sources.rpc.errors import RpcError, RpcWarmupError

DEFAULT: Final = "node.sock"  # Bitcoin Core's -ipcbind=unix, below the folder of the chain
SCHEME: Final = "unix"
ASK_S: Final = 4.0  # as for one call of RPC
LEAVE_S: Final = 1.0
CONTROL: Final = (
    "this socket gives full control of the node, wallets included: where that matters, use rpc with an rpcwhitelist"
)
LINES: Final = ("# needs bitcoin-node (or: bitcoin -m node) of v30 or later", "ipcbind=unix")


class _Nothing:
    """Takes what a node reports by itself: doctor only asks."""

    def opened(self, opened: NodeOpened) -> None:
        """Take note of nothing."""

    def took(self, message: Tip | Events | Mark) -> None:
        """Take note of nothing."""

    def closed(self) -> None:
        """Take note of nothing."""


def sockets_of(node: DetectedNode) -> list[Path]:
    """Return the sockets that a node's settings name; paths are relative to the folder of its chain."""
    if node.folder is None:
        return []
    found = []
    for value in node.settings.values("ipcbind"):
        scheme, _, place = value.partition(":")
        if scheme == SCHEME:
            found.append(node.folder / (place or DEFAULT))
    return found


def ipc_door(node: DetectedNode, user: str, deadline: Deadline) -> NodeDoor:
    """Return whether the node has an IPC socket that this user may open, and what it gives."""
    sockets = sockets_of(node)
    if node.apart or not sockets:
        text = "closed: it would give what rpc gives, without a password and with the tip at once"
        return NodeDoor("ipc", "optional", text, LINES)
    path = sockets[0]
    if fault := _fault(path, node.owner, user):
        level: Level = "problem" if node.pid is not None and "may not" not in fault else "optional"
        return NodeDoor("ipc", level, f"{printable(str(path))} {fault}")
    door = ipc_door_of(path, deadline)
    if door.level != "ok":
        return door
    return NodeDoor("ipc", "ok", door.text, (f"# in watchdog.yaml: - ipc: {printable(str(path))}",))


def ipc_door_of(path: Path, deadline: Deadline) -> NodeDoor:
    """Connect to a socket as the source would, ask what its node offers, and leave."""
    shown = printable(str(path))
    client = IpcClient("doctor", path, _Nothing())
    try:
        client.open(min(ASK_S, deadline.left_s))
        layout = client.layout
    except RpcWarmupError as error:
        return NodeDoor("ipc", "optional", f"{shown}: {error.why}; {CONTROL}")
    except RpcError as error:
        return NodeDoor("ipc", "problem", f"{shown}: {error.why}")
    finally:
        client.leave()
        client.join(min(LEAVE_S, deadline.left_s))
    if layout is None:
        return NodeDoor("ipc", "problem", f"{shown}: the node has closed the connection")
    return NodeDoor("ipc", "ok" if layout.name != UNKNOWN else "optional", f"{shown}: {_words(layout)}; {CONTROL}")


def _words(layout: InitLayout) -> str:
    return f"{layout.about}; it gives {layout.lacks}" if layout.lacks else layout.about


def _fault(path: Path, owner: int | None, user: str) -> str:
    """Return why a socket cannot be opened; empty when it can. A stranger's socket is not opened."""
    try:
        about = path.stat()
    except PermissionError:
        return f"may not be reached by user {user}"
    except (OSError, ValueError) as error:
        return reason(error) if isinstance(error, OSError) else "is no path"
    if not stat.S_ISSOCK(about.st_mode):
        return "is no socket"
    if owner is not None and about.st_uid != owner:
        return f"belongs to user {user_name(about.st_uid)}, not to that of the node"
    return "" if may(path, os.W_OK) else f"may not be opened by user {user}"
