"""What was lost between two looks at the counters, as `source:gap` events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from watchdog.core.batch import Batch, Column, Strings
from watchdog.extract.probes import RingCounts
from watchdog.extract.program import RING_NAMES
from watchdog.extract.rings import SOURCE

GAP: Final = "source:gap"
NO_ROOM: Final = "ring full"
NO_PAYLOAD_ROOM: Final = "ring of payloads full"
UNREADABLE: Final = "unreadable"
SHARE: Final = 0.01
SHARE_NS: Final = 300 * 10**9
TOO_MUCH: Final = "more than 1 % lost in 5 minutes"
"""A gap of all kinds, on which the rule data-gap opens an incident."""
PAYLOAD_KINDS: Final = "p2p"  # kinds that readers decode from payloads
PAYLOAD_RINGS: Final = RING_NAMES[3:]


@dataclass(frozen=True, slots=True)
class LostEvents:
    """Events that are missing between two times, ns since the epoch. kinds: comma-joined, or how they begin."""

    from_ns: int
    to_ns: int
    events: int
    reason: str
    kinds: str


def gaps(lost: Sequence[LostEvents], node: str, boot_ns: int) -> Batch:
    """Return the gaps as a batch, each at its end."""
    columns: dict[str, Column] = {
        "time_ns": np.array([one.to_ns for one in lost], np.int64),
        "from_ns": np.array([one.from_ns for one in lost], np.int64),
        "to_ns": np.array([one.to_ns for one in lost], np.int64),
        "lost": np.array([one.events for one in lost], np.uint64),
        "reason": Strings.of([one.reason for one in lost]),
        "kinds": Strings.of([one.kinds for one in lost]),
    }
    return Batch(GAP, node, SOURCE, columns, boot_ns)


class LossShare:
    """Finds when too large a share is lost for long: then no rule can be trusted, whatever its kind."""

    def __init__(self, now_ns: int) -> None:
        self._from_ns, self._records, self._lost = now_ns, 0, 0

    def add(self, records: int, lost: int, now_ns: int) -> list[LostEvents]:
        """Add what was taken and lost since the last call; a gap of all kinds at the end of each SHARE_NS of loss."""
        self._records += records
        self._lost += lost
        if now_ns - self._from_ns < SHARE_NS:
            return []
        too_much = self._lost > SHARE * (self._records + self._lost)
        found = [LostEvents(self._from_ns, now_ns, self._lost, TOO_MUCH, "")] if too_much else []
        self._from_ns, self._records, self._lost = now_ns, 0, 0
        return found


class LossWatch:
    """Compares the counters of each look with those of the look before."""

    def __init__(self, counts: RingCounts, now_ns: int) -> None:
        self._counts, self._at_ns = counts, now_ns
        self._share = LossShare(now_ns)

    def look(self, counts: RingCounts, now_ns: int, unreadable: Mapping[str, int]) -> list[LostEvents]:
        """Return what was lost since the last look. unreadable: rows that were left out now, by kind."""
        before, from_ns = self._counts, min(self._at_ns, now_ns)
        self._counts, self._at_ns = counts, now_ns
        found = [
            LostEvents(from_ns, now_ns, more, NO_ROOM, kind)
            for kind, many in counts.lost_by.items()
            if (more := many - before.lost_by.get(kind, 0)) > 0
        ]
        payloads = sum(counts.lost[name] - before.lost[name] for name in PAYLOAD_RINGS)
        if payloads > 0:
            found.append(LostEvents(from_ns, now_ns, payloads, NO_PAYLOAD_ROOM, PAYLOAD_KINDS))
        found += [LostEvents(from_ns, now_ns, many, UNREADABLE, kind) for kind, many in unreadable.items()]
        lost = sum(one.events for one in found)
        return found + self._share.add(counts.records - before.records, lost, now_ns)
