"""Tracepoints: what the binary of a node has, what the kernel allows, and the socket of the extractor."""

from __future__ import annotations

import ctypes
import errno
import os
import re
import shlex
import socket
import sys
from pathlib import Path
from typing import Final

from watchdog.core.declared import declared
from watchdog.core.errors import SourceError
from watchdog.core.text import counted, printable
from watchdog.doctor.hang_guard import Deadline
from watchdog.doctor.nodes import DetectedNode
from watchdog.doctor.report import NodeDoor
from watchdog.doctor.rights import group_of
from watchdog.extract.elf import program_of, read_binary
from watchdog.extract.releases import CORE_KINDS, PATCHED, TraceOffer, offer_of
from watchdog.sources.registry import SCHEMES

UNIT: Final = "bitcoin-watchdog-extract"
SOCKET: Final = Path(f"/run/{UNIT}/node.sock")  # where the unit of deploy/systemd puts it
LEAST_KERNEL: Final = (5, 15)  # ring buffers, BPF cookies of uprobes and CAP_BPF together
BTF: Final = Path("/sys/kernel/btf/vmlinux")
LIBRARY: Final = "libbpf.so.1"
ANSWER_S: Final = 1.0
MOST_NAMED: Final = 6  # kinds of one line
LIBRARY_LINE: Final = "apt install libbpf1  # or your system's package of libbpf 1"


def tracepoints_door(node: DetectedNode, who: str, deadline: Deadline, path: Path = SOCKET) -> NodeDoor:
    """Return whether a node's tracepoints can be read, and whether an extractor offers them on its usual socket."""
    if node.apart:
        return NodeDoor("tracepoints", "optional", "not seen: the node runs in a container; run the extractor in it")
    if node.pid is None:
        return NodeDoor("tracepoints", "optional", "no process seen; 'watchdog tracepoints PATH' reads a binary")
    try:
        binary = read_binary(program_of(node.pid))
        if not binary.probes:
            return NodeDoor("tracepoints", "optional", "closed: the binary has none, it was built without USDT")
        has = _offered(offer_of(binary, declared()))
    except SourceError as error:
        has = f"not known what the binary has ({error})"
    if _may_exist(path):
        door = socket_door(path, who, deadline)
        return NodeDoor("tracepoints", door.level, f"{door.text}; {has}", door.fix, door.source)
    if faults := kernel_faults():
        return NodeDoor("tracepoints", "optional", f"closed: {'; '.join(faults)}; {has}", _library_line(faults))
    return NodeDoor("tracepoints", "optional", f"closed: no extractor runs; {has}", _unit_lines(node.pid, path))


def socket_door(path: Path, who: str, deadline: Deadline) -> NodeDoor:
    """Return whether the socket of a stream takes connections of this user; it is closed again at once."""
    shown = printable(str(path))
    reason = _refusal(path, deadline)
    if not reason:
        source = f"stream:{path}" if "stream" in SCHEMES else ""
        unread = "" if source else ", but this version does not read it"
        return NodeDoor("tracepoints", "ok" if source else "optional", f"{shown} answers{unread}", source=source)
    fix: tuple[str, ...] = ()
    if reason == os.strerror(errno.EACCES).lower():
        fix = (f"usermod -a -G {shlex.quote(_group(path))} {who}  # then restart the watchdog",)
    elif reason == os.strerror(errno.ECONNREFUSED).lower():
        unit = path == SOCKET
        fix = (
            f"systemctl restart {UNIT}" if unit else "# nothing listens: start 'watchdog extract' or 'serve-stream'",
        )
    return NodeDoor("tracepoints", "problem", f"{shown}: {reason}", fix)


def kernel_faults(release: str | None = None, btf: Path = BTF, library: str = LIBRARY) -> list[str]:
    """Return what this machine lacks for an extractor. release: of the kernel; the running one without it."""
    found = []
    if not sys.platform.startswith("linux"):
        return ["tracepoints are read on Linux only"]
    release = os.uname().release if release is None else release
    numbers = re.match(r"(\d{1,4})\.(\d{1,4})", release)
    if numbers is None or (int(numbers[1]), int(numbers[2])) < LEAST_KERNEL:
        least = ".".join(map(str, LEAST_KERNEL))
        found.append(f"kernel {printable(release)} is older than {least}")
    if not btf.exists():
        found.append(f"the kernel has no BTF ({btf})")
    try:
        ctypes.CDLL(library)
    except OSError:
        found.append(f"{library} is not installed")
    return found


def _may_exist(path: Path) -> bool:
    """Return whether there is something, or this user may not look."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def _group(path: Path) -> str:
    """Return the group that may use a socket; where its folder is closed to this user, that of the folder."""
    return group_of(path) or group_of(path.parent) or "watchdog"


def _library_line(faults: list[str]) -> tuple[str, ...]:
    return (LIBRARY_LINE,) if any(one.startswith(LIBRARY) for one in faults) else ()


def _unit_lines(pid: int, path: Path) -> tuple[str, ...]:
    """Return the lines that start an extractor as a unit of its own, and let the watchdog read it."""
    return (
        "# reading tracepoints needs CAP_BPF and CAP_PERFMON, which only a small program of its own gets:",
        f"# deploy/systemd/{UNIT}.service names the binary of process {pid}; docs/INSTALL.md has the steps",
        f"systemctl enable --now {UNIT}",
        f"# in watchdog.yaml: - stream: {path}",
    )


def _offered(offer: TraceOffer) -> str:
    lacks = [kind for kind in offer.lacks if kind not in PATCHED]
    usual = len(CORE_KINDS) - len(PATCHED)
    text = f"the binary ({printable(offer.releases.text)}) has {counted(len(offer.kinds), 'kind')} of events"
    if lacks:
        more = f" and {len(lacks) - MOST_NAMED} more" if len(lacks) > MOST_NAMED else ""
        text += f", and lacks {len(lacks)} of Core's {usual}: {', '.join(lacks[:MOST_NAMED])}{more}"
    if offer.faults:
        text += "; not readable: " + ", ".join(f"{printable(name)} ({why})" for name, why in offer.faults.items())
    return text


def _refusal(path: Path, deadline: Deadline) -> str:
    """Return why a socket refuses a connection; empty when it takes one."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(max(0.01, min(ANSWER_S, deadline.left_s)))
        try:
            client.connect(str(path))
        except OSError as error:
            return (error.strerror or str(error) or "no answer").lower()
    return ""
