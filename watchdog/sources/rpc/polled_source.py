"""What sources that poll a node share, whatever carries their calls."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping

import msgspec

from watchdog.core.batch import Batch
from watchdog.core.enrich import Enricher
from watchdog.core.errors import PositionError
from watchdog.core.source import SourceOptions
from watchdog.core.text import printable
from watchdog.sources.live.inbox import Inbox
from watchdog.sources.live.runners import Produce, Runner, ThreadRunner
from watchdog.sources.live.source import LiveSource
from watchdog.sources.rpc import node_state
from watchdog.sources.rpc.address_facts import AddressFacts
from watchdog.sources.rpc.columns import RpcRows, RpcValue, one_row
from watchdog.sources.rpc.hash_polls import KIND as HASH_KIND
from watchdog.sources.rpc.hash_polls import HashPolls
from watchdog.sources.rpc.link import SHOWN_S, CallCounts, NodeLink
from watchdog.sources.rpc.peers_diff import PeerMark
from watchdog.sources.rpc.poller import Poller, Timing
from watchdog.sources.rpc.reporter import NEEDS, Memory, Reporter
from watchdog.sources.rpc.rounds import Round
from watchdog.sources.rpc.schedule import CALLS, Schedule
from watchdog.sources.rpc.settings import RpcSettings
from watchdog.sources.rpc.spare import SpareTime
from watchdog.sources.rpc.tip_polls import TipPolls
from watchdog.sources.rpc.transport import Transport

MAX_FACTS = 200_000  # addresses whose netgroup is kept: full tables and their sources
ON_DEMAND = frozenset({"getchaintips", "getrawaddrman"})  # calls that fall away when no reader wants their kinds
RESUMED_NS = 120 * 10**9  # a longer pause of this program is a gap; polls of a running one may be this far apart
_LOG = logging.getLogger("watchdog.sources")


class LivePosition(Memory, kw_only=True):
    """What a later run continues with. last_peers: those of the last poll, None before one. until_ns: the watermark."""

    last_peers: list[PeerMark] | None = None
    until_ns: int = 0


class RoundSink:
    """Turns rounds into slices of an inbox; lives in the poller's thread. `RoundReceiver` for a service."""

    def __init__(self, inbox: Inbox, name: str, options: SourceOptions, position: LivePosition) -> None:
        self._inbox, self._position, self._wall_ns = inbox, position, options.wall_ns
        self._name = printable(name)
        self._rows = RpcRows(options.node, name, options.wants)
        known = AddressFacts(Enricher(options.asmap_path, options.lists), MAX_FACTS)
        self._reporter = Reporter(self._rows, known, position)
        self._logged: set[str] = set()  # reasons for which parts of answers were left out; they are a fixed few
        if position.last_peers is not None:
            self._reporter.set_known_peers(position.last_peers)

    @property
    def boot_ns(self) -> int:
        """When the node's process was started; 0 while that is not known."""
        return self._rows.boot_ns

    def resume(self) -> None:
        """Report what was missed since the run before; its address tables are not kept, so their changes always are."""
        from_ns, now_ns = self._position.until_ns, self._wall_ns()
        if not from_ns or from_ns > now_ns:
            return
        missed = now_ns - from_ns > RESUMED_NS
        self._gap(from_ns, now_ns, "not polled", "" if missed else "addrman:")
        self._put(now_ns)

    def deliver(self, polls: Round) -> None:
        """Turn a round into rows, and wait until the inbox has room for them."""
        self._reporter.report(polls)
        for reason in sorted(polls.faults.keys() - self._logged):
            if ": " not in reason:  # a call that failed is logged by its link, once an episode
                self._logged.add(reason)
                _LOG.warning("source %s: %s; each case is a gap, and only the first is logged", self._name, reason)
        self._position.last_peers = self._reporter.known_peers()
        self._put(max((poll.time_ns for poll in polls.polls.values()), default=polls.time_ns))

    def tip(self, height: int, block_hash: bytes, time_ns: int) -> None:
        """Report the tip of a node that answers no calls. block_hash: 32 bytes in internal order."""
        node_state.report_tip(self._position.node.chain, height, block_hash[::-1].hex(), time_ns, self._rows)
        self._put(self._wall_ns())

    def quiet(self) -> None:
        """Let the watermark follow the clock."""
        self._position.until_ns = self._wall_ns()
        self._inbox.heartbeat(self._position.until_ns)

    def missed(self, from_ns: int, to_ns: int, reason: str) -> None:
        """Report a time without answers."""
        self._gap(from_ns, to_ns, reason, "")
        self._put(to_ns)

    def _gap(self, from_ns: int, to_ns: int, reason: str, kinds: str) -> None:
        gap: dict[str, RpcValue] = {
            "from_ns": from_ns,
            "to_ns": to_ns,
            "lost": 0,
            "reason": printable(reason),
            "kinds": kinds,
        }
        self._rows.add("source:gap", to_ns, one_row(gap))

    def _put(self, until_ns: int) -> None:
        self._position.until_ns = until_ns
        batches: tuple[Batch, ...] = self._reporter.take()
        place = msgspec.to_builtins(self._position)
        while not self._inbox.put(batches, until_ns, place) and not self._inbox.closed:
            pass  # `put` waits for room by itself


