"""Bitcoin Core's choice of outbound peers, step by step, on invented tables: what the model's ranges must contain.

AddrMan::Select with GetChance (failures, last try), ThreadOpenConnections with one connection to a netgroup and the
ten minutes in which an address is not tried again. Buckets follow Core's two hashes, by another hash function.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import numpy as np
from numpy.typing import NDArray

from watchdog.core import core_constants as core
from watchdog.core.eclipse_model import OUTBOUND, TRIES_A_SECOND, Feelers, HeldPeers, Side, place_chances

Numbers = NDArray[np.int64]
GROUP = 7  # the label of the attacker's addresses; the others have none of interest
HOLDERS = 10**6  # limits of the attacker begin here


def mixed(*parts: Numbers | int) -> Numbers:
    """A hash of numbers (splitmix64), where Core has SipHash and SHA256."""
    value = np.zeros(1, np.uint64)
    with np.errstate(over="ignore"):
        for part in parts:
            value = (value ^ np.asarray(part).astype(np.uint64)) + np.uint64(0x9E3779B97F4A7C15)
            value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            value ^= value >> np.uint64(31)
    return (value >> np.uint64(1)).astype(np.int64)


@dataclass(slots=True)
class Table:
    """One table. slots: index of the entry in each place, -1 when free. following: the next taken place from each."""

    slots: Numbers
    following: list[int]

    @classmethod
    def of(cls, buckets: int, bucket: Numbers, position: Numbers, entries: Numbers) -> Table:
        slots = np.full(buckets * core.ADDRMAN_BUCKET_SIZE, -1, np.int64)
        slots[bucket * core.ADDRMAN_BUCKET_SIZE + position] = entries  # the last one stays, where Core keeps the first
        rows = np.tile(slots.reshape(buckets, -1), 2)
        at = np.where(rows >= 0, np.arange(rows.shape[1]), rows.shape[1])
        after = np.minimum.accumulate(at[:, ::-1], axis=1)[:, ::-1][:, : core.ADDRMAN_BUCKET_SIZE]
        found = np.take_along_axis(rows, np.minimum(after, rows.shape[1] - 1), axis=1)
        return cls(slots, found.ravel().tolist())

    def side(self, limits: Numbers, buckets: int) -> Side:
        """What the model reads of it."""
        taken = self.slots >= 0
        entries = self.slots[taken]
        chances = place_chances(taken.reshape(buckets, -1)).ravel()[taken]
        groups = np.where(limits[entries] >= HOLDERS, GROUP, 0)
        return Side(chances, limits[entries].astype(np.uint64), groups.astype(np.uint64))


@dataclass(slots=True)
class Node:
    """A node's tables, and what its RPC does not say: failures of each address, and whether it answers."""

    new: Table
    tried: Table
    limits: list[int]
    alive: list[bool]
    failures: list[int]

    def select(self, dice: Random, failed: dict[int, int], *, new_only: bool = False) -> int:
        """Core's Select; `failed`: failures within the last ten minutes."""
        draw = dice.random
        table = self.new if new_only or draw() < 0.5 else self.tried
        following, size, factor = table.following, len(table.following), 1.0
        while True:
            entry = following[int(draw() * size)]
            if entry < 0:
                continue
            recent = failed.get(entry, 0)
            chance = core.FAILURE_FACTOR ** min(self.failures[entry] + recent, core.FAILURES_COUNTED)
            if draw() < factor * chance * (0.01 if recent else 1.0):
                return entry
            factor *= 1.2

    def connect(self, dice: Random, held: set[int], failed: dict[int, int]) -> int:
        """Open one connection, as ThreadOpenConnections does; returns the limit that it falls to."""
        tries = 0
        while True:
            entry = self.select(dice, failed)
            tries += 1
            if self.limits[entry] in held or (entry in failed and tries < 30):
                continue
            if self.alive[entry]:
                return self.limits[entry]
            failed[entry] = failed.get(entry, 0) + 1
            tries = 0

    def all_fall(self, dice: Random, anchors: list[int]) -> bool:
        """Restart: whether all ten connections fall to the attacker; anchors first."""
        held, failed = set(anchors), dict[int, int]()
        if any(limit < HOLDERS for limit in held):
            return False
        while len(held) < OUTBOUND:
            limit = self.connect(dice, held, failed)
            if limit < HOLDERS:
                return False
            held.add(limit)
        return True

    def feelers(self, dice: Random, tries: int) -> Feelers:
        """Try `tries` addresses of the new table."""
        met = sum(self.alive[self.select(dice, {}, new_only=True)] for _ in range(tries))
        return Feelers(tries, met)

    def sides(self) -> tuple[Side, Side]:
        """What getrawaddrman says."""
        limits = np.array(self.limits)
        new = self.new.side(limits, core.ADDRMAN_NEW_BUCKET_COUNT)
        return new, self.tried.side(limits, core.ADDRMAN_TRIED_BUCKET_COUNT)


