"""A real process that looks like a node in /proc: its name and command line are those of bitcoind, it only waits."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.support.children import killed_on_failure

ROOM = 8_192  # bytes of command line that can be written over
BODY = """
import ctypes, os, sys
libc = ctypes.CDLL(None)
libc.prctl(15, NAME)  # PR_SET_NAME
with open("/proc/self/stat", "rb") as file:
    fields = file.read().rpartition(b")")[2].split()
start, end = int(fields[45]), int(fields[46])  # arg_start and arg_end, proc(5)
assert len(LINE) < end - start
ctypes.memmove(start, LINE + bytes(end - start - len(LINE)), end - start)
if USER is not None:
    os.setuid(USER)
sys.stdout.write("ready\\n")
sys.stdout.flush()
sys.stdin.read()
"""


@contextmanager
def named_process(
    arguments: Sequence[str], name: str = "bitcoind", folder: Path | None = None, user: int | None = None
) -> Iterator[int]:
    """Run the process, with `name` and `arguments` in /proc, and yield its pid; it ends with the block.

    user: another user that it becomes, which needs root.
    """
    line = b"\0".join(word.encode("utf-8", "surrogateescape") for word in (name, *arguments)) + b"\0"
    body = BODY.replace("USER", str(user)).replace("NAME", repr(name.encode())).replace("LINE", repr(line))
    process = subprocess.Popen(
        [sys.executable, "-c", body, "x" * ROOM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=folder
    )
    with killed_on_failure(process):
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield process.pid
        process.communicate()
