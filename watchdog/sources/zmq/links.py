"""Sockets to a node's ZMQ publishers, each with a monitor: the only place that knows the ZMQ library.

A publisher may be quiet for an hour, so silence proves nothing. Whether there is a connection comes from the socket's
monitor: a link is up from a finished ZMTP handshake until a disconnection. The library reconnects by itself, and
resolves the host's name each time; after a fault in the protocol it does not (libzmq's
`engine_error`), so a link that stays down gets a new socket.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import zmq
from zmq.utils.monitor import recv_monitor_message

from watchdog.core.errors import SourceError
from watchdog.core.text import printable

GRACE_S: Final = 2.0
"""A link that is down for no longer is not reported: the library reconnects within this time."""
RENEW_S: Final = 5.0
"""A link that is down gets a new socket this often."""
MESSAGES_MOST: Final = 2_000
"""Messages of one link in one look, so that a flood on one endpoint does not hold up the other."""
FRAMES_MOST: Final = 4
"""Frames of a message that are kept; Core sends three. One more shows that there were too many."""
FRAME_BYTES: Final = 4_096
"""The library closes a connection that sends a larger frame; Core's largest here has 41 bytes."""
WAITING_MOST: Final = 20_000
"""Messages that the library holds for us: minutes of a busy mempool, below 10 MB. Core holds 1,000 by default."""
RECONNECT_MS, RECONNECT_MOST_MS, HANDSHAKE_MS = 100, 5_000, 5_000
HEARTBEAT_MS, HEARTBEAT_TIMEOUT_MS = 10_000, 20_000
"""ZMTP's own heartbeats find a publisher that hangs, and one behind a connection that is gone without a word."""
_EVENTS: Final = (
    zmq.EVENT_CONNECTED
    | zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_DISCONNECTED
)
_FAILED: Final = frozenset(
    {zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL, zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL, zmq.EVENT_HANDSHAKE_FAILED_AUTH}
)


class PublisherLink:
    """A subscription to the topics of one endpoint. Belongs to one thread, which closes it.

    up: whether there is a connection. now_s: monotonic seconds of the start. SourceError when the library refuses the
    endpoint.
    """

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], endpoint: str, topics: Sequence[str], now_s: float
    ) -> None:
        self.endpoint, self.topics, self.up = endpoint, tuple(topics), False
        self._context, self._down_since_s, self._tried_s, self._answers = context, now_s, now_s, False
        self.socket, self.monitor = self._connected()

    def _connected(self) -> tuple[zmq.Socket[bytes], zmq.Socket[bytes]]:
        """Return a socket that connects from now on, and its monitor."""
        own = self._context.socket(zmq.SUB)
        for option, value in (
            (zmq.LINGER, 0),
            (zmq.RCVHWM, WAITING_MOST),
            (zmq.MAXMSGSIZE, FRAME_BYTES),
            (zmq.RECONNECT_IVL, RECONNECT_MS),
            (zmq.RECONNECT_IVL_MAX, RECONNECT_MOST_MS),
            (zmq.HANDSHAKE_IVL, HANDSHAKE_MS),
            (zmq.HEARTBEAT_IVL, HEARTBEAT_MS),
            (zmq.HEARTBEAT_TIMEOUT, HEARTBEAT_TIMEOUT_MS),
            (zmq.IPV6, 1),
        ):
            own.setsockopt(option, value)
        for topic in self.topics:
            own.setsockopt(zmq.SUBSCRIBE, topic.encode())
        monitor = own.get_monitor_socket(_EVENTS)
        try:
            own.connect(self.endpoint)
        except zmq.ZMQError as error:
            _close(own, monitor)
            raise SourceError(f"zmq: '{printable(self.endpoint)}': {(error.strerror or 'refused').lower()}") from None
        return own, monitor

    def watch(self, now_s: float) -> bool:
        """Read the monitor; return whether there was a disconnection, even one that is over."""
        broken = False
        while self.monitor.poll(0):
            event = recv_monitor_message(self.monitor, zmq.NOBLOCK)["event"]
            if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self.up, self._answers = True, False
            elif event == zmq.EVENT_DISCONNECTED:
                if self.up:
                    self._down_since_s = now_s
                    broken = True
                self.up = False
            elif event in _FAILED:
                self._answers = True
        return broken

    def renew(self, now_s: float) -> bool:
        """Replace the socket of a link that has been down for a while; return whether that happened."""
        if self.up or now_s - max(self._tried_s, self._down_since_s) < RENEW_S:
            return False
        self._tried_s = now_s
        self.close()
        self.socket, self.monitor = self._connected()
        return True

    def trouble(self, now_s: float) -> str:
        """Return why the link is down, once it is for longer than `GRACE_S`; else an empty text."""
        if self.up or now_s - self._down_since_s < GRACE_S:
            return ""
        if self._answers:
            return f"{self.endpoint} answers, but not as a publisher of ZMQ"
        return f"no connection to {self.endpoint}"

    def messages(self) -> Iterator[Sequence[bytes]]:
        """Yield the frames of each message that waits, at most `MESSAGES_MOST`. Never blocks."""
        for _ in range(MESSAGES_MOST):
            try:
                frames = [self.socket.recv(zmq.NOBLOCK)]
            except zmq.Again:
                return
            while self.socket.getsockopt(zmq.RCVMORE):
                frame = self.socket.recv(zmq.NOBLOCK)
                if len(frames) < FRAMES_MOST:
                    frames.append(frame)
            yield frames

    def close(self) -> None:
        """Close socket and monitor at once; a second call does nothing."""
        _close(self.socket, self.monitor)


def _close(own: zmq.Socket[bytes], monitor: zmq.Socket[bytes]) -> None:
    if not own.closed:
        own.disable_monitor()
        monitor.close(linger=0)
        own.close(linger=0)
