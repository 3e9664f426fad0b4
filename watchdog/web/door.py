"""The listening sockets: accepts connections within the limits and closes the others at once.

asyncio's own server has no limit of connections and logs an error for each that it cannot accept, a hundred in a row.
This module accepts connections itself and passes those within the limit to asyncio.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Sequence

from watchdog.service.callers import Callers

BACKLOG = 128
RETRY_S = 1.0  # after an error of the system; meanwhile connections wait in the kernel's backlog
TELL_EVERY_S = 60.0
LOG = logging.getLogger(__name__)


async def bind(host: str, port: int) -> list[socket.socket]:
    """Listen on every address that `host` has. OSError, naming the address: it is in use or does not exist."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        raise OSError(error.errno, error.strerror, f"{host}:{port}") from None
    sockets: list[socket.socket] = []
    try:
        for family, _, _, _, address in dict.fromkeys(found):
            sockets.append(socket.create_server(address, family=family, backlog=BACKLOG))
            sockets[-1].setblocking(False)
    except OSError as error:
        for one in sockets:
            one.close()
        raise OSError(error.errno, os.strerror(error.errno or 0), f"{host}:{port}") from None
    return sockets


class Door:
    """Accepts connections on bound sockets until `close`.

    make: a protocol for a connection of a host; it must call `leave` with that host when the connection has ended.
    """

    def __init__(self, sockets: Sequence[socket.socket], callers: Callers, make: Callable[[str], asyncio.Protocol]):
        self._sockets, self._callers, self._make = sockets, callers, make
        self._loop = asyncio.get_running_loop()
        self._entering: set[asyncio.Task[None]] = set()
        self._told_s = float("-inf")
        self._closed = False
        for one in sockets:
            self._loop.add_reader(one, self._accept, one)

    def close(self) -> None:
        """Accept nothing from here on; connections stay."""
        self._closed = True
        for one in self._sockets:
            self._loop.remove_reader(one)
            one.close()

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(BACKLOG):
            try:
                link, address = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._pause(listening, error)
                return
            host = str(address[0])
            if self._callers.admit(host):
                link.close()
                continue
            link.setblocking(False)
            task = self._loop.create_task(self._enter(link, host))
            self._entering.add(task)
            task.add_done_callback(self._entering.discard)

    async def _enter(self, link: socket.socket, host: str) -> None:
        try:
            await self._loop.connect_accepted_socket(lambda: self._make(host), link)
        except OSError as error:  # the connection has ended before it began
            LOG.debug("connection from %s: %s", host, error)
            link.close()
            self._callers.leave(host)

    def _pause(self, listening: socket.socket, error: OSError) -> None:
        """Pause after a lack of descriptors or memory: another try at once would fail as well, and spin."""
        self._callers.accept_errors += 1
        self._loop.remove_reader(listening)
        self._loop.call_later(RETRY_S, self._resume, listening)
        now_s = self._loop.time()
        if now_s - self._told_s >= TELL_EVERY_S:
            self._told_s = now_s
            LOG.error("connections cannot be accepted: %s; trying again every %g s", error.strerror, RETRY_S)

    def _resume(self, listening: socket.socket) -> None:
        if not self._closed:
            self._loop.add_reader(listening, self._accept, listening)
