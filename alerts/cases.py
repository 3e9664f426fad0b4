"""The cases of one node: findings with their incidents in, cases and notices to people out; pure, in event time.

    book = CaseBook("alice", words_of(plans))
    book.take(time_ns, [Taken(...), ...])     # all of one instant, in the order of time
    for issued in book.advance(time_ns): ...    # notices that are due, and cases that are over

A `CaseFeed` brings the findings of all parts into this order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from alerts.case.acts import CaseAct, acknowledge, effect_of
from alerts.case.change import CaseChange
from alerts.case.evidence import attach_leaf, attach_witnesses, note_series, promote
from alerts.case.forgetting import forget
from alerts.case.joining import CASE_CLAIMS, fold, link, remember, split_off
from alerts.case.life import CaseLife, plan_update, update
from alerts.case.maintenance import change_windows, end_wait, hold, mark
from alerts.case.names import PartyView, names_shown, parties_of
from alerts.case.notice import CaseNotice, CaseReason
from alerts.case.silence import next_turn, note_silences, set_silences, turned
from alerts.case.state import CaseState, index_claim
from alerts.case.story import SPLIT_FROM, StoryLine
from alerts.claims import Claim, RuleWords, no_words, parties_in
from alerts.fingerprint import key_text
from alerts.incident import IncidentState
from alerts.maintenance import QuietWindow
from alerts.rule_texts import RuleText
from alerts.silence import ClaimSilence
from watchdog.core.durations import MINUTE_NS
from watchdog.core.finding import Finding

AGAIN_NS = 30 * MINUTE_NS  # a party that was quiet for as long begins a new claim
MEMBERS = 10_000  # firing keys of one incident that are followed, as many as the incident follows


class Taken(NamedTuple):
    """A finding with the incident that took it; without a finding, everything of the incident is over."""

    incident: str
    finding: Finding | None


class IssuedNotice(NamedTuple):
    """One notice of one case. change: with the picture of that moment, where receivers need it."""

    case: CaseLife
    notice: CaseNotice
    change: CaseChange | None = None


@dataclass(frozen=True, slots=True)
class CasePicture:
    """A case with its claims and parties at one moment."""

    life: CaseLife
    claims: Sequence[Claim]
    leaves: Sequence[Claim]
    witnesses: Sequence[Claim]
    parties: Sequence[PartyView]


Draw = Callable[[CasePicture, CaseNotice, Mapping[str, RuleText]], CaseChange]


class CaseBook:
    """The cases of one node. words: of the rules by id, replaced at a reload; claims keep theirs. state: to resume.

    draw: makes the picture of a notice; a replay, which has no receivers, leaves it out. texts: what the rules in force
    tell people to do, for the history and messages.
    """

    def __init__(self, node: str, words: Mapping[str, RuleWords], state: CaseState | None = None) -> None:
        self.words = words
        self.texts: Mapping[str, RuleText] = {}
        self.state = state or CaseState(node)
        self.draw: Draw | None = None
        self.windows: Sequence[QuietWindow] = ()  # of maintenance

    def take(self, time_ns: int, taken: Iterable[Taken]) -> None:
        """Take in all that happened at one instant, in any order; times run backwards for late ones only."""
        state = self.state
        state.now_ns = now_ns = max(state.now_ns, time_ns)
        self._turn(now_ns)
        touched: dict[int, Claim] = {}
        for one in taken:
            for claim in self._apply(one, now_ns):
                touched[claim.number] = claim
        note_silences(state, touched.values(), now_ns)
        self._judge(sorted(touched.values(), key=lambda one: one.order), now_ns)

    def maintain(self, windows: Sequence[QuietWindow]) -> None:
        """Hold notices back in these windows from now on."""
        self.windows = windows
        for case in self.state.open_cases():
            change_windows(case, windows, self.state.now_ns)

    def silence(self, silences: Iterable[ClaimSilence]) -> bool:
        """Use these silences from now on; return whether they differ from those before."""
        changed = set_silences(self.state, silences)
        if changed:
            self._judge(turned(self.state, self.state.now_ns), self.state.now_ns)
        return changed

    def advance(self, until_ns: int) -> list[IssuedNotice]:
        """Let time pass: give the notices that are due, end what has been quiet, forget what nothing can reopen."""
        issued: list[IssuedNotice] = []
        while True:
            due = min(
                ((at_ns, case.first, case) for case in self.state.open_cases() for at_ns in _times(case)),
                key=lambda one: one[:2],
                default=None,
            )
            if self._starts_before(until_ns if due is None else min(due[0], until_ns)):
                continue
            turn_ns = next_turn(self.state)
            if turn_ns is not None and turn_ns <= (until_ns if due is None else min(due[0], until_ns)):
                self._turn(turn_ns)
                continue
            if due is None or due[0] > until_ns:
                break
            self.state.now_ns = max(self.state.now_ns, due[0])  # the picture is of this time, however far time passes
            notice = self._happens(due[2], due[0])
            issued += [] if notice is None else [self.issued(due[2], notice)]
        self.state.now_ns = max(self.state.now_ns, until_ns)
        forget(self.state, self.state.now_ns)
        return issued

    def pictures(self) -> list[CasePicture]:
        """Return all cases that are remembered, by opening time, then id."""
        cases = sorted(self.state.cases.values(), key=lambda one: (one.opened_ns, one.id))
        return [self.picture(case) for case in cases]

    def picture(self, case: CaseLife) -> CasePicture:
        """Return a case with its claims; parties by what fires now, else by what fired at the last notice."""
        state = self.state
        claims, leaves = state.those(case.claims), state.those(case.leaves)
        counting = self._counting(case, claims)
        parties = parties_of(claims, counting, state.now_ns)
        return CasePicture(case, claims, leaves, state.those(case.witnesses), parties)

    def _counting(self, case: CaseLife, claims: Sequence[Claim]) -> set[int]:
        firing = {one.number for one in claims if one.counts}
        return firing if firing and case.is_open else set(case.shown) or {one.number for one in claims}

    def split(self, id_: str, party: str, now_ns: int) -> CaseLife | None:
        """Move a party's claims out of a case at an operator's word, for good. None: nothing to split off."""
        case = self.state.case(id_)
        new = None if case is None else split_off(self.state, case, party, max(now_ns, self.state.now_ns))
        for one in (case, new):
            if one is not None:
                self._settle(one, self.state.now_ns)
        return new

    def act(self, act: CaseAct, time_ns: int) -> tuple[list[CaseLife], list[IssuedNotice]]:
        """Apply an operator's act; return the cases that it changed, and its notices. Nothing for an unknown case.

        time_ns: event time; the book has taken in all up to then.
        """
        state = self.state
        now_ns = state.now_ns = max(state.now_ns, time_ns)
        case = state.case(act.case)
        if case is None:
            state.count("acts_unknown")
            return [], []
        case.story.add(act.line)
        case.updated_ns = max(case.updated_ns, now_ns)
        if act.verb == "split":
            new = self.split(case.id, act.party, now_ns)
            if new is not None:
                text = f"{act.party} {SPLIT_FROM} {case.id}"
                new.story.add(StoryLine(act.at_ns, "split", f"{text}: {act.text}" if act.text else text, act.who))
            return [case, *([] if new is None else [new])], []
        effect = effect_of(act.verb, act.who, case.state, case.acknowledged_by)
        if effect is None:
            return [case], []
        opened = []
        if case.notified is None:
            notice = case.notify(now_ns, self._names(case, now_ns), CaseReason.OPENED)
            opened.append(hold(case, notice, self.windows))
        closed = effect is IncidentState.RESOLVED
        notice = self._resolve(case, act, now_ns) if closed else self._acknowledge(case, act, now_ns)
        return [case], [self.issued(case, one) for one in (*opened, notice)]

    def _acknowledge(self, case: CaseLife, act: CaseAct, now_ns: int) -> CaseNotice:
        acknowledge(case, act.who, (one.party for one in self.state.those(case.claims)))
        names = self._names(case, now_ns)
        notice = case.notify(now_ns, names, CaseReason.ACKNOWLEDGED, by=act.who, text=act.text)
        return hold(case, notice, self.windows)

    def _resolve(self, case: CaseLife, act: CaseAct, now_ns: int) -> CaseNotice:
        """End a case at an operator's word. What fires now does not reopen it; something new does."""
        firing = [one for one in self.state.those(case.claims) if one.fires]
        case.shown = [one.number for one in firing] or case.shown
        for claim in firing:
            claim.laid_aside = True
        return self._end(case, now_ns, by=act.who, text=act.text)

    def close(self, now_ns: int) -> list[IssuedNotice]:
        """End all cases: the node is no longer watched."""
        time_ns = max(now_ns, self.state.now_ns)
        return [self.issued(case, self._end(case, time_ns)) for case in self.state.open_cases()]

    def issued(self, case: CaseLife, notice: CaseNotice) -> IssuedNotice:
        """Return a notice that was just given, with the picture of this moment."""
        if self.draw is None:
            return IssuedNotice(case, notice)
        return IssuedNotice(case, notice, self.draw(self.picture(case), notice, self.texts))

    def _turn(self, until_ns: int) -> None:
        """Judge what silences begin and end to hold back, up to a time."""
        while (turn_ns := next_turn(self.state)) is not None and turn_ns <= until_ns:
            self.state.now_ns = now_ns = max(self.state.now_ns, turn_ns)
            self._judge(sorted(turned(self.state, turn_ns), key=lambda one: one.order), now_ns)

    # ---- one instant

    def _apply(self, taken: Taken, now_ns: int) -> list[Claim]:
        """Change claims as one finding says; return those that changed."""
        state, finding = self.state, taken.finding
        own = state.members.setdefault(taken.incident, {})
        if finding is None:
            del state.members[taken.incident]
            return [claim for key, numbers in own.items() for claim in self._stop(key, numbers, now_ns)]
        key = key_text(finding.key)
        before = own.pop(key, [])
        if finding.change == "clear":
            if not own:
                del state.members[taken.incident]
            return self._stop(key, before, now_ns)
        words = self.words.get(finding.rule) or no_words(finding.rule)
        changed = []
        for party, names in parties_in(finding, words).items():
            claim = self._claim(taken.incident, party, finding, words, now_ns)
            claim.note(names, finding, now_ns, key)
            changed.append(claim)
        now = own[key] = [claim.number for claim in changed]
        changed += self._stop(key, [number for number in before if number not in now], now_ns)
        if len(own) > MEMBERS:
            oldest = next(iter(own))
            changed += self._stop(oldest, own.pop(oldest), now_ns)
            state.count("members_dropped")
        return changed

    def _stop(self, key: str, numbers: Iterable[int], now_ns: int) -> list[Claim]:
        claims = self.state.those(numbers)
        for claim in claims:
            claim.stop(key, now_ns)
        return claims

    def _claim(self, incident: str, party: str, finding: Finding, words: RuleWords, now_ns: int) -> Claim:
        """Return the claim of a party in an incident: the latest one, or a new round when that was quiet for long."""
        state, place = self.state, f"{incident} {party}"
        known = state.claims.get(state.current.get(place, 0))
        if known is not None and now_ns - known.end_ns(now_ns) <= AGAIN_NS:
            return known
        state.numbers += 1
        round_ = 0 if known is None else known.round + 1
        claim = Claim(
            state.numbers,
            incident,
            finding.rule,
            finding.attack,
            words,
            party,
            round_,
            finding.severity,
            now_ns,
            now_ns,
        )
        state.claims[claim.number] = claim
        state.current[place] = claim.number
        return claim

    def _judge(self, touched: Sequence[Claim], now_ns: int) -> None:
        """Judge links, promotions and series of what changed, once all of the instant is known."""
        state = self.state
        grown = [claim for claim in touched if claim.grown]
        fresh = [claim for claim in grown if not claim.case]
        for claim in sorted(grown, key=lambda one: (one.links, one.order)):
            claim.grown = False
            if claim.links:
                link(state, claim, now_ns)
            if claim.words.role != "witness" and not claim.silenced:
                index_claim(state, claim)  # once it has a case, as each key keeps the latest claims only
        for claim in touched:
            self._return(claim, now_ns)
        loose = [one for one in fresh if one.words.role == "witness" and not one.silenced]
        state.loose += [one.number for one in loose if one.number not in state.loose]
        weak = [claim for claim in fresh if not claim.links and claim.words.role != "witness"]
        promote(state, [claim for claim in weak if claim.words.role == "core" and not claim.silenced], now_ns)
        for claim in weak:
            if not claim.case:
                attach_leaf(state, claim, now_ns)
        note_series(state, fresh, now_ns)
        changed = {id(case): case for case in attach_witnesses(state, now_ns)}
        for claim in (*touched, *fresh):
            case = state.case(claim.case) if claim.case else None
            if case is not None:
                changed[id(case)] = case
        for case in changed.values():
            self._settle(case, now_ns)

    def _return(self, claim: Claim, now_ns: int) -> None:
        """Reopen the case of a claim that fires again."""
        case = self.state.case(claim.case) if claim.case else None
        if case is not None and not case.is_open and claim.reopens and claim.number in case.claims:
            case.reopen(now_ns)

    def _settle(self, case: CaseLife, now_ns: int) -> None:
        if case.id not in self.state.cases or not case.is_open:
            return
        claims = self.state.those(case.claims)
        if len(claims) > CASE_CLAIMS:
            fold(self.state, case)
        case.settle(claims, self.state.those(case.witnesses), now_ns)
        if case.unheard and case.quiet_from_ns is None and now_ns >= self.state.start_ns:
            _announce(case, now_ns)
        elif self.draw is not None and not case.unheard:
            plan_update(case, now_ns)

    # ---- time

    def _starts_before(self, time_ns: int) -> bool:
        """Note that time passes the first start; return whether that made a notice due."""
        state = self.state
        start_ns = state.start_ns
        if not start_ns or time_ns < start_ns:
            return False
        state.start_ns = 0
        firing = [case for case in state.open_cases() if case.unheard and case.quiet_from_ns is None]
        for case in firing:
            _announce(case, max(state.now_ns, start_ns))
        return bool(firing)

    def _happens(self, case: CaseLife, time_ns: int) -> CaseNotice | None:
        """Resolve a case that is over, or give its pending notice; None when maintenance ends and nothing is due."""
        ends_ns, due_ns = case.ends_ns, case.due_ns
        if ends_ns is not None and ends_ns <= time_ns and (due_ns is None or ends_ns <= due_ns):
            return self._end(case, time_ns)
        if case.waits_until_ns is not None and case.waits_until_ns <= time_ns:
            counts = any(one.counts for one in self.state.those(case.claims))
            if not end_wait(case, counts=counts):
                return None
        elif due_ns is None or due_ns > time_ns:
            return mark(case, update(case, time_ns, self._names(case, time_ns)), self.windows)
        firing = [one.number for one in self.state.those(case.claims) if one.counts]
        case.shown = firing or case.shown
        before = time_ns < self.state.start_ns
        return hold(case, case.notify(time_ns, self._names(case, time_ns), before_start=before), self.windows)

    def _end(self, case: CaseLife, time_ns: int, *, by: str = "", text: str = "") -> CaseNotice:
        """Resolve a case. by, text: the operator who does."""
        names = self._names(case, time_ns)
        case.state, case.resolved_ns, case.flapping = IncidentState.RESOLVED, time_ns, False
        case.updated_ns = max(case.updated_ns, time_ns)
        remember(self.state, case, time_ns)
        before = time_ns < self.state.start_ns or case.unheard
        notice = case.notify(time_ns, names, CaseReason.RESOLVED, before_start=before, by=by, text=text)
        return hold(case, notice, self.windows)

    def _names(self, case: CaseLife, time_ns: int) -> tuple[str, ...]:
        claims = self.state.those(case.claims)
        return names_shown(parties_of(claims, self._counting(case, claims), time_ns), claims)


def _announce(case: CaseLife, now_ns: int) -> None:
    """Notify now of a case whose notices were all of the time before a first start: it still fires."""
    case.pending, case.due_ns = [CaseReason.OPENED], now_ns


def _times(case: CaseLife) -> list[int]:
    """Return when time alone changes a case next."""
    times = (case.due_ns, case.ends_ns, case.update_ns, case.waits_until_ns)
    return [at_ns for at_ns in times if at_ns is not None]
