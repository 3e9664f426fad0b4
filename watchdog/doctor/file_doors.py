"""Files of a node that this user may or may not read: debug.log, message captures, the asmap."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from watchdog.core.text import printable
from watchdog.doctor.nodes import DetectedNode
from watchdog.doctor.report import Level, NodeDoor
from watchdog.doctor.rights import acl_lines, log_lines, user_name
from watchdog.doctor.small_file import reason
from watchdog.sources.log.categories import LogTail, look_at_tail

DEFAULT_ASMAP: Final = "ip_asn.map"  # Bitcoin Core's DEFAULT_ASMAP_FILENAME
CAPTURES: Final = "message_capture"  # as Bitcoin Core's CaptureMessageToFile names it


def log_door(node: DetectedNode, user: str) -> NodeDoor:
    """Return whether this user can follow debug.log, and which lines it has."""
    if node.folder is None:
        return NodeDoor("log", "optional", "its folder is not seen from here")
    path = node.path("debuglogfile", "debug.log")
    if path is None:
        return NodeDoor("log", "optional", "switched off (debuglogfile)", ("debuglogfile=debug.log",))
    shown = printable(str(path))
    fault, closed = _fault(path, node, folder=False)
    if closed:
        return NodeDoor("log", "optional", f"user {user} may not read {shown}", tuple(log_lines(path.parent, user)))
    if fault:
        return NodeDoor("log", "problem" if node.pid else "optional", f"{shown} {fault}")
    return _readable_log(path, look_at_tail(path), node)


def _readable_log(path: Path, tail: LogTail, node: DetectedNode) -> NodeDoor:
    """Return the door of a log that can be read; its fix names only settings that the node lacks."""
    shown, source = printable(str(path)), f"log:{path}"
    lacking = [name for name, there in (("net", tail.net), ("addrman", tail.addrman)) if there is False]
    if not tail.lines:
        text = f"{shown} has no line with a time at its end (logtimestamps=0?)"
        return NodeDoor("log", "optional", text, ("logtimestamps=1",))
    if lacking:
        names = " and ".join(f"[{name}]" for name in lacking)
        chosen = set(node.settings.values("debug"))
        wanting = tuple(f"debug={name}" for name in lacking if not chosen & {name, "1", "all", ""})
        fix = (*wanting, "logips=1") if wanting and not node.settings.flag("logips", default=False) else wanting
        when = "" if wanting else " yet"
        return NodeDoor("log", "optional", f"{shown} can be read; it has no {names} lines{when}", fix, source)
    return NodeDoor("log", "ok", f"{shown} can be read", source=source)


def capture_door(node: DetectedNode, user: str) -> NodeDoor:
    """Return whether this user can follow the message captures."""
    about = "a debugging option of Bitcoin Core; its files grow without limit"
    if node.folder is None:
        return NodeDoor("capture", "optional", f"its folder is not seen from here; {about}")
    path = node.folder / CAPTURES
    shown = printable(str(path))
    written = node.settings.flag("capturemessages", default=False)
    fault, closed = _fault(path, node, folder=True)
    if closed and (written or node.pid is None):
        level: Level = "problem" if written else "optional"
        return NodeDoor("capture", level, f"user {user} may not read {shown}", tuple(acl_lines(path, user)))
    if fault or closed:
        if written:
            return NodeDoor("capture", "optional", f"{shown} {fault or 'is closed'} (yet)")
        return NodeDoor("capture", "optional", f"closed: {about}", ("capturemessages=1",))
    if node.pid is not None and not written:
        return NodeDoor("capture", "optional", f"{shown} is old: the node runs without capturemessages", ())
    return NodeDoor("capture", "ok", f"{shown} can be read", source=f"capture:{path}")


def asmap_door(node: DetectedNode) -> NodeDoor:
    """Return whether the node spreads its peers by AS, and whether the same file serves the watchdog."""
    given = node.settings.value("asmap")
    if given is None or node.folder is None:
        return NodeDoor("asmap", "optional", "closed: it would name the AS of each address", ("asmap=ip_asn.map",))
    path = node.folder / (DEFAULT_ASMAP if given in {"", "1"} else given)
    shown = printable(str(path))
    fault, closed = _fault(path, node, folder=False)
    if fault or closed:
        return NodeDoor("asmap", "problem", f"{shown} {fault or 'cannot be read by this user'}")
    return NodeDoor("asmap", "ok", f"{shown} can be read", source=str(path))


def _fault(path: Path, node: DetectedNode, *, folder: bool) -> tuple[str, bool]:
    """Return what is wrong with a path (empty for nothing), and whether rights are what keeps this user out.

    A file that belongs to another user than the node is not read: a stranger's node may name any file as its log.
    """
    try:
        about = path.stat()
    except PermissionError:
        return "", True
    except (OSError, ValueError) as error:
        return ("does not exist" if isinstance(error, FileNotFoundError) else _words(error)), False
    wanted = stat.S_ISDIR if folder else stat.S_ISREG
    if not wanted(about.st_mode):
        return f"is no {'folder' if folder else 'regular file'}", False
    if node.owner is not None and about.st_uid != node.owner:
        return f"belongs to user {user_name(about.st_uid)}, not to that of the node", False
    mode = os.R_OK | (os.X_OK if folder else 0)
    return "", not os.access(path, mode, effective_ids=bool(os.supports_effective_ids))


def _words(error: OSError | ValueError) -> str:
    return reason(error) if isinstance(error, OSError) else "is no path"
