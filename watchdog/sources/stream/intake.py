"""What comes from a server, made ready for rules: known kinds and columns, believable times, decoded payloads, gaps."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from watchdog.core.batch import Batch, Column, Strings
from watchdog.core.batch_form import adapted
from watchdog.core.enrich import Enricher
from watchdog.core.errors import PositionError
from watchdog.core.kinds import KINDS
from watchdog.core.moments import EARLIEST_NS, IMPLAUSIBLE, plausible
from watchdog.core.payload_columns import MESSAGES
from watchdog.core.source import END_OF_TIME_NS, SourceOptions
from watchdog.sources.capture.new_blocks import NewBlocks
from watchdog.sources.live.inbox import Inbox, size_of
from watchdog.sources.stream.subscription import CLOSED, DECODED, Subscribed
from watchdog.sources.stream.talks import MessageDecoder
from watchdog.stream.client import StreamLoss
from watchdog.stream.payloads import cut_payloads

NOT_CONNECTED, NOT_READ = "stream-not-connected", "stream-not-read"
"""Reasons of gap events: time without a connection; events that the server dropped because this end was slow."""
HELD_MOST: Final = 64 << 20  # bytes of one span of time that are joined before they are decoded
BATCH_BYTES, COLUMN_BYTES = 512, 256  # about, of a batch and a column beside their rows: many may have one row each
ROOM_S: Final = 0.02  # between two tries to hand events to a full inbox
MOST: Final = (1 << 63) - 1


class Intake:
    """Takes deliveries of one server after the other and puts slices into an inbox: `StreamReceiver`.

    until_ns: the watermark, 0 before the first. given_ns: the latest that a server gave. full_s: when the inbox last
    had no room, monotonic. away_from_ns: since when there is no connection whose time advances, None while there is
    one. health: the server's own numbers, of its last heartbeat. untrue: rows left out because of their time.
    """

    def __init__(self, inbox: Inbox, options: SourceOptions, saved: Mapping[str, object] | None) -> None:
        """Continue at a position of this source. PositionError when it is damaged."""
        self.until_ns = _until(saved, options.believed_ns)
        self.away_from_ns: int | None = self.until_ns or None
        self.given_ns, self.full_s = 0, 0.0
        self.health: dict[str, float] = {}
        self.untrue = self.lost = 0
        self._inbox, self._options = inbox, options
        self._blocks = NewBlocks(None if saved is None else saved.get("blocks"))
        enricher = Enricher(options.asmap_path, options.lists)
        self._decoder = MessageDecoder(inbox.name, options, enricher, self._blocks, {})
        self._decodes = False  # whether the present server leaves that to this end
        self._kinds: frozenset[str] = frozenset()
        self._held: list[Batch] = []
        self._held_bytes = 0
        self._ready: list[Batch] = []

    @property
    def closed(self) -> bool:
        """Whether the inbox takes nothing further."""
        return self._inbox.closed

    @property
    def payload_faults(self) -> tuple[int, int]:
        """Payloads that were cut, and that could not be read; see `MessageDecoder`."""
        return self._decoder.cut, self._decoder.unreadable

    def begin(self, subscribed: Subscribed) -> None:
        """Take what a new subscription gives from now on."""
        self._held, self._held_bytes = [], 0
        self._kinds = frozenset(kind for kind in subscribed.kinds if self._options.wants(kind))
        self._decodes = subscribed.decodes
        self._decoder.sizes = subscribed.payloads

    async def deliver(self, losses: Sequence[StreamLoss], batches: Sequence[Batch], until_ns: int) -> None:
        """Take events; hold them while more of the same time follows, as a question may come after its answer."""
        self._note(losses)
        known = [batch for batch in batches if batch.kind in KINDS and batch.rows]
        self._held += known
        self._held_bytes += sum(map(_weight, known))
        if until_ns or self._held_bytes > HELD_MOST:
            await self._pass_on(until_ns)

    async def heartbeat(self, losses: Sequence[StreamLoss], until_ns: int, health: Mapping[str, float]) -> None:
        """Take a heartbeat."""
        self._note(losses)
        self.health = dict(health)
        if not self._held or until_ns > self.until_ns:  # otherwise it came between two deliveries of one time
            await self._pass_on(until_ns)

    async def missed(self, to_ns: int) -> None:
        """Report the time without a connection up to now, and let the watermark pass it."""
        if self.away_from_ns is not None and to_ns > self.away_from_ns:
            self._ready.append(self._gap(self.away_from_ns, to_ns, 0, NOT_CONNECTED, ""))
            self.away_from_ns = self.until_ns = max(to_ns, self.until_ns)
            await self._put()

    async def end(self) -> None:
        """Pass on what is left: nothing follows."""
        await self._pass_on(self.until_ns)
        self._inbox.heartbeat(END_OF_TIME_NS)

    async def _pass_on(self, until_ns: int) -> None:
        """Hand what is held to the inbox. A watermark that cannot be true counts as the latest that can."""
        held, self._held, self._held_bytes = self._held, [], 0
        # the end of time is no promise for a moment: the end comes by itself, when nothing expires any further
        until_ns = self.until_ns if until_ns == END_OF_TIME_NS else min(until_ns, self._options.latest_ns())
        self.given_ns = max(self.given_ns, until_ns)
        if self.away_from_ns is not None and until_ns > self.away_from_ns:
            self._ready.append(self._gap(self.away_from_ns, until_ns, 0, NOT_CONNECTED, ""))
            self.away_from_ns = None
        self._ready += self._made(self._believable(held))
        self.until_ns = max(self.until_ns, until_ns)
        await self._put()

    async def _put(self) -> None:
        """Wait for room: meanwhile nothing is acknowledged, so the server sends no more."""
        batches, self._ready = tuple(self._ready), []
        place = {"until_ns": self.until_ns, "blocks": self._blocks.saved()}
        while not self._inbox.put(batches, self.until_ns, place) and not self._inbox.closed:
            self.full_s = time.monotonic()
            await asyncio.sleep(ROOM_S)

    def _believable(self, held: Sequence[Batch]) -> list[Batch]:
        """Return the rows whose time can be true, with this version's columns; report the others."""
        latest_ns = self._options.latest_ns()
        kept: list[Batch] = []
        for batch in held:
            sound = plausible(batch.time_ns, latest_ns)
            lost = batch.rows - int(sound.sum())
            if lost:
                self.untrue += lost
                at_ns = max(self.until_ns, EARLIEST_NS)
                self._ready.append(self._gap(at_ns, at_ns, lost, IMPLAUSIBLE, batch.kind))
                batch = batch.take(np.flatnonzero(sound))  # noqa: PLW2901 - what is left of it
            if batch.rows:
                kept.append(adapted(batch, KINDS[batch.kind].fields))
        return kept

    def _made(self, batches: Sequence[Batch]) -> list[Batch]:
        """Return the wanted events, those of payloads included."""
        made = [cut_payloads(batch, self._options.payloads) for batch in batches if batch.kind in self._kinds]
        if self._decodes:
            made += self._decoder.decoded([batch for batch in batches if batch.kind in MESSAGES])
            for batch in batches:
                if batch.kind == CLOSED:
                    self._decoder.closed(batch)
        return made

    def _note(self, losses: Sequence[StreamLoss]) -> None:
        """Report what the server dropped; lost messages are lost for what is decoded from them, too."""
        for loss in losses:
            self.lost += loss.events
            kinds = loss.kind
            if loss.kind in MESSAGES and self._decodes:
                kinds = ",".join((kinds, *sorted(kind for kind in DECODED if self._options.wants(kind))))
            latest_ns = self._options.latest_ns()
            from_ns = min(max(loss.from_ns, EARLIEST_NS), latest_ns)
            to_ns = min(max(loss.to_ns, from_ns), latest_ns)
            gap = self._gap(from_ns, to_ns + 1, loss.events, NOT_READ, kinds)
            self._ready.append(gap)
            self._held_bytes += _weight(gap)  # a server may send endless losses of one time

    def _gap(self, from_ns: int, to_ns: int, lost: int, reason: str, kinds: str) -> Batch:
        columns: dict[str, Column] = {
            "time_ns": np.array([max(to_ns, self.until_ns)], np.int64),
            "from_ns": np.array([from_ns], np.int64),
            "to_ns": np.array([to_ns], np.int64),
            "lost": np.array([min(lost, MOST)], np.uint64),
            "reason": Strings.of([reason]),
            "kinds": Strings.of([kinds]),
        }
        return Batch("source:gap", self._options.node, self._inbox.name, columns)


def _weight(batch: Batch) -> int:
    return size_of(batch) + BATCH_BYTES + COLUMN_BYTES * len(batch.columns)


def _until(saved: Mapping[str, object] | None, believed_ns: int) -> int:
    """Return the watermark of a position, 0 for none or one that a wrong clock gave."""
    until_ns = 0 if saved is None else saved.get("until_ns")
    if not isinstance(until_ns, int) or until_ns < 0:
        raise PositionError("stream: the position is damaged")
    return until_ns if until_ns <= believed_ns else 0
