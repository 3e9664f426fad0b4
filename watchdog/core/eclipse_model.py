"""The chance that a node's connections fall to one group, from what getrawaddrman and getpeerinfo say.

Core chooses an address to connect to by a coin (new or tried), a bucket, and the next taken place in it, so each taken
place has a known chance (`place_chances`). Attempts and liveness are not in the RPC, and both change which address gets
the connection. So every chance here is a range:

- low: all addresses are alike. An attacker's addresses answer at least as often as the others do.
- high: the group always answers, the others as rarely as the feelers that were seen allow, and Core has failed at the
  others' dead addresses as often as it can have.

A group is any label on addresses: a netblock, an AS, or the netblock that announced them. A *limit* is what Core
connects to once at most: a netgroup, or one address on Tor, I2P and CJDNS.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from watchdog.core.arrays import Flags, Words
from watchdog.core.core_constants import (
    ADDRMAN_HORIZON_S,
    EXTRA_BLOCK_RELAY_ONLY_PEER_INTERVAL_S,
    FAILURE_FACTOR,
    FAILURES_COUNTED,
    FEELER_INTERVAL_S,
    MAX_BLOCK_RELAY_ONLY_CONNECTIONS,
    MAX_OUTBOUND_FULL_RELAY_CONNECTIONS,
)

Chances = NDArray[np.float64]

OUTBOUND: Final = MAX_OUTBOUND_FULL_RELAY_CONNECTIONS + MAX_BLOCK_RELAY_ONLY_CONNECTIONS
HALF: Final = OUTBOUND // 2
LEAST_RESTART: Final = 0.01
"""A lower chance after a restart does not name the group."""
TRIES_A_SECOND: Final = 1 / FEELER_INTERVAL_S + 0.5 / EXTRA_BLOCK_RELAY_ONLY_PEER_INTERVAL_S
"""How often Core tries an address of the new table: each feeler, and half of the extra block-relay connections."""
FEELER_SUCCESS: Final = 0.16
"""Share of these tries that succeed: measured on one node over 34 days (threats.md#feelers)."""
PRIOR_TRIES: Final = 20
"""What the measured share is worth, in tries."""
LEAST_SUCCESS: Final = 0.04
"""The others never count as answering less, unless the feelers themselves succeeded less: a quarter of the measured."""
LEAST_CHANCE: Final = FAILURE_FACTOR**FAILURES_COUNTED
"""Core's GetChance after many failures."""
_EXACT_LIMITS: Final = 64  # of a group; the smaller ones are counted by their sum
_NEAREST: Final = 16  # groups of which the limits are counted
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)


class Feelers(NamedTuple):
    """Tries of addresses of the new table, and how many reached a node; zeros where none were seen."""

    tries: float = 0.0
    met: float = 0.0


class Side(NamedTuple):
    """The taken places of one table, in any order: chance to be drawn (sum 1), limit, group (0: in none)."""

    chances: Chances
    limits: Words
    groups: Words


class HeldPeers(NamedTuple):
    """The outbound peers that Core chose or the operator added: `limits` and `groups` of each.

    anchors: indexes of the block-relay-only peers, which a clean shutdown saves and a start tries first.
    """

    limits: Words
    groups: Words
    anchors: Sequence[int] = ()


class ChanceRange(NamedTuple):
    """A chance, as its lowest and highest value."""

    low: float
    high: float


class Exposure(NamedTuple):
    """The group that is nearest to an eclipse, 0 where the tables have no group.

    share, share_new, share_tried: its chance to be drawn, at all and from each table. following: the next outbound
    connection falls to it. restart: all outbound connections after a restart do.
    """

    group: int = 0
    share: float = 0.0
    share_new: float = 0.0
    share_tried: float = 0.0
    following: ChanceRange = ChanceRange(0.0, 0.0)
    restart: ChanceRange = ChanceRange(0.0, 0.0)


