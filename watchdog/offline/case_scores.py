"""Cases compared with labels: one page for each attack, nothing glued, nothing without a label, the right name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median

from alerts.case.notice import CaseNotice
from alerts.cases import CasePicture
from alerts.claims import Claim
from watchdog.core.text import counted, printable
from watchdog.offline.labels import ANY, Label, names_entity

ECLIPSE = "eclipse"


@dataclass(frozen=True, slots=True)
class LabelCases:
    """The cases of one label. notices: of these cases within the label and its grace. top_true: None without a name."""

    label: Label
    cases: tuple[str, ...] = ()
    glued_with: tuple[str, ...] = ()
    notices: int = 0
    delay_s: float | None = None
    top_name: str | None = None
    top_true: bool | None = None


@dataclass(frozen=True, slots=True)
class CaseScores:
    """The cases of one recording. glued: pairs of independent labels in one case. notices: of all cases."""

    labels: tuple[LabelCases, ...] = ()
    cases: int = 0
    without_label: tuple[CasePicture, ...] = ()
    glued: int = 0
    notices: int = 0

    @property
    def attacks(self) -> list[LabelCases]:
        """The labels that are not benign."""
        return [one for one in self.labels if not one.label.benign]


def score_cases(labels: Sequence[Label], cases: Sequence[CasePicture], end_s: float, grace_s: float) -> CaseScores:
    """Compare the cases of a recording with its labels. end_s: of the recording."""
    named = {label: _named(label, cases, end_s, grace_s) for label in labels if not label.benign}
    claimed = {one.life.id for found in named.values() for one in found}
    found = {label: own or _by_class(label, cases, claimed, grace_s) for label, own in named.items()}
    pairs = [pair for pair in combinations(found, 2) if _share(found, *pair) and _independent(*pair)]
    scores = [_label_cases(label, found.get(label, []), pairs, grace_s) for label in labels]
    explained = {one.life.id for own in found.values() for one in own}
    alone = [one for one in cases if one.life.id not in explained and not _within_any(labels, one, end_s, grace_s)]
    return CaseScores(tuple(scores), len(cases), tuple(alone), len(pairs), sum(len(one.life.notices) for one in cases))


def _named(label: Label, cases: Sequence[CasePicture], end_s: float, grace_s: float) -> list[CasePicture]:
    if ANY in label.entities:
        return []
    return [one for one in cases if any(_names(label, claim, end_s, grace_s) for claim in one.claims)]


def _names(label: Label, claim: Claim, end_s: float, grace_s: float) -> bool:
    ended_s = end_s if claim.ended_ns is None else claim.ended_ns / 1e9
    if claim.first_ns / 1e9 > label.end + grace_s or ended_s < label.start:
        return False
    return bool(claim.party) and names_entity(label.entities, [claim.party, *claim.weights])


def _by_class(label: Label, cases: Sequence[CasePicture], claimed: set[str], grace_s: float) -> list[CasePicture]:
    """Return cases of the label's class that no label has by name."""
    return [
        one
        for one in cases
        if one.life.id not in claimed
        and any(
            claim.attack == label.class_ and label.covers(claim.first_ns / 1e9, grace_s)
            for claim in (*one.claims, *one.witnesses)
        )
    ]


def _share(found: dict[Label, list[CasePicture]], one: Label, other: Label) -> bool:
    return not {case.life.id for case in found[one]}.isdisjoint(case.life.id for case in found[other])


def _independent(one: Label, other: Label) -> bool:
    """Return whether two labels are of attacks that have nothing to do with each other."""
    if one.class_ == other.class_ == ECLIPSE and one.start <= other.end and other.start <= one.end:
        return False
    return ANY in (*one.entities, *other.entities) or not names_entity(one.entities, other.entities)


def _within_any(labels: Sequence[Label], case: CasePicture, end_s: float, grace_s: float) -> bool:
    """Return whether a case is explained by a label in whose time it opened: benign, or of its class or entities."""
    opened_s = case.life.opened_ns / 1e9
    covering = [label for label in labels if label.covers(opened_s, grace_s)]
    return any(
        label.benign
        or any(_names(label, claim, end_s, grace_s) for claim in (*case.claims, *case.leaves, *case.witnesses))
        for label in covering
    )


def _label_cases(
    label: Label, cases: Sequence[CasePicture], pairs: Iterable[tuple[Label, Label]], grace_s: float
) -> LabelCases:
    notices = sorted((notice for one in cases for notice in one.life.notices), key=lambda notice: notice.time_ns)
    notices = [notice for notice in notices if label.covers(notice.time_ns / 1e9, grace_s)]
    top = _top_name(notices)
    known = top is not None and ANY not in label.entities
    return LabelCases(
        label,
        tuple(one.life.id for one in cases),
        tuple(other.attack for pair in pairs if label in pair for other in pair if other is not label),
        len(notices),
        max(notices[0].time_ns / 1e9 - label.start, 0.0) if notices else None,
        top,
        names_entity(label.entities, [top]) if known and top is not None else None,
    )


def _top_name(notices: Sequence[CaseNotice]) -> str | None:
    return notices[-1].parties[0] if notices and notices[-1].parties else None


def as_summary(scores: Sequence[CaseScores]) -> dict[str, object]:
    """Return the totals over recordings, as `watchdog evaluate --json` prints them."""
    attacks = [one for score in scores for one in score.attacks]
    delays = [one.delay_s for one in attacks if one.delay_s is not None]
    notices = sum(score.notices for score in scores)
    return {
        "cases": sum(score.cases for score in scores),
        "pages_without_label": sum(len(score.without_label) for score in scores),
        "exactly_one": sum(len(one.cases) == 1 for one in attacks),
        "wrong_glue": sum(score.glued for score in scores),
        "notices_per_label": round(notices / len(attacks), 3) if attacks else 0.0,
        "median_delay_to_notice": median(delays) if delays else None,
        "top_true": sum(one.top_true is True for one in attacks),
    }


def odd_lines(scores: CaseScores) -> list[str]:
    """Return a line for each label whose cases are not as they should be, and for each case without a label."""
    lines = []
    for one in scores.attacks:
        many = counted(len(one.cases), "case") if one.cases else "none"
        said = [
            many if len(one.cases) != 1 else "",
            f"glued with {', '.join(one.glued_with)}" if one.glued_with else "",
            f"names {one.top_name}, which took no part" if one.top_true is False else "",
        ]
        if any(said):
            lines.append(f"cases of {printable(one.label.attack)}: {printable('; '.join(filter(None, said)), 300)}")
    return lines + [f"case {one.life.id} has no label: {one.life.severity}" for one in scores.without_label]


def summary_text(scores: Sequence[CaseScores]) -> str:
    """Return the totals in one line for people."""
    data, attacks = as_summary(scores), [one for score in scores for one in score.attacks]
    named = sum(one.top_true is not None for one in attacks)
    delay = data["median_delay_to_notice"]
    cases = counted(sum(score.cases for score in scores), "case")
    pairs = counted(sum(score.glued for score in scores), "pair")
    lone = counted(sum(len(score.without_label) for score in scores), "case")
    after = "-" if delay is None else f"{delay:.0f}s"
    return (
        f"{cases}: {data['exactly_one']} of {len(attacks)} labels have exactly one, {pairs} of independent labels "
        f"glued, {lone} without a label; {data['notices_per_label']} notices per label, the first after {after} "
        f"(median), the top name true in {data['top_true']} of {named}"
    )
