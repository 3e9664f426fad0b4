"""A case as the history keeps it: the object of `watchdog replay --cases`, its claims, and the links between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from alerts.case.advice import advice_of
from alerts.case.life import CaseLife, Edge, fires
from alerts.case.notice import CaseReason
from alerts.case.render import case_object
from alerts.case.stages import stages_entered
from alerts.case.state import CaseState
from alerts.case.why import not_joined
from alerts.cases import CaseBook, CasePicture
from alerts.claims import Claim
from alerts.rule_texts import RuleText
from watchdog.core.text import printable

INNER = frozenset(
    {"claims", "links", "not_joined", "split_off", "story", "story_beyond", "root", "pending", "stages_entered"}
)
"""Fields of a document that neither a replay prints nor a notice has."""
TITLE_LIMIT = 200  # characters of a rule's title in a claim
LISTED_CLAIMS = 500  # of a document; the first ones, so that the way to the oldest is there


@dataclass(frozen=True, slots=True)
class StoredCase:
    """A row of the history. aliases: ids of cases that were merged into it. document: JSON-able.

    taken: its book has every operator's act up to this id but for those that wait for event time (their ids). firing:
    whether a claim of it fires.
    """

    id: str
    node: str
    opened_ns: int
    updated_ns: int
    resolved_ns: int | None
    state: str
    severity: str
    aliases: tuple[str, ...]
    document: Mapping[str, object]
    taken: int = 0
    waiting: tuple[int, ...] = ()
    firing: bool = False


def stored_case(
    picture: CasePicture,
    state: CaseState,
    cases: Sequence[CasePicture] = (),
    texts: Mapping[str, RuleText] = MappingProxyType({}),
) -> StoredCase:
    """Return the row of a case. cases: of all nodes, for a case of the house. texts: of the rules in force."""
    life = picture.life
    claims = [*picture.claims, *picture.leaves, *picture.witnesses][:LISTED_CLAIMS]
    known = {one.number for one in claims}
    document = case_object(picture, cases) | {
        "claims": [
            _claim(one, _role(one.number, life.leaves, life.witnesses), state.now_ns) | _silenced(one, state)
            for one in sorted(claims, key=lambda one: one.order)
        ],
        "advice": advice_of(picture, texts),
        "root": life.root or life.id,
        "pending": None if life.due_ns is None else {"reasons": _pending(life), "due": life.due_ns / 1e9},
        "story": [line.as_object() for line in life.story.lines],
        "story_beyond": life.story.beyond,
        "stages_entered": stages_entered(picture),
        "split_off": [party for id_, party in state.vetoes if state.case(id_) is life],
        "links": [_link(edge) for edge in life.edges if {edge.claim, edge.other} <= known],
        "not_joined": [
            {"time": time_ns / 1e9, "case": case, "why": why} for time_ns, case, why in not_joined(state, picture)
        ],
    }
    return StoredCase(
        life.id,
        life.node,
        life.opened_ns,
        life.updated_ns,
        life.resolved_ns,
        life.state.value,
        life.severity,
        tuple(life.aliases),
        document,
        state.acted,
        tuple(act.id for _, act in state.acts),
        fires(life),
    )


def stored_cases(book: CaseBook, ids: Sequence[str] | None = None) -> list[StoredCase]:
    """Return the rows of cases of a book: those with these ids that are not merged, or all."""
    pictures = book.pictures() if ids is None else [book.picture(one) for id_ in ids if (one := book.state.case(id_))]
    return [stored_case(picture, book.state, texts=book.texts) for picture in pictures]


def _claim(claim: Claim, role: str, now_ns: int) -> dict[str, object]:
    return {
        "number": claim.number,
        "incident": claim.incident,
        "rule": claim.rule,
        "title": printable(claim.words.title, TITLE_LIMIT),
        "party": claim.party,
        "role": role,
        "severity": claim.severity,
        "first": claim.first_ns / 1e9,
        "last": claim.end_ns(now_ns) / 1e9,
    }


def _pending(life: CaseLife) -> list[str]:
    """Return what the next notice reports, the main reason first."""
    return [one.value for one in sorted(life.pending, key=list(CaseReason).index)]


def _role(number: int, leaves: Sequence[int], witnesses: Sequence[int]) -> str:
    return "leaf" if number in leaves else "witness" if number in witnesses else "core"


def _silenced(claim: Claim, state: CaseState) -> dict[str, str]:
    """Return why a claim does not count; nothing when it does."""
    if not claim.silenced:
        return {}
    known = state.silences.get(claim.silenced)
    return {"silenced": f"silenced (silence {claim.silenced}, which is over)" if known is None else known.words}


def _link(edge: Edge) -> dict[str, object]:
    return {"time": edge.time_ns / 1e9, "claim": edge.claim, "other": edge.other, "why": edge.why}
