"""What a rule says of itself for cases: its technique, its role in a case, and whom its names accuse."""

from __future__ import annotations

from typing import NamedTuple, cast

from rules.keys import LONGEST_ID, RULE_ID
from rules.rule import RuleKeys
from watchdog.core.plan import Accusation, CaseRole

NO_TECHNIQUE = "none"
"""As a rule spells it when many attacks share its symptom; a plan has the empty text."""


class CaseWords(NamedTuple):
    """The three keys of a rule, as its plan has them."""

    technique: str
    role: CaseRole
    names: Accusation


def read_case_words(keys: RuleKeys) -> CaseWords:
    """Return the words of a rule; without them it is core, accuses its entities, and its id is its technique."""
    technique, node = keys.text("technique") or keys.rule.id.text, keys.node("technique")
    if node is not None and not (RULE_ID.fullmatch(technique) and len(technique) <= LONGEST_ID):
        hint = f"small letters, digits and '-', up to {LONGEST_ID} characters; '{NO_TECHNIQUE}' for a symptom of many"
        keys.report.error(node.place, f"'{technique[:80]}' is no name of a technique", hint)
    role, names = cast(CaseRole, keys.choice("role", "core")), cast(Accusation, keys.choice("names", "party"))
    return CaseWords("" if technique == NO_TECHNIQUE else technique, role, names)
