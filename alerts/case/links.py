"""Links between claims: what they score, and the sentence for each. A score of `ENOUGH` joins two claims.

Constants: a study on eleven labelled recordings; halving or doubling any of them changed the number of attacks
with exactly one page by none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from alerts.claims import Claim
from alerts.party import near_of, party_of
from watchdog.core.durations import HOUR_NS, MINUTE_NS, rough_duration

LINK_NS = 2 * HOUR_NS  # how far apart claims may be that share a name
ONSET_NS = 10 * MINUTE_NS  # how far apart, at most, claims of one rule begin together
SYMPTOM_NS = 15 * MINUTE_NS  # how long after its party was accused of something else a claim is a mere symptom
ENOUGH = 10  # tenths: whole numbers, so that no order of sums matters
POPULAR = 3  # resolved cases that accused a netblock, from which it counts half: a large hoster's
ADDRESS, BLOCK, POPULAR_BLOCK, RELATED = 10, 6, 3, 4
FAMILIES = frozenset({"addr-flooding", "eclipse"})  # related to each other: floods prepare eclipses

POISONING, SLOTS, OUTBOUND, VIEW = "poisoning", "slots", "outbound", "view"
STAGES = (POISONING, SLOTS, OUTBOUND, VIEW)
STAGE_OF: Mapping[str, str] = {
    "table-group": POISONING,
    "tried": POISONING,
    "slots": SLOTS,
    "outbound": OUTBOUND,
    "view": VIEW,
}
"""The stage of an eclipse that a technique is."""
TOGETHER_NS: Mapping[frozenset[str], int] = {
    frozenset({"tried", "outbound"}): 2 * HOUR_NS,
    frozenset({"table-group", "tried"}): 2 * HOUR_NS,
    frozenset({"outbound", "view"}): 2 * HOUR_NS,
    frozenset({"table-group"}): HOUR_NS,
    frozenset({"slots", "outbound"}): 30 * MINUTE_NS,
}
"""Techniques that one attacker needs together, and how far apart."""


class ClaimLink(NamedTuple):
    """How near two claims are: tenths, and the sentence for people; empty when they share nothing."""

    score: int
    why: str


NONE = ClaimLink(0, "")


def related(one: str, other: str) -> bool:
    """Return whether two classes of attacks belong to one family."""
    return one == other or {one, other} <= FAMILIES


def gap_ns(one: Claim, other: Claim, now_ns: int) -> int:
    """Return the time between two claims, 0 when they overlap."""
    earlier, later = sorted((one, other), key=lambda claim: claim.order)
    return max(later.first_ns - earlier.end_ns(now_ns), 0)


def best_link(one: Claim, other: Claim, popular: Mapping[str, int], now_ns: int, *, symptom: bool = False) -> ClaimLink:
    """Return the strongest link between two claims. popular: by netblock, cases that accused it.

    symptom: one of them shows late what its party does otherwise, so technique and beginning say nothing.
    """
    links = (_by_names(one, other, popular, now_ns), _by_evidence(one, other, now_ns), _by_stage(one, other, now_ns))
    best = max(links, key=lambda link: link.score)
    if best.score >= ENOUGH or symptom or one.promoted or other.promoted:
        return best if symptom else _of_promoted(one, other, best)
    return max((best, _by_technique(one, other, now_ns), _by_onset(one, other)), key=lambda link: link.score)


def _of_promoted(one: Claim, other: Claim, best: ClaimLink) -> ClaimLink:
    """Promoted claims link by names, and with those that were promoted for the same rule."""
    if best.score < ENOUGH and one.promoted and other.promoted and one.rule == other.rule:
        return ClaimLink(ENOUGH, f"{one.rule} sees several parties alike, each below its threshold")
    return best


def _by_names(one: Claim, other: Claim, popular: Mapping[str, int], now_ns: int) -> ClaimLink:
    if not one.party or not other.party or gap_ns(one, other, now_ns) > LINK_NS:
        return NONE
    forged = one.words.forged or other.words.forged
    shared = _nearest(one, other)
    if shared is None and one.party != other.party:
        return NONE
    if forged and not one.attack == other.attack == "eclipse":
        return ClaimLink(0, f"gossip named {shared or one.party}, which proves nothing of {other.rule} and {one.rule}")
    if shared is not None:
        return ClaimLink(ADDRESS, f"both name {shared}")
    known = popular.get(one.party, 0) >= POPULAR
    family = related(one.attack, other.attack)
    text = f"both in {one.party}, " + ("a popular netblock" if known else "same family" if family else "other family")
    return ClaimLink((POPULAR_BLOCK if known else BLOCK) + (RELATED if family else 0), text)


def _nearest(one: Claim, other: Claim) -> str | None:
    """Return a name that both have, or else a /24 (/48) that both have names in."""
    few, many = sorted((one.weights, other.weights), key=len)
    same = sorted(name for name in few if name in many and near_of(name))
    if same:
        return same[0]
    near = {near_of(name) for name in many} - {None}
    return min((close for name in few if (close := near_of(name)) and close in near), default=None)


def _by_evidence(one: Claim, other: Claim, now_ns: int) -> ClaimLink:
    if gap_ns(one, other, now_ns) > LINK_NS:
        return NONE
    for named, source in ((one, other), (other, one)):
        if named.announcers and source.party and not source.words.forged:
            known = sorted(name for name in named.announcers if name in source.weights)
            if not known and source.beyond:
                known = sorted(name for name in named.announcers if party_of(name) == source.party)
            if known:
                return ClaimLink(ENOUGH, f"{known[0]} announced {named.party or 'what entered the tables'}")
    return NONE


def _by_technique(one: Claim, other: Claim, now_ns: int) -> ClaimLink:
    technique, apart_ns = one.words.technique, gap_ns(one, other, now_ns)
    if not technique or technique != other.words.technique or apart_ns > min(_onset_ns(one), _onset_ns(other)):
        return NONE
    return ClaimLink(
        ENOUGH,
        f"both show {technique} at the same time"
        if not apart_ns
        else f"{technique} again after {rough_duration(apart_ns)}",
    )


def _onset_ns(claim: Claim) -> int:
    """Return within what time two claims of a rule are one event: a third of its window, which is how exact it is."""
    return min(claim.words.over_ns // 3, ONSET_NS)


def _by_onset(one: Claim, other: Claim) -> ClaimLink:
    apart = abs(one.first_ns - other.first_ns)
    if one.rule != other.rule or one.words.comparing or apart > _onset_ns(one):
        return NONE
    return ClaimLink(ENOUGH, f"{one.rule} began for both within {rough_duration(apart)}")


def _by_stage(one: Claim, other: Claim, now_ns: int) -> ClaimLink:
    pair = frozenset({one.words.technique, other.words.technique})
    most_ns = TOGETHER_NS.get(pair)
    if most_ns is None or gap_ns(one, other, now_ns) > most_ns:
        return NONE
    return ClaimLink(ENOUGH, f"{' and '.join(sorted(pair))} on one node")
