"""How far an eclipse by a group has got, and how well a node is prepared against one.

The numbers come from docs/threats.md; `watchdog.core.eclipse_model` gives the chances.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from watchdog.core.core_constants import MAX_BLOCK_RELAY_ONLY_ANCHORS
from watchdog.core.eclipse_model import HALF, OUTBOUND, Feelers

NONE, TABLES, INBOUND, OUTBOUND_SLOTS, VIEW = range(5)
"""The stages, each by its last sign: address tables, inbound slots, outbound slots, view of the chain."""
NETBLOCK_SHARE: Final = 0.04
"""Of the tables; threats.md#new-table."""
SYSTEM_SHARE: Final = 0.35
"""Of the tables for an AS or all that one netblock announced, and of inbound slots; threats.md#groups-and-systems."""
LEAST_INBOUND: Final = 20  # inbound peers; a share of fewer says nothing
STALE_S: Final = 3600  # threats.md#block-gaps: one gap in 400 is longer
ENOUGH_NETGROUPS: Final = 100  # effective number; reachable nodes have 256 (threats.md#groups-and-systems)
USUAL_SUCCESS: Final = (0.03, 0.5)  # of feelers; threats.md#feelers
ENOUGH_TRIES: Final = 100
SETTLED_S: Final = 86_400  # a node's tables and peers are young for a day


class Grip(NamedTuple):
    """What a group has: share of the draws from the tables, of inbound peers, and outbound peers.

    is_netblock: it is one netblock. tip_age_s: age of the node's tip, -1 unknown.
    """

    share: float
    is_netblock: bool
    inbound_share: float
    inbound: int
    outbound_held: int
    outbound: int
    tip_age_s: int


class Parts(NamedTuple):
    """What readiness is made of, each from 0 to 1."""

    tables: float
    outbound: float
    anchors: float
    feelers: float
    age: float

    @property
    def mean(self) -> float:
        """The readiness."""
        return sum(self) / len(self)

    @property
    def weakest(self) -> str:
        """The name of the lowest part, the first of several."""
        return self._fields[self.index(min(self))]


def stage(grip: Grip) -> int:
    """Return the furthest stage that a group has reached; it may have left out one before it."""
    if grip.outbound_held >= HALF:
        whole = grip.outbound_held == grip.outbound
        return VIEW if whole or grip.tip_age_s >= STALE_S else OUTBOUND_SLOTS
    if grip.inbound >= LEAST_INBOUND and grip.inbound_share > SYSTEM_SHARE:
        return INBOUND
    return TABLES if grip.share > (NETBLOCK_SHARE if grip.is_netblock else SYSTEM_SHARE) else NONE


def readiness(netgroups: float, outbound_groups: int, anchor_groups: int, feelers: Feelers, uptime_s: int) -> Parts:
    """Return the parts of a node's readiness.

    netgroups: the effective number in its tables, 1 / sum of squared shares. outbound_groups, anchor_groups: distinct
    groups of these peers. What is unknown counts as half: too few feelers, an uptime of -1.
    """
    usual = USUAL_SUCCESS[0] <= feelers.met / max(feelers.tries, 1) <= USUAL_SUCCESS[1]
    return Parts(
        min(1.0, netgroups / ENOUGH_NETGROUPS),
        min(1.0, outbound_groups / OUTBOUND),
        min(1.0, anchor_groups / MAX_BLOCK_RELAY_ONLY_ANCHORS),
        float(usual) if feelers.tries >= ENOUGH_TRIES else 0.5,
        min(1.0, uptime_s / SETTLED_S) if uptime_s >= 0 else 0.5,
    )
