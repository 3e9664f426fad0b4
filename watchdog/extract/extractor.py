"""The extractor: finds the node, attaches what readers want, serves what comes, and finds the node again after its end.

executor thread: drain rings, make batches  -->  event loop: losses, server  ==socket==> readers
                                                   ^ demand, end of the node (pidfd), ticks
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import socket
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from watchdog.core.batch import Batch
from watchdog.core.declared import Declaration
from watchdog.core.errors import WatchdogError
from watchdog.core.text import counted, printable
from watchdog.extract.attachment import Attachment
from watchdog.extract.libbpf import ExtractError
from watchdog.extract.losses import LossWatch, LostEvents, gaps
from watchdog.extract.offers import declarations_of, hello_of, offered_by
from watchdog.extract.probes import Probes, RingCounts
from watchdog.extract.process import Finder, TracedProcess, process_of
from watchdog.extract.rings import TraceBatches
from watchdog.extract.traced import Traced, ending
from watchdog.stream.offer import Demand, Hello
from watchdog.stream.server import StreamServer

NODE: Final = "node"  # readers give it the name of their configuration
DRAIN_S: Final = 0.4  # a batch has the events of this time: fewer batches cost less, and reach rules later
BUSY_PAUSE_S, QUIET_PAUSE_S = 0.005, 0.04
"""How often the rings are looked at; their sizes allow a hundred milliseconds at the rates of docs/SOURCES.md."""
BUSY_ROWS, BUSY_BYTES = 2_000, 1 << 20  # of one drain, from which on the shorter pause is taken
TICK_S: Final = 1.0
END_S: Final = 3.0
REFUSED_STEP_NS: Final = 5 * 10**9
"""Between two gaps of kinds that cannot be attached."""
NOT_ATTACHED: Final = "not attached"
LOOK_S: Final = 0.5
"""How often a node that ended is looked for."""
GAUGES_OF_FIELDS: Final = 40
_LOG: Final = logging.getLogger("watchdog.extract")


@dataclass(slots=True, eq=False)
class Extractor:
    """Serves one node at one socket. listener: bound. kinds: what is offered at most, None for all.

    `begin` finds the node; `run` serves until cancelled.
    """

    listener: socket.socket
    finder: Finder
    kinds: frozenset[str] | None
    probes: Probes
    _traced: Traced | None = None
    _demand: Demand = field(default_factory=Demand)
    _declared: tuple[Declaration, ...] = ()
    _attachment: Attachment = field(init=False)
    _server: StreamServer = field(init=False)
    _serving: asyncio.Task[None] | None = None
    _served: int = 0
    _hello: Hello | None = None
    _losses: LossWatch = field(init=False)
    _until_ns: int = 0
    _clamped: int = 0
    _refused_ns: int = field(default_factory=time.time_ns)
    _pause_s: float = QUIET_PAUSE_S
    _said: str = ""
    _announced: list[Batch] = field(default_factory=list)
    _executor: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "rings"))

    def __post_init__(self) -> None:
        self._attachment = Attachment(self.probes)
        self._losses = LossWatch(self.probes.counts(), time.time_ns())
        self._executor.submit(int).result()  # the thread must be there before system calls are refused

    # ---- the node: found, traced, ended ----

    def begin(self) -> bool:
        """Find the node and read its binary; False while it does not run. ExtractError: waiting will not help."""
        process = self.finder.find()
        if process is None and not self.finder.claims:
            return False
        traced = self._opened(process)
        if not traced.offer.tracepoints:
            traced.close()
            what = f"process {process.pid}" if process else f"'{printable(str(self.finder.binary))}'"
            why = "; ".join(f"{kind}: {fault}" for kind, fault in traced.offer.faults.items())
            raise ExtractError(f"{what} offers no tracepoint that is known or wanted" + (f": {why}" if why else ""))
        self._take(traced)
        return True

    def _opened(self, process: TracedProcess | None) -> Traced:
        handle = self.finder.opened(process)
        try:
            offer = offered_by(f"/proc/self/fd/{handle}", self.kinds, self._declared)
        except WatchdogError:
            os.close(handle)
            raise
        for kind, fault in offer.faults.items():
            _LOG.warning("%s is not read: %s", kind, fault)
        return Traced(process, handle, offer, TraceBatches(NODE, process.boot_ns if process is not None else 0))

    def _take(self, traced: Traced) -> None:
        """Trace this node from now on."""
        for kind, why in self.probes.offer(traced.offer.binary, traced.offer.tracepoints).items():
            _LOG.warning("%s is not read: %s", kind, why)
        self._traced = traced
        if traced.process is not None:
            self._watch_end(traced, traced.process)
        self.probes.watch(traced.process.pid if traced.process else 0, claim=traced.process is None)
        _LOG.info("tracing %s, release %s", traced.name, traced.offer.release)

    def _watch_end(self, traced: Traced, process: TracedProcess) -> None:
        try:
            traced.watch = os.pidfd_open(process.pid)
        except ProcessLookupError:
            traced.gone = True
        self.finder.note(process)
        same = process_of(process.pid)
        traced.gone = traced.gone or same is None or same.ticks != process.ticks

    async def _end(self, traced: Traced) -> None:
        """Take what its rings still hold, report its end, and forget it."""
        await self._pump_once(0.0)
        end = self.probes.end_of(self.probes.watched)
        reason = ending(end[0]) if end is not None else "its end was not seen"
        now_ns = time.time_ns()
        self._publish([traced.stopped(now_ns, reason)], self._until_ns)
        _LOG.info("%s ended: %s", traced.name, reason)
        self.finder.ended(end[1] if end is not None else time.clock_gettime_ns(time.CLOCK_BOOTTIME))
        self._forget(traced)

    def _forget(self, traced: Traced) -> None:
        self._attachment.release()
        self.probes.watch(0)
        traced.close()
        self._traced = None

    async def _find_again(self) -> None:
        """Look for the node once; attach to it what readers want, and report its start."""
        loop = asyncio.get_running_loop()
        process = await loop.run_in_executor(None, self.finder.find) if not self.finder.claims else None
        if process is None and not self.finder.claims:
            return
        try:
            traced = self._opened(process)
        except WatchdogError as error:
            self._once(error.in_one_line())
            return
        if not traced.offer.tracepoints:
            traced.close()
            self._once(f"{traced.name} offers no tracepoint")
            return
        self._take(traced)
        await self._reoffer(traced)
        self._announce(traced)
        self._attach()

    async def _reoffer(self, traced: Traced) -> None:
        """Greet later readers with the new process; readers of other kinds have to come again."""
        hello = hello_of(NODE, traced.boot_ns, traced.offer)
        same = self._hello is not None and hello.kinds == self._hello.kinds
        self._hello = hello
        if same:
            self._server.introduce(hello)
        else:
            await self._serve_again("the node offers other tracepoints now")

    def _announce(self, traced: Traced) -> None:
        if traced.process is None:
            return  # the first one that hits will be announced
        batch = traced.started(time.time_ns())
        if self._demand.kinds:
            self._publish([batch], self._until_ns)
        else:
            self._announced = [batch]

    # ---- what readers want ----

    def _wanted(self, demand: Demand) -> None:
        """Take what readers want now; called by the server. WatchdogError refuses the reader that came."""
        declarations = declarations_of(demand.tracepoints)
        if declarations != self._declared:
            self._declare(declarations)
        self._demand = demand
        for type_ in self.probes.set_payloads(demand.payloads):
            _LOG.warning("no room for a payload size of '%s'; it gets the general one", printable(type_))
        self._attach()
        if self._announced and demand.kinds:
            asyncio.get_running_loop().call_soon(self._publish_announced)

    def _publish_announced(self) -> None:
        batches, self._announced = self._announced, []
        self._publish(batches, self._until_ns)

    def _declare(self, declarations: tuple[Declaration, ...]) -> None:
        traced = self._traced
        if traced is not None:
            offer = offered_by(traced.path, self.kinds, declarations)
            for one in declarations:
                if one.kind_name not in offer.tracepoints:
                    why = offer.faults.get(one.kind_name, "the node has no such tracepoint")
                    raise ExtractError(f"{one.kind_name}: {why}")
            refused = self.probes.offer(offer.binary, offer.tracepoints)
            if refused:
                raise ExtractError("; ".join(f"{kind}: {why}" for kind, why in refused.items()))
            traced.offer = offer
        self._declared = declarations

    def _attach(self) -> None:
        """Attach to what is wanted and not attached; what is refused is a line, and a gap while it is wanted."""
        traced = self._traced
        if traced is None:
            return
        wanted = self._demand.kinds & traced.offer.tracepoints.keys()
        pid = traced.process.pid if traced.process is not None else -1
        before = self.probes.attached
        failed = self._attachment.want(wanted, traced.path, pid, time.monotonic())
        if self.probes.attached - before:
            _LOG.info("attached to %s: %s", traced.name, counted(len(self.probes.attached), "tracepoint"))
        for kind, why in failed.items():
            _LOG.error("%s is not read: %s", kind, why)

    # ---- serving ----

    async def run(self) -> None:
        """Serve until cancelled."""
        self._serve()
        ticking = asyncio.get_running_loop().create_task(self._tick())
        try:
            while True:
                await self._step()
                for task in (ticking, self._serving):
                    if task is not None and task.done():
                        task.result()  # a failure must be heard
        finally:
            self._served = -1  # readers that leave now change nothing
            ticking.cancel()
            self.probes.stop()
            self._executor.shutdown()
            if self._serving is not None:
                self._serving.cancel()
                await asyncio.gather(self._serving, ticking, return_exceptions=True)
            self.probes.close()

    async def _step(self) -> None:
        """Drain once, and see to the node."""
        traced = self._traced
        if traced is None:
            await asyncio.sleep(LOOK_S)
            await self._pump_once(0.0)
            await self._find_again()
            return
        over = traced.over
        await self._pump_once(DRAIN_S if self.probes.attached else 0.0)
        if over:
            await self._end(traced)
        elif traced.process is None and self.finder.moved(traced.handle):
            self._forget(traced)
        elif not self.probes.attached:
            await asyncio.sleep(DRAIN_S)

    def _claimed(self, traced: Traced) -> list[Batch]:
        """Note the process that hit first, where only the binary is known; its start, or an empty list before that."""
        pid = self.probes.watched
        if traced.process is not None or not pid:
            return []
        process = process_of(pid)
        traced.process = process or TracedProcess(pid, 0, 0, -1, "", "")
        traced.maker.boot_ns = traced.boot_ns
        traced.gone = process is None
        if process is not None:
            self._watch_end(traced, process)
        _LOG.info("tracing %s", traced.name)
        return [traced.started(time.time_ns())]

    async def _pump_once(self, budget_s: float) -> None:
        """Take records and publish them with what was lost."""
        loop = asyncio.get_running_loop()
        batches, until_ns, stepped_ns, lost = await loop.run_in_executor(self._executor, self._taken, budget_s)
        self._until_ns = until_ns
        if lost:
            batches.append(gaps(lost, NODE, self._traced.boot_ns if self._traced is not None else 0))
        if stepped_ns:
            await self._serve_again(f"the clock was set back by {stepped_ns / 1e9:.0f} s")
        self._publish(batches, until_ns)

    def _taken(self, budget_s: float) -> tuple[list[Batch], int, int, list[LostEvents]]:
        """Return batches, watermark, how far the clock was set back, and losses. Runs in the executor's thread."""
        drained = self.probes.drain(budget_s, pause_s=self._pause_s)
        rows = len(drained.messages.time_ns) + len(drained.events.time_ns)
        busy = rows >= BUSY_ROWS or len(drained.messages.payload) >= BUSY_BYTES
        self._pause_s = BUSY_PAUSE_S if busy else QUIET_PAUSE_S
        self._clamped += drained.clamped
        batches: list[Batch] = []
        unreadable: Mapping[str, int] = {}
        if rows and self._traced is not None:
            batches = self._claimed(self._traced)
            made = self._traced.maker.make(drained, self.probes.slots.numbered())
            batches, unreadable = batches + made.batches, made.unreadable
        lost = self._losses.look(self.probes.counts(), time.time_ns(), unreadable)
        return batches, drained.until_ns, drained.stepped_ns, lost

    def _publish(self, batches: list[Batch], until_ns: int) -> None:
        self._server.publish(batches, until_ns)

    async def _tick(self) -> None:
        """Tell readers each second how far events are and how the extractor is; detach what no reader wants."""
        while True:
            await asyncio.sleep(TICK_S)
            self._attachment.tidy(time.monotonic())
            self._report_refused(time.time_ns())
            self._server.heartbeat(self._until_ns, self._health(self.probes.counts()))

    def _report_refused(self, now_ns: int) -> None:
        """Report what is wanted and not attached as a gap, again and again while it is so."""
        failed = self._attachment.failed
        if failed and now_ns - self._refused_ns >= REFUSED_STEP_NS:
            lost = [LostEvents(self._refused_ns, now_ns, 0, NOT_ATTACHED, kind) for kind in failed]
            self._publish([gaps(lost, NODE, self._traced.boot_ns if self._traced else 0)], self._until_ns)
        if not failed or now_ns - self._refused_ns >= REFUSED_STEP_NS:
            self._refused_ns = now_ns

    def _health(self, counts: RingCounts) -> dict[str, float]:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        health = {
            "records": counts.records,
            "lost": counts.lost_records,
            "lost_payloads": counts.lost_payloads,
            "unreadable": sum(counts.unreadable.values()),
            "other_processes": counts.foreign,
            "late": self._clamped,
            "probes": len(self.probes.attached),
            "probes_refused": len(self._attachment.failed),
            "node_runs": self._traced is not None,
            "cpu_s": usage.ru_utime + usage.ru_stime,
        }
        some = sorted(counts.unreadable.items())[:GAUGES_OF_FIELDS]
        health.update({f"unreadable {kind} {name}": many for (kind, name), many in some})
        return {name: float(value) for name, value in health.items()}

    def _serve(self) -> None:
        if self._hello is None:
            assert self._traced is not None  # `begin` found one
            self._hello = hello_of(NODE, self._traced.boot_ns, self._traced.offer)
        number = self._served = self._served + 1

        def hear(demand: Demand) -> None:
            if number == self._served:  # readers of the server before may still be leaving
                self._wanted(demand)

        self._server = StreamServer(self.listener.dup(), self._hello, hear)
        self._serving = asyncio.get_running_loop().create_task(self._server.serve())

    async def _serve_again(self, reason: str) -> None:
        """End all readers with a reason; they come again and are greeted with what there is now."""
        _LOG.warning("%s: readers have to subscribe again", reason)
        with contextlib.suppress(TimeoutError):  # a reader that takes nothing is cut off
            await asyncio.wait_for(self._server.end(reason), END_S)
        if self._serving is not None:
            self._serving.cancel()
            await asyncio.gather(self._serving, return_exceptions=True)
        self._demand = Demand()
        self._serve()

    def _once(self, line: str) -> None:
        """Log a line that repeats while a node is looked for, once."""
        if line != self._said:
            self._said = line
            _LOG.warning("%s", line)
