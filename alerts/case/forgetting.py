"""What cases forget: claims that nothing can link to, and cases that nothing reopens."""

from __future__ import annotations

from alerts.case.joining import fold
from alerts.case.links import LINK_NS
from alerts.case.state import CaseState, unindex_claims
from watchdog.core.durations import MINUTE_NS

SWEEP_NS = 5 * MINUTE_NS  # how often what is old is dropped
SETTLED = 1_000  # cases that nothing reopens, kept for people
SETTLED_CLAIMS = 256  # of each of them


def forget(state: CaseState, now_ns: int) -> None:
    """Drop, now and then, what nothing can link to any longer, and most of what cases hold that nothing reopens."""
    if now_ns - state.swept_ns < SWEEP_NS:
        return
    state.swept_ns = now_ns
    quiet = {one.number for one in state.claims.values() if now_ns - one.end_ns(now_ns) > LINK_NS}
    gone = {number for number in quiet if not state.claims[number].case}
    for case in state.cases.values():
        if case.resolved_ns is not None and now_ns - case.resolved_ns > LINK_NS and not case.is_settled:
            case.is_settled = True
            fold(state, case, SETTLED_CLAIMS)
    gone |= _forget_cases(state)
    unindex_claims(state, quiet | gone)
    for number in gone:
        state.claims.pop(number, None)
    state.loose = [number for number in state.loose if number in state.claims]
    state.current = {place: number for place, number in state.current.items() if number in state.claims}


def _forget_cases(state: CaseState) -> set[int]:
    """Forget the cases that were resolved first; return the numbers of their claims."""
    settled = sorted((one for one in state.cases.values() if one.is_settled), key=lambda one: one.resolved_ns or 0)
    forgotten = settled[: max(len(settled) - SETTLED, 0)]
    for case in forgotten:
        del state.cases[case.id]
        for alias in case.aliases:
            state.aliases.pop(alias, None)
        state.spend((case.id, *case.aliases))
        state.count("forgotten")
    ids = {case.id for case in forgotten}
    state.vetoes = [veto for veto in state.vetoes if veto[0] not in ids]
    return {number for case in forgotten for number in (*case.claims, *case.leaves, *case.witnesses)}