class _Mass(NamedTuple):
    """Chances of one table by group: of the group, and what of it and of the others may be connected to now."""

    coin: float
    share: Chances
    free: Chances
    others: Chances


def place_chances(taken: Flags) -> Chances:
    """Return Core's chance to draw each taken place of a table, [buckets, places]; the others have 0.

    Core takes a bucket that has an entry, a place, and from there the next taken one, around the end of the bucket. So
    a place has the chance of the free ones before it, too.
    """
    buckets, size = taken.shape
    places = np.arange(2 * size)
    last = np.maximum.accumulate(np.where(np.tile(taken, 2), places, -1), axis=1)
    before = np.concatenate([np.full((buckets, 1), -1), last[:, :-1]], axis=1)[:, size:]
    gaps = np.where(taken, places[size:] - before, 0)
    used = int(taken.any(axis=1).sum())
    return gaps / float(size * max(used, 1))


def exposure(new: Side, tried: Side, held: HeldPeers, feelers: Feelers) -> Exposure:
    """Return the group nearest to an eclipse: that holds half of the outbound peers; otherwise to which all connections
    after a restart may fall, with LEAST_RESTART and more; otherwise the next one.
    """
    groups = np.unique(np.concatenate([new.groups, tried.groups]))
    groups = groups[groups != 0]
    if not len(groups):
        return Exposure()
    coins = _coins(len(new.chances), len(tried.chances))
    now = [_mass(coin, side, groups, held.limits) for coin, side in zip(coins, (new, tried), strict=True)]
    low, high = _low(now), _high(now, (len(new.chances), len(tried.chances)), feelers)[0]
    best = np.lexsort((groups, -low, -high))
    restarts = {int(at): _restart(int(at), groups, (new, tried), held, feelers) for at in _near(groups, new, tried)}
    most = max(restarts, key=lambda at: (restarts[at].high, high[at], -at), default=int(best[0]))
    top = most if most in restarts and restarts[most].high >= LEAST_RESTART else int(best[0])
    top = _holder(groups, held) if _holder(groups, held) >= 0 else top
    return Exposure(
        int(groups[top]),
        float(sum(side.coin * side.share[top] for side in now)),
        float(now[0].share[top]),
        float(now[1].share[top]),
        ChanceRange(float(low[top]), float(high[top])),
        restarts[top] if top in restarts else _restart(top, groups, (new, tried), held, feelers),
    )


def _holder(groups: Words, held: HeldPeers) -> int:
    """Return which group holds HALF of the outbound peers; -1 for none, or one that the tables do not have."""
    names, counts = np.unique(held.groups[held.groups != 0], return_counts=True)
    if not len(names) or counts.max() < HALF:
        return -1
    at = int(np.searchsorted(groups, names[counts.argmax()]))
    return at if at < len(groups) and groups[at] == names[counts.argmax()] else -1


def others_success(share_new: Chances, feelers: Feelers) -> Chances:
    """Return how often others answer if the group always does, as low as the feelers that were seen allow.

    What the group's share of the feelers met is taken out of what all of them met; two deviations are taken off for
    the chance in few tries.
    """
    tries = (1 - share_new) * feelers.tries
    met = np.clip(feelers.met - share_new * feelers.tries, 0, None)
    worth = PRIOR_TRIES + tries
    mean = (PRIOR_TRIES * FEELER_SUCCESS + met) / worth
    doubt = 2 * np.sqrt(mean * (1 - mean) / worth) * tries / worth
    seen = (PRIOR_TRIES * FEELER_SUCCESS + feelers.met) / (PRIOR_TRIES + feelers.tries)
    return np.maximum(mean - doubt, min(LEAST_SUCCESS, seen))


