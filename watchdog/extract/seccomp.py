"""The system calls that remain after the start: a list, as a classic BPF program of the kernel's seccomp.

Not on it: starting programs, tracing or signalling others, sockets of any kind, connecting, mounting, changing users.
A call that is not on the list fails with EPERM. Threads stay possible, processes do not.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from typing import Final

from watchdog.extract.libbpf import ExtractError
from watchdog.extract.privileges import libc

# name -> number on x86_64 and on aarch64 (asm/unistd.h); None: that machine does not have it
CALLS: Final[dict[str, tuple[int | None, int | None]]] = {
    # files that are open, or read only
    "read": (0, 63), "write": (1, 64), "close": (3, 57), "fstat": (5, 80), "lseek": (8, 62), "pread64": (17, 67),
    "readv": (19, 65), "writev": (20, 66), "access": (21, None), "stat": (4, None), "lstat": (6, None),
    "readlink": (89, None), "newfstatat": (262, 79), "statx": (332, 291), "openat": (257, 56), "open": (2, None),
    "readlinkat": (267, 78), "getdents64": (217, 61), "faccessat": (269, 48), "faccessat2": (439, 439),
    "getcwd": (79, 17), "dup": (32, 23), "fcntl": (72, 25), "ioctl": (16, 29), "unlink": (87, None),
    "unlinkat": (263, 35), "flock": (73, 32),
    # memory
    "mmap": (9, 222), "mprotect": (10, 226), "munmap": (11, 215), "brk": (12, 214), "mremap": (25, 216),
    "madvise": (28, 233), "membarrier": (324, 283),
    # time, waiting, threads
    "nanosleep": (35, 101), "clock_nanosleep": (230, 115), "clock_gettime": (228, 113), "clock_getres": (229, 114),
    "gettimeofday": (96, 169), "times": (100, 153), "getrusage": (98, 165), "futex": (202, 98),
    "sched_yield": (24, 124), "sched_getaffinity": (204, 123),
    "set_robust_list": (273, 99), "rseq": (334, 293), "exit": (60, 93),
    "exit_group": (231, 94), "restart_syscall": (219, 128), "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139), "sigaltstack": (131, 132), "tgkill": (234, 131), "getpid": (39, 172),
    "gettid": (186, 178), "getuid": (102, 174), "geteuid": (107, 175), "getgid": (104, 176), "getegid": (108, 177),
    "getrandom": (318, 278), "uname": (63, 160), "prlimit64": (302, 261), "sysinfo": (99, 179),
    # events and accepted connections
    "poll": (7, None), "ppoll": (271, 73), "select": (23, None), "pselect6": (270, 72), "epoll_wait": (232, None),
    "epoll_pwait": (281, 22), "epoll_ctl": (233, 21), "eventfd2": (290, 19), "pipe2": (293, 59),
    "accept": (43, 202), "accept4": (288, 242), "recvfrom": (45, 207), "recvmsg": (47, 212), "sendto": (44, 206),
    "sendmsg": (46, 211), "shutdown": (48, 210), "getsockname": (51, 204), "getpeername": (52, 205),
    "getsockopt": (55, 209), "setsockopt": (54, 208),
    # the work
    "bpf": (321, 280), "perf_event_open": (298, 241), "pidfd_open": (434, 434),
}  # fmt: skip
CLONE: Final = (56, 220)
CLONE3: Final = (435, 435)
MACHINES: Final = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # AUDIT_ARCH_*, include/uapi/linux/audit.h
X32_BIT: Final = 0x40000000  # numbers from here on are another ABI of x86_64

CLONE_THREAD: Final = 0x00010000
LOAD, EQUAL, AT_LEAST, SET, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, JGE, JSET, BPF_RET|K
ALLOW, REFUSE, KILL = 0x7FFF0000, 0x00050000, 0x80000000  # SECCOMP_RET_*, include/uapi/linux/seccomp.h
NUMBER_AT, MACHINE_AT, FIRST_ARGUMENT_AT = 0, 4, 16  # in struct seccomp_data
SECCOMP_CALL: Final = {"x86_64": 317, "aarch64": 277}
SET_MODE_FILTER, FLAG_TSYNC = 1, 1


class _Filter(ctypes.Structure):
    _fields_ = (("size", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def _step(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("=HBBI", code, yes, no, value)


def rules(machine: str) -> bytes:
    """Return the filter for a machine. KeyError: one that is not known."""
    column = list(MACHINES).index(machine)
    numbers = sorted(number for numbers in CALLS.values() if (number := numbers[column]) is not None)
    steps = [
        _step(LOAD, MACHINE_AT),
        _step(EQUAL, MACHINES[machine], 1, 0),
        _step(RETURN, KILL),
        _step(LOAD, NUMBER_AT),
    ]
    steps += [_step(AT_LEAST, X32_BIT, 0, 1), _step(RETURN, REFUSE | errno.EPERM)]
    for number in numbers:
        steps += [_step(EQUAL, number, 0, 1), _step(RETURN, ALLOW)]
    # clone3 hides its flags behind a pointer: the C library then uses clone
    steps += [_step(EQUAL, CLONE3[column], 0, 1), _step(RETURN, REFUSE | errno.ENOSYS)]
    steps += [_step(EQUAL, CLONE[column], 0, 3), _step(LOAD, FIRST_ARGUMENT_AT)]
    steps += [_step(SET, CLONE_THREAD, 0, 1), _step(RETURN, ALLOW), _step(RETURN, REFUSE | errno.EPERM)]
    return b"".join(steps)


def confine() -> None:
    """Refuse all other system calls to every thread of this process. ExtractError where the kernel does not do that."""
    machine = platform.machine()
    if machine not in MACHINES:
        raise ExtractError(f"seccomp on {machine} is not supported")
    filtered = rules(machine)
    program = _Filter(len(filtered) // 8, filtered)
    result = libc().syscall(SECCOMP_CALL[machine], SET_MODE_FILTER, FLAG_TSYNC, ctypes.byref(program))
    if result != 0:
        raise ExtractError(f"seccomp: {os.strerror(ctypes.get_errno()).lower()}")
