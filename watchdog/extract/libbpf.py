"""libbpf by ctypes: the few calls that `watchdog extract` makes. The library is the system's, never a copy."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable
from ctypes import c_bool, c_char_p, c_int, c_size_t, c_uint32, c_uint64, c_void_p
from typing import Final

from watchdog.core.errors import WatchdogError

LIBRARY: Final = "libbpf.so.1"
SLEEPABLE: Final = 1 << 4  # BPF_F_SLEEPABLE, include/uapi/linux/bpf.h
LOG_LINES: Final = 20  # of libbpf, in an error
PACKAGE: Final = "libbpf1 (Debian, Ubuntu) or libbpf (Fedora)"


class ExtractError(WatchdogError):
    """Tracepoints cannot be read here: something is not installed, not permitted or not offered."""


class UprobeOptions(ctypes.Structure):
    """struct bpf_uprobe_opts of libbpf.h."""

    _fields_ = (
        ("sz", c_size_t),
        ("ref_ctr_offset", c_size_t),
        ("bpf_cookie", c_uint64),
        ("retprobe", c_bool),
        ("func_name", c_char_p),
    )


_CALLS: Final[dict[str, tuple[type, tuple[type, ...]]]] = {
    "bpf_object__open_file": (c_void_p, (c_char_p, c_void_p)),
    "bpf_object__load": (c_int, (c_void_p,)),
    "bpf_object__close": (type(None), (c_void_p,)),
    "bpf_object__find_map_by_name": (c_void_p, (c_void_p, c_char_p)),
    "bpf_object__find_program_by_name": (c_void_p, (c_void_p, c_char_p)),
    "bpf_map__fd": (c_int, (c_void_p,)),
    "bpf_map__max_entries": (c_uint32, (c_void_p,)),
    "bpf_map__initial_value": (c_void_p, (c_void_p, c_void_p)),
    "bpf_map_update_elem": (c_int, (c_int, c_void_p, c_void_p, c_uint64)),
    "bpf_map_delete_elem": (c_int, (c_int, c_void_p)),
    "bpf_program__set_flags": (c_int, (c_void_p, c_uint32)),
    "bpf_program__attach": (c_void_p, (c_void_p,)),
    "bpf_program__fd": (c_int, (c_void_p,)),
    "bpf_program__set_expected_attach_type": (c_int, (c_void_p, c_int)),
    "bpf_program__attach_uprobe_opts": (c_void_p, (c_void_p, c_int, c_char_p, c_size_t, c_void_p)),
    "bpf_link__destroy": (c_int, (c_void_p,)),
    "libbpf_set_print": (c_void_p, (c_void_p,)),
}


class Libbpf:
    """The library, with its error numbers as exceptions. `log` returns the lines that it has written since the last."""

    def __init__(self, log: Callable[[], str], print_to: int) -> None:
        try:
            self._library = ctypes.CDLL(LIBRARY, use_errno=True)
            for name, (result, arguments) in _CALLS.items():
                call = getattr(self._library, name)
                call.restype, call.argtypes = (None if result is type(None) else result), arguments
        except (OSError, AttributeError) as error:
            raise ExtractError(f"{LIBRARY} cannot be used ({error}); install {PACKAGE}, version 1.0 or later") from None
        self._log = log
        self._library.libbpf_set_print(print_to)

    def pointer(self, what: str, name: str, *arguments: object) -> int:
        """Call a function that returns a pointer; ExtractError with the reason where it returns none."""
        ctypes.set_errno(0)
        found = getattr(self._library, name)(*arguments)
        if not found:
            raise self._failure(what, ctypes.get_errno())
        return int(found)

    def number(self, what: str, name: str, *arguments: object) -> int:
        """Call a function that returns a number; ExtractError where that is negative."""
        ctypes.set_errno(0)
        found = int(getattr(self._library, name)(*arguments))
        if found < 0:
            raise self._failure(what, ctypes.get_errno() or -found)
        return found

    def call(self, name: str, *arguments: object) -> None:
        """Call a function whose result does not matter."""
        getattr(self._library, name)(*arguments)

    def _failure(self, what: str, number: int) -> ExtractError:
        reason = os.strerror(number).lower() if number else "no reason given"
        if number == errno.EPERM:
            reason += " (CAP_BPF and CAP_PERFMON are needed)"
        lines = [line.strip() for line in self._log().splitlines() if line.strip()]
        return ExtractError(": ".join([f"{what}: {reason}", *lines[:LOG_LINES]]))
