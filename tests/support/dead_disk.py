"""A file system that never answers, as a dead NFS server: FUSE without a server behind it, in a mount namespace.

`python -m tests.support.dead_disk FOLDER COMMAND...` mounts it at FOLDER and runs COMMAND beside it.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

MS_REC, MS_PRIVATE, CLONE_NEWNS = 0x4000, 0x40000, 0x20000  # Linux include/uapi/linux/mount.h, sched.h


def mounted(folder: str) -> int:
    """Mount it for this process and its children, and return the descriptor that keeps it. Raise OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    handle = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={handle},rootmode=40000,user_id=0,group_id=0".encode()
    _checked(libc.unshare(CLONE_NEWNS))
    _checked(libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None))
    _checked(libc.mount(b"dead", folder.encode(), b"fuse", 0, options))
    return handle


def _checked(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


if __name__ == "__main__":
    mounted(sys.argv[1])
    sys.exit(subprocess.run(sys.argv[2:], check=False).returncode)
