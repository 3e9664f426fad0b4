"""addrman:exposure: how near a group is to an eclipse, from the address tables and the peers of a node."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np

from watchdog.core.core_constants import MAX_BLOCK_RELAY_ONLY_ANCHORS
from watchdog.core.eclipse_model import TRIES_A_SECOND, Exposure, Feelers, HeldPeers, exposure
from watchdog.core.eclipse_standing import Grip, Parts, readiness, stage
from watchdog.core.prefix import prefix_texts
from watchdog.sources.rpc.address_facts import AddressFacts
from watchdog.sources.rpc.answers import PeerAnswer
from watchdog.sources.rpc.columns import RpcRows, RpcValue, one_row
from watchdog.sources.rpc.exposure_slots import GROUPINGS, NUMBERS, SlotFollower, SlotNumbers, numbers_of
from watchdog.sources.rpc.peer_rows import BLOCK, FULL, connection_type_of

KIND: Final = "addrman:exposure"
_HOURS: Final = 24  # of feelers that count
_LONGEST_S: Final = (
    4_000  # between polls, the longest interval that can be set; a longer time is a pause of the watchdog
)
_AFTER_START_S: Final = 600  # a node that fills its slots tries more addresses than its timers say


class ExposureMemory(msgspec.Struct):
    """What the next row needs besides tables and peers: by hour (unix hours), seconds watched and addresses met."""

    hours: list[tuple[int, int, int]] = []


@dataclass(frozen=True, slots=True)
class NodeNow:
    """What a row needs to know of the node: peers, uptime and age of the tip in seconds, -1 unknown."""

    peers: Sequence[PeerAnswer]
    uptime_s: int
    tip_age_s: int


@dataclass(frozen=True, slots=True)
class _Peers:
    """Peers whose groups count. chosen: indexes of those that Core chose; the operator added the others."""

    numbers: dict[str, list[int]]
    chosen: list[int]
    anchors: list[int]

    def held(self, grouping: str) -> HeldPeers:
        limits, groups = (np.array(self.numbers[name], np.uint64) for name in ("limit", grouping))
        return HeldPeers(limits, groups, self.anchors)

    def count(self, grouping: str, group: int, rows: Sequence[int]) -> int:
        return sum(self.numbers[grouping][row] == group != 0 for row in rows)


class ExposureFollower:
    """Follows one node for addrman:exposure; `slots` takes the changes of its tables."""

    def __init__(self, known: AddressFacts, memory: ExposureMemory) -> None:
        self.slots = SlotFollower(known)
        self._known, self._memory = known, memory

    def note_met(self, met: int, time_ns: int, interval_s: int, boot_ns: int) -> None:
        """Note how many addresses went from new to tried since the last poll: Core tried them and they answered."""
        began_s = time_ns // 10**9 - interval_s
        if not 0 < interval_s <= _LONGEST_S or began_s - boot_ns // 10**9 < _AFTER_START_S:
            return
        hour, hours = time_ns // (3600 * 10**9), self._memory.hours
        if hours and hours[-1][0] == hour:
            _, seconds, before = hours.pop()
            interval_s, met = interval_s + seconds, met + before
        hours.append((hour, interval_s, met))
        self._memory.hours = [one for one in hours if hour - _HOURS < one[0] <= hour][-_HOURS:]

    def report(self, rows: RpcRows, time_ns: int, node: NodeNow) -> None:
        """Add a row for each grouping; none where both tables are empty."""
        tables = self.slots.tables
        for table in tables.values():
            table.settle()
        if not any(len(table.chances) for table in tables.values()):
            return
        seconds, met = (sum(one[at] for one in self._memory.hours) for at in (1, 2))
        feelers = Feelers(round(seconds * TRIES_A_SECOND), min(met, round(seconds * TRIES_A_SECOND)))
        outbound, inbound = self._outbound(node.peers), self._inbound(node.peers)
        parts = self._readiness(outbound, feelers, node.uptime_s)
        shared: dict[str, RpcValue] = {
            "new_total": len(tables["new"].chances),
            "tried_total": len(tables["tried"].chances),
            "outbound": len(outbound.chosen),
            "anchors": len(outbound.anchors),
            "readiness": _ppm(parts.mean),
            "weakest": parts.weakest,
            "feeler_tries": int(feelers.tries),
            "feeler_met": int(feelers.met),
            "uptime_s": node.uptime_s,
        }
        for grouping in GROUPINGS:
            found = exposure(
                tables["new"].side(grouping), tables["tried"].side(grouping), outbound.held(grouping), feelers
            )
            own = _values(grouping, found, outbound, inbound, node.tip_age_s)
            rows.add(KIND, time_ns, one_row({**shared, **own}))

    def _outbound(self, peers: Sequence[PeerAnswer]) -> _Peers:
        kept = [peer for peer in peers if connection_type_of(peer) in (FULL, BLOCK, "manual")]
        found = self._peers(kept)
        types = [connection_type_of(peer) for peer in kept]
        found.numbers["source"][:] = self.slots.sources(found.numbers["address"])
        found.chosen.extend(at for at, name in enumerate(types) if name in (FULL, BLOCK))
        found.anchors.extend([at for at, name in enumerate(types) if name == BLOCK][:MAX_BLOCK_RELAY_ONLY_ANCHORS])
        return found

    def _inbound(self, peers: Sequence[PeerAnswer]) -> _Peers:
        found = self._peers([peer for peer in peers if peer.inbound])
        found.chosen.extend(range(len(found.numbers["limit"])))
        return found

    def _peers(self, peers: Sequence[PeerAnswer]) -> _Peers:
        facts = self._known.of([peer.addr for peer in peers])
        rows: list[SlotNumbers] = [numbers_of(fact, peer.mapped_as) for fact, peer in zip(facts, peers, strict=True)]
        return _Peers({name: [row[at] for row in rows] for at, name in enumerate(NUMBERS)}, [], [])

    def _readiness(self, outbound: _Peers, feelers: Feelers, uptime_s: int) -> Parts:
        limits = [table.numbers["limit"] for table in self.slots.tables.values() if len(table.chances)]
        _, place = np.unique(np.concatenate(limits), return_inverse=True)
        chances = np.concatenate([table.chances for table in self.slots.tables.values() if len(table.chances)])
        sums = np.bincount(place, chances / len(limits))
        groups = [
            outbound.numbers["as"][at] or outbound.numbers["limit"][at] for at in range(len(outbound.numbers["as"]))
        ]
        distinct = {groups[at] for at in outbound.chosen}
        anchors = {groups[at] for at in outbound.anchors}
        return readiness(1 / float((sums**2).sum()), len(distinct), len(anchors), feelers, uptime_s)


def _values(grouping: str, found: Exposure, outbound: _Peers, inbound: _Peers, tip_age_s: int) -> dict[str, RpcValue]:
    """Return the columns of a row that depend on the group."""
    inside = inbound.count(grouping, found.group, inbound.chosen) / max(len(inbound.chosen), 1)
    held = outbound.count(grouping, found.group, outbound.chosen)
    grip = Grip(found.share, grouping == "netblock", inside, len(inbound.chosen), held, len(outbound.chosen), tip_age_s)
    numbers = {
        "share_new": found.share_new,
        "share_tried": found.share_tried,
        "chance_next_low": found.following.low,
        "chance_next_high": found.following.high,
        "chance_restart_low": found.restart.low,
        "chance_restart_high": found.restart.high,
        "inbound_share": inside,
    }
    return {
        "grouping": grouping,
        "group": _text(grouping, found.group),
        **{name: _ppm(value) for name, value in numbers.items()},
        "outbound_held": held,
        "anchors_held": outbound.count(grouping, found.group, outbound.anchors),
        "stage": stage(grip),
    }


def _text(grouping: str, group: int) -> str:
    if not group:
        return ""
    return f"AS{group}" if grouping == "as" else prefix_texts([group])[0]


def _ppm(share: float) -> int:
    """Return a share in whole millionths: rules add and compare whole numbers only."""
    return round(share * 1_000_000)
