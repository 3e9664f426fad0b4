"""A node that is polled on a virtual clock: the poller's pauses move it, and answers depend on it; HTTP is real."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alerts.incident import Incident
from rules.load import load
from tests.support.fake_node import Answer, FakeNode, NodeError
from tests.support.waiting import wait_until
from watchdog.core.batch import Slice
from watchdog.core.source import Source, SourceOptions
from watchdog.engine.coverage import wanted_kinds
from watchdog.engine.engine import Engine
from watchdog.pipeline.pipeline import Pipeline
from watchdog.sources.rpc.poller import Timing
from watchdog.sources.rpc.rpc_source import RpcSource

START = 1_700_000_000


@dataclass
class VirtualTime:
    """Seconds since the epoch, moved by the pauses of a poller. wall_step_s: how far the wall clock was set.

    steps: if given, a pause ends at the next of these times at or after its end. each: called after each pause.
    stride_s: the shortest pause, so that long stories have few heartbeats.
    """

    end_s: float
    now_s: float = START
    steps: Sequence[float] = ()
    wall_step_s: float = 0.0
    each: Callable[[float], object] | None = None
    stride_s: float = 0.0
    mean: float = 0.5  # what random() gives: 0.5 is an interval without jitter
    _next: int = 0
    waits: list[float] = field(default_factory=list)

    def timing(self) -> Timing:
        return Timing(self.wall_ns, lambda: self.now_s, self.wait, lambda: self.mean)

    def wall_ns(self) -> int:
        return round((self.now_s + self.wall_step_s) * 1e9)

    def wait(self, stopping: threading.Event, seconds: float) -> None:
        """Let time pass; past the end, stop the poller."""
        if self.steps:
            while self._next < len(self.steps) and self.steps[self._next] <= self.now_s:
                self._next += 1
            self.now_s = self.steps[self._next] if self._next < len(self.steps) else self.end_s + 1
        else:
            self.now_s += max(seconds, self.stride_s)
        if self.each is not None:
            self.each(self.now_s)
        if self.now_s > self.end_s:
            stopping.set()


def slices_of(source: Source, limit_s: float = 300.0) -> Iterator[Slice]:
    """Yield all slices until the source has ended."""
    while not source.ended:
        taken: list[Slice] = []

        def more(taken: list[Slice] = taken) -> bool:
            one = source.poll()
            if one is not None:
                taken.append(one)
            return bool(taken) or source.ended

        wait_until(more, "the source gave nothing more", limit_s, look_s=0.0005)
        yield from taken


def rpc_source(
    node: FakeNode,
    time: VirtualTime,
    *kinds: str,
    settings: Mapping[str, object] | None = None,
    position: Mapping[str, object] | None = None,
) -> RpcSource:
    """Return a source that polls on this clock; its kinds are all without any named."""
    options = SourceOptions(
        wanted=frozenset(kinds) or None,
        wall_ns=time.wall_ns,
        position=position,
        settings={"cookie": node.cookie, **(settings or {})},
    )
    return RpcSource(node.url, options, time.timing())


Event = dict[str, Any]


def rows_of(slices: Iterator[Slice] | Sequence[Slice]) -> list[Event]:
    """Return the rows of slices as dicts with their kind, in order."""
    events: list[Event] = []
    for one in slices:
        for batch in one.batches:
            columns = {name: column.tolist() for name, column in batch.columns.items()}
            rows = zip(*columns.values(), strict=True)
            events += [
                {"kind": batch.kind, "boot_ns": batch.boot_ns, **dict(zip(columns, row, strict=True))} for row in rows
            ]
    return events


def incidents_of(source: Source, slices: Iterator[Slice], node: str = "node") -> list[Incident]:
    """Run the shipped rules over a source; the incidents by opening time."""
    plans = load([], packs=True).plans
    course = Pipeline(Engine(plans, {source.name: source.kinds}, node=node))
    for one in slices:
        course.process(one)
    course.finish()
    return sorted(course.books.incidents(), key=lambda incident: (incident.opened_ns, incident.id))


def shipped_kinds() -> frozenset[str]:
    """Return the kinds that the shipped rules read."""
    return wanted_kinds(load([], packs=True).plans)


def by_time(polls: Mapping[float, Mapping[str, bytes]], time: VirtualTime) -> dict[str, Answer]:
    """Return answers that are the recorded bodies of the virtual time; a method without one is not found."""
    methods = {method for one in polls.values() for method in one}

    def answer(method: str) -> Callable[[list[Any]], Any]:
        def at_now(_params: list[Any]) -> bytes:
            body = polls.get(time.now_s, {}).get(method)
            if body is None:
                raise NodeError(-1, f"no {method} was recorded at {time.now_s}")
            return body

        return at_now

    return {method: answer(method) for method in methods}


def watched(
    folder: Path,
    answers: Mapping[str, Answer] | Callable[[VirtualTime], Mapping[str, Answer]],
    hours: float,
    *,
    settings: Mapping[str, object] | None = None,
    each: Callable[[FakeNode, float], object] | None = None,
) -> list[Incident]:
    """Poll a node for virtual hours under the shipped rules; return the incidents."""
    time = VirtualTime(START + 3600 * hours, stride_s=90.0)
    known = answers(time) if callable(answers) else answers
    with FakeNode(folder, known) as node:
        time.each = None if each is None else lambda now_s: each(node, now_s)
        source = rpc_source(node, time, *shipped_kinds(), settings=settings)
        try:
            return incidents_of(source, slices_of(source))
        finally:
            source.close()
