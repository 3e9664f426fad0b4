"""The guard of event loops: a call that blocks one fails the test, and every loop runs in debug mode.

tests/conftest.py installs it for the whole session. It covers the loops of the test's own process, whichever thread
they run in; the service as a child process is the program as operators run it.
"""

from __future__ import annotations

import asyncio
import fcntl
import linecache
import os
import socket
import traceback
from asyncio import format_helpers
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from blockbuster import BlockBuster, BlockBusterFunction, BlockingError

STACK: Final = 12  # frames of a blocking call in the failure
T = TypeVar("T")

# (call, end of the file's name, function, why it may block there)
ALLOWED: Final[tuple[tuple[str, str, str, str], ...]] = (
    ("io.TextIOWrapper.write", "logging/__init__.py", "emit", "the service logs to stderr, pytest to /dev/null too"),
    ("io.BufferedWriter.write", "logging/__init__.py", "emit", "the same, when the handler flushes"),
    ("io.BufferedReader.read", "prometheus_client/process_collector.py", "collect", "/proc never waits for a disk"),
    ("os.listdir", "prometheus_client/process_collector.py", "collect", "/proc/PID/fd never waits for a disk"),
)


def scenery(call: Callable[[], T]) -> T:
    """Make a call that may block the loop: a test arranges what the code under test will meet, while nothing waits."""
    return call()


def _polls(_process: int, options: int) -> bool:
    return bool(options & os.WNOHANG)


def _tries(_file: object, operation: int, *_: object) -> bool:
    return bool(operation & fcntl.LOCK_NB) or operation == fcntl.LOCK_UN


def _resolved(host: object, *_: object, **__: object) -> bool:
    """Return whether a host is an address already: resolving it asks no server."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, str(host))
        except OSError:
            continue
        return True
    return host is None


def watched_calls() -> dict[str, BlockBusterFunction]:
    """Return the calls that may not run on a loop: those of blockbuster and some that it leaves out."""
    always: Callable[..., bool] = lambda *_, **__: False  # noqa: E731 - a predicate as the others
    calls: dict[str, Callable[..., bool]] = {
        "fcntl.flock": _tries,
        "fcntl.lockf": _tries,
        "os.fsync": always,
        "os.waitpid": _polls,
        "select.select": always,
        "socket.getaddrinfo": _resolved,
        "socket.gethostbyname": _resolved,
        "sqlalchemy.Engine.connect": always,  # psycopg waits in C
        "ssl.SSLContext.load_cert_chain": always,
        "ssl.SSLContext.load_default_certs": always,
        "ssl.SSLContext.load_verify_locations": always,
        "subprocess.Popen.communicate": always,
        "subprocess.Popen.wait": always,
    }
    more = {name: BlockBusterFunction(None, name, can_block_predicate=may) for name, may in calls.items()}
    return BlockBuster().functions | more


class LoopGuard:
    """What blocked an event loop since the last `take`; a handler may have swallowed the error that it got."""

    def __init__(self) -> None:
        self._blocked: list[str] = []

    def note(self, call: str) -> None:
        """Note a blocking call with its stack. Called in the thread that blocks."""
        stack = "".join(traceback.format_list(traceback.extract_stack()[:-3][-STACK:]))
        self._blocked.append(f"{call} blocks an event loop:\n{stack}")

    def take(self) -> list[str]:
        """Return the blocking calls since the last time."""
        blocked, self._blocked = self._blocked, []
        return blocked


@contextmanager
def guarded_loops() -> Iterator[LoopGuard]:
    """Refuse blocking calls on every loop with BlockingError, and make loops in debug mode, until the block ends."""
    guard, buster = LoopGuard(), BlockBuster()
    buster.functions = watched_calls()
    for watched in buster.functions.values():
        watched.can_block_in("tests/support/event_loops.py", scenery.__name__)
    for call, file, function, _ in ALLOWED:
        buster.functions[call].can_block_in(file, function)
    plain_error, plain_loop = BlockingError.__init__, asyncio.events.new_event_loop
    plain_check, plain_stack = linecache.checkcache, format_helpers.extract_stack

    def noted(error: BlockingError, call: str) -> None:
        plain_error(error, call)
        guard.note(call)

    def debugged() -> asyncio.AbstractEventLoop:
        loop = plain_loop()
        loop.set_debug(True)
        _replace(loop, "create_future", lambda: _bare_future(loop))
        loop.slow_callback_duration = float("inf")  # a loaded machine is no fault of the test
        return loop

    _replace(BlockingError, "__init__", noted)
    # A stack for each callback and task, with a look at each of its files, made tests of delivery four times slower.
    _replace(linecache, "checkcache", lambda *_: None)
    _replace(format_helpers, "extract_stack", lambda *_: [])
    for module in (asyncio, asyncio.events):
        _replace(module, "new_event_loop", debugged)
    buster.activate()
    try:
        yield guard
    finally:
        buster.deactivate()
        _replace(BlockingError, "__init__", plain_error)
        _replace(linecache, "checkcache", plain_check)
        _replace(format_helpers, "extract_stack", plain_stack)
        for module in (asyncio, asyncio.events):
            _replace(module, "new_event_loop", plain_loop)


def _bare_future(loop: Any) -> asyncio.Future[Any]:  # Any: the switch of asyncio.BaseEventLoop is private
    """Return a future without the stack that debug mode records for each."""
    debug, loop._debug = loop._debug, False
    try:
        return asyncio.Future(loop=loop)
    finally:
        loop._debug = debug


def _replace(holder: Any, name: str, value: object) -> None:
    """Set an attribute that the type checker takes for fixed."""
    setattr(holder, name, value)
