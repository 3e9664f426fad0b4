"""Silences on the claims of one node: which are held back, from when to when, in event time.

A silenced claim stays in the book, opens no case and links nothing. The case that it fits shows it. Where it was part
of a case before, it no longer counts there: that case ends as if the claim were quiet.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from alerts.case.state import CaseState, unindex_claim
from alerts.claims import Claim
from alerts.silence import ClaimSilence, accused_by, silencing


def set_silences(state: CaseState, wanted: Iterable[ClaimSilence]) -> bool:
    """Take the silences that there are now; return whether anything changed. `turned` says what follows from it.

    Nothing is silenced in the past: what was judged stays so. A silence that is new here begins now at the earliest, an
    end that is past is now, and one that is missing is over.
    """
    known, now_ns = state.silences, state.now_ns
    fresh: dict[str, ClaimSilence] = {}
    for one in wanted:
        if one.node not in {"", state.node}:
            continue
        before = known.get(one.id)
        if before is None or before.until_ns <= now_ns < one.until_ns:  # new, or extended after its end
            fresh[one.id] = replace(one, from_ns=max(one.from_ns, now_ns))
        elif before.until_ns > now_ns:
            fresh[one.id] = replace(one, from_ns=before.from_ns, until_ns=max(one.until_ns, now_ns))
    fresh = {id_: one for id_, one in sorted(fresh.items()) if one.until_ns > now_ns}
    state.silences = fresh
    return fresh != {id_: one for id_, one in known.items() if one.until_ns > now_ns}


def next_turn(state: CaseState) -> int | None:
    """Return when the next silence begins or ends; None when none does."""
    times = (time_ns for one in state.silences.values() for time_ns in (one.from_ns, one.until_ns))
    return min((time_ns for time_ns in times if time_ns > state.turned_ns), default=None)


def turned(state: CaseState, now_ns: int) -> list[Claim]:
    """Judge all claims that fire at a moment when silences begin or end; return those that changed."""
    state.turned_ns = max(state.turned_ns, now_ns)
    return note_silences(state, [one for one in state.claims.values() if one.fires], now_ns)


def note_silences(state: CaseState, claims: Collection[Claim], now_ns: int) -> list[Claim]:
    """Judge which of these claims are silenced now; return those for which that changed."""
    if not state.silences and not any(claim.silenced for claim in claims):
        return []
    changed, gone = [], set()
    for claim in claims:
        held = silencing(state.silences.values(), accused_by(claim, state.node), now_ns)
        if bool(held) != bool(claim.silenced):
            changed.append(claim)
            claim.grown = True  # it may link from now on, or be shown where it fits
            if held:
                gone.add(claim.number)
                unindex_claim(state, claim)
        claim.silenced = held
    if gone:
        state.loose = [number for number in state.loose if number not in gone]
    return changed
