"""How claims become cases: new cases, joins and merges, and where a case takes nothing new."""

from __future__ import annotations

from alerts.case.life import CaseLife, Edge, case_id
from alerts.case.links import ENOUGH, LINK_NS, STAGE_OF, SYMPTOM_NS, best_link, gap_ns
from alerts.case.state import CaseState, Past, candidates
from alerts.case.story import StoryLine
from alerts.claims import Claim
from watchdog.core.durations import DAY_NS, HOUR_NS

CASE_CLAIMS = 2_000  # of one case; quiet ones are folded into counts
CASE_LEAVES = 500  # info claims shown in one case
CASE_WITNESSES = 200  # of one case, the latest
CASE_ALIASES = 1_000  # of one case, the latest
CASE_INCIDENTS = 2_000  # of one case, the first
OPEN_CASES = 200  # of a node; further claims share one case
VETOES = 1_000  # of a node, the latest
DECLINED = 100  # of one case, the latest
OLD_NS = DAY_NS  # a case without a new stage for as long takes no new party
REMEMBER_NS = 72 * HOUR_NS  # an eclipse continues a resolved case of its party
PARTIES_KEPT = 10_000
OVERFLOW_KEY = (0, "*", "*", 0)


def link(state: CaseState, claim: Claim, now_ns: int) -> None:
    """Give a claim of warning or above a case, and join it with every case that it links to."""
    own_case(state, claim, now_ns)
    late = is_symptom(state, claim)
    for other in candidates(state, claim):
        if other.case and other.links and state.case(other.case) is state.case(claim.case):
            continue
        symptom = late or is_symptom(state, other)
        found = best_link(claim, other, state.popular, now_ns, symptom=symptom)
        if found.score < ENOUGH:
            mine = state.case(claim.case)
            if found.why and other.case and other.links and mine is not None:
                decline(mine, Edge(now_ns, claim.number, other.number, found.why))
        elif other.links and other.case:
            join(state, claim, other, found.why, now_ns)
        elif not other.links and not other.case:
            add_leaf(state, other, claim, found.why, now_ns)
    _continue_past(state, claim, now_ns)


def is_symptom(state: CaseState, claim: Claim) -> bool:
    """Return whether its party had been accused of another technique for long: peers that fill slots also reconnect."""
    known = state.those(state.index.get(f"party {claim.party}", ())) if claim.party else []
    return any(
        one.links
        and one.words.technique not in {"", claim.words.technique}
        and claim.first_ns - one.first_ns >= SYMPTOM_NS
        for one in known
    )


def own_case(state: CaseState, claim: Claim, now_ns: int) -> CaseLife:
    """Return the case of a claim that links; a new one, or the common one, when it has none or was a leaf."""
    case = state.case(claim.case) if claim.case else None
    if case is not None and claim.number in case.claims:
        if not case.is_open and claim.reopens:
            case.reopen(now_ns)
        return case
    if case is not None:
        case.leaves = [number for number in case.leaves if number != claim.number]
    if len(state.open_cases()) + 1 >= OPEN_CASES:
        state.count("overflow")
        case = _common(state, claim, now_ns)
    else:
        case = _new(state, claim, claim.order, now_ns)
    _enter(case, claim, now_ns)
    return case


def _new(state: CaseState, claim: Claim, first: tuple[int, str, str, int], now_ns: int) -> CaseLife:
    id_ = case_id(state.node, claim.incident, claim.party, claim.round)
    again = 0
    # split off, a leaf that returns, or forgotten: the same claim begins again
    while id_ in state.cases or id_ in state.aliases or id_ in state.spent:
        again += 1
        id_ = case_id(state.node, claim.incident, claim.party, claim.round, again)
    case = CaseLife(id_, state.node, first, now_ns, staged_ns=now_ns)
    state.cases[id_] = case
    return case


def _common(state: CaseState, claim: Claim, now_ns: int) -> CaseLife:
    known = next((one for one in state.open_cases() if one.first == OVERFLOW_KEY), None)
    return known or _new(state, claim, OVERFLOW_KEY, now_ns)


def _enter(case: CaseLife, claim: Claim, now_ns: int) -> None:
    claim.case = case.id
    case.claims.append(claim.number)
    note_incident(case, claim, now_ns)


def note_incident(case: CaseLife, claim: Claim, now_ns: int) -> None:
    """Remember that the incident of a claim is part of the case."""
    if claim.incident in case.incidents or len(case.incidents) < CASE_INCIDENTS:
        case.incidents.setdefault(claim.incident, now_ns)


