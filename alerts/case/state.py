"""The state of the cases of one node, as a checkpoint keeps it, and the index by which claims find each other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from alerts.book_record import NEVER_NS
from alerts.case.acts import CaseAct
from alerts.case.life import CaseLife
from alerts.case.links import TOGETHER_NS
from alerts.claims import Claim
from alerts.party import near_of
from alerts.silence import ClaimSilence

STATE_VERSION = 1
INDEX_ENTRIES = 50_000  # keys; the one used longest ago goes first
SPENT = 20_000  # ids of forgotten cases that are remembered
INDEX_CLAIMS = 64  # of one key, the latest: links are transitive, and the latest is the nearest in time


@dataclass(frozen=True, slots=True)
class Past:
    """A party of a resolved case with stages of an eclipse. stages: of the party's own claims there."""

    case: str
    stages: tuple[str, ...]
    all_stages: tuple[str, ...]
    resolved_ns: int


@dataclass(slots=True)
class CaseState:
    """All that is remembered of one node's cases.

    claims: by number. current: the latest claim, by incident and party. members: by incident and key that fires, the
    claims of it. index: claims by what may link them. loose: witnesses that no case of others shows. popular: by
    netblock, resolved cases that accused it. past: by party. begun: by rule, the cases it began lately. vetoes: a case
    and a party that an operator split off from it. start_ns: what is before it is history at a first start, and nothing
    of it is notified; 0 once it has passed. acted: operators' acts up to this id came here or belong elsewhere; acts:
    those that wait, with the event time at which each counts. silences: those of this node, by id. turned_ns: up to
    when their beginnings and ends have been judged. spent: ids that cases had which are forgotten, the latest: notices
    of them are known, so no other case may have one.
    """

    node: str
    version: int = STATE_VERSION
    now_ns: int = NEVER_NS
    swept_ns: int = NEVER_NS
    numbers: int = 0
    claims: dict[int, Claim] = field(default_factory=dict)
    current: dict[str, int] = field(default_factory=dict)
    members: dict[str, dict[str, list[int]]] = field(default_factory=dict)
    index: dict[str, list[int]] = field(default_factory=dict)
    loose: list[int] = field(default_factory=list)
    cases: dict[str, CaseLife] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    popular: dict[str, int] = field(default_factory=dict)
    past: dict[str, Past] = field(default_factory=dict)
    begun: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    vetoes: list[tuple[str, str]] = field(default_factory=list)
    silences: dict[str, ClaimSilence] = field(default_factory=dict)
    turned_ns: int = NEVER_NS
    counters: dict[str, int] = field(default_factory=dict)
    start_ns: int = 0
    acted: int = 0
    acts: list[tuple[int, CaseAct]] = field(default_factory=list)
    spent: dict[str, None] = field(default_factory=dict)

    def count(self, what: str, many: int = 1) -> None:
        """Count something that a bound made necessary."""
        self.counters[what] = self.counters.get(what, 0) + many

    def spend(self, ids: Iterable[str]) -> None:
        """Remember ids of cases that are forgotten."""
        self.spent |= dict.fromkeys(ids)
        while len(self.spent) > SPENT:
            del self.spent[next(iter(self.spent))]

    def case(self, id_: str) -> CaseLife | None:
        """Return the case with this id, or into which the case with this id was merged."""
        return self.cases.get(self.aliases.get(id_, id_))

    def open_cases(self) -> list[CaseLife]:
        """Return the cases that are not resolved, the oldest first."""
        return sorted((one for one in self.cases.values() if one.is_open), key=lambda one: one.first)

    def those(self, numbers: Iterable[int]) -> list[Claim]:
        """Return claims by their numbers; those that were dropped are left out."""
        return [self.claims[number] for number in numbers if number in self.claims]