Drive = Callable[[Poller, RoundSink, threading.Event], None]
"""Runs a poller in the thread of its source until the event is set."""


class PolledSource(LiveSource):
    """A polled node; see `watchdog.core.source.Source`. `Troubled` and `Stretching` say how its node is doing.

    transport: carries the calls. drive: what runs the poller; None for polls alone. refusal: how the
    node refuses a single method, for people. Raise PositionError for a position.
    """

    def __init__(
        self,
        name: str,
        transport: Transport,
        options: SourceOptions,
        kinds: frozenset[str],
        *,
        timing: Timing | None = None,
        drive: Drive | None = None,
        refusal: str = "HTTP 403",
    ) -> None:
        position = _position(name, options)
        clocks = timing or Timing(wall_ns=options.wall_ns)
        settings = RpcSettings.of(options.settings)
        self._link, self._monotonic = NodeLink(name, refusal), clocks.monotonic
        self._schedule = Schedule(methods_for(options.wants), settings.intervals, settings.budget, clocks.random)
        announced, hashes = _beside(options, SpareTime(settings.budget))
        self._leave = options.tips.listen(announced.ring)

        def start(inbox: Inbox, _position: Mapping[str, object] | None) -> Runner:
            sink = RoundSink(inbox, name, options, position)
            poller = Poller(
                transport,
                self._schedule,
                self._link,
                sink,
                timeout_s=settings.timeout_s,
                chain=settings.chain,
                timing=clocks,
                tips=position.tips,
                uptime_taken_ns=lambda: position.node.process.polled_s * 10**9,
                announced=announced,
                hashes=hashes,
            )
            return ThreadRunner(_producer(poller, sink, drive), inbox)

        super().__init__(name, kinds, start, options, policy="wait")

    def close(self) -> None:
        """Stop to poll; see `LiveSource.close`."""
        self._leave()
        super().close()

    @property
    def trouble(self) -> str:
        """Why the node gives nothing now; empty while it answers."""
        return self._link.trouble

    @property
    def slow_call(self) -> tuple[str, float]:
        """The call that takes most of the time and the largest stretch of an interval; "" while none is large."""
        return self._schedule.slow()

    @property
    def clock_step(self) -> str:
        """By how much the node's clock was set within the last minute, in words; empty when it was not."""
        text, noted_s = self._link.clock_step
        return text if text and self._monotonic() - noted_s < SHOWN_S else ""

    @property
    def forbidden(self) -> Mapping[str, frozenset[str]]:
        """The methods that the node refuses with 403, and the kinds that each would feed."""
        return {method: frozenset(NEEDS.get(method, ())) for method in sorted(self._link.forbidden)}

    @property
    def calls(self) -> Mapping[str, CallCounts]:
        """Requests, seconds and errors by method."""
        return dict(self._link.counts)

    @property
    def intervals_s(self) -> Mapping[str, float]:
        """The present interval of each call, in seconds."""
        return {method: one.present_s for method, one in self._schedule.intervals().items()}

    @property
    def counters(self) -> Mapping[str, int]:
        """Those of a live source, and requests and failed requests."""
        counts = list(self._link.counts.values())
        return {
            **super().counters,
            "requests": sum(one.requests for one in counts),
            "failed_requests": sum(sum(one.errors.values()) for one in counts),
        }


def _producer(poller: Poller, sink: RoundSink, drive: Drive | None) -> Produce:
    def produce(_inbox: Inbox, stopping: threading.Event) -> None:
        sink.resume()
        if drive is None:
            poller.run(stopping)
        else:
            drive(poller, sink, stopping)

    return produce


def methods_for(wants: Callable[[str], bool]) -> frozenset[str]:
    """Return the calls that have a reader."""
    return frozenset(
        row.method for row in CALLS if row.method not in ON_DEMAND or any(wants(kind) for kind in NEEDS[row.method])
    )


def _beside(options: SourceOptions, spare: SpareTime) -> tuple[TipPolls, HashPolls]:
    """Return the polls that others ask for; they share the time that the regular calls leave."""
    return TipPolls(spare), HashPolls(options.asked_heights if options.wants(HASH_KIND) else tuple, spare)


def _position(name: str, options: SourceOptions) -> LivePosition:
    if options.position is None:
        return LivePosition()
    try:
        position = msgspec.convert(options.position, LivePosition)
    except msgspec.ValidationError as error:
        raise PositionError(f"{name}: cannot resume: the position is of another form: {str(error).lower()}") from error
    if position.until_ns > options.believed_ns:
        position.until_ns = 0
        node_state.forget_after(position.node, options.believed_ns)
        position.peers.time_ns = min(position.peers.time_ns, options.believed_ns)
    return position
