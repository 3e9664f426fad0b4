"""Calls to a node over IPC, as the poller makes them: through a child process, one connection each.

A connection that ends takes its child with it, and the next one has a new child: pycapnp's event loop cannot be trusted
after a failure. A node that does not answer keeps its one connection, however long; it is not asked again and again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NoReturn, Protocol

import msgspec

from watchdog.core.text import decode_text, printable
from watchdog.sources.ipc.layouts import LAYOUTS, UNKNOWN, InitLayout
from watchdog.sources.ipc.pipe import (
    Ask,
    CallAnswer,
    Closed,
    Events,
    FromChild,
    Mark,
    NodeOpened,
    NotYet,
    Said,
    Tip,
)
from watchdog.sources.ipc.process import ChildProcess
from watchdog.sources.rpc.answer_bounds import bounds_of, excess
from watchdog.sources.rpc.errors import (
    RpcFaultError,
    RpcForbiddenError,
    RpcGarbageError,
    RpcMethodError,
    RpcTimeoutError,
    RpcTooLargeError,
    RpcUnreachableError,
    RpcWarmupError,
)
from watchdog.sources.rpc.json_rpc import MESSAGE_BYTES, raise_fault
from watchdog.sources.rpc.methods import METHODS

OPEN_S: Final = 5.0
"""How long one call waits for a connection that is being made; the next one waits on."""
SPARE_S: Final = 2.0
"""Beyond a call's own deadline, which the child keeps: a child that is later than that hangs."""
CONNECT: Final = "connect"
_LOG = logging.getLogger("watchdog.sources")


class NodeEvents(Protocol):
    """Takes what the node reports by itself; called in a thread of the child's, and must not wait."""

    def opened(self, opened: NodeOpened) -> None:
        """Note a connection."""
        ...

    def took(self, message: Tip | Events | Mark) -> None:
        """Take a report."""
        ...

    def closed(self) -> None:
        """Note that the connection is gone."""
        ...


