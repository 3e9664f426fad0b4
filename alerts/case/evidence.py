"""Evidence of cases that does not link by itself: witnesses, and info claims that together are more than info."""

from __future__ import annotations

from collections.abc import Sequence

from alerts.case.joining import CASE_WITNESSES, add_leaf, join, link, merge, note_incident, own_case
from alerts.case.life import CaseLife, Edge
from alerts.case.links import ENOUGH, LINK_NS, best_link, related
from alerts.case.state import CaseState, candidates
from alerts.claims import Claim
from alerts.incident import RANK
from watchdog.core.durations import HOUR_NS, MINUTE_NS

WITNESS_NS = 15 * MINUTE_NS  # since when the case that a witness belongs to may be quiet
FIRST_NAMES = 10  # of a witness, which are compared
PROMOTE_NS = 15 * MINUTE_NS
PROMOTE_PARTIES, PROMOTE_RULES = 3, 2
SERIES_NS = HOUR_NS
SERIES = 3  # cases of one rule within `SERIES_NS`; the next joins the latest


def attach_leaf(state: CaseState, claim: Claim, now_ns: int) -> None:
    """Show an info claim in the case of the strongest claim that it links to."""
    best: tuple[int, Claim, str] | None = None
    for other in candidates(state, claim):
        case = state.case(other.case) if other.links and other.case else None
        if case is None or not case.is_open:
            continue
        found = best_link(claim, other, state.popular, now_ns)
        if found.score >= ENOUGH and (best is None or found.score > best[0]):
            best = (found.score, other, found.why)
    if best is not None:
        add_leaf(state, claim, best[1], best[2], now_ns)


def promote(state: CaseState, fresh: Sequence[Claim], now_ns: int) -> list[Claim]:
    """Promote info claims: several parties that begin alike in one rule, or one party in several rules. Return them."""
    promoted: dict[int, Claim] = {}
    for claim in fresh:
        if claim.links or not claim.party or claim.case:
            continue
        near = [
            one
            for one in [*candidates(state, claim), claim]
            if one.party and not one.links and not one.case and abs(claim.first_ns - one.first_ns) <= PROMOTE_NS
        ]
        alike = [one for one in near if one.rule == claim.rule]
        same = [one for one in near if one.party == claim.party]
        if len({one.party for one in alike}) >= PROMOTE_PARTIES:
            promoted |= {one.number: one for one in alike}
        if len({one.rule for one in same}) >= PROMOTE_RULES:
            promoted |= {one.number: one for one in same}
    chosen = sorted(promoted.values(), key=lambda one: one.order)
    for one in chosen:
        one.promoted = True
    for one in chosen:
        link(state, one, now_ns)
    return chosen


def note_series(state: CaseState, fresh: Sequence[Claim], now_ns: int) -> None:
    """Join a case that begins alone with the latest of its rule, when there were several within the hour."""
    for claim in fresh:
        case = state.case(claim.case)
        if case is None or case.claims != [claim.number] or not claim.links:
            continue
        begun = [(time_ns, id_) for time_ns, id_ in state.begun.get(claim.rule, []) if now_ns - time_ns <= SERIES_NS]
        known = {one.id: one for _, id_ in begun if (one := state.case(id_)) is not None and one is not case}
        cases = {id_: one for id_, one in known.items() if any(not own.silenced for own in state.those(one.claims))}
        latest = max(cases.values(), key=lambda one: (one.opened_ns, one.first), default=None)
        if latest is not None and (len(cases) >= SERIES or latest.series):
            _continue_series(state, claim, latest, now_ns)
        state.begun[claim.rule] = [*begun, (now_ns, claim.case)][-2 * SERIES :]


def _continue_series(state: CaseState, claim: Claim, latest: CaseLife, now_ns: int) -> None:
    partner = max(state.those(latest.claims), key=lambda one: (one.rule == claim.rule, one.order), default=None)
    if partner is None:
        return
    latest.series = True
    join(state, claim, partner, f"one more party of {claim.rule} within the hour", now_ns)


def attach_witnesses(state: CaseState, now_ns: int) -> list[CaseLife]:
    """Show loose witnesses in the cases that fit; one of warning or above that fits none is a case of its own."""
    changed: list[CaseLife] = []
    for claim in sorted(state.those(state.loose), key=lambda one: one.order):
        alone = state.case(claim.case) if claim.case else None
        if now_ns - claim.end_ns(now_ns) > WITNESS_NS or (alone is not None and alone.claims):
            state.loose.remove(claim.number)  # too old to move, or its case has found what it witnessed
            continue
        case = _fitting(state, claim, now_ns)
        if case is not None and case is not alone:
            changed.append(_attach(state, claim, case, alone, now_ns))
        elif alone is None and RANK[claim.severity] >= RANK["warning"]:
            changed.append(_own_case(state, claim, now_ns))
        elif alone is not None:
            changed.append(alone)
    return changed


def _attach(state: CaseState, claim: Claim, case: CaseLife, alone: CaseLife | None, now_ns: int) -> CaseLife:
    state.loose.remove(claim.number)
    if alone is not None:
        first = case.claims[0] if case.claims else claim.number
        return merge(state, alone, case, Edge(now_ns, claim.number, first, f"{claim.rule} fits"))
    claim.case = case.id
    case.witnesses.append(claim.number)
    del case.witnesses[:-CASE_WITNESSES]
    note_incident(case, claim, now_ns)
    return case


def _own_case(state: CaseState, claim: Claim, now_ns: int) -> CaseLife:
    """Return a case of witnesses alone, that of another of its family if there is one.

    The witness stays loose, so that it moves once a case fits.
    """
    for case in state.open_cases():
        beside = [] if case.claims else state.those(case.witnesses)
        beside = [one for one in beside if not one.silenced and related(one.attack, claim.attack)]
        if any(now_ns - one.end_ns(now_ns) <= WITNESS_NS for one in beside):
            claim.case = case.id
            case.witnesses.append(claim.number)
            del case.witnesses[:-CASE_WITNESSES]
            note_incident(case, claim, now_ns)
            return case
    case = own_case(state, claim, now_ns)
    case.claims.remove(claim.number)
    case.witnesses.append(claim.number)
    return case


def _fitting(state: CaseState, witness: Claim, now_ns: int) -> CaseLife | None:
    """Return the open case that a witness belongs to: one that shares its first names, else the one active last."""
    names = list(witness.weights)[:FIRST_NAMES]
    best: tuple[tuple[bool, int, int, int], CaseLife] | None = None
    for case in state.open_cases():
        own = [one for one in state.those(case.claims) if not one.silenced]
        claims = [one for one in own if related(one.attack, witness.attack)]
        active_ns = max((one.end_ns(now_ns) for one in claims), default=-LINK_NS)
        if not claims or now_ns - active_ns > WITNESS_NS:
            continue
        known = {name for one in claims for name in (one.party, *one.weights)}
        shared = sum(name in known for name in names)
        latest_ns = max(one.first_ns for one in claims)
        rank = (bool(names) and names[0] in known, shared, active_ns, latest_ns)
        if best is None or rank > best[0]:
            best = (rank, case)
    return None if best is None else best[1]
