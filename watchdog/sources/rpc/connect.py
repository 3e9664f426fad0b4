"""A connection with one deadline for everything: looking up the name, connecting, sending, and each byte back."""

from __future__ import annotations

import http.client
import io
import ipaddress
import socket
import threading
import time
from types import TracebackType
from typing import ClassVar, Self, cast

from watchdog.sources.rpc.url import NodeUrl

_Address = tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]
_Addresses = list[tuple[int, _Address]]


class TooManyBytesError(Exception):
    """A connection has received more than its limit. No OSError: http.client and its callers must not swallow it."""


class _Until(io.RawIOBase):
    """The receiving side of a socket; each read waits until the deadline at most.

    left: bytes that may still come. `http.client` reads without any limit of its own where a chunk claims a size of -1.
    """

    def __init__(self, sock: socket.socket, end_s: float, left: int) -> None:
        self._sock, self._end_s, self._left = sock, end_s, left

    def readable(self) -> bool:
        """Return whether it can be read."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override] # io passes a memoryview
        """Fill the buffer as far as bytes are there. Raise TimeoutError at the deadline, TooManyBytesError."""
        self._sock.settimeout(_left(self._end_s))
        size = self._sock.recv_into(buffer)
        self._left -= size
        if self._left < 0:
            raise TooManyBytesError
        return size


class HttpConnection:
    """An open connection; a context manager that closes it. most_bytes: that may be received."""

    def __init__(self, sock: socket.socket, end_s: float, most_bytes: int) -> None:
        self._sock, self._end_s, self._most_bytes = sock, end_s, most_bytes

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._sock.close()

    def send(self, request: bytes) -> None:
        """Send a whole request. Raise TimeoutError at the deadline."""
        self._sock.settimeout(_left(self._end_s))
        self._sock.sendall(request)

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Return the receiving side; `http.client` calls it."""
        return io.BufferedReader(_Until(self._sock, self._end_s, self._most_bytes), 1 << 16)

    def response(self) -> http.client.HTTPResponse:
        """Return the answer with its head read. Raise HTTPException when it is no HTTP."""
        response = http.client.HTTPResponse(cast(socket.socket, self), method="POST")
        response.begin()
        return response


def connect(url: NodeUrl, end_s: float, most_bytes: int) -> HttpConnection:
    """Connect to one of the addresses of the node, each tried in turn.

    end_s: the deadline, in seconds of time.monotonic. most_bytes: that may be received; more raises TooManyBytesError.
    Raise TimeoutError at the deadline, OSError otherwise.
    """
    failure: OSError | None = None
    for family, address in _addresses(url, end_s):
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.settimeout(_left(end_s))
            sock.connect(address)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            sock.close()
            failure = failure or error
        else:
            return HttpConnection(sock, end_s, most_bytes)
    raise failure or OSError("the name of the node has no address")


def _left(end_s: float) -> float:
    left_s = end_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    return left_s


def _addresses(url: NodeUrl, end_s: float) -> _Addresses:
    """Return the node's addresses; a name is looked up in a thread, since the system's resolver knows no deadline."""
    try:
        ipaddress.ip_address(url.host)
    except ValueError:
        return _Lookup.of(url).wait(end_s)
    return _resolve(url)


class _Lookup(threading.Thread):
    """Looks up a name once. While it runs, further calls to that node wait for it.

    So a resolver that hangs holds one thread for each configured node, and a name that hangs holds up no other node.
    """

    _running: ClassVar[dict[tuple[str, int], _Lookup]] = {}
    _lock: ClassVar = threading.Lock()

    def __init__(self, url: NodeUrl) -> None:
        super().__init__(name=f"look up {url.host}", daemon=True)
        self._url = url
        self._addresses: _Addresses = []
        self._failure: OSError | None = None

    @classmethod
    def of(cls, url: NodeUrl) -> _Lookup:
        """Return the lookup of a node's name that runs, a new one without any."""
        key = url.host, url.port
        with cls._lock:
            if key not in cls._running:
                lookup = cls(url)
                lookup.start()
                cls._running[key] = lookup
            return cls._running[key]

    def run(self) -> None:
        """Look up the name."""
        try:
            self._addresses = _resolve(self._url)
        except OSError as error:
            self._failure = error
        except UnicodeError:  # of the codec for host names: an empty label, or one of more than 63 characters
            self._failure = OSError(0, "the name of the node is no host name")
        finally:
            with self._lock:
                self._running.pop((self._url.host, self._url.port), None)

    def wait(self, end_s: float) -> _Addresses:
        """Return the addresses. Raise TimeoutError at the deadline, OSError when there are none."""
        self.join(_left(end_s))
        if self.is_alive():
            raise TimeoutError
        if self._failure is not None:
            raise self._failure
        return self._addresses


def _resolve(url: NodeUrl) -> _Addresses:
    known = socket.getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM)
    return [(family, address) for family, _, _, _, address in known]