class IpcClient:
    """`watchdog.sources.rpc.transport.Transport` of one socket; `open`, `ask` and `close` belong to one thread.

    name: of the source, for the log. arguments: of the child, beyond the socket. renewals: connections after the first.
    layout: what the node of the present connection offers; None without one.
    """

    def __init__(
        self, name: str, socket: Path, events: NodeEvents, timeout_s: float = 10.0, arguments: Sequence[str] = ()
    ) -> None:
        self._name, self._socket, self._events, self._timeout_s = printable(name), socket, events, timeout_s
        self._arguments = tuple(arguments)
        self.renewals = 0
        self.layout: InitLayout | None = None
        self.opened: NodeOpened | None = None
        self._opens = self._number = 0
        self._child: ChildProcess | None = None
        self._answer: CallAnswer | None = None
        self._why: Closed | None = None
        self._waits_for = ""
        self._leaving = False
        self._changed = threading.Condition()

    @property
    def connecting(self) -> bool:
        """Whether a connection is being made: `open` continues it."""
        return self._child is not None and self.layout is None

    def open(self, wait_s: float = OPEN_S) -> None:
        """Make a connection, or continue the one that is being made. Raise RpcError while it is not complete."""
        if self._is_open() or self._is_gone():
            self._begin()
        self._until(lambda: self._is_open() or self._is_gone(), wait_s)
        if self._is_open():
            return
        if self._is_gone():
            self._raise_closed(CONNECT)
        if self._waits_for:
            raise RpcWarmupError(CONNECT, self._waits_for)
        raise RpcTimeoutError(CONNECT, "the node has taken the connection and does not answer yet")

    def ask(self, method: str, params: Sequence[object] = (), *, deadline_s: float | None = None) -> bytes:
        """Return the whole answer of a method; see `RpcClient.ask`. Raise RpcError."""
        if method not in METHODS:
            raise RpcMethodError(method, "is not one of the read-only methods that this program calls")
        if self.layout is None:
            self.open()
        deadline_s = self._timeout_s if deadline_s is None else deadline_s
        self._number += 1
        bounds = bounds_of(method)
        message = Ask(self._number, method, msgspec.json.encode(list(params)), deadline_s, bounds.size)
        child = self._child
        if child is not None and child.ask(message):
            self._until(lambda: self._answered() is not None or self._is_gone(), deadline_s + SPARE_S)
        if (answer := self._answered()) is None:
            if self._is_gone():
                self._raise_closed(method)
            self.close()
            raise RpcTimeoutError(method, "the process that speaks to the node hangs")
        self._answer = None  # a large one need not stay
        return _body(method, answer)

    def close(self) -> None:
        """Ask the child to leave the node; any thread. The next `open` makes another connection."""
        child = self._child
        if child is not None:
            child.leave()

    def leave(self) -> None:
        """Close for good, and wake a call that waits; any thread."""
        with self._changed:
            self._leaving = True
            self._changed.notify_all()
        self.close()

    def join(self, timeout_s: float) -> bool:
        """Wait until the child has left the node; return whether it has."""
        child = self._child
        return child is None or child.join(timeout_s)

    def took(self, message: FromChild) -> None:
        """Take a message of the child, in its thread."""
        if isinstance(message, Tip | Events | Mark):
            self._events.took(message)
        elif isinstance(message, Said):
            level = logging.WARNING if message.warn else logging.INFO
            _LOG.log(level, "source %s: %s", self._name, printable(message.text))
        else:
            if isinstance(message, NodeOpened):
                self._events.opened(message)
            with self._changed:
                self._take(message)
                self._changed.notify_all()

    def ended(self, why: str) -> None:
        """Take the end of the child, in its thread."""
        with self._changed:
            if self._why is None:
                self._why = Closed("unreachable", why or "its process ended")
            self._child = self.layout = self.opened = None
            self._waits_for = ""
            self._changed.notify_all()
        self._events.closed()

    def _is_open(self) -> bool:
        return self.layout is not None

    def _is_gone(self) -> bool:
        return self._child is None or self._leaving

    def _begin(self) -> None:
        """Start a child, unless one runs."""
        if self._leaving:
            raise RpcUnreachableError(CONNECT, "the source is closed")
        if self._child is not None:
            return
        self._why = None
        try:
            child = ChildProcess([str(self._socket), *self._arguments], self)
        except OSError as error:
            raise RpcUnreachableError(CONNECT, f"cannot start a process: {error.strerror}") from None
        self._child = child
        child.start()

    def _take(self, message: NodeOpened | NotYet | CallAnswer | Closed) -> None:
        if isinstance(message, NodeOpened):
            self.opened, self.layout = message, LAYOUTS.get(message.layout, LAYOUTS[UNKNOWN])
            self.renewals += self._opens > 0
            self._opens += 1
        elif isinstance(message, NotYet):
            self._waits_for = printable(message.why)
        elif isinstance(message, CallAnswer):
            self._answer = message
        else:
            self._why = message

    def _answered(self) -> CallAnswer | None:
        """Return the answer to the present call; late ones of earlier calls count for nothing."""
        return self._answer if self._answer is not None and self._answer.number == self._number else None

    def _until(self, condition: Callable[[], bool], seconds: float) -> None:
        end_s = time.monotonic() + seconds
        with self._changed:
            while not condition() and (left_s := end_s - time.monotonic()) > 0:
                self._changed.wait(left_s)

    def _raise_closed(self, method: str) -> NoReturn:
        """Raise why there is no connection."""
        closed = self._why or Closed("stopped", "")
        if closed.reason == "timeout":
            raise RpcTimeoutError(method, printable(closed.why))
        if closed.reason == "garbage":
            raise RpcGarbageError(method, f"the node answers what no release does: {printable(closed.why)}")
        raise RpcUnreachableError(method, printable(closed.why) or "the source is closed")


def _body(method: str, answer: CallAnswer) -> bytes:
    """Return the JSON of an answer; raise the error that it is or reports."""
    why = printable(answer.why)
    if answer.status == "timeout":
        raise RpcTimeoutError(method, "no whole answer in time")
    if answer.status == "unreachable":
        raise RpcUnreachableError(method, why)
    if answer.status == "too-large":
        raise RpcTooLargeError(method, f"{why}; {bounds_of(method).size:,} are the limit")
    if answer.status == "fault":
        raise RpcFaultError(method, why, 0)
    body = answer.body
    if body.strip() in (b"", b"null"):  # Core answers a call that its whitelist forbids with nothing, ExecuteHTTPRPC
        raise RpcForbiddenError(method, "rpcwhitelist forbids it to the user watchdog")
    if too_much := excess(body, bounds_of(method)):
        raise RpcTooLargeError(method, too_much)
    raise_fault(method, body)
    if body.lstrip()[:1] != b"{":
        raise RpcGarbageError(method, f"no JSON object: {printable(decode_text(body[:MESSAGE_BYTES].strip()), 80)!r}")
    return body
