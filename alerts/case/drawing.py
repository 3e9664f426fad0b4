"""Draws a case as it is when a notice is given: later changes of the case must not show in it."""

from __future__ import annotations

from collections.abc import Mapping

from alerts.case.advice import advice_of
from alerts.case.change import CaseChange, HeldChange
from alerts.case.notice import CaseNotice
from alerts.case.render import case_object
from alerts.cases import CasePicture
from alerts.rule_texts import RuleText
from watchdog.core.text import printable

TEXT_LIMIT = 2_000  # characters of what an operator wrote, as `alerts.store.actions` bounds it


def change_of(picture: CasePicture, notice: CaseNotice, texts: Mapping[str, RuleText]) -> CaseChange:
    """Return a notice with the picture of its case at that moment. texts: of the rules, for its advice."""
    life = picture.life
    facts = {
        "time": notice.time_ns / 1e9,
        "reason": notice.reason.value,
        "severity": notice.severity,
        "parties": [printable(name) for name in notice.parties],
        "new_stages": list(notice.new_stages),
        "new_parties": [printable(name) for name in notice.new_parties],
        "merged": notice.merged[0] if notice.merged else None,
        "also_merged": list(notice.merged[1:]),
        "others": [reason.value for reason in notice.others],
        "by": printable(notice.by) or None,
        "text": printable(notice.text, TEXT_LIMIT),
    }
    return CaseChange(
        life.id,
        life.root,
        notice.number,
        life.node,
        (notice.reason, *notice.others),
        notice.severity,
        notice.time_ns,
        _sandbox(picture),
        notice.before_start,
        case_object(picture) | {"advice": advice_of(picture, texts)},
        facts,
        None if notice.held is None else HeldChange("maintenance", notice.held.detail, notice.held.place),
    )


def _sandbox(picture: CasePicture) -> bool:
    """Return whether all rules that make the case are of the maturity `sandbox`; silenced claims make nothing."""
    known = [one for one in picture.claims if not one.silenced]
    making = known or [one for one in picture.witnesses if not one.silenced] or picture.claims or picture.witnesses
    return bool(making) and all(claim.words.sandbox for claim in making)
