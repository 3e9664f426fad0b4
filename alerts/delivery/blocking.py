"""Attempts that block, each in a thread of its own, and an end that reaches those that can be ended.

A call of another library cannot be ended from outside. So each receiver has calls of its own: those that hang are
reported, hold up no other receiver, and do not keep the process from ending.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from alerts.delivery.answers import Response
from alerts.delivery.journal import line
from alerts.delivery.schedule import RetryDecision
from alerts.routing import Receiver

CALLS: Final = 8  # to one receiver at a time
SLACK_S: Final = 1.0  # for a call to see its deadline before we do
_LOG = logging.getLogger("watchdog.delivery")


class EndSignal:
    """The end of all blocking attempts. Any thread may use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: dict[int, Callable[[], None]] = {}
        self._count = 0
        self.over = False

    @contextmanager
    def reaching(self, call: Callable[[], None]) -> Iterator[None]:
        """Have `call` made while the block runs, if the end comes then; at once if it is there."""
        with self._lock:
            self._count += 1
            number = self._count
            self._calls[number] = call
            late = self.over
        if late:
            call()
        try:
            yield
        finally:
            with self._lock:
                self._calls.pop(number, None)

    def come(self) -> None:
        """End everything that blocks."""
        with self._lock:
            self.over = True
            calls = list(self._calls.values())
        for call in calls:
            call()


class BlockingCall:
    """One call in a thread. hangs: whether its deadline passed without an answer."""

    def __init__(self, ended: Callable[[BlockingCall], None]) -> None:
        self.answer: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self.hangs = False
        self._loop, self._ended = asyncio.get_running_loop(), ended

    def start(self, name: str, work: Callable[[], Response]) -> None:
        """Begin it. RuntimeError: there are too many threads."""
        threading.Thread(target=self._run, args=(work,), name=name, daemon=True).start()

    def _run(self, work: Callable[[], Response]) -> None:
        answer: Response | None = None
        fault: Exception | None = None
        try:
            answer = work()
        except Exception as error:  # noqa: BLE001 (it is raised where the answer is awaited)
            fault = error
        with suppress(RuntimeError):  # the loop has ended: no one waits any longer
            self._loop.call_soon_threadsafe(self._note, answer, fault)

    def _note(self, answer: Response | None, fault: Exception | None) -> None:
        self._ended(self)
        if self.answer.done() or self.hangs:
            return
        if answer is not None:
            self.answer.set_result(answer)
        else:
            self.answer.set_exception(fault or RuntimeError("no answer"))


class ReceiverCalls:
    """The calls to one receiver."""

    def __init__(self, receiver: str) -> None:
        self._receiver = receiver
        self.running = self.hanging = 0
        self._changed = asyncio.Event()

    async def room(self) -> bool:
        """Wait for room for one more call. False: all calls hang, so no room comes before one of them ends."""
        while self.running >= CALLS:
            if self.hanging >= CALLS:
                return False
            self._changed.clear()
            await self._changed.wait()
        return True

    def note_hanging(self, call: BlockingCall) -> None:
        """Report a call that has not ended in time."""
        call.hangs = True
        self.hanging += 1
        self._changed.set()
        _LOG.warning(line("delivery-hangs", receiver=self._receiver, calls=self.hanging, most=CALLS))

    def note_end(self, call: BlockingCall) -> None:
        """Make room, and report the end of a call that hung."""
        self.running -= 1
        if call.hangs:
            self.hanging -= 1
            _LOG.info(line("delivery-hangs-no-longer", receiver=self._receiver, calls=self.hanging, most=CALLS))
        self._changed.set()


class BlockingCalls:
    """Runs calls that block. Belongs to one event loop."""

    def __init__(self) -> None:
        self._calls: dict[tuple[str, str], ReceiverCalls] = {}  # by name and URL: a reload that mends the URL is heard

    async def run(self, receiver: Receiver, work: Callable[[], Response]) -> Response:
        """Return the answer of a call, or that it hangs: then it continues in its thread, and its answer is lost.

        The wait for room among the calls to this receiver is no part of the attempt.
        """
        calls = self._calls.setdefault((receiver.name, receiver.url), ReceiverCalls(receiver.name))
        if not await calls.room():
            return _failed(f"{calls.hanging} earlier calls hang; no other starts before one of them ends", 0.0)
        call = BlockingCall(calls.note_end)
        calls.running += 1
        try:
            call.start(f"{receiver.format} {receiver.name}", work)
        except RuntimeError:
            calls.note_end(call)
            return _failed("no thread can be started", 0.0)
        try:
            async with asyncio.timeout(receiver.timeout_s + SLACK_S):
                return await asyncio.shield(call.answer)
        except TimeoutError:
            if call.answer.done():  # it came with the deadline
                return call.answer.result()
            calls.note_hanging(call)
            return _failed(f"no answer in {receiver.timeout_s:g} s", receiver.timeout_s)


def _failed(error: str, took_s: float) -> Response:
    return Response(None, None, error, took_s, RetryDecision.FAILED)