def all_fall(weights: Chances, others: float, picks: int) -> float:
    """Return the chance that `picks` draws without return all hit one of `weights`, beside `others` that weigh so much.

    Each weight arrives after an exponential time of that rate; all picks hit when `picks` of the weights arrive before
    the first of the others does. The integral over that time is taken at 64 points.
    """
    weights = np.sort(weights[weights > 0])[::-1]
    if picks <= 0 or len(weights) < picks:
        return 1.0 if picks <= 0 or (len(weights) and others <= 0) else 0.0
    if others <= 0:
        return 1.0
    times = -np.log((_NODES + 1) / 2) / others
    arrived = np.zeros((len(times), picks + 1))  # chance by number of arrivals; last: "or more"
    arrived[:, 0] = 1.0
    for weight in weights[:_EXACT_LIMITS].tolist():
        _add_arrival(arrived, -np.expm1(-weight * times))
    small = weights[_EXACT_LIMITS:]
    if len(small):
        mean = -np.expm1(-small[:, None] * times).sum(axis=0)
        arrived = _with_many(arrived, mean)
    return float(np.clip((_WEIGHTS / 2 * arrived[:, picks]).sum(), 0.0, 1.0))


def _add_arrival(arrived: Chances, chance: Chances) -> None:
    moved = arrived[:, :-1] * chance[:, None]
    arrived[:, :-1] -= moved
    arrived[:, 1:] += moved


def _with_many(arrived: Chances, mean: Chances) -> Chances:
    """Return the counts after as many further arrivals as a Poisson law of this mean gives."""
    picks = arrived.shape[1] - 1
    counts = np.arange(picks)
    logs = counts * np.log(np.maximum(mean, 1e-300))[:, None] - mean[:, None]
    law = np.exp(logs - np.array([math.lgamma(count + 1) for count in range(picks)]))
    both = np.zeros_like(arrived)
    for count in range(picks):
        both[:, count:picks] += arrived[:, [count]] * law[:, : picks - count]
    both[:, picks] = 1 - both[:, :picks].sum(axis=1)
    return both


def _coins(new: int, tried: int) -> tuple[float, float]:
    """Core searches either table by a coin, and the other one where one is empty."""
    if not new or not tried:
        return (1.0, 0.0) if new else (0.0, 1.0)
    return 0.5, 0.5


def _mass(coin: float, side: Side, groups: Words, taken: Words) -> _Mass:
    place = np.searchsorted(groups, side.groups)
    place[groups[np.minimum(place, len(groups) - 1)] != side.groups] = len(groups)  # of no group, or of none of these
    free = side.chances * ~np.isin(side.limits, taken)
    share = _sums(place, side.chances, len(groups) + 1)
    usable = _sums(place, free, len(groups) + 1)
    return _Mass(coin, share[:-1], usable[:-1], usable.sum() - usable[:-1])


def _low(sides: Sequence[_Mass]) -> Chances:
    new, tried = sides
    return _ratio(new.coin * new.free + tried.coin * tried.free, new.coin * new.others + tried.coin * tried.others)


def _high(sides: Sequence[_Mass], sizes: tuple[int, int], feelers: Feelers) -> tuple[Chances, Chances, Chances]:
    """Return the highest chance of each group, and the weights of group and others in it.

    Core tries a dead address less after each failure. That lifts what feelers meet above the share that is alive, and
    weighs the tables differently. How often it failed is unknown: in the new table at most as often as it must have
    tried for the tried table to be as large as it is, within the life of an entry. Both ends are taken for each table.
    """
    met = others_success(sides[0].share, feelers)
    tries = np.minimum(sizes[1] / met, TRIES_A_SECOND * ADDRMAN_HORIZON_S)  # what brought the tried table about
    worn = np.maximum(LEAST_CHANCE, np.exp(-(1 - FAILURE_FACTOR) * tries / max(sizes[0], 1)))
    alive = met * worn / (1 - met + met * worn)
    chance, top, rest = np.full(len(met), -1.0), np.zeros(len(met)), np.zeros(len(met))
    fresh = np.ones(len(met))
    least = fresh * LEAST_CHANCE
    for chances in ((fresh, fresh), (worn, fresh), (fresh, least), (worn, least)):
        group, others = np.zeros(len(met)), np.zeros(len(met))
        for side, dead in zip(sides, chances, strict=True):
            drawn = side.share + (alive + dead * (1 - alive)) * (1 - side.share)
            group += side.coin * side.free / drawn
            others += side.coin * alive * side.others / drawn
        found = _ratio(group, others)
        better = found > chance
        chance = np.where(better, found, chance)
        top, rest = np.where(better, group, top), np.where(better, others, rest)
    return chance, top, rest