def a_node(seed: int, least_alive: float = 0.05) -> Node:
    """Return a node of some age under an attack of some strength: sizes, shares, liveness and failures are drawn."""
    draw = np.random.default_rng(seed)
    honest = int(draw.integers(400, 6_000))
    strength = draw.choice([draw.uniform(0.005, 0.2), draw.uniform(0.2, 3), draw.uniform(3, 40)])
    hostile = max(12, int(strength * honest))
    in_tried = [int(honest * draw.uniform(0.05, 0.3)), int(hostile * draw.uniform(0, 0.5))]
    total = honest + hostile
    mine = np.arange(total) >= honest
    spread = max(12, int(hostile * draw.uniform(0.02, 1)))
    limits = np.where(mine, HOLDERS + draw.integers(0, spread, total), draw.integers(0, honest, total))
    source = np.where(mine, draw.integers(0, 40, total), 100 + draw.integers(0, 60, total))
    at = np.arange(total)
    tried = (at < in_tried[0]) | (mine & (at < honest + in_tried[1]))
    alive_new = draw.uniform(least_alive, 0.35)
    alive = mine | (draw.random(total) < np.where(tried, draw.uniform(alive_new, 0.9), alive_new))
    tries = min(in_tried[0] / alive_new * draw.uniform(0.6, 1.2), TRIES_A_SECOND * core.ADDRMAN_HORIZON_S)
    mean = np.where(tried, draw.uniform(0, 4), tries / max((~tried).sum(), 1))
    failures = np.where(alive, 0, draw.poisson(mean))
    bucket = mixed(seed, source, mixed(seed, limits, source) % core.ADDRMAN_NEW_BUCKETS_PER_SOURCE_GROUP)
    bucket_tried = mixed(seed, limits, mixed(seed, at) % core.ADDRMAN_TRIED_BUCKETS_PER_GROUP)
    order = draw.permutation(total)
    tables = []
    for buckets, chosen, rows in (
        (core.ADDRMAN_NEW_BUCKET_COUNT, bucket, order[~tried[order]]),
        (core.ADDRMAN_TRIED_BUCKET_COUNT, bucket_tried, order[tried[order]]),
    ):
        position = mixed(seed, 3, chosen, at) % core.ADDRMAN_BUCKET_SIZE
        tables.append(Table.of(buckets, chosen[rows] % buckets, position[rows], rows))
    return Node(tables[0], tables[1], limits.tolist(), alive.tolist(), failures.tolist())


def held_of(node: Node, dice: Random) -> tuple[HeldPeers, list[int]]:
    """Return the peers of a node that has run for a while, and the limits of its two anchors."""
    held: set[int] = set()
    while len(held) < OUTBOUND:
        held.add(node.connect(dice, held, {}))
    limits = sorted(held, key=lambda _: dice.random())
    groups = [GROUP if limit >= HOLDERS else 0 for limit in limits]
    anchors = range(core.MAX_BLOCK_RELAY_ONLY_ANCHORS)
    return HeldPeers(np.array(limits, np.uint64), np.array(groups, np.uint64), anchors), limits[: len(anchors)]