def add_leaf(state: CaseState, leaf: Claim, claim: Claim, why: str, now_ns: int) -> None:
    """Show an info claim in the case of another; it bridges nothing."""
    case = state.case(claim.case)
    if case is None or _vetoed(state, case, leaf):
        return
    if len(case.leaves) >= CASE_LEAVES:
        state.count("leaves_refused")
        return
    leaf.case = case.id
    case.leaves.append(leaf.number)
    case.edges.append(Edge(now_ns, leaf.number, claim.number, why))
    note_incident(case, leaf, now_ns)


def decline(case: CaseLife, edge: Edge) -> None:
    """Remember a link that was not made though a name was shared."""
    if any((one.claim, one.other) == (edge.claim, edge.other) for one in case.declined):
        return
    case.declined.append(edge)
    del case.declined[:-DECLINED]


def join(state: CaseState, claim: Claim, other: Claim, why: str, now_ns: int) -> None:
    """Merge the cases of two claims, unless an operator, or the age of one, keeps them apart."""
    mine, theirs = state.case(claim.case), state.case(other.case)
    if mine is None or theirs is None or mine is theirs:
        return
    edge = Edge(now_ns, claim.number, other.number, why)
    if state.vetoes and _kept_apart(state, mine, theirs):
        decline(mine, Edge(now_ns, claim.number, other.number, f"split by an operator: {why}"))
        return
    if not theirs.is_open and gap_ns(claim, other, now_ns) > LINK_NS:
        return
    old = next((one for one in (theirs, mine) if _is_old(one, now_ns)), None)
    if old is not None and not _takes(state, old, mine if old is theirs else theirs):
        _keep_apart(state, old, mine if old is theirs else theirs, edge)
        return
    merge(state, mine, theirs, edge)


def merge(state: CaseState, one: CaseLife, other: CaseLife, edge: Edge) -> CaseLife:
    """Merge two cases; the older survives, and is open if either is. Return it.

    The id of a case that began at this very instant was never seen, so it is no alias.
    """
    older, younger = sorted((one, other), key=lambda case: (case.first, case.id))
    open_ = older.is_open or younger.is_open
    seen = younger.opened_ns < edge.time_ns
    older.absorb(younger, seen=seen)
    if seen:
        older.story.add(StoryLine(edge.time_ns, "merged", f"case {younger.id} is the same attack: {edge.why}"))
    older.edges.append(edge)
    if open_ and not older.is_open:
        older.reopen(edge.time_ns)
    del state.cases[younger.id]
    for alias in older.aliases[:-CASE_ALIASES]:
        state.aliases.pop(alias, None)
    state.spend(older.aliases[:-CASE_ALIASES])
    del older.aliases[:-CASE_ALIASES], older.witnesses[:-CASE_WITNESSES], older.declined[:-DECLINED]
    state.aliases |= dict.fromkeys(older.aliases, older.id)
    for claim in state.those((*younger.claims, *younger.leaves, *younger.witnesses)):
        claim.case = older.id
    _bound(state, older)
    fold(state, older)
    return older


def _bound(state: CaseState, case: CaseLife) -> None:
    """Keep a merged case within the bounds of one case: the info claims and the incidents that came first stay."""
    beyond = set(case.leaves[CASE_LEAVES:])
    if beyond:
        del case.leaves[CASE_LEAVES:]
        case.edges = [edge for edge in case.edges if not {edge.claim, edge.other} & beyond]
        state.count("leaves_refused", len(beyond))
        for claim in state.those(beyond):
            claim.case = ""
    while len(case.incidents) > CASE_INCIDENTS:
        case.incidents.popitem()


