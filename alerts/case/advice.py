"""What a message says beyond the case itself: what the rules saw, what to do, and why it is one case.

It is plain JSON and goes into the document of a case as `advice`; `alerts.delivery.message` makes texts of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from alerts.case.life import in_order
from alerts.case.links import STAGE_OF, TOGETHER_NS
from alerts.case.names import worst_claim
from alerts.cases import CasePicture
from alerts.claims import Claim
from alerts.incident import RANK
from alerts.rule_texts import RuleText
from alerts.technique_texts import TECHNIQUE_DO
from watchdog.core.text import counted, printable

SEEN = 6  # rules of a case that a message lists
LONGEST = 300  # characters of a title, or of a reason
SOME = 3  # titles in a sentence


def advice_of(picture: CasePicture, texts: Mapping[str, RuleText]) -> dict[str, object]:
    """Return what to do, why it is one case, and what its rules saw, as JSON-able data.

    do: one or two texts. runbook: a URL or null. why: empty for a single claim. seen: by the time of the first finding.
    seen_beyond: rules that are not listed. texts: of the rules in force, so that an override reaches open cases too.
    """
    claims = [*picture.claims, *picture.witnesses] or list(picture.leaves)
    seen = _seen(claims)
    listed = sorted(seen, key=lambda one: (-RANK[one.severity], one.first_ns, one.rule))[:SEEN]
    return {
        "do": what_to_do(picture, texts),
        "runbook": _runbook(picture, texts),
        "why": why_one_case(picture),
        "seen": [
            {
                "time": one.first_ns / 1e9,
                "rule": one.rule,
                "title": printable(one.title, LONGEST),
                "text": one.text,
                "severity": one.severity,
                "parties": one.parties,
                "firing": one.firing,
            }
            for one in sorted(listed, key=lambda one: (one.first_ns, one.rule))
        ],
        "seen_beyond": len(seen) - len(listed),
    }


def what_to_do(picture: CasePicture, texts: Mapping[str, RuleText]) -> list[str]:
    """Return what to do about the leading technique and then, where it is another one, about the gravest rule.

    The leading technique is that of the furthest stage of an eclipse, else that of the gravest rule. A rule's own text
    goes before that of its technique.
    """
    worst = worst_claim(picture.claims, picture.witnesses)
    if worst is None:
        return []
    own, lead = texts.get(worst.rule, RuleText()).do, _leading(picture, worst)
    if own and lead in ("", worst.words.technique):
        return [own]
    return list(dict.fromkeys(text for text in (_text_of(lead, picture, texts), own) if text))


def _leading(picture: CasePicture, worst: Claim) -> str:
    techniques = {STAGE_OF[one.words.technique]: one.words.technique for one in picture.claims if _staged(one)}
    stages = in_order(techniques)
    if not stages or STAGE_OF.get(worst.words.technique) == stages[-1]:
        return worst.words.technique
    return techniques[stages[-1]]


def _staged(claim: Claim) -> bool:
    return claim.words.technique in STAGE_OF


def _text_of(technique: str, picture: CasePicture, texts: Mapping[str, RuleText]) -> str:
    """Return the text of a technique; of one that is not shipped, that of a rule of the case that has it."""
    if technique in TECHNIQUE_DO:
        return TECHNIQUE_DO[technique]
    rules = (one.rule for one in picture.claims if one.words.technique == technique)
    return next((text for rule in rules if (text := texts.get(rule, RuleText()).do)), "")


def _runbook(picture: CasePicture, texts: Mapping[str, RuleText]) -> str | None:
    """Return the page of the gravest rule that has one."""
    claims = [*picture.claims, *picture.witnesses]
    ordered = sorted(claims, key=lambda one: (-RANK[one.severity], one.order))
    return next((url for one in ordered if (url := texts.get(one.rule, RuleText()).runbook)), None)


# ---- what the rules saw


class _Seen(NamedTuple):
    rule: str
    title: str
    text: str
    severity: str
    first_ns: int
    parties: int
    firing: bool


def _seen(claims: Sequence[Claim]) -> list[_Seen]:
    by_rule: dict[str, list[Claim]] = {}
    for claim in claims:
        by_rule.setdefault(claim.rule, []).append(claim)
    return [_seen_by(rule, those) for rule, those in by_rule.items()]


def _seen_by(rule: str, claims: Sequence[Claim]) -> _Seen:
    """Return what one rule saw, in the words of its gravest claim."""
    gravest = max(claims, key=lambda one: (RANK[one.severity], one.weight(), one.order))
    return _Seen(
        rule,
        gravest.words.title or rule,
        _sentence_without_bystanders(gravest),
        gravest.severity,
        min(one.first_ns for one in claims),
        len({one.party for one in claims if one.party}),
        any(one.fires for one in claims),
    )


def _sentence_without_bystanders(claim: Claim) -> str:
    """Return what its finding said; empty where that names those who are not accused."""
    if claim.words.names != "bystander" and not claim.words.forged:
        return claim.said
    names = [*claim.weights, *([claim.party] if claim.party else [])]
    return "" if any(name in claim.said for name in names) else claim.said


# ---- why it is one case


def why_one_case(picture: CasePicture) -> str:
    """Return why its claims are one case, in at most two sentences; empty when there is nothing to join."""
    claims = {one.number: one for one in picture.claims}
    joined: dict[str, dict[int, Claim]] = {}
    edges: Counter[str] = Counter()
    other = ""
    for edge in picture.life.edges:
        one, two = claims.get(edge.claim), claims.get(edge.other)
        kind = "" if one is None or two is None else _kind(one, two)
        if kind and one is not None and two is not None:
            edges[kind] += 1
            joined.setdefault(kind, {}).update({one.number: one, two.number: two})
        other = other or ("" if kind else edge.why)
    kinds = sorted(joined, key=lambda kind: (-edges[kind], kind))
    if not kinds:
        return f"{other[:1].upper()}{printable(other, LONGEST)[1:]}." if other else ""
    names = {view.party: view.name for view in picture.parties}
    return " ".join(_sentence(kind, list(joined[kind].values()), names) for kind in kinds[:2])


def _kind(one: Claim, other: Claim) -> str:
    if one.party and one.party == other.party:
        return "names"
    pair = frozenset({one.words.technique, other.words.technique})
    if pair in TOGETHER_NS and (len(pair) == 2 or one.rule != other.rule):
        return "steps"
    if one.words.technique and one.words.technique == other.words.technique:
        return "technique"
    return "onset" if one.rule == other.rule else ""


def _sentence(kind: str, claims: Sequence[Claim], names: Mapping[str, str]) -> str:
    if kind == "names":
        return _of_names(claims, names)
    parties = len({one.party for one in claims if one.party})
    if kind == "steps":
        stages = in_order({STAGE_OF[one.words.technique] for one in claims if _staged(one)})
        return f"One attacker needs these steps together: {', '.join(stages)}." if len(stages) > 1 else _OF_ONE_STEP
    if kind == "technique":
        return f"{counted(parties, 'network')} did the same thing at the same time." if parties > 1 else _AT_ONE_TIME
    return "The same rule began for all of them within minutes."


def _of_names(claims: Sequence[Claim], names: Mapping[str, str]) -> str:
    rules: dict[str, set[str]] = {}
    for claim in claims:
        if claim.party:
            rules.setdefault(claim.party, set()).add(claim.rule)
    shared = {party: len(those) for party, those in rules.items() if len(those) > 1}
    if not shared:
        return "The same addresses came back."
    party = min(shared, key=lambda one: (-shared[one], one))
    more = f"; several rules also name {counted(len(shared) - 1, 'other network')}" if len(shared) > 1 else ""
    return f"{shared[party]} rules name {printable(names.get(party, party))}{more}."


_OF_ONE_STEP = "Several rules see the same step of an attack on this node."
_AT_ONE_TIME = "Several rules see the same thing at the same time."
