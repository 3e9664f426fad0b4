"""A tracing script in Python: one ring, and a callback for each record that copies its bytes, as bcc's users write it.

bcc itself compiles when it starts and needs a compiler and the kernel's headers. This is what remains without them: its
ring buffer is libbpf's, and its callback one of ctypes, which calls the user's, looks at what that returned, and
handles its errors. The BPF program is compiled before, which is not measured.
"""

from __future__ import annotations

import ctypes
import errno
import os
import tempfile
from ctypes import CFUNCTYPE, c_char_p, c_int, c_size_t, c_void_p
from pathlib import Path
from typing import Any

from benchmarks.rounds import SkippedError
from watchdog.extract.build import build_program

SOURCE = Path(__file__).with_name("plain_ring.bpf.c")
_Callback = CFUNCTYPE(c_int, c_void_p, c_void_p, c_size_t)


class PlainRing:
    """The loaded rival, attached to one process. SkippedError where it cannot be had."""

    def __init__(self, binary: Path, process: int) -> None:
        library = self._library = ctypes.CDLL("libbpf.so.1", use_errno=True)
        for name in (
            "bpf_object__open_file", "bpf_object__find_map_by_name", "bpf_object__find_program_by_name",
            "ring_buffer__new", "bpf_program__attach_usdt",
        ):  # fmt: skip
            getattr(library, name).restype = c_void_p
        with tempfile.TemporaryDirectory() as folder:
            made = Path(folder) / "plain_ring.bpf.o"
            if problem := build_program(made, source=SOURCE):
                raise SkippedError(f"the rival's program cannot be compiled: {problem}")
            self._object = c_void_p(library.bpf_object__open_file(os.fsencode(made), None))
            if self._object.value is None or library.bpf_object__load(self._object) != 0:
                raise SkippedError("the rival's program cannot be loaded")
        self.taken: list[bytes] = []
        self._callback = _callback_into(self.taken)
        ring = c_void_p(library.bpf_object__find_map_by_name(self._object, b"ring"))
        handle = library.bpf_map__fd(ring)
        self._ring = c_void_p(library.ring_buffer__new(handle, self._callback, None, None))
        program = c_void_p(library.bpf_object__find_program_by_name(self._object, b"on_message"))
        library.bpf_program__attach_usdt.argtypes = (c_void_p, c_int, c_char_p, c_char_p, c_char_p, c_void_p)
        self._link = c_void_p(
            library.bpf_program__attach_usdt(program, process, os.fsencode(binary), b"net", b"inbound_message", None)
        )
        if self._link.value is None:
            raise SkippedError("the rival cannot be attached")

    def drain(self) -> int:
        """Take all records that are there; their number."""
        self.taken.clear()
        self._library.ring_buffer__consume(self._ring)
        return len(self.taken)

    def close(self) -> None:
        """Detach and unload."""
        self._library.bpf_link__destroy(self._link)
        self._library.ring_buffer__free(self._ring)
        self._library.bpf_object__close(self._object)


def _callback_into(taken: list[bytes]) -> Any:  # ctypes has no name for its functions
    """Return what the ring buffer calls for each record."""

    def take(_context: int, data: int, size: int) -> object:
        taken.append(ctypes.string_at(data, size))
        return None

    def call(context: int, data: int, size: int) -> int:
        try:
            answer = take(context, data, size)
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise SystemExit from None
            raise
        return answer if isinstance(answer, int) else 0

    return _Callback(call)
