"""The life of one case: its severity and stages, when people are notified, and who is named."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from alerts.case.links import OUTBOUND, POISONING, SLOTS, STAGE_OF, STAGES, VIEW
from alerts.case.notice import CaseNotice, CaseReason
from alerts.case.story import Story, StoryLine
from alerts.claims import Claim
from alerts.incident import RANK, IncidentState
from watchdog.core.durations import HOUR_NS, MINUTE_NS, SECOND_NS
from watchdog.core.finding import Severity
from watchdog.core.text import printable

WAIT_NS: Mapping[Severity, int] = {"warning": 60 * SECOND_NS, "high": 30 * SECOND_NS, "critical": 0}
EVERY_NS = 5 * MINUTE_NS  # between two notices of a case; a step to critical does not wait
QUIET_NS = 30 * MINUTE_NS  # without a claim that fires, then it is over
CAMPAIGN_QUIET_NS = 2 * HOUR_NS  # with a stage of an eclipse
FLAPS, FLAPS_NS = 3, 2 * HOUR_NS  # a case reopened as often within this time flaps:
FLAPPING_QUIET_NS = 2 * HOUR_NS  # it stays open until quiet for as long, so that people hear of it once, not each time
SHOWN = 4  # names in a notice
KEPT_NOTICES = 100  # of a case; the first and the last half
MERGED_ROOTS = 64  # of one notice


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """What a case was when an operator acknowledged it; more than this clears the acknowledgement."""

    severity: Severity
    stages: tuple[str, ...]
    parties: tuple[str, ...]

    def with_(self, other: Acknowledged) -> Acknowledged:
        """Return what two merged cases were together."""
        severity = max(self.severity, other.severity, key=RANK.__getitem__)
        both = [
            tuple(sorted({*one, *two})) for one, two in ((self.stages, other.stages), (self.parties, other.parties))
        ]
        return Acknowledged(severity, *both)


@dataclass(frozen=True, slots=True)
class Edge:
    """A link between two claims, by their numbers; made, or not made though a name was shared."""

    time_ns: int
    claim: int
    other: int
    why: str


@dataclass(slots=True)
class CaseLife:
    """The mutable side of one case. Times are event time.

    first: order of its first claim; the older of two cases survives a merge. claims: numbers, of claims that link;
    leaves: of info claims; witnesses: of evidence. stages: in order of entry, inherited ones first. staged_ns: of
    the latest new stage. due_ns: of the pending notice, None without one. pending: its reasons. root: the id that the
    first notice had, empty before it; no merge changes it. issued: notices of this root so far. shown: what `parties`
    shows once none fires. folded: claims that were dropped at the cap. is_settled: nothing reopens it. told_stages,
    merged_roots: for `CaseNotice`. unheard: all its notices are from before a first start. sandbox: all rules that make
    it are of that maturity; muted: so they were at each notice, so that no one heard of it. told_claims: at the latest
    notice or update; update_ns: when the next update is due; updated_to_ns: time of the latest. acknowledged: what it
    was then; None unless it is acknowledged. reopened: when, the last `FLAPS` times. flapping: it was reopened so often
    that it stays open for longer. waiting: reasons of notices that maintenance held back; waits_until_ns: until it
    ends, None behind that.
    """

    id: str
    node: str
    first: tuple[int, str, str, int]
    opened_ns: int
    severity: Severity = "info"
    state: IncidentState = IncidentState.OPEN
    updated_ns: int = 0
    staged_ns: int = 0
    quiet_from_ns: int | None = None
    resolved_ns: int | None = None
    acknowledged_by: str | None = None
    continues: str | None = None
    continued_by: str | None = None
    inherited: list[str] = field(default_factory=list)
    stages: list[str] = field(default_factory=list)
    claims: list[int] = field(default_factory=list)
    leaves: list[int] = field(default_factory=list)
    witnesses: list[int] = field(default_factory=list)
    incidents: dict[str, int] = field(default_factory=dict)
    edges: list[Edge] = field(default_factory=list)
    aliases: list[str] = field(default_factory=list)
    declined: list[Edge] = field(default_factory=list)
    notices: list[CaseNotice] = field(default_factory=list)
    notices_beyond: int = 0
    notified: Severity | None = None
    pending: list[CaseReason] = field(default_factory=list)
    due_ns: int | None = None
    shown: list[int] = field(default_factory=list)
    series: bool = False
    folded: int = 0
    waiting: list[CaseReason] = field(default_factory=list)
    waits_until_ns: int | None = None
    is_settled: bool = False
    root: str = ""
    issued: int = 0
    told_stages: list[str] = field(default_factory=list)
    merged_roots: list[str] = field(default_factory=list)
    unheard: bool = False
    sandbox: bool = False
    muted: bool = False
    told_claims: int = 0
    update_ns: int | None = None
    updated_to_ns: int = 0
    acknowledged: Acknowledged | None = None
    reopened: list[int] = field(default_factory=list)
    flapping: bool = False
    story: Story = field(default_factory=Story)

    @property
    def is_open(self) -> bool:
        """Whether it is not resolved."""
        return self.state is not IncidentState.RESOLVED

    @property
    def quiet_ns(self) -> int:
        """Return how long it must be quiet to be over."""
        quiet_ns = CAMPAIGN_QUIET_NS if self.stages else QUIET_NS
        return max(quiet_ns, FLAPPING_QUIET_NS) if self.flapping else quiet_ns

    @property
    def ends_ns(self) -> int | None:
        """Return when it is over if nothing more happens; None while a claim fires or once resolved."""
        if not self.is_open or self.quiet_from_ns is None:
            return None
        return self.quiet_from_ns + self.quiet_ns

    def settle(self, claims: Iterable[Claim], witnesses: Iterable[Claim], now_ns: int) -> None:
        """Judge severity, stages and quiet by its claims, and note which notices are due."""
        own = [one for one in claims if not one.silenced]
        beside = [one for one in witnesses if not one.silenced]
        self.updated_ns = max(self.updated_ns, now_ns)
        self._note_stages(own, now_ns)
        severity = max((one.severity for one in (*own, *beside)), key=RANK.__getitem__, default=self.severity)
        severity = max(severity, "warning", self._staged_severity(), self.severity, key=RANK.__getitem__)
        if RANK[severity] > RANK[self.severity]:
            self.severity = severity
            if self.notified is not None and RANK[severity] >= RANK["high"]:
                self.want(CaseReason.SEVERITY)
        holding = own or beside  # witnesses alone hold a case of their own open
        self.sandbox = bool(holding) and all(one.words.sandbox for one in holding)
        if not holding:  # all are silenced: it ends as if they were quiet, and people are not notified until one counts
            self.quiet_from_ns = now_ns if self.quiet_from_ns is None else self.quiet_from_ns
            self.due_ns = None
            return
        if self.waiting and self.waits_until_ns is None and any(one.fires for one in own):
            for reason in self.waiting:
                self.want(reason)
        ends = [one.ended_ns for one in holding]
        if any(end_ns is None for end_ns in ends):
            self.quiet_from_ns = None
        else:
            self.quiet_from_ns = max((end_ns for end_ns in ends if end_ns is not None), default=now_ns)
        self._judge_acknowledgement(own, now_ns)
        self._schedule(now_ns)

    def _judge_acknowledgement(self, claims: Iterable[Claim], now_ns: int) -> None:
        """Clear an acknowledgement once there is more than was acknowledged: people have to look again."""
        known = self.acknowledged
        if known is None:
            return
        fresh = [stage for stage in self.stages if stage not in known.stages]
        news = [f"severity {self.severity}"] if RANK[self.severity] > RANK[known.severity] else []
        news += [f"stage {', '.join(fresh)}"] if fresh else []
        if not news and RANK[self.severity] >= RANK["high"]:
            fresh = sorted({one.party for one in claims if one.fires and one.party} - set(known.parties))
            if fresh:
                self.want(CaseReason.REOPENED)
                more = f" and {len(fresh) - 1} more" if fresh[1:] else ""
                news = [f"new party {printable(fresh[0])}{more}"]
        if news:
            text = f"since {printable(self.acknowledged_by or '', 100)} acknowledged it: {'; '.join(news)}"
            self.state, self.acknowledged_by, self.acknowledged = IncidentState.OPEN, None, None
            self.story.add(StoryLine(now_ns, "cleared", text))

    def _note_stages(self, claims: Iterable[Claim], now_ns: int) -> None:
        staged = (one for one in claims if one.words.technique in STAGE_OF)  # few of the thousands of a flood
        for claim in sorted(staged, key=lambda one: one.order):
            stage = STAGE_OF[claim.words.technique]
            if stage not in self.stages:
                self.stages.append(stage)
                self.staged_ns = now_ns
                if self.notified is not None:
                    self.want(CaseReason.STAGE)

    def _staged_severity(self) -> Severity:
        """Return the least severity of its stages together: of an eclipse under way, and of one that succeeds."""
        stages = set(self.stages)
        if {OUTBOUND, VIEW} <= stages or {POISONING, SLOTS, OUTBOUND} <= stages:
            return "critical"
        if (len(stages) > 1 and stages & {OUTBOUND, VIEW}) or (self.inherited and len(stages) > 1):
            return "high"
        return "warning"

    def want(self, reason: CaseReason) -> None:
        """Note a reason for the next notice."""
        if reason not in self.pending:
            self.pending.append(reason)

    def _schedule(self, now_ns: int) -> None:
        """Set when the pending notice is due. A case that no one has heard of so far waits by its severity."""
        if self.notified is None or (self.muted and not self.sandbox):
            self.want(CaseReason.OPENED)
            due_ns = now_ns + WAIT_NS[self.severity]
        elif not self.pending:
            return
        elif self.severity == "critical" != self.notified:
            due_ns = now_ns
        else:
            due_ns = max(now_ns, self.notices[-1].time_ns + EVERY_NS if self.notices else now_ns)
        self.due_ns = due_ns if self.due_ns is None else min(self.due_ns, due_ns)

    def notify(
        self,
        time_ns: int,
        names: tuple[str, ...],
        reason: CaseReason | None = None,
        *,
        before_start: bool = False,
        by: str = "",
        text: str = "",
    ) -> CaseNotice:
        """Return a notice for now; its reason is the first of those pending unless one is given.

        by, text: the operator who made the change.
        """
        first, *others = sorted({*self.pending, *([reason] if reason else [])}, key=list(CaseReason).index)
        if reason is not None and reason is not first:
            first, others = reason, [one for one in (first, *others) if one is not reason]
        self.root, self.issued = self.root or self.id, self.issued + 1
        known = {name for notice in self.notices for name in notice.parties}
        notice = CaseNotice(
            time_ns,
            first,
            self.severity,
            names,
            number=self.issued,
            others=tuple(others),
            new_stages=tuple(stage for stage in self.stages if stage not in self.told_stages),
            new_parties=tuple(name for name in names if name not in known),
            merged=tuple(self.merged_roots),
            before_start=before_start,
            by=by,
            text=text,
        )
        self.notices.append(notice)
        if len(self.notices) > KEPT_NOTICES:
            del self.notices[KEPT_NOTICES // 2]
            self.notices_beyond += 1
        self.notified, self.pending, self.due_ns = self.severity, [], None
        self.told_stages, self.merged_roots = list(self.stages), []
        self.unheard = before_start
        self.muted = self.sandbox and (self.muted or self.issued == 1)
        self.told_claims, self.update_ns = claims_of(self), None
        self.updated_ns = max(self.updated_ns, time_ns)
        return notice

    def reopen(self, now_ns: int) -> None:
        """Open it again: something new belongs to it."""
        self.state, self.resolved_ns, self.acknowledged_by = IncidentState.OPEN, None, None
        self.acknowledged = None
        if self.notified is not None:
            self.want(CaseReason.REOPENED)
        self.updated_ns = max(self.updated_ns, now_ns)
        self.reopened = [*self.reopened, now_ns][-FLAPS:]
        if not self.flapping and len(self.reopened) == FLAPS and now_ns - self.reopened[0] <= FLAPS_NS:
            self.flapping = True
            text = f"reopened {FLAPS} times within 2 h: it stays open until nothing has fired for 2 h"
            self.story.add(StoryLine(now_ns, "flapping", text))

    def absorb(self, other: CaseLife, *, seen: bool) -> None:
        """Take over a younger case; if it was seen, its id is an alias.

        When both had notices, one notice reports the merge. An acknowledgement of the younger one does not cover the
        older one; that of the older one is cleared by what the younger one adds to it.
        """
        self.story.absorb(other.story)
        self.flapping = self.flapping or other.flapping
        if self.acknowledged is not None and other.acknowledged is not None:
            self.acknowledged = self.acknowledged.with_(other.acknowledged)
        both = self.notified is not None and other.notified is not None
        if other.notified is not None and self.notified is None:
            self.notified, self.notices, self.pending, self.due_ns = (
                other.notified,
                other.notices,
                other.pending,
                other.due_ns,
            )
            self.notices_beyond = other.notices_beyond
        elif both and not (self._silent or other._silent):
            self.want(CaseReason.MERGED)
        self._take_root(other)
        if (
            self.notified is not None
            and RANK[other.severity] > RANK[self.severity]
            and RANK[other.severity] >= RANK["high"]
        ):
            self.want(CaseReason.SEVERITY)
        self.severity = max(self.severity, other.severity, key=RANK.__getitem__)
        missing = [stage for stage in other.stages if stage not in self.stages]
        if missing and self.notified is not None and other.notified is None:
            self.want(CaseReason.STAGE)
        self.stages += missing
        self.staged_ns = max(self.staged_ns, other.staged_ns)
        for name in ("claims", "leaves", "witnesses", "declined", "edges"):
            getattr(self, name).extend(getattr(other, name))
        self.incidents |= other.incidents
        self.aliases += [other.id, *other.aliases] if seen else other.aliases
        self.inherited += [stage for stage in other.inherited if stage not in self.inherited]
        self.continues = self.continues or (other.continues if other.continues != self.id else None)
        self.series = self.series or other.series
        self.folded += other.folded
        self.waiting += [reason for reason in other.waiting if reason not in self.waiting]
        self.waits_until_ns = self.waits_until_ns if other.waits_until_ns is None else other.waits_until_ns
        self.opened_ns = min(self.opened_ns, other.opened_ns)

    @property
    def _silent(self) -> bool:
        """Whether no receiver got any of its notices."""
        return self.unheard or self.muted

    def _take_root(self, other: CaseLife) -> None:
        """Keep the root that people know; of two known ones the other is reported as merged."""
        if other.root and (not self.root or (self._silent and not other._silent)):
            self.root, self.issued, self.unheard, self.muted = other.root, other.issued, other.unheard, other.muted
            self.told_stages, self.merged_roots = other.told_stages, other.merged_roots
        elif other.root and not other._silent:
            self.merged_roots += [*other.merged_roots, other.root]
            del self.merged_roots[:-MERGED_ROOTS]


def fires(case: CaseLife) -> bool:
    """Return whether a case is open and a claim of it fires."""
    return case.is_open and case.quiet_from_ns is None


def claims_of(case: CaseLife) -> int:
    """Return how many claims a case has taken so far."""
    return len(case.claims) + case.folded + len(case.leaves)


def plan_update(case: CaseLife, now_ns: int) -> None:
    """Set when an update is due, if the case has grown since people heard of it: not within `EVERY_NS` of that."""
    if case.notified is None or case.due_ns is not None or claims_of(case) <= case.told_claims:
        return
    heard_ns = case.notices[-1].time_ns if case.notices else now_ns
    due_ns = max(now_ns, heard_ns + EVERY_NS, case.updated_to_ns + EVERY_NS)
    case.update_ns = due_ns if case.update_ns is None else min(case.update_ns, due_ns)


def update(case: CaseLife, time_ns: int, names: tuple[str, ...]) -> CaseNotice:
    """Return the update that is due: of no importance, so it is not among the case's notices."""
    case.issued += 1
    case.told_claims, case.update_ns, case.updated_to_ns = claims_of(case), None, time_ns
    known = {name for notice in case.notices for name in notice.parties}
    new = tuple(name for name in names if name not in known)
    return CaseNotice(time_ns, CaseReason.UPDATED, case.severity, names, number=case.issued, new_parties=new)


def case_id(node: str, *first: str | int) -> str:
    """Return 16 hex digits for the first claim (incident, party, round): the same in every run over the same events."""
    parts = json.dumps((node, *first), ensure_ascii=True)
    return hashlib.blake2b(parts.encode("ascii"), digest_size=8, person=b"watchdog case").hexdigest()


def in_order(stages: Iterable[str]) -> list[str]:
    """Return stages in the order in which an eclipse needs them."""
    return sorted(set(stages), key=STAGES.index)
