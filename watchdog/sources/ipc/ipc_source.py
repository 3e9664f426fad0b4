"""Source `ipc:SOCKET`: a node behind Core's IPC, polled as `rpc:` polls, with its tip at once.

poller's thread --calls--> child process --Cap'n Proto--> node
|                        |
v                        +--tip, events--> lane --+
inbox ----------------------------------------------+--> poll: one watermark
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from watchdog.core.batch import Slice
from watchdog.core.source import SourceOptions
from watchdog.core.text import printable
from watchdog.sources.ipc.client import IpcClient
from watchdog.sources.ipc.lane import EventLane
from watchdog.sources.ipc.layouts import InitLayout
from watchdog.sources.ipc.place import check_ipc
from watchdog.sources.ipc.records import FORMS
from watchdog.sources.live.inbox import GAP
from watchdog.sources.rpc.columns import KINDS as POLLED_KINDS
from watchdog.sources.rpc.errors import RpcError
from watchdog.sources.rpc.link import NodeLink
from watchdog.sources.rpc.polled_source import PolledSource, RoundSink, methods_for
from watchdog.sources.rpc.poller import HEARTBEAT_S, Poller, RoundReceiver, Timing
from watchdog.sources.rpc.schedule import Schedule
from watchdog.sources.rpc.settings import RpcSettings
from watchdog.sources.scheme import Polls

KINDS: Final = POLLED_KINDS | frozenset(FORMS)
TIP: Final = "chain:tip"
REFUSAL: Final = "rpcwhitelist"
LEAVE_S: Final = 12.0
"""For the child to leave the node: it takes ten seconds at most, and ends by itself."""
HURRY_S: Final = 10.0
"""Between two reconnections that are followed by calls at once: a node that flaps costs no more than this."""
_LOG = logging.getLogger("watchdog.sources")


class IpcSource(PolledSource):
    """A node behind its IPC socket; see `PolledSource`."""

    def __init__(self, place: str, options: SourceOptions, timing: Timing | None = None) -> None:
        """Start to poll. Raise SourceError for a path or settings that cannot be used, PositionError for a position."""
        warning = check_ipc(place, options.settings)
        name = f"ipc:{place}"
        if warning:
            _LOG.warning("source %s: %s", printable(name), warning)
        subscribe = options.settings.get("subscribe") is True
        self._lane = EventLane(name, options, _until_of(options) if subscribe else 0)
        wanted = ",".join(kind for kind in FORMS if options.wants(kind))
        arguments = ["--subscribe", f"--kinds={wanted}"] if subscribe else []
        timeout_s = RpcSettings.of(options.settings).timeout_s
        self._client = IpcClient(name, Path(place), self._lane, timeout_s, arguments)
        self._driver = _Driver(name, self._client, self._lane, timing or Timing())
        self._polled_ns = 0
        kinds = KINDS if subscribe else POLLED_KINDS
        drive = self._driver.run
        super().__init__(name, self._client, options, kinds, timing=timing, drive=drive, refusal=REFUSAL)

    @property
    def offered(self) -> InitLayout | None:
        """What the node offers; None without a connection."""
        return self._client.layout

    @property
    def lacking(self) -> frozenset[str]:
        """The kinds that the node of the present connection cannot give; see `watchdog.core.source.Lacking`."""
        layout = self._client.layout
        if layout is None:
            return frozenset()
        calls = frozenset() if layout.polls else POLLED_KINDS - ({TIP} if layout.tip else frozenset()) - {GAP}
        return calls | (frozenset(FORMS).difference(self._lane.heard) & self.kinds)

    @property
    def tallies(self) -> Mapping[str, tuple[int, int]]:
        """Events of subscriptions by kind, read or not, and the sum of their values in satoshi."""
        return self._lane.counts

    @property
    def counters(self) -> Mapping[str, int]:
        """Those of a polled source; what the events dropped, and what waits of them, included."""
        counters, lane = dict(super().counters), self._lane.inbox
        waiting_bytes, waiting_rows = lane.waiting
        counters["rows"] += lane.counts.rows
        counters["batches"] += lane.counts.batches
        counters["dropped"] += sum(lane.counts.dropped.values())
        counters["waiting_bytes"] += waiting_bytes
        counters["waiting_rows"] += waiting_rows
        return counters

    def poll(self) -> Slice | None:
        """Return the next slice of polls and events; see `LiveSource.poll`."""
        polled = super().poll()
        if polled is not None:
            self._polled_ns = polled.until_ns
        return self._lane.take(polled, self._polled_ns)

    def close(self) -> None:
        """Stop to poll, and ask the child to leave the node; returns at once."""
        self._link.leaving = True
        super().close()
        self._lane.inbox.close()
        self._client.leave()


class _Driver:
    """Keeps the connection, and polls while there is one; `run` belongs to the poller's thread."""

    def __init__(self, name: str, client: IpcClient, lane: EventLane, timing: Timing) -> None:
        self._name, self._client, self._lane, self._timing = printable(name), client, lane, timing
        self._renewals, self._hurried_s = 0, 0.0
        self._said = ""

    def run(self, poller: Poller, sink: RoundSink | None, stopping: threading.Event) -> None:
        """Poll until `stopping` is set; then wait until the child has left the node.

        sink: takes the tips of a node that answers no calls; None: nothing does.
        """
        try:
            while not stopping.is_set():
                self._timing.wait(stopping, self._step(poller, sink))
        finally:
            self._client.leave()
            if not self._client.join(LEAVE_S):
                _LOG.warning("source %s: the process that speaks to the node does not end", self._name)

    def _step(self, poller: Poller, sink: RoundSink | None) -> float:
        layout = self._connected(poller)
        if sink is not None:
            self._lane.boot_ns = sink.boot_ns
        if layout is None:
            pause_s = poller.rest()
            return 0.01 if self._client.connecting else pause_s
        if layout.polls:
            self._lane.tips()  # a new tip has rung the poller, which asks for the chain
            return poller.step()
        poller.link.holds(self._timing.monotonic())
        for tip in self._lane.tips():
            if sink is not None:
                sink.tip(tip.height, tip.hash, tip.time_ns)
        return poller.rest()

    def _connected(self, poller: Poller) -> InitLayout | None:
        """Return what the node offers; None while there is no connection."""
        link, now_s = poller.link, self._timing.monotonic()
        if self._client.layout is None and (self._client.connecting or now_s >= link.resume_s):
            try:
                self._client.open(HEARTBEAT_S)
            except RpcError as error:
                if not (self._client.connecting and link.trouble == printable(str(error))):
                    link.breaks(str(error), now_s)
        layout = self._client.layout
        if layout is not None:
            self._say(layout)
            if self._renewals != self._client.renewals:
                self._renewals = self._client.renewals
                poller.node_restarted(at_once=now_s >= self._hurried_s + HURRY_S)
                self._hurried_s = now_s
        return layout

    def _say(self, layout: InitLayout) -> None:
        """Log what the node is and does not give, once."""
        opened = self._client.opened
        seen = f" ({printable(opened.seen)})" if opened is not None and opened.seen else ""
        lacks = f"; it gives {layout.lacks}" if layout.lacks else ""
        text = f"{layout.about}{seen}{lacks}"
        if text != self._said:
            self._said = text
            level = logging.INFO if layout.polls else logging.WARNING  # most rules are blind with such a node alone
            _LOG.log(level, "source %s: %s", self._name, text)


