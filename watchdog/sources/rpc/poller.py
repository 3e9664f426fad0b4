"""Polls one node: makes the calls that are due, one at a time, and hands whole rounds over.

    due calls --> [ chain, uptime, peers, ... ] --> Round --> deliver        answers of one moment
                  [ tips, headers ] -----------------> Round --> deliver
                  [ address tables ] ----------------> Round --> deliver     large: never holds up the others' rows

A node that does not answer is no reason to end: the poller keeps its baselines, reports the time without answers as a
gap, and tries again. It forgets nothing across a restart of the node, except its peers.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

import msgspec

from watchdog.core.core_constants import RPC_METHOD_NOT_FOUND
from watchdog.sources.rpc import answers as rpc_types
from watchdog.sources.rpc import block_hashes, chain_tips, salvage
from watchdog.sources.rpc.errors import (
    RpcBusyError,
    RpcCredentialsError,
    RpcError,
    RpcFaultError,
    RpcForbiddenError,
    RpcTimeoutError,
    RpcUnauthorizedError,
    RpcUnreachableError,
    RpcWarmupError,
)
from watchdog.sources.rpc.hash_polls import BEYOND_TIP, HASH_CALL, HashPolls
from watchdog.sources.rpc.link import NodeLink
from watchdog.sources.rpc.methods import PARAMS
from watchdog.sources.rpc.node_state import Link
from watchdog.sources.rpc.rounds import LinePosition, Poll, Round
from watchdog.sources.rpc.schedule import CALLS, COSTLY, Schedule
from watchdog.sources.rpc.spare import SpareTime
from watchdog.sources.rpc.tip_polls import TIP_CALL, TipPolls
from watchdog.sources.rpc.transport import Transport
from watchdog.sources.rpc.turns import BIG_CALL, OF_THIS_PROCESS, RETRY_S, BigTurns

RETRY_SHUT_S: Final = 600.0  # a method that the node refuses, or does not have, is tried again after this
ADDRMAN_DEADLINE_S: Final = 60.0  # 16 MB of text, made under a lock of the node
HEARTBEAT_S: Final = 1.0
GAP_STEP_S: Final = 10.0  # between two gap events of a node that is down
_COSTLY: Final = frozenset(row.method for row in CALLS if row.tier == COSTLY)
_BREAKS: Final = (RpcUnreachableError, RpcUnauthorizedError, RpcCredentialsError, RpcBusyError, RpcWarmupError)
_raw = msgspec.json.Decoder(salvage.RpcAnswer[msgspec.Raw])


def _wait(stopping: threading.Event, seconds: float) -> None:
    stopping.wait(seconds)


@dataclass(frozen=True, slots=True)
class Timing:
    """The clocks of a poller, which tests replace. wait: returns early once the event is set."""

    wall_ns: Callable[[], int] = time.time_ns
    monotonic: Callable[[], float] = time.monotonic
    wait: Callable[[threading.Event, float], None] = _wait
    random: Callable[[], float] = random.random


@runtime_checkable
class RoundReceiver(Protocol):
    """What takes the rounds of a poller."""

    def deliver(self, polls: Round) -> None:
        """Take the answers of one moment. May wait."""
        ...

    def quiet(self) -> None:
        """Let time pass: nothing was missed up to now, though no answer came."""
        ...

    def missed(self, from_ns: int, to_ns: int, reason: str) -> None:
        """Report a time without answers of the node."""
        ...


class Poller:
    """Makes the calls of one node until it is stopped. `run` belongs to a thread of its own.

    chain: what getblockchaininfo must name, empty for any. tips: the memory of chain tips, to ask for headers.
    last: the uptime that was last taken, and when (ns). announced: tips of which another source of the node heard.
    hashes: the block hashes that the fleet asks for. turns: of the big answers of all nodes.
    """

    def __init__(
        self,
        client: Transport,
        schedule: Schedule,
        link: NodeLink,
        receiver: RoundReceiver,
        *,
        timeout_s: float = 10.0,
        chain: str = "",
        timing: Timing | None = None,
        tips: chain_tips.TipsMemory | None = None,
        uptime_taken_ns: Callable[[], int] = lambda: 0,
        announced: TipPolls | None = None,
        hashes: HashPolls | None = None,
        turns: BigTurns = OF_THIS_PROCESS,
    ) -> None:
        self._client, self._schedule, self.link, self._receiver = client, schedule, link, receiver
        self._timeout_s, self._chain = timeout_s, chain
        self._timing = timing or Timing()
        self._tips = tips or chain_tips.TipsMemory()
        self._uptime_taken_ns = uptime_taken_ns
        self._announced = announced or TipPolls(SpareTime(0.0))
        self._turns, self._waits_for_turn = turns, False
        self._hashes = hashes or HashPolls(tuple, SpareTime(0.0))
        self._taken: tuple[int, float] | None = None  # the wall and monotonic time of the last uptime that counted
        self._verified = not chain
        self._heard_ns = 0  # the wall time up to which nothing is missing

    def run(self, stopping: threading.Event) -> None:
        """Poll until `stopping` is set."""
        self._heard_ns = self._timing.wall_ns()
        while not stopping.is_set():
            pause_s = self.step()
            self._timing.wait(stopping, pause_s)

    def step(self) -> float:
        """Make the calls that are due; return for how many seconds nothing has to be done."""
        now_s = self._timing.monotonic()
        if now_s >= self.link.resume_s:
            due = self._schedule.due(now_s)
            plain = [method for method in due if method not in _COSTLY]
            costly = [method for method in due if method in _COSTLY]
            if self._waits_for_turn and BIG_CALL not in costly:
                costly.append(BIG_CALL)
            for methods in (plain, *([method] for method in costly)):
                if methods and not self._round_in_turn(methods):
                    order = [*plain, *costly]
                    rest = order[order.index(methods[0]) :]
                    self._schedule.hurry(rest, self._timing.monotonic())
                    break
            self._poll_announced_tip()
            self._poll_hashes()
        now_s = self._timing.monotonic()
        self._report_time(now_s)
        pause_s = max(self._schedule.next_s(), self.link.resume_s) - now_s
        return min(max(pause_s, 0.01), RETRY_S if self._waits_for_turn else HEARTBEAT_S)

    def rest(self) -> float:
        """Let time pass without a call, as `step` does; for a node that takes none."""
        self._report_time(self._timing.monotonic())
        return HEARTBEAT_S

    def _round_in_turn(self, methods: Sequence[str]) -> bool:
        """Make calls; a big answer waits for its turn, without holding up the other calls."""
        if BIG_CALL not in methods:
            return self._round(methods)
        done = self._turns.in_turn(lambda: self._round(methods))
        self._waits_for_turn = done is None
        return done is not False

    def _poll_announced_tip(self) -> None:
        """Ask for the chain once when another source has announced a new tip, within the budget."""
        if not self.link.trouble and self._announced.due(self._timing.monotonic(), self._schedule.intervals()):
            self._round([TIP_CALL])

    def _poll_hashes(self) -> None:
        """Ask for the block hashes that the fleet compares, within the budget."""
        if self.link.trouble or not self._verified:
            return
        polls, items = Round(0, link=self._since_uptime()), []
        begun_s = self._timing.monotonic()
        for height in self._hashes.due(begun_s, self._schedule.intervals()):
            try:
                item = block_hashes.item_of(height, self._ask_hash(height))
            except RpcError as error:
                if self._ends_hashes(error, polls):
                    return
                continue
            self.link.works(HASH_CALL, self._timing.monotonic())
            if item is None:
                polls.faults[salvage.UNREADABLE] += 1
            else:
                items.append(item)
        polls.time_ns = self._timing.wall_ns()
        if items:
            polls.polls[HASH_CALL] = Poll(polls.time_ns, LinePosition(), block_hashes.line_of(items))
        if items or polls.faults:
            self._deliver(polls, begun_s)

    def _ask_hash(self, height: int) -> bytes:
        begun_s = self._timing.monotonic()
        try:
            return self._ask(HASH_CALL, (height,))
        finally:
            now_s = self._timing.monotonic()
            self._hashes.asked(now_s - begun_s, now_s, self._schedule.intervals())

    def _ends_hashes(self, error: RpcError, polls: Round) -> bool:
        """Handle a failed getblockhash; return whether the link is broken."""
        now_s = self._timing.monotonic()
        if isinstance(error, (RpcUnreachableError, RpcWarmupError)):
            self.node_restarted()
        if isinstance(error, _BREAKS):
            self.link.breaks(str(error), now_s)
            return True
        if isinstance(error, RpcForbiddenError) or _lacks_method(error):
            self._hashes.shut(now_s + RETRY_SHUT_S)
            self.link.shut(HASH_CALL, forbidden=isinstance(error, RpcForbiddenError))
        elif not _is_beyond_tip(error):
            self.link.complain(HASH_CALL, str(error))
            polls.faults[f"{HASH_CALL}: {error.reason}"] += 1
        return False

    def _report_time(self, now_s: float) -> None:
        """Let event time pass: with the clock while the node answers, and as a gap while it does not."""
        wall_ns = self._timing.wall_ns()
        if not self.link.trouble:
            self._heard_ns = wall_ns
            self._receiver.quiet()
        elif self.link.is_down(now_s) and not 0 <= wall_ns - self._heard_ns < GAP_STEP_S * 1e9:
            self._receiver.missed(min(self._heard_ns, wall_ns), wall_ns, self.link.trouble)
            self._heard_ns = wall_ns

    def _round(self, methods: Sequence[str]) -> bool:
        """Make calls and deliver their answers; return whether the link holds."""
        polls = Round(0, link=self._since_uptime())
        begun_s = self._timing.monotonic()
        for method in methods:
            try:
                body = self._ask(method, PARAMS.get(method, ()))
            except RpcError as error:
                if self._breaks_link(method, error, polls):
                    self._deliver_part(polls, begun_s, f"{method}: {error.reason}")
                    self._break(method, error)
                    return False
                if self._refuses_all(method, error, polls):
                    return False
                continue
            if not self._is_of_chain(method, body):
                return False
            if self._verified:
                self.link.works(method, self._timing.monotonic())
            polls.polls[method] = Poll(self._timing.wall_ns(), LinePosition(), body)
        if not polls.polls and not _COSTLY.issuperset(methods) and polls.faults:
            self.link.breaks(f"no call is answered: {', '.join(sorted(polls.faults))}", begun_s)
            return False
        if not self._verified and polls.polls:
            self.link.breaks("the chain of the node is not known: getblockchaininfo gives no answer", begun_s)
            return False
        if polls.polls:
            self.link.holds(self._timing.monotonic())
        if polls.polls or polls.faults:
            self._deliver(polls, begun_s)
        return True

    def _deliver_part(self, polls: Round, begun_s: float, fault: str) -> None:
        """Deliver what was answered before the link broke: a node must not hide all by failing at one call."""
        if polls.polls and self._verified:
            polls.faults[fault] += 1
            self._deliver(polls, begun_s)

    def _ask(self, method: str, params: Sequence[object] = ()) -> bytes:
        """Make one call, and count its time whether it was answered or not. Raise RpcError."""
        deadline_s = max(ADDRMAN_DEADLINE_S, self._timeout_s) if method == "getrawaddrman" else self._timeout_s
        begun_s, failure = self._timing.monotonic(), None
        renewals = self._client.renewals
        try:
            body = self._client.ask(method, params, deadline_s=deadline_s)
        except RpcError as error:
            failure = None if method == HASH_CALL and _is_beyond_tip(error) else error
            raise
        finally:
            took_s = self._timing.monotonic() - begun_s
            self.link.note(method, took_s, failure)
            if method in self._schedule.intervals():
                self._schedule.note(method, took_s, begun_s)
        if self._client.renewals != renewals:
            self.node_restarted()
        return body

    def node_restarted(self, *, at_once: bool = False) -> None:
        """Expect another process of the node: try every call again, and take a fall of its uptime as a restart.

        at_once: ask for it now, not at the next poll.
        """
        self.link.refused = True
        self._schedule.open_all()
        self._hashes.open()
        if self._chain:
            self._verified = False  # it may be on another chain now
        if self._chain or at_once:
            self._schedule.hurry([TIP_CALL, "uptime"], self._timing.monotonic())

    def _breaks_link(self, method: str, error: RpcError, polls: Round) -> bool:
        """Return whether a failed call shows that the others need not be tried now.

        A costly call does not while the others are answered: a node that fails at it would be asked for it, and for
        nothing else, after each pause.
        """
        if method in _COSTLY and self.link.answered:
            return False
        is_first = isinstance(error, RpcTimeoutError) and not polls.polls and not self.link.answered
        return is_first or isinstance(error, _BREAKS)

    def _break(self, method: str, error: RpcError) -> None:
        """Pause after a failed call. A node that hangs costs a whole deadline each time, which the budget counts."""
        self._note_refusal(error)
        least_s = self._schedule.intervals()[method].present_s if isinstance(error, RpcTimeoutError) else 0.0
        self.link.breaks(str(error), self._timing.monotonic(), least_s)

    def _note_refusal(self, error: RpcError) -> None:
        if isinstance(error, (RpcUnreachableError, RpcWarmupError)):
            self.node_restarted()

    def _refuses_all(self, method: str, error: RpcError, polls: Round) -> bool:
        """Note the failure of one call; return whether the node refuses every call by now."""
        now_s = self._timing.monotonic()
        if isinstance(error, RpcForbiddenError) or _lacks_method(error):
            self._schedule.shut(method, now_s + RETRY_SHUT_S)
            self.link.shut(method, forbidden=isinstance(error, RpcForbiddenError))
            if self._schedule.intervals().keys() <= self.link.forbidden | self.link.absent:
                why = f"the node refuses every call ({self.link.refusal}): see rpcwhitelist and rpcallowip"
                self.link.breaks(why, now_s)
                self._schedule.open_all()
                return True
            return False
        self._note_refusal(error)
        self.link.complain(method, str(error))
        polls.faults[f"{method}: {error.reason}"] += 1
        return False

    def _is_of_chain(self, method: str, body: bytes) -> bool:
        """Check the chain that the node names, where the configuration names one."""
        if not self._chain or method != "getblockchaininfo":
            return True
        info = rpc_types.chain(body, _ignore)
        self._verified = info is not None and info.chain == self._chain
        if info is not None and not self._verified:
            why = f"the node is on the chain {info.chain[:20]!r}, and the configuration says {self._chain!r}"
            self.link.breaks(f"{why}: nothing is judged", self._timing.monotonic())
            return False
        return True

    def _add_headers(self, polls: Round) -> None:
        """Ask for the headers that decide whether a tip ahead has more work."""
        poll = polls.polls.get("getchaintips")
        tips = rpc_types.chain_tips(poll.line, _ignore) if poll is not None else None
        if poll is None or tips is None:
            return
        headers: list[msgspec.Raw] = []
        for block_hash in chain_tips.due_headers(self._tips, tips):
            try:
                headers.append(_raw.decode(self._ask("getblockheader", (block_hash,))).result)
            except (RpcError, *salvage.BAD_INPUT) as error:
                self.link.complain("getblockheader", str(error))
        if headers:
            polls.polls["getblockheader"] = Poll(poll.time_ns, LinePosition(), msgspec.json.encode({"result": headers}))

    def _since_uptime(self) -> Link:
        """Return what is known since the last uptime that counted."""
        taken_ns = self._uptime_taken_ns()
        if self._taken is not None and self._taken[0] == taken_ns:
            return Link(self._timing.monotonic() - self._taken[1], self.link.refused)
        return Link(max(0, self._timing.wall_ns() - taken_ns) / 1e9 if taken_ns else 0.0, self.link.refused)

    def _note_clock(self, polls: Round, begun_s: float) -> None:
        poll = polls.polls.get("getnettotals")
        totals = rpc_types.net_totals(poll.line, _ignore) if poll is not None else None
        if totals is not None and totals.timemillis > 0:
            self.link.note_clock(totals.timemillis / 1e3, begun_s)

    def _deliver(self, polls: Round, begun_s: float) -> None:
        polls.time_ns = min((poll.time_ns for poll in polls.polls.values()), default=self._timing.wall_ns())
        self._add_headers(polls)
        self._note_clock(polls, begun_s)
        before_ns = self._uptime_taken_ns()
        self._receiver.deliver(polls)
        taken_ns = self._uptime_taken_ns()
        if taken_ns != before_ns:
            self._taken, self.link.refused = (taken_ns, begun_s), False


def _is_beyond_tip(error: RpcError) -> bool:
    return isinstance(error, RpcFaultError) and error.code == BEYOND_TIP


def _ignore(_reason: str, _count: int) -> None:
    """Count nothing: the reporter reads the same answer again, and counts what it leaves out."""


def _lacks_method(error: RpcError) -> bool:
    """Return whether the node's version does not have the method."""
    return isinstance(error, RpcFaultError) and error.code == RPC_METHOD_NOT_FOUND
