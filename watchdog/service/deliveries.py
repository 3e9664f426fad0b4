"""The stored outbox as the sender wants it."""

from __future__ import annotations

from collections.abc import Sequence

from alerts.delivery.ports import Due, Fate, Outcome
from alerts.store.outbox import Outbox


class Deliveries:
    """An `OutboxLike` over the store's outbox."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    def due(self, now_ns: int, receiver: str, limit: int) -> Sequence[Due]:
        """What may be sent now."""
        return self._outbox.due(now_ns, receiver, limit)

    def settle(self, outcomes: Sequence[Outcome]) -> None:
        """Store what became of attempts."""
        for one in outcomes:
            if one.fate is Fate.SENT:
                self._outbox.sent(one.id, one.status or 0, one.at_ns)
            elif one.fate is Fate.DEAD:
                self._outbox.dead(one.id, one.error, one.at_ns, one.status)
            else:
                self._outbox.failed(one.id, one.error, one.retry_at_ns or one.at_ns, one.status)