def fold(state: CaseState, case: CaseLife, most: int = CASE_CLAIMS) -> None:
    """Drop claims of a case beyond the cap, those that were quiet first, and a tenth more: not at each new claim."""
    if len(case.claims) <= most:
        return
    beyond = len(case.claims) - (most - most // 10)
    quiet = sorted(state.those(case.claims), key=lambda one: (one.fires, one.ended_ns or 0, one.order))
    dropped = {one.number for one in quiet[:beyond]}
    case.claims = [number for number in case.claims if number not in dropped]
    case.edges = [edge for edge in case.edges if not {edge.claim, edge.other} & dropped]
    case.folded += len(dropped)
    state.count("folded", len(dropped))
    for number in dropped:
        state.claims.pop(number, None)


def _is_old(case: CaseLife, now_ns: int) -> bool:
    return case.is_open and now_ns - max(case.opened_ns, case.staged_ns) > OLD_NS


def _takes(state: CaseState, old: CaseLife, new: CaseLife) -> bool:
    """Return whether an old case takes another: a new round of its own party, or a new stage."""
    if len(new.claims) != 1 or new.opened_ns < old.opened_ns:
        return False
    own = {one.party for one in state.those(old.claims)}
    return any(claim.party in own or _new_stage(old, claim) for claim in state.those(new.claims))


def _new_stage(case: CaseLife, claim: Claim) -> bool:
    stage = STAGE_OF.get(claim.words.technique)
    return stage is not None and stage not in case.stages


def _keep_apart(state: CaseState, old: CaseLife, new: CaseLife, edge: Edge) -> None:
    """Let the other case continue an old one, or join the case that does already."""
    decline(
        new, Edge(edge.time_ns, edge.claim, edge.other, f"case {old.id} takes no new party after a day: {edge.why}")
    )
    next_ = state.case(old.continued_by) if old.continued_by else None
    if next_ is not None and next_ is not new and next_.is_open and not _is_old(next_, edge.time_ns):
        merge(state, next_, new, Edge(edge.time_ns, edge.claim, edge.other, f"both continue case {old.id}: {edge.why}"))
    elif next_ is not new and new.continues is None and old.continues != new.id:
        new.continues, old.continued_by = old.id, new.id


def _kept_apart(state: CaseState, one: CaseLife, other: CaseLife) -> bool:
    """Return whether an operator split a party of one case off from the other."""
    return any(_vetoed(state, other, claim) for claim in state.those(one.claims)) or any(
        _vetoed(state, one, claim) for claim in state.those(other.claims)
    )


def _vetoed(state: CaseState, case: CaseLife, claim: Claim) -> bool:
    return any(party == claim.party and state.case(id_) is case for id_, party in state.vetoes)


def split_off(state: CaseState, case: CaseLife, party: str, now_ns: int) -> CaseLife | None:
    """Give the claims of a party a case of their own; a veto keeps both apart. None: no such party, or no other."""
    own = [claim for claim in state.those(case.claims) if claim.party == party]
    if not own or len(own) == len(case.claims):
        return None
    first = min(own, key=lambda one: one.order)
    new = _new(state, first, first.order, now_ns)
    gone = {claim.number for claim in own}
    case.claims = [number for number in case.claims if number not in gone]
    new.edges = [edge for edge in case.edges if {edge.claim, edge.other} <= gone]
    case.edges = [edge for edge in case.edges if not {edge.claim, edge.other} & gone]
    for claim in own:
        _enter(new, claim, now_ns)
    kept = {claim.incident for claim in state.those((*case.claims, *case.leaves, *case.witnesses))}
    case.incidents = {incident: time_ns for incident, time_ns in case.incidents.items() if incident in kept}
    if not case.is_open:  # what is over opens no case for people; else its severity is its own, and so is its notice
        new.severity, new.notified = case.severity, case.notified
    state.vetoes.append((case.id, party))
    del state.vetoes[:-VETOES]
    return new


def remember(state: CaseState, case: CaseLife, now_ns: int) -> None:
    """Remember the parties of a case that was resolved: how often each was accused, and for an eclipse its stages."""
    stages: dict[str, list[str]] = {}
    for claim in state.those(case.claims):
        if claim.party:
            known = stages.setdefault(claim.party, [])
            stage = STAGE_OF.get(claim.words.technique)
            if stage is not None and stage not in known:
                known.append(stage)
    for party, own in stages.items():
        state.popular[party] = state.popular.pop(party, 0) + 1
        if own:
            state.past.pop(party, None)
            state.past[party] = Past(case.id, tuple(own), tuple(case.stages), now_ns)
    for table in (state.popular, state.past):
        for party in list(table)[: max(len(table) - PARTIES_KEPT, 0)]:
            table.pop(party)
            state.count("parties_dropped")


def _continue_past(state: CaseState, claim: Claim, now_ns: int) -> None:
    """Let a claim of another stage by a party of a resolved eclipse continue that case, with its stages."""
    stage, past = STAGE_OF.get(claim.words.technique), state.past.get(claim.party)
    case = state.case(claim.case)
    if stage is None or past is None or case is None or case.continues is not None:
        return
    before = state.case(past.case)
    if now_ns - past.resolved_ns > REMEMBER_NS or before is case or not set(past.stages) - {stage}:
        return
    case.continues = past.case
    case.inherited = list(past.all_stages)
    case.stages = [*past.all_stages, *(one for one in case.stages if one not in past.all_stages)]
