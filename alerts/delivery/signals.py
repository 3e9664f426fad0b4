"""Messages beside the outbox that concern no case: one attempt for each receiver, and a log line when it fails."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Mapping, Sequence

from alerts.delivery.answers import Response
from alerts.delivery.courier import Courier
from alerts.delivery.formats import signal_bodies
from alerts.delivery.journal import line
from alerts.delivery.ports import DeliveryClock
from alerts.delivery.unexpected import failed_here
from alerts.routing import Receiver

WAITING = 100  # signals in memory; a further one is logged and dropped
STATEFUL = ("alertmanager", "alertmanager-webhook", "pagerduty")
"""Formats whose messages are alerts with a state: what has no end does not belong there."""
_LOG = logging.getLogger("watchdog.delivery")


class SignalQueue:
    """Signals for all receivers about cases whose formats are messages. Belongs to one event loop."""

    def __init__(self, clock: DeliveryClock) -> None:
        self._clock = clock
        self._waiting: asyncio.Queue[tuple[str, Mapping[str, object]]] = asyncio.Queue(WAITING)

    def put(self, kind: str, data: Mapping[str, object]) -> None:
        """Send a signal soon. data: as webhooks send it; `node` limits it to receivers of that node."""
        try:
            self._waiting.put_nowait((kind, data))
        except asyncio.QueueFull:
            _LOG.warning(line("signal", type=kind, fate="dropped", error=f"{WAITING} others wait"))

    async def run(self, client: Courier, receivers: Callable[[], Sequence[Receiver]]) -> None:
        """Send each signal to the receivers that want it; runs until cancelled."""
        while True:
            kind, data = await self._waiting.get()
            wanting = [one for one in receivers() if hears(one, str(data.get("node") or ""))]
            await asyncio.gather(*(self._send(client, one, kind, data) for one in wanting))  # none waits for a slow one

    async def _send(self, client: Courier, receiver: Receiver, kind: str, data: Mapping[str, object]) -> None:
        answer = await send_signal(client, receiver, kind, self._clock.wall_ns(), data)
        level = logging.WARNING if answer.error else logging.INFO
        fate = "failed" if answer.error else "sent"
        _LOG.log(level, line("signal", type=kind, receiver=receiver.name, fate=fate, error=answer.error))


def hears(receiver: Receiver, node: str) -> bool:
    """Return whether a receiver gets signals about a node; an empty name means all nodes."""
    wanted = not node or not receiver.nodes or node in receiver.nodes
    return receiver.enabled and receiver.about == "cases" and receiver.format not in STATEFUL and wanted


async def send_signal(
    client: Courier, receiver: Receiver, kind: str, now_ns: int, data: Mapping[str, object]
) -> Response:
    """Send a heartbeat, a test or another signal at once, one attempt, beside the outbox; its id is new each time."""
    message_id = f"{kind.rpartition('.')[2]}_{now_ns:x}_{secrets.token_hex(4)}"
    try:
        bodies = signal_bodies(kind, receiver, now_ns, data)
        return await client.send(receiver, message_id, now_ns // 1_000_000_000, bodies)
    except Exception as error:  # noqa: BLE001 (a signal that fails in our code must not end the notices)
        return failed_here(error, receiver.name, message_id)
