"""Attaching to many places of a binary with one call of bpf(2): Linux 6.6 and later.

libbpf has this since 1.3; Debian 12 has 1.1, so the call is made here. It asks for no right beyond those that loading
the program needs, while each place by perf_event_open(2) asks for CAP_SYS_ADMIN since Linux 6.16.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
from collections.abc import Sequence
from ctypes import c_uint32, c_uint64
from typing import Final

from watchdog.extract.libbpf import ExtractError
from watchdog.extract.places import Site
from watchdog.extract.privileges import libc

UPROBE_MULTI: Final = 48  # BPF_TRACE_UPROBE_MULTI, include/uapi/linux/bpf.h
LINK_CREATE: Final = 28  # BPF_LINK_CREATE
NO_PROCESS: Final = 0xFFFFFFFF  # -1 as the kernel reads it
CALL: Final = {"x86_64": 321, "aarch64": 280}  # asm/unistd.h


class _LinkCreate(ctypes.Structure):
    """The members of union bpf_attr that BPF_LINK_CREATE reads for this kind of link."""

    _fields_ = (
        ("program", c_uint32),
        ("target", c_uint32),
        ("attach_type", c_uint32),
        ("flags", c_uint32),
        ("path", c_uint64),
        ("offsets", c_uint64),
        ("semaphores", c_uint64),
        ("cookies", c_uint64),
        ("count", c_uint32),
        ("link_flags", c_uint32),
        ("process", c_uint32),
        ("unused", c_uint32),
    )


def _create(program: int, path: str, process: int, places: Sequence[tuple[int, int, int]]) -> int:
    """Return the link's descriptor, or an error number below 0. places: offset, semaphore and cookie of each."""
    name = ctypes.create_string_buffer(os.fsencode(path))
    many = len(places)
    arrays = [(c_uint64 * many)(*column) for column in zip(*places, strict=True)]
    addresses = [ctypes.addressof(one) for one in arrays]
    request = _LinkCreate(program, 0, UPROBE_MULTI, 0, ctypes.addressof(name), *addresses, many, 0, max(process, 0), 0)
    number = CALL.get(platform.machine())
    if number is None:
        return -errno.ENOSYS
    found = int(libc().syscall(number, LINK_CREATE, ctypes.byref(request), ctypes.sizeof(request)))
    return found if found >= 0 else -ctypes.get_errno()


def is_supported(program: int) -> bool:
    """Return whether the kernel knows this kind of link: then it looks at the path, which is no file."""
    return _create(program, "/", -1, [(0, 0, 0)]) == -errno.EBADF


def filters_processes(program: int) -> bool:
    """Return whether a link to one process sees all its threads.

    The first kernels with this kind of link saw the main thread only, and would miss nearly all of a node. Corrected
    ones (Linux 6.10, and updates of older ones) refuse a negative process number before they look at the path.
    """
    return _create(program, "/", NO_PROCESS, [(0, 0, 0)]) == -errno.EINVAL


def create_link(program: int, path: str, process: int, sites: Sequence[Site], cookies: Sequence[int]) -> int:
    """Return the descriptor of a link to these places; closing it detaches. process: -1 for all. ExtractError."""
    places = [(site.offset, site.semaphore, cookie) for site, cookie in zip(sites, cookies, strict=True)]
    found = _create(program, path, process, places)
    if found < 0:
        raise ExtractError(f"attaching: {os.strerror(-found).lower()}")
    return found