class _IpcPolls:
    """Makes every call of a node at its usual intervals; see `watchdog.sources.scheme.Polls`."""

    def __init__(self, place: str, receiver: RoundReceiver) -> None:
        name = f"ipc:{place}"
        lane = EventLane(name, SourceOptions(), 0)
        client = IpcClient(name, Path(place), lane)
        schedule = Schedule(methods_for(lambda _kind: True), {}, RpcSettings().budget, Timing().random)
        self._poller = Poller(client, schedule, NodeLink(name, REFUSAL), receiver)
        self._driver = _Driver(name, client, lane, Timing())

    def run(self, stopping: threading.Event) -> None:
        """Poll in this thread until the event is set."""
        self._driver.run(self._poller, None, stopping)


def polls_of(place: str, receiver: object) -> Polls:
    """Return what polls a socket for a receiver of the answers. Raise SourceError for a path that cannot be used."""
    if not isinstance(receiver, RoundReceiver):
        raise TypeError("the receiver takes no rounds")
    check_ipc(place, {})
    return _IpcPolls(place, receiver)


def _until_of(options: SourceOptions) -> int:
    """Return up to when the run before has reported; 0 without one."""
    until_ns = (options.position or {}).get("until_ns", 0)
    return until_ns if isinstance(until_ns, int) and 0 < until_ns <= options.believed_ns else 0


def open_ipc(place: str, options: SourceOptions) -> IpcSource:
    """Open the source of a socket; the registry calls it."""
    return IpcSource(place, options)
