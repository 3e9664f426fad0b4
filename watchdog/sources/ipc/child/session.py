"""One connection to a node, from its first call to its last."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import capnp

from watchdog.sources.ipc.child.buffers import Buffers
from watchdog.sources.ipc.child.callbacks import ThreadMap
from watchdog.sources.ipc.child.detect import CALL_S, Offer, detect
from watchdog.sources.ipc.child.node_thread import WORDS, CallFault, NodeThread, fault_of, plain_call
from watchdog.sources.ipc.child.schemas import INIT, PROXY
from watchdog.sources.ipc.child.subscriber import Subscriber
from watchdog.sources.ipc.child.tip import TipWatcher
from watchdog.sources.ipc.pipe import Ask, CallAnswer, Closed, FromChild, NodeOpened, NotYet, Said

FLUSH_S: Final = 0.1
"""How long an event may wait in the child."""
MARK_TICKS: Final = 5
"""A watermark without events follows each of these flushes: half a second."""
STUCK_S: Final = 300.0
"""A call that has no answer for this long ends the connection; another one may find the node well."""
LOOK_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class ChildPlan:
    """What the parent wants. kinds: of events that something reads. subscribe: whether to take notifications at all."""

    socket: Path
    subscribe: bool
    kinds: frozenset[str]


class NodeSession:
    """Connects, finds out what the node offers, answers calls, and passes on what the node reports.

    send: takes messages for the parent. has_room: whether the pipe takes events now.
    """

    def __init__(self, plan: ChildPlan, send: Callable[[FromChild], None], has_room: Callable[[], bool]) -> None:
        self._plan, self._send, self._has_room = plan, send, has_room
        self._buffers = Buffers(plan.kinds)
        self._client: Any = None
        self._offer: Offer | None = None
        self._polls: NodeThread | None = None
        self._subscriber: Subscriber | None = None
        self._tip: TipWatcher | None = None

    async def run(self) -> Closed:
        """Serve the parent until the connection ends; return why it did."""
        try:
            return await self._serve()
        except OSError as error:  # TimeoutError among them
            if isinstance(error, TimeoutError):
                return Closed("timeout", "the node does not answer")
            return Closed("unreachable", (error.strerror or type(error).__name__).lower())
        except capnp.KjException as error:
            return _closed(fault_of(error))
        except CallFault as fault:
            return _closed(fault)

    async def _serve(self) -> Closed:
        lines = await self._connect()
        assert self._polls is not None
        self._offer = await detect(self._init, self._polls, self._plan.socket, lambda why: self._send(NotYet(why)))
        tip = False
        if self._offer.mining is not None:
            self._tip = TipWatcher(self._offer.mining, lines[1], self._send)
            tip = await self._begin_tip(self._tip)
        kinds: tuple[str, ...] = ()
        if self._plan.subscribe:
            self._subscriber = Subscriber(self._offer, lines[2], self._buffers, self._say)
            kinds = await self._subscriber.begin()
        self._send(NodeOpened(self._offer.layout, " and ".join(self._offer.seen), tip, kinds, self._buffers.now_ns()))
        return await self._until_closed(tip=tip)

    async def _begin_tip(self, tip: TipWatcher) -> bool:
        """Ask for the present tip; a node that hangs at this alone still answers calls."""
        assert self._offer is not None
        try:
            return await tip.begin()
        except TimeoutError:
            if self._offer.caller is None:
                raise
            self._say("the node does not answer when it is asked for its tip; its chain is polled")
            return False

    async def _connect(self) -> list[NodeThread]:
        """Return three worker threads of the node: for calls, for the tip, and for subscriptions."""
        async with asyncio.timeout(CALL_S):
            stream = await capnp.AsyncIoStream.create_unix_connection(str(self._plan.socket))
        self._client = capnp.TwoPartyClient(stream, traversal_limit_in_words=WORDS)
        self._init = self._client.bootstrap().cast_as(INIT.Init)
        threads = (await plain_call(self._init.construct, CALL_S, ThreadMap())).threadMap
        lines = []
        for name in ("watchdog polls", "watchdog tip", "watchdog events"):
            context = PROXY.Context.new_message()
            context.thread = (await plain_call(threads.makeThread, CALL_S, name)).result
            lines.append(NodeThread(context))
        self._polls = lines[0]
        return lines

    async def _until_closed(self, *, tip: bool) -> Closed:
        tasks = [asyncio.ensure_future(self._client.on_disconnect()), *map(asyncio.create_task, self._duties(tip=tip))]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            if (error := task.exception()) is not None:
                raise error
        return Closed("unreachable", "the node closed the connection")

    def _duties(self, *, tip: bool) -> list[Coroutine[Any, Any, None]]:
        duties = [self._see_stuck()]
        if tip and self._tip is not None:
            duties.append(self._follow_tip(self._tip))
        if self._subscriber is not None:
            duties += [self._flush(), self._trace(self._subscriber)]
        return duties

    async def _follow_tip(self, tip: TipWatcher) -> None:
        """Follow the tip; a node that hangs at this alone still answers calls."""
        assert self._offer is not None
        try:
            await tip.run()
        except (CallFault, TimeoutError) as error:
            if self._offer.caller is None or (isinstance(error, CallFault) and error.fault == "disconnected"):
                raise
            self._say(f"the node reports no tip any longer ({str(error) or 'no answer'}); its chain is polled")
            await asyncio.Event().wait()

    async def _trace(self, subscriber: Subscriber) -> None:
        try:
            await subscriber.trace_coins()
        except (CallFault, TimeoutError) as error:
            if isinstance(error, CallFault) and error.fault == "disconnected":
                raise
            self._say(f"the coins cache is not traced ({str(error) or 'no answer'})")
        await asyncio.Event().wait()

    async def _flush(self) -> None:
        """Hand events over; a pipe that is full leaves them in the buffers, where new ones find no room."""
        for tick in itertools.count():
            await asyncio.sleep(FLUSH_S)
            taken = self._buffers.take() if self._has_room() else []
            for events in taken:
                self._send(events)
            if taken or (tick % MARK_TICKS == 0 and self._has_room()):
                self._send(self._buffers.mark())

    async def _see_stuck(self) -> None:
        assert self._polls is not None
        while True:
            await asyncio.sleep(LOOK_S)
            if self._polls.stuck_s >= STUCK_S:
                raise TimeoutError

    async def answer(self, ask: Ask) -> None:
        """Make a call for the parent, and send its answer."""
        if self._offer is None or self._offer.caller is None or self._polls is None:
            self._send(CallAnswer(ask.number, "fault", why="the node takes no calls over IPC"))
            return
        try:
            body = await self._offer.caller.ask(self._polls, ask.method, ask.params, ask.deadline_s)
        except TimeoutError:
            self._send(CallAnswer(ask.number, "timeout"))
        except CallFault as fault:
            self._send(
                CallAnswer(ask.number, "unreachable" if fault.fault == "disconnected" else "fault", why=str(fault))
            )
        else:
            if len(body) > ask.most_bytes:
                self._send(CallAnswer(ask.number, "too-large", why=f"an answer of {len(body):,} bytes"))
            else:
                self._send(CallAnswer(ask.number, "ok", body))

    async def leave(self) -> None:
        """Take all subscriptions back and end the call that waits, then close the connection."""
        if self._subscriber is not None and (left := await self._subscriber.leave()):
            self._say(f"the node did not take back {left} of our subscriptions in time")
        if self._tip is not None:
            await self._tip.leave()
        if self._client is not None:
            self._client.close()

    def _say(self, text: str) -> None:
        self._send(Said(text, warn=True))


def _closed(fault: CallFault) -> Closed:
    return Closed("unreachable" if fault.fault == "disconnected" else "garbage", str(fault))
