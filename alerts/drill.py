"""A drill: one case that is marked as such, made as real ones are, in a book of its own.

Nothing links to it and it links to nothing: real cases do not share its book. What it gives is the same in every run
from the same beginning, so a service that was killed meanwhile ends it under the ids that people know.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from alerts.case.change import DRILL, CaseChange
from alerts.case.document import StoredCase, stored_cases
from alerts.case.drawing import change_of
from alerts.case.feed import CaseFeed
from alerts.case.life import WAIT_NS
from alerts.cases import IssuedNotice
from alerts.claims import RuleWords
from alerts.rule_texts import RuleText
from watchdog.core.finding import Finding, Severity

RULE: Final = "drill:alerts"  # a colon is in no id of a rule file
TITLE: Final = "DRILL: a test of the alerts, not an attack"
_WORDS: Final = {RULE: RuleWords("", "state", "bystander", title=TITLE)}
_TEXTS: Final = {RULE: RuleText("Nothing: this is a drill. It ends by itself.")}


@dataclass(frozen=True, slots=True)
class DrillStep:
    """What a drill has come to: rows of its case, and changes to decide on."""

    cases: Sequence[StoredCase]
    changes: Sequence[CaseChange]


class DrillCase:
    """The case of one drill. id: of the drill. begun_ns: wall clock, which is its event time."""

    def __init__(self, id_: str, node: str, severity: Severity, begun_ns: int) -> None:
        self._feed = CaseFeed(node, _WORDS)
        self._feed.book.draw = change_of
        self._feed.book.texts = _TEXTS
        finding = Finding(
            rule=RULE,
            attack="node",
            severity=severity,
            node=node,
            change="fire",
            time_ns=begun_ns,
            since_ns=begun_ns,
            key={"drill": id_},
            incident={},
            entities=(),
            measures={},
            summary="A drill: someone tests whether alerts arrive",
            evidence=(),
        )
        self._feed.take(begun_ns, id_, finding)
        self.opens_ns: Final = begun_ns + WAIT_NS[severity]
        self.case_id = ""

    def advance(self, now_ns: int) -> DrillStep:
        """Let time pass. The case opens after the wait of its severity."""
        mark_ns = now_ns + 1
        return self._step(self._feed.reach([mark_ns], [mark_ns]))

    def end(self, now_ns: int) -> DrillStep:
        """Resolve the case; nothing where it has not opened."""
        if not self.case_id:
            return DrillStep((), ())
        return self._step(self._feed.book.close(now_ns))

    def _step(self, issued: Sequence[IssuedNotice]) -> DrillStep:
        changes = [one.change for one in issued if one.change is not None]
        if not changes:
            return DrillStep((), ())
        self.case_id = changes[0].case_id
        rows = [replace(row, document=_marked(row.document)) for row in stored_cases(self._feed.book)]
        return DrillStep(rows, [replace(one, document=_marked(one.document)) for one in changes])


def _marked(document: Mapping[str, object]) -> dict[str, object]:
    """Return the document of a drill: it has no incidents."""
    return {**document, DRILL: True, "incidents": []}
