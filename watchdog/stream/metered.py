"""A socket that bounds what the other end makes this one do.

Cap'n Proto's library keeps each answer in memory until the other end reads it, without a limit. A subscriber has
little to say: a greeting, one subscription, and an acknowledgement for each delivery. So its bytes are counted against
an allowance, and with them the answers that it can cause.
"""

from __future__ import annotations

import socket
from typing import Any, Final

ALLOWANCE: Final = 2 << 20
"""Bytes at the start: the largest subscription, and what the protocol itself needs."""
ANSWER_BYTES: Final = 1_024
"""Bytes that a call to the subscriber adds: its return has fewer than 100, and an error's text may come with it."""


class MeteredSocket(socket.socket):
    """A connected socket whose other end has an allowance of bytes; beyond it the connection counts as closed."""

    def __init__(self, plain: socket.socket, allowance: int = ALLOWANCE) -> None:
        """Take a connected socket over; `plain` is not usable afterwards."""
        super().__init__(plain.family, plain.type, plain.proto, plain.detach())
        self.left, self.sent = allowance, 0

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """Receive as a socket does; ConnectionResetError once the allowance is used up."""
        size = super().recv_into(buffer, nbytes, flags)
        self.left -= size
        if self.left < 0:
            raise ConnectionResetError("the other end sent more than it may")
        return size

    def send(self, data: Any, flags: int = 0) -> int:
        """Send as a socket does; `sent` counts the bytes that the kernel took."""
        size = super().send(data, flags)
        self.sent += size
        return size

    def sendmsg(self, buffers: Any, *more: Any) -> int:
        """Send as a socket does: what asyncio calls from Python 3.12 on."""
        size = super().sendmsg(buffers, *more)
        self.sent += size
        return size
