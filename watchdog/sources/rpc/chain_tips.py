"""What changed among the tips of a node's block tree between two getchaintips polls.

The first poll of a node process is only the baseline: a node keeps every stale branch that it ever saw. Afterwards a
tip is reported when it is new, longer, or of another status. A tip that stays ahead of the active chain is reported
again at its second poll, and at each later one while its header says that it has more work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from watchdog.sources.rpc.answers import MAX_TIPS, ChainTip
from watchdog.sources.rpc.columns import RpcRows, Values

STATUSES: Final = ("active", "valid-fork", "valid-headers", "headers-only", "invalid")  # of Core's getchaintips
REFUSED: Final = ("invalid", "headers-only")  # of tips ahead: blocks that the node refuses, or does not get
LEAST_AHEAD: Final = 2  # blocks; a single one is often only a moment old
SECOND: Final = 2  # polls in a row
MAX_HEADERS: Final = 3  # asked for after one poll: two tips and the active one


class KnownTip(msgspec.Struct, array_like=True):
    """A tip of the last poll. ahead: blocks above the active tip. polls: in a row that had such a tip ahead."""

    height: int
    branch_blocks: int
    status: str
    ahead: int = 0
    polls: int = 0
    more_work: bool = False


class TipsMemory(msgspec.Struct):
    """The tips of the last poll by hash. learned: False before the first poll of a node process."""

    learned: bool = False
    tips: dict[str, KnownTip] = {}


def due_headers(memory: TipsMemory, tips: Sequence[ChainTip]) -> list[str]:
    """Return the hashes of which the caller asks getblockheader: of tips ahead at their second poll, and the active."""
    due = [hash_ for hash_, tip in _follow(memory, tips).items() if tip.polls == SECOND]
    active = next((tip.hash for tip in tips if tip.status == "active"), "")
    return [*due[: MAX_HEADERS - 1], active] if due and active else []


def report_tips(
    memory: TipsMemory, tips: Sequence[ChainTip], work: Mapping[str, int], time_ns: int, rows: RpcRows
) -> None:
    """Add rpc:chain_tip for what changed. work: chainwork by hash, as far as it was asked for."""
    now = _follow(memory, tips)
    active_work = next((work[hash_] for hash_, tip in now.items() if tip.status == "active" and hash_ in work), None)
    reported: dict[str, KnownTip] = {}
    for hash_, tip in now.items():
        if active_work is not None and hash_ in work and tip.status != "active":
            tip.more_work = work[hash_] > active_work
        if (memory.learned and _is_news(memory.tips.get(hash_), tip)) or _stays_ahead(tip):
            reported[hash_] = tip
    if reported:
        rows.add("rpc:chain_tip", time_ns, _columns(reported))
    memory.tips, memory.learned = now, True


def _follow(memory: TipsMemory, tips: Sequence[ChainTip]) -> dict[str, KnownTip]:
    """Return the tips of a poll by hash, MAX_TIPS at most, the highest first, with the polls that they stayed ahead.

    Headers that keep growing change the hash of their tip: a new tip ahead continues one that is gone.
    """
    highest = sorted((tip for tip in tips if tip.hash), key=lambda tip: (tip.status != "active", -tip.height))[
        :MAX_TIPS
    ]
    active_height = next((tip.height for tip in highest if tip.status == "active"), None)
    hashes = {tip.hash for tip in highest}
    gone = {tip.status: tip for hash_, tip in memory.tips.items() if tip.polls and hash_ not in hashes}
    now: dict[str, KnownTip] = {}
    for tip in highest:
        status = tip.status if tip.status in STATUSES else "unknown"
        ahead = 0 if active_height is None else tip.height - active_height
        known = now.setdefault(tip.hash, KnownTip(tip.height, tip.branchlen, status, ahead))
        if status in REFUSED and ahead >= LEAST_AHEAD:
            before = memory.tips.get(tip.hash) or gone.get(status)
            is_catching_up = before is not None and status == "headers-only" and ahead < before.ahead
            known.polls = 1 if before is None or is_catching_up else before.polls + 1
            known.more_work = before is not None and before.more_work and known.polls > SECOND
    return now


def _is_news(before: KnownTip | None, tip: KnownTip) -> bool:
    return before is None or before.status != tip.status or before.branch_blocks < tip.branch_blocks


def _stays_ahead(tip: KnownTip) -> bool:
    return tip.polls == SECOND or (tip.polls > SECOND and tip.more_work)


def _columns(reported: Mapping[str, KnownTip]) -> dict[str, Values]:
    tips = list(reported.values())
    return {
        "height": [tip.height for tip in tips],
        "hash": list(reported),
        "branch_blocks": [tip.branch_blocks for tip in tips],
        "status": [tip.status for tip in tips],
        "ahead": [tip.ahead for tip in tips],
        "more_work": [tip.more_work for tip in tips],
        "polls": [max(1, tip.polls) for tip in tips],
    }
