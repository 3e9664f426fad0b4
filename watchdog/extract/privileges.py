"""Giving up rights: root, all capabilities but two, and nearly all system calls.

Order: bind the socket and open the binary as root, `drop`, load and attach, `confine`. Nothing here can be undone.
"""

from __future__ import annotations

import ctypes
import grp
import os
import platform
import pwd
import socket
import stat
from pathlib import Path
from typing import Final

from watchdog.core.text import printable
from watchdog.extract.libbpf import ExtractError

CAP_SETPCAP: Final = 8  # include/uapi/linux/capability.h
CAP_PERFMON: Final = 38
CAP_BPF: Final = 39
KEPT: Final = (CAP_PERFMON, CAP_BPF)
LAST_CAP: Final = Path("/proc/sys/kernel/cap_last_cap")
NOBODY: Final = 65_534  # the user id of `nobody`, used beside a node that runs as root
SOCKET_MODE: Final = 0o660
BACKLOG: Final = 64

# include/uapi/linux/prctl.h
PR_SET_KEEPCAPS, PR_CAPBSET_DROP, PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 8, 24, 4, 38, 47
PR_CAP_AMBIENT_CLEAR_ALL: Final = 4
CAPABILITY_VERSION: Final = 0x20080522
_CAPSET: Final = {"x86_64": 126, "aarch64": 91}  # asm/unistd.h


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def libc() -> ctypes.CDLL:
    """Return the C library, with error numbers."""
    return ctypes.CDLL(None, use_errno=True)


def capabilities(which: str = "CapEff") -> int:
    """Return the effective capabilities of this process, or another set of them, as bits."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{which}:"):
            return int(line.split()[1], 16)
    return 0


def check_rights() -> None:
    """ExtractError when this process lacks what loading and attaching need."""
    missing = [
        name for name, bit in (("CAP_BPF", CAP_BPF), ("CAP_PERFMON", CAP_PERFMON)) if not capabilities() >> bit & 1
    ]
    if missing:
        raise ExtractError(
            f"{' and '.join(missing)} missing: run it as root (rights are given up after the start), or as a service "
            "with AmbientCapabilities=CAP_BPF CAP_PERFMON"
        )


def bind(path: Path, group: str | None) -> socket.socket:
    """Return a listening socket that its owner and the group may use. ExtractError: the path is taken, or not writable.

    A socket that a killed extractor left behind is replaced.
    """
    shown = printable(str(path))
    listener = socket.socket(socket.AF_UNIX)
    mask = os.umask(0o777 & ~SOCKET_MODE)
    try:
        _remove_stale(path)
        own, wanted = os.getegid(), _group_id(group) if group is not None else os.getegid()
        if wanted != own and os.geteuid() == 0:
            os.setegid(wanted)  # the socket is made for that group: its name, which others may swap, is not used again
        try:
            listener.bind(os.fsencode(path))
        finally:
            os.setegid(own)
        if wanted != own and os.geteuid() != 0:
            os.chown(path, -1, wanted, follow_symlinks=False)
        listener.listen(BACKLOG)
    except (OSError, ValueError) as error:
        listener.close()
        reason = (error.strerror or str(error)).lower() if isinstance(error, OSError) else str(error)
        raise ExtractError(f"'{shown}': {reason}") from None
    finally:
        os.umask(mask)
    return listener


def _remove_stale(path: Path) -> None:
    try:
        status = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(status.st_mode):
        raise OSError(0, "there is a file of this name that is no socket")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(os.fsencode(path))
        except ConnectionRefusedError:
            path.unlink()
        else:
            raise OSError(0, "another process serves this socket")


def _group_id(name: str) -> int:
    try:
        return int(name) if name.isdigit() else grp.getgrnam(name).gr_gid
    except KeyError:
        raise ValueError(f"there is no group '{printable(name)}'") from None


def drop(user: int | None) -> int:
    """Give up root and all capabilities but CAP_BPF and CAP_PERFMON; return the user id that remains.

    user: the node's user, so that its pid file and binary stay readable; None or root: switch to `nobody`.
    """
    library = libc()
    if os.geteuid() == 0:
        _drop_bounding(library)
        becoming = user or NOBODY
        group = _primary_group(becoming)
        _must(library.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0), "keep capabilities")
        os.setgroups([])
        os.setresgid(group, group, group)
        os.setresuid(becoming, becoming, becoming)
    library.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    _keep_two(library)
    _must(library.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "give up new privileges")
    _must(library.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0), "refuse debuggers")
    return os.geteuid()


def _primary_group(user: int) -> int:
    try:
        return pwd.getpwuid(user).pw_gid
    except KeyError:
        return NOBODY


def _drop_bounding(library: ctypes.CDLL) -> None:
    """No program that this one could start may get other capabilities; it may start none, either."""
    last = int(LAST_CAP.read_text(encoding="ascii"))
    for capability in range(last + 1):
        if capability not in KEPT and capability != CAP_SETPCAP:
            library.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    library.prctl(PR_CAPBSET_DROP, CAP_SETPCAP, 0, 0, 0)


def _keep_two(library: ctypes.CDLL) -> None:
    header = _Header(CAPABILITY_VERSION, 0)
    bits = sum(1 << one for one in KEPT)
    if capabilities("CapPrm") == capabilities() == bits:
        return  # as the unit gives them; its filter of system calls does not let us change them either
    low, high = bits & 0xFFFFFFFF, bits >> 32
    sets = (_Sets * 2)(_Sets(low, low, 0), _Sets(high, high, 0))
    number = _CAPSET.get(platform.machine())
    if number is None:
        raise ExtractError(f"capabilities on {platform.machine()} are not supported")
    _must(library.syscall(number, ctypes.byref(header), ctypes.byref(sets)), "keep CAP_BPF and CAP_PERFMON")


def _must(result: int, what: str) -> None:
    if result != 0:
        raise ExtractError(f"cannot {what}: {os.strerror(ctypes.get_errno()).lower()}")
