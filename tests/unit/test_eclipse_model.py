"""The eclipse model: its ranges contain what Core's own choice gives, step by step, and its parts are what they say."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from random import Random
from typing import NamedTuple

import numpy as np
import pytest

from tests.support.core_selection import GROUP, HOLDERS, Node, a_node, held_of
from watchdog.core.core_constants import ADDRMAN_BUCKET_SIZE, ADDRMAN_NEW_BUCKET_COUNT
from watchdog.core.eclipse_model import (
    FEELER_SUCCESS,
    LEAST_SUCCESS,
    OUTBOUND,
    ChanceRange,
    Exposure,
    Feelers,
    HeldPeers,
    Side,
    all_fall,
    exposure,
    others_success,
    place_chances,
)

TABLES, TRIALS = 1_000, 12
NOBODY = HeldPeers(np.zeros(0, np.uint64), np.zeros(0, np.uint64))
NO_FEELERS = Feelers()


class Outcome(NamedTuple):
    """The range of one table, and how many of TRIALS simulations fell to the group."""

    promised: ChanceRange
    hits: int


def simulated() -> Iterator[tuple[Outcome, Outcome]]:
    """Next connection and restart, for each of TABLES nodes; half have feelers, and others at 16 % and more if not."""
    for seed in range(TABLES):
        dice = Random(seed)
        seen = bool(seed % 2)
        node = a_node(seed, least_alive=0.05 if seen else FEELER_SUCCESS)
        feelers = node.feelers(dice, 150) if seen else NO_FEELERS
        held, anchors = held_of(node, dice)
        found = exposure(*node.sides(), held, feelers)
        assert found.group == GROUP
        crashed = seed % 3 == 0  # a crash saves no anchors
        limits = {int(limit) for limit in held.limits}
        following = sum(node.connect(dice, limits, {}) >= HOLDERS for _ in range(TRIALS))
        restarts = sum(node.all_fall(dice, [] if crashed else anchors) for _ in range(TRIALS))
        yield Outcome(found.following, following), Outcome(found.restart, restarts)


@cache
def outcomes() -> tuple[list[Outcome], list[Outcome]]:
    both = list(simulated())
    return [one for one, _ in both], [one for _, one in both]


@pytest.mark.slow
@pytest.mark.parametrize("which", [0, 1], ids=["next connection", "all after a restart"])
def test_the_range_contains_the_frequency_of_cores_own_choice(which: int) -> None:
    """In each of twenty classes of tables, by the height of the range: 600 trials, within 4 deviations of chance."""
    ranked = sorted(outcomes()[which], key=lambda one: sum(one.promised))
    for part in np.array_split(np.arange(TABLES), 20):
        rows = [ranked[at] for at in part.tolist()]
        low, high = (np.array([one.promised[end] for one in rows]) for end in (0, 1))
        hits = sum(one.hits for one in rows)
        assert hits >= TRIALS * low.sum() - 4 * np.sqrt(TRIALS * (low * (1 - low)).sum()) - 1
        assert hits <= TRIALS * high.sum() + 4 * np.sqrt(TRIALS * (high * (1 - high)).sum()) + 1


@pytest.mark.slow
@pytest.mark.parametrize("which", [0, 1], ids=["next connection", "all after a restart"])
def test_no_single_table_is_far_from_its_range(which: int) -> None:
    for one in outcomes()[which]:
        low, high = one.promised
        assert 0 <= low <= high <= 1
        assert one.hits >= TRIALS * low - 5 * np.sqrt(TRIALS * low * (1 - low)) - 1
        assert one.hits <= TRIALS * high + 5 * np.sqrt(TRIALS * high * (1 - high)) + 1


@pytest.mark.slow
def test_the_range_says_something() -> None:
    """It is no excuse: narrower than a third on average, and weak attackers stay low, strong ones high."""
    following, restart = outcomes()
    assert np.mean([one.promised.high - one.promised.low for one in following]) < 0.34
    assert sum(one.promised.high < 0.05 for one in restart) > 200
    assert sum(one.promised.low > 0.5 for one in restart) > 50


# ---- the chance of a place ----


def test_a_place_has_the_chance_of_the_free_places_before_it() -> None:
    taken = np.zeros((4, ADDRMAN_BUCKET_SIZE), np.bool_)
    taken[1, [10, 12]] = True
    taken[3, 0] = True
    chances = place_chances(taken)
    assert chances[3, 0] == pytest.approx(1 / 2)
    assert chances[1, 12] == pytest.approx(2 / 64 / 2)
    assert chances[1, 10] == pytest.approx(62 / 64 / 2)
    assert chances.sum() == pytest.approx(1)
    assert place_chances(np.zeros((4, ADDRMAN_BUCKET_SIZE), np.bool_)).sum() == 0


def test_drawing_places_gives_their_chances() -> None:
    node = a_node(3)
    slots = node.new.slots
    chances = place_chances((slots >= 0).reshape(ADDRMAN_NEW_BUCKET_COUNT, -1)).ravel()
    fresh = Node(node.new, node.tried, node.limits, node.alive, [0] * len(node.limits))
    dice, draws = Random(5), 20_000
    counts = np.bincount([fresh.select(dice, {}, new_only=True) for _ in range(draws)], minlength=len(node.limits))
    expected = np.zeros(len(node.limits))
    np.add.at(expected, slots[slots >= 0], chances[slots >= 0])
    most = np.argsort(-expected)[:200]
    assert abs(counts[most].sum() / draws - expected[most].sum()) < 0.015


# ---- all of several draws ----


@pytest.mark.parametrize(("limits", "scale"), [(12, 1.0), (60, 0.1), (300, 0.01), (400, 0.05)])
def test_all_draws_without_return(limits: int, scale: float) -> None:
    draw = np.random.default_rng(limits)
    weights = draw.random(limits) * scale
    arrived = draw.exponential(1, (20_000, limits)) / weights
    simulation = ((arrived < draw.exponential(1, (20_000, 1))).sum(axis=1) >= OUTBOUND).mean()
    assert all_fall(weights, 1.0, OUTBOUND) == pytest.approx(simulation, abs=0.012)


def test_ends_of_all_draws() -> None:
    ten = np.full(10, 0.1)
    assert all_fall(ten, 0.5, 0) == 1
    assert all_fall(ten, 0.0, 10) == 1
    assert all_fall(ten[:9], 0.5, 10) == 0  # Core connects to a netgroup once
    assert all_fall(ten[:9], 0.0, 10) == 1  # and to no other group where none exists
    assert all_fall(np.zeros(0), 0.0, 10) == 0


# ---- feelers ----


def test_others_answer_as_the_feelers_say_without_the_groups_part() -> None:
    share = np.array([0.0, 0.5])
    assert others_success(share, NO_FEELERS) == pytest.approx([FEELER_SUCCESS] * 2)
    none, half = others_success(share, Feelers(1_000, 580)).tolist()
    assert none == pytest.approx(0.57, abs=0.03)
    assert half == pytest.approx(0.13, abs=0.03)  # 500 of those met were the group's
    assert others_success(share, Feelers(1_000, 160))[1] == LEAST_SUCCESS
    assert others_success(share, Feelers(10_000, 10))[0] < LEAST_SUCCESS


# ---- groups, peers and ends ----


def table(groups: list[int], limits: list[int] | None = None) -> Side:
    count = len(groups)
    own = list(range(count)) if limits is None else limits
    return Side(np.full(count, 1 / max(count, 1)), np.array(own, np.uint64), np.array(groups, np.uint64))


def test_empty_tables_have_no_group() -> None:
    assert exposure(table([]), table([]), NOBODY, NO_FEELERS) == Exposure()
    assert exposure(table([0, 0]), table([]), NOBODY, NO_FEELERS) == Exposure()


def test_a_table_alone_is_searched_alone() -> None:
    found = exposure(table([5] * 30 + [0] * 70), table([]), NOBODY, NO_FEELERS)
    assert (found.share, found.share_new, found.share_tried) == pytest.approx((0.3, 0.3, 0))
    assert found.following.low == pytest.approx(0.3)
    assert 0.3 / (0.3 + 0.16 * 0.7) <= found.following.high <= 0.8


def test_one_netblock_never_gets_all_slots_and_a_held_one_not_the_next() -> None:
    new, tried = table([5] * 90 + [0] * 10, [1] * 90 + list(range(100, 110))), table([5] * 9 + [0], [1] * 9 + [100])
    found = exposure(new, tried, NOBODY, NO_FEELERS)
    assert found.following.low == pytest.approx(0.9)
    assert found.restart == ChanceRange(0.0, 0.0)
    held = HeldPeers(np.array([1], np.uint64), np.array([5], np.uint64))
    assert exposure(new, tried, held, NO_FEELERS).following == ChanceRange(0.0, 0.0)


@pytest.mark.parametrize(("of_group", "low", "high"), [(0, 0.0, 0.9), (1, 0.0, 0.9), (2, 0.3, 0.95)])
def test_an_honest_anchor_may_hold_a_slot_after_a_restart(of_group: int, low: float, high: float) -> None:
    new, tried = table([5] * 95 + [0] * 5), table([5] * 95 + [0] * 5)
    groups = [5] * of_group + [0] * (2 - of_group)
    held = HeldPeers(np.array([1, 2], np.uint64), np.array(groups, np.uint64), anchors=(0, 1))
    found = exposure(new, tried, held, NO_FEELERS).restart
    assert found.low >= low
    assert (found.low == 0) == (of_group < 2)
    assert found.high >= high


def test_groups_are_not_mixed_up() -> None:
    """Of several groups, each is judged by its own entries; the group named is the largest."""
    groups = [3] * 15 + [4] * 40 + [9] * 30 + [0] * 15
    found = exposure(table(groups), table(groups), NOBODY, NO_FEELERS)
    assert found.group == 4
    assert found.share == pytest.approx(0.4)
    own = [4 * (one == 4) for one in groups]
    alone = exposure(table(own), table(own), NOBODY, NO_FEELERS)
    assert found.restart == pytest.approx(alone.restart)
    assert found.following == pytest.approx(alone.following)


def test_half_of_the_outbound_peers_name_the_group() -> None:
    groups = [3] * 15 + [4] * 40 + [0] * 45
    held = HeldPeers(np.arange(200, 210, dtype=np.uint64), np.array([3] * 5 + [0] * 5, np.uint64))
    assert exposure(table(groups), table(groups), held, NO_FEELERS).group == 3