def _sums(place: NDArray[np.intp], chances: Chances, groups: int) -> Chances:
    return np.bincount(place, chances, groups).astype(np.float64)  # without rows, bincount counts in whole numbers


def _ratio(group: Chances, others: Chances) -> Chances:
    both = group + others
    return np.divide(group, both, out=np.zeros_like(both), where=both > 0)


def _near(groups: Words, new: Side, tried: Side) -> list[int]:
    """Return at most four of the groups with most chance: those that have enough limits for every connection."""
    limits = np.concatenate([new.limits, tried.limits])
    labels = np.concatenate([new.groups, tried.groups])
    rows = labels != 0
    limits, labels = limits[rows], labels[rows]
    sums = np.bincount(np.searchsorted(groups, labels), np.concatenate([new.chances, tried.chances])[rows])
    most = np.lexsort((np.arange(len(groups)), -sums))[:_NEAREST].tolist()
    least = OUTBOUND - MAX_BLOCK_RELAY_ONLY_CONNECTIONS  # anchors may have taken the rest
    return [at for at in most if len(np.unique(limits[labels == groups[at]])) >= least][:4]


def _restart(at: int, groups: Words, sides: tuple[Side, Side], held: HeldPeers, feelers: Feelers) -> ChanceRange:
    """Return the chance that all connections after a restart fall to a group: with its anchors, and without any.

    An anchor that is not of the group takes a connection from it, unless the node crashed (a crash saves none) or the
    anchor is gone.
    """
    group = groups[at : at + 1]
    anchors = list(held.anchors)
    own = [one for one in anchors if held.groups[one] == group[0]]
    found = [_from_none(group, sides, np.zeros(0, np.uint64), OUTBOUND, feelers)]
    if own and len(own) == len(anchors):
        found.append(_from_none(group, sides, held.limits[own], OUTBOUND - len(own), feelers))
    low = 0.0 if len(own) < len(anchors) else min(one.low for one in found)
    return ChanceRange(low, max(low, *(one.high for one in found)))


def _from_none(group: Words, sides: tuple[Side, Side], taken: Words, picks: int, feelers: Feelers) -> ChanceRange:
    coins = _coins(len(sides[0].chances), len(sides[1].chances))
    masses = [_mass(coin, side, group, taken) for coin, side in zip(coins, sides, strict=True)]
    one = [_one_group(side, int(group[0])) for side in sides]
    plain = _by_limit(one, coins, taken)
    low = all_fall(plain, float(sum(side.coin * side.others[0] for side in masses)), picks)
    _, top, rest = _high(masses, (len(sides[0].chances), len(sides[1].chances)), feelers)
    scale = top[0] / plain.sum() if plain.sum() > 0 else 0.0
    return ChanceRange(low, all_fall(plain * scale, float(rest[0]), picks))


def _one_group(side: Side, group: int) -> Side:
    rows = side.groups == np.uint64(group)
    return Side(side.chances[rows], side.limits[rows], side.groups[rows])


def _by_limit(sides: Sequence[Side], coins: Sequence[float], taken: Words) -> Chances:
    """Return the chance of each limit of a group, but for those taken."""
    limits = np.concatenate([side.limits for side in sides])
    chances = np.concatenate([side.chances * coin for side, coin in zip(sides, coins, strict=True)])
    free = ~np.isin(limits, taken)
    names, place = np.unique(limits[free], return_inverse=True)
    return _sums(place, chances[free], len(names))
