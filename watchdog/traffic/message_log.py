"""The latest messages of the peers that are looked at: kept for a while after each look, else not at all."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

import numpy as np

from watchdog.core.batch import Batch
from watchdog.traffic.message_types import FLOW_OF_KIND, FLOWS
from watchdog.traffic.peer_table import Where

KEPT: Final = 200  # messages of a peer
KEPT_S: Final = 60.0  # after the last look
MOST_WATCHED: Final = 8  # peers at a time; the one not looked at for longest is given up


@dataclass(frozen=True, slots=True)
class LoggedMessage:
    """A message: its time in ns, whether it was received or sent, its type as sent (escaped), its size in bytes."""

    time_ns: int
    flow: str
    type: str
    size: int


class _Watched:
    """One peer that is looked at. until_s: monotonic time at which it is forgotten."""

    def __init__(self, until_s: float) -> None:
        self.until_s = until_s
        self.messages: deque[LoggedMessage] = deque(maxlen=KEPT)


class MessageLog:
    """Messages by connection. `look` belongs to one thread, which reads; `note` to the engine's."""

    def __init__(self) -> None:
        self._watched: dict[Where, _Watched] = {}

    def look(self, where: Where, now_s: float) -> tuple[list[LoggedMessage], bool]:
        """Return the messages kept so far, oldest first, and keep further ones for `KEPT_S`.

        The flag: whether the peer was looked at before; the first look finds nothing.
        """
        watched = self._watched
        found = watched.get(where)
        known = found is not None and found.until_s >= now_s
        if found is None or not known:
            kept = {key: one for key, one in watched.items() if one.until_s >= now_s and key != where}
            while len(kept) >= MOST_WATCHED:
                kept.pop(min(kept, key=lambda key: kept[key].until_s))
            found = _Watched(now_s + KEPT_S)
            self._watched = {**kept, where: found}  # as a whole: the engine's thread may be reading it
        found.until_s = now_s + KEPT_S
        return sorted(found.messages, key=lambda message: message.time_ns), known

    def note(self, batch: Batch, now_s: float) -> None:
        """Keep the rows of peers that are looked at."""
        for where, one in self._watched.items():
            source, boot_ns, conn = where
            if one.until_s >= now_s and (batch.source, batch.boot_ns) == (source, boot_ns):
                rows = np.flatnonzero(batch.numbers("conn") == conn)[-KEPT:]
                if len(rows):
                    one.messages.extend(_messages(batch.take(rows)))

    def __len__(self) -> int:
        return len(self._watched)


def _messages(batch: Batch) -> list[LoggedMessage]:
    flow = FLOWS[FLOW_OF_KIND[batch.kind]]
    columns = (batch.time_ns.tolist(), batch.strings("type").tolist(), batch.numbers("size").tolist())
    return [LoggedMessage(time_ns, flow, type_, size) for time_ns, type_, size in zip(*columns, strict=True)]
