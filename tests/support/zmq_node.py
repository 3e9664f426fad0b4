"""The ZMQ publishers of a node: real PUB sockets that send what Bitcoin Core sends (doc/zmq.md there)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager

import zmq

HASH = bytes(range(32))


class ZmqNode:
    """One process of a node as its subscribers see it: every topic counts from 0. `stop` is the end of the process.

    endpoint: where it listens, such as `tcp://127.0.0.1:*` for a free port; `endpoint` has the port then.
    """

    def __init__(self, endpoint: str = "tcp://127.0.0.1:*") -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.XPUB)  # as PUB, and shows the subscriptions
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.bind(endpoint)
        self.endpoint = str(self._socket.getsockopt_string(zmq.LAST_ENDPOINT))
        self._counters: dict[str, int] = {}
        self._subscribed: set[bytes] = set()

    def subscribed(self, *topics: str) -> bool:
        """Return whether there is a subscriber of all these topics; what was sent before is lost to it."""
        while self._socket.poll(0):
            word = self._socket.recv()
            (self._subscribed.add if word[:1] == b"\x01" else self._subscribed.discard)(word[1:])
        return {topic.encode() for topic in topics} <= self._subscribed

    def tip(self, hash_: bytes = HASH, *, skipped: int = 0) -> None:
        """Send a `hashblock`. skipped: messages that are lost before it."""
        self._send("hashblock", hash_, skipped)

    def block(self, hash_: bytes = HASH, *, connected: bool = True) -> None:
        """Send a `sequence` message about a block."""
        self._send("sequence", hash_ + (b"C" if connected else b"D"))

    def mempool(self, number: int, *, added: bool = True, skipped: int = 0) -> None:
        """Send a `sequence` message about a transaction."""
        self._send("sequence", HASH + (b"A" if added else b"R") + struct.pack("<Q", number), skipped)

    def raw(self, *frames: bytes) -> None:
        """Send frames that no node sends."""
        self._socket.send_multipart(frames)

    def stop(self) -> None:
        """End the process: the port is free, every subscriber is disconnected."""
        if not self._socket.closed:
            self._socket.close(linger=0)
            self._context.term()

    def _send(self, topic: str, body: bytes, skipped: int = 0) -> None:
        number = self._counters.get(topic, 0) + skipped
        self._socket.send_multipart((topic.encode(), body, struct.pack("<I", number % (1 << 32))))
        self._counters[topic] = number + 1

    def count_from(self, topic: str, number: int) -> None:
        """Let the next message of a topic have this number."""
        self._counters[topic] = number


@contextmanager
def zmq_node(endpoint: str = "tcp://127.0.0.1:*") -> Iterator[ZmqNode]:
    """Run one for a test."""
    node = ZmqNode(endpoint)
    try:
        yield node
    finally:
        node.stop()
