"""What operators do with a case: acknowledge, resolve, note, split off a party. Pure: on a case, or on its document.

The database changes the stored document at once (`acted_on`), the `CaseBook` of a running service its case in event
time (`CaseBook.act`); both decide by `effect_of`, so they come to the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from alerts.case.life import Acknowledged, CaseLife
from alerts.case.story import KEPT_LINES, StoryKind, StoryLine
from alerts.incident import IncidentState
from alerts.party import party_of
from watchdog.core.text import printable

CaseVerb = Literal["ack", "resolve", "note", "split"]
CASE_VERBS: tuple[CaseVerb, ...] = ("ack", "resolve", "note", "split")
SHOWN_PARTY = 100  # characters
_KINDS: Mapping[CaseVerb, StoryKind] = {"ack": "acknowledged", "resolve": "resolved", "note": "note", "split": "split"}
StoredDocument = Mapping[str, Any]  # Any: JSON


@dataclass(frozen=True, slots=True)
class CaseAct:
    """One deed of one operator.

    id: of the database, in the order in which acts were stored. case: the id it was meant for, which may be an alias
    since. node: whose case it is. party: what is split off, else empty. at_ns: wall clock, never before the opening.
    """

    id: int
    case: str
    node: str
    verb: CaseVerb
    who: str
    text: str
    party: str
    at_ns: int

    @property
    def line(self) -> StoryLine:
        """Its line in the story of the case."""
        parts = (self.party and f"{printable(self.party, SHOWN_PARTY)} is a case of its own", self.text)
        return StoryLine(self.at_ns, _KINDS[self.verb], ": ".join(part for part in parts if part), self.who)


def effect_of(verb: CaseVerb, who: str, state: IncidentState, acknowledged_by: str | None) -> IncidentState | None:
    """Return the state that an act gives a case; None when it changes none."""
    if verb not in ("ack", "resolve") or state is IncidentState.RESOLVED:
        return None
    if verb == "resolve":
        return IncidentState.RESOLVED
    return None if acknowledged_by == who else IncidentState.ACKNOWLEDGED


def acknowledge(case: CaseLife, who: str, parties: Iterable[str]) -> None:
    """Acknowledge a case with its present severity, stages and parties; what it wanted to say of them is known."""
    case.state, case.acknowledged_by = IncidentState.ACKNOWLEDGED, who
    case.acknowledged = Acknowledged(case.severity, tuple(case.stages), tuple(sorted(set(parties) - {""})))


def named_party(text: str) -> str:
    """Return the party that an operator names: a netblock or host as a case shows it, or an address in it."""
    return party_of(text) or text


def acted_on(document: StoredDocument, acts: Iterable[CaseAct]) -> dict[str, Any]:
    """Return a case's document as the history shows it: with acts, in their order, that its book has yet to apply.

    The operator has had a confirmation, so no reader may see the state before it. Of a split only the veto and the line
    are seen at once: the claims move when the book applies it.
    """
    seen = dict(document)
    for act in acts:
        state = effect_of(act.verb, act.who, IncidentState(seen["state"]), seen.get("acknowledged_by"))
        if state is IncidentState.ACKNOWLEDGED:
            seen |= {"state": state.value, "acknowledged_by": act.who}
        elif state is IncidentState.RESOLVED:
            seen |= {"state": state.value, "resolved": act.at_ns / 1e9}
        if act.verb == "split" and act.party not in seen.get("split_off", []):
            seen["split_off"] = [*seen.get("split_off", []), act.party]
        lines = [*seen.get("story", []), act.line.as_object()]
        beyond = max(len(lines) - KEPT_LINES, 0)
        del lines[KEPT_LINES // 2 : KEPT_LINES // 2 + beyond]
        seen |= {"story": lines, "story_beyond": seen.get("story_beyond", 0) + beyond}
    return seen


def split_fault(document: StoredDocument, party: str, listed: int) -> str:
    """Return why a party cannot be split off a case; empty when it can. listed: claims of a document at most."""
    claims = [one for one in document.get("claims", ()) if one["role"] == "core"]
    own = sorted({one["party"] for one in claims if one["party"]})
    if party not in own and len(document.get("claims", ())) < listed:
        some = ", ".join(printable(one, SHOWN_PARTY) for one in own[:5])
        return f"it has no party '{printable(party, SHOWN_PARTY)}'" + (f"; there are {some}" if own else "")
    if all(one["party"] == party for one in claims):
        return "it has no other party: there is nothing to split"
    return ""
