"""Says again and again of incidents that they still fire, to receivers that forget them otherwise.

This is state, no notice: it goes beside the outbox, is never repeated, and needs no place in the receiver's rate. An
incident is read and posted in one go, and no notice of it is sent meanwhile: else an alert that has just been resolved
could come back.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Mapping, Sequence

from alerts.delivery.courier import Courier
from alerts.delivery.formats import ENCODERS
from alerts.delivery.journal import line
from alerts.delivery.ledger import Ledger
from alerts.delivery.ports import DeliveryClock
from alerts.delivery.redaction import redacted_body
from alerts.delivery.unexpected import failed_here
from alerts.routing import Receiver, Subject

IN_ONE_REQUEST = 100  # alerts
IDLE_S = 3600.0  # between two looks at a receiver that needs nothing; a change of its settings comes at once
PageOf = Callable[[str, Subject], str | None]
"""The address of the page of an incident or a case, by its id."""
_LOG = logging.getLogger("watchdog.delivery")


class Keepalive:
    """One receiver's. wanted: whether requests to it may be made now. answered: hears the status of each."""

    def __init__(
        self,
        receiver: Receiver,
        client: Courier,
        ledger: Ledger,
        clock: DeliveryClock,
        page_of: PageOf,
        *,
        wanted: Callable[[], bool],
        answered: Callable[[int | None], None],
    ) -> None:
        self.sent = self.failed = 0
        self._receiver, self._client, self._ledger, self._clock = receiver, client, ledger, clock
        self._page_of, self._wanted, self._answered = page_of, wanted, answered
        self._changed, self._stopped = asyncio.Event(), False
        self._in_hand: frozenset[str] = frozenset()
        self._free = asyncio.Event()
        self._failing = False

    def change(self, receiver: Receiver) -> None:
        """Go on with other settings."""
        self._receiver = receiver
        self._changed.set()

    def stop(self) -> None:
        """Begin no other request."""
        self._stopped = True
        self._changed.set()

    async def clear_of(self, incidents: Sequence[str]) -> None:
        """Wait until none of these incidents is being posted."""
        while self._in_hand.intersection(incidents):
            await self._free.wait()

    async def run(self) -> None:
        """Post what fires, every `keepalive_s`, until stopped."""
        while not self._stopped:
            self._changed.clear()
            began = self._clock.monotonic()
            needed = ENCODERS[self._receiver.format].alive is not None
            if needed and self._wanted():
                await self._round()
            pause = self._receiver.keepalive_s - (self._clock.monotonic() - began) if needed else IDLE_S
            if not self._changed.is_set():
                await self._clock.wait(self._changed, max(pause, 0.0))

    async def _round(self) -> None:
        receiver = self._receiver
        ids = await self._ledger.firing(receiver)
        for start in range(0, len(ids or ()), IN_ONE_REQUEST):
            if self._stopped or self._receiver is not receiver or not self._wanted():
                return
            portion = (ids or ())[start : start + IN_ONE_REQUEST]
            self._in_hand = frozenset(portion)
            self._free.clear()
            try:
                if not await self._post(receiver, portion):
                    return  # the others would fail like it
            finally:
                self._in_hand = frozenset()
                self._free.set()

    async def _post(self, receiver: Receiver, ids: Sequence[str]) -> bool:
        """Send one request. Return False when it failed."""
        alive = ENCODERS[receiver.format].alive
        found = await self._ledger.pictures(receiver, ids)
        if found and receiver.nodes and receiver.about == "incidents":  # cases: those of which a notice was to be sent
            found = [one for one in found if one["node"] in receiver.nodes]
        if not found or alive is None:
            return found is not None
        now_ns = self._clock.wall_ns()
        message_id = f"keepalive_{now_ns:x}_{secrets.token_hex(4)}"
        try:
            body = alive([self._shown(one, receiver) for one in found], receiver, now_ns)
            answer = await self._client.send(receiver, message_id, now_ns // 1_000_000_000, [body])
        except Exception as error:  # noqa: BLE001 (what fails in our code must not end all receivers)
            answer = failed_here(error, receiver.name, message_id)
        self._answered(answer.status)
        if answer.error:
            self.failed += 1
            if not self._failing:
                text = line("keepalive", receiver=receiver.name, fate="failed", alerts=len(found), error=answer.error)
                _LOG.warning(text)
        else:
            self.sent += 1
            if self._failing:
                _LOG.info(line("keepalive", receiver=receiver.name, fate="sent", alerts=len(found)))
        self._failing = bool(answer.error)
        return not answer.error

    def _shown(self, one: Mapping[str, object], receiver: Receiver) -> Mapping[str, object]:
        """Return an incident or case as this receiver may see it, with its page."""
        return redacted_body({**one, "url": self._page_of(str(one["id"]), receiver.about)}, receiver)