def rewind_state(state: CaseState, now_ns: int) -> None:
    """Cap all times at `now_ns`, as a clock was ahead and has been set back: nothing could end before it caught up."""
    state.now_ns = state.swept_ns = now_ns
    state.start_ns = min(state.start_ns, now_ns)
    state.turned_ns = min(state.turned_ns, now_ns)
    for claim in state.claims.values():
        claim.first_ns, claim.last_ns = min(claim.first_ns, now_ns), min(claim.last_ns, now_ns)
        claim.ended_ns = None if claim.ended_ns is None else min(claim.ended_ns, now_ns)
    for case in state.cases.values():
        case.opened_ns, case.staged_ns = min(case.opened_ns, now_ns), min(case.staged_ns, now_ns)
        case.updated_ns = min(case.updated_ns, now_ns)
        case.due_ns = None if case.due_ns is None else min(case.due_ns, now_ns)
        case.update_ns = None if case.update_ns is None else min(case.update_ns, now_ns)
        case.updated_to_ns = min(case.updated_to_ns, now_ns)
        case.waits_until_ns = None if case.waits_until_ns is None else min(case.waits_until_ns, now_ns)
        case.quiet_from_ns = None if case.quiet_from_ns is None else min(case.quiet_from_ns, now_ns)
        case.resolved_ns = None if case.resolved_ns is None else min(case.resolved_ns, now_ns)
        case.reopened = [min(time_ns, now_ns) for time_ns in case.reopened]
        case.notices = [replace(notice, time_ns=min(notice.time_ns, now_ns)) for notice in case.notices]
    state.past = {party: replace(past, resolved_ns=min(past.resolved_ns, now_ns)) for party, past in state.past.items()}
    state.begun = {rule: [(min(time_ns, now_ns), id_) for time_ns, id_ in begun] for rule, begun in state.begun.items()}


def index_claim(state: CaseState, claim: Claim) -> None:
    """Make a claim findable by what it has now."""
    for key in _own_keys(claim):
        numbers = state.index.pop(key, [])
        if claim.number not in numbers:
            numbers.append(claim.number)
            del numbers[:-INDEX_CLAIMS]
        state.index[key] = numbers  # used last, so it goes last
    while len(state.index) > INDEX_ENTRIES:
        del state.index[next(iter(state.index))]
        state.count("index_dropped")


def unindex_claim(state: CaseState, claim: Claim) -> None:
    """Make one claim unfindable, without a look at the whole index: what it was found by is what it has."""
    for key in _own_keys(claim):
        numbers = state.index.get(key, [])
        if claim.number in numbers:
            numbers.remove(claim.number)
            if not numbers:
                del state.index[key]


def unindex_claims(state: CaseState, numbers: set[int]) -> None:
    """Make claims unfindable: nothing may link to them any longer."""
    for key in list(state.index):
        kept = [number for number in state.index[key] if number not in numbers]
        if kept:
            state.index[key] = kept
        else:
            del state.index[key]


def candidates(state: CaseState, claim: Claim) -> list[Claim]:
    """Return the claims that may link to this one, the latest of each key, in the order of their beginning."""
    numbers = {number for key in _asked_keys(claim) for number in state.index.get(key, ())} - {claim.number}
    return sorted(state.those(numbers), key=lambda one: one.order)


def _own_keys(claim: Claim) -> Iterator[str]:
    if claim.party:
        yield f"party {claim.party}"
        for near in dict.fromkeys(near_of(name) for name in claim.weights):
            if near is not None:
                yield f"near {near}"
        for name in claim.weights:
            yield f"name {name}"
    for announcer in claim.announcers:
        yield f"announced by {announcer}"
    if claim.words.technique:
        yield f"technique {claim.words.technique}"
    yield f"rule {claim.rule}"


def _asked_keys(claim: Claim) -> Iterator[str]:
    yield from _own_keys(claim)
    for name in claim.weights:
        yield f"announced by {name}"
    for announcer in claim.announcers:
        yield f"name {announcer}"
    for pair in TOGETHER_NS:
        if claim.words.technique in pair:
            for technique in sorted(pair):
                yield f"technique {technique}"
