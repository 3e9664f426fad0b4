"""The state of this machine's clock as the kernel keeps it: adjtimex(2), called by ctypes without any right.

NTP daemons (chrony, ntpd, systemd-timesyncd) report to the kernel through the same call, whichever of them runs.
"""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass
from typing import Final

STA_UNSYNC: Final = 0x0040  # Linux include/uapi/linux/timex.h
STA_NANO: Final = 0x2000
TIME_ERROR: Final = 5


class _Timex(ctypes.Structure):
    """struct timex of Linux, include/uapi/linux/timex.h; the C library's has the same layout."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("constant", ctypes.c_long),
        ("precision", ctypes.c_long),
        ("tolerance", ctypes.c_long),
        ("time", ctypes.c_long * 2),
        ("tick", ctypes.c_long),
        ("ppsfreq", ctypes.c_long),
        ("jitter", ctypes.c_long),
        ("shift", ctypes.c_int),
        ("stabil", ctypes.c_long),
        ("jitcnt", ctypes.c_long),
        ("calcnt", ctypes.c_long),
        ("errcnt", ctypes.c_long),
        ("stbcnt", ctypes.c_long),
        ("tai", ctypes.c_int),
        ("reserved", ctypes.c_int * 11),
    )


@dataclass(frozen=True, slots=True)
class KernelClock:
    """synchronised: whether an NTP daemon keeps the clock right; None where the kernel does not say.

    offset_s: seconds that are still to be corrected. error_s: the largest error that the daemon thinks possible.
    """

    synchronised: bool | None
    offset_s: float = 0.0
    error_s: float = 0.0


def kernel_clock() -> KernelClock:
    """Read the kernel's state; it changes nothing and never waits."""
    try:
        call = ctypes.CDLL(None, use_errno=True).adjtimex
    except (OSError, AttributeError):  # another system, or a C library without it
        return KernelClock(None)
    state = _Timex()  # modes 0: read only
    result = call(ctypes.byref(state))
    if result < 0:  # a sandbox may forbid the call
        return KernelClock(None)
    unit = 1e9 if state.status & STA_NANO else 1e6
    synchronised = result != TIME_ERROR and not state.status & STA_UNSYNC
    return KernelClock(synchronised, state.offset / unit, state.maxerror / 1e6)


def clock_words(clock: KernelClock) -> str:
    """Return the kernel's state for people."""
    if clock.synchronised is None:
        return f"{os.uname().sysname} does not say whether the clock is synchronised"
    if not clock.synchronised:
        return "not synchronised: no NTP daemon disciplines the kernel's clock"
    return f"synchronised within {clock.error_s:.3g} s"
