"""Operators' verdicts on incidents: a false alarm teaches the budget of its rule, an attack takes that back.

A verdict is kept with the action that gave it: who, when, and what it judged (rule, node, the scores of detectors with
a budget), so that the engine can learn of it however old the incident is. The latest verdict of an incident counts.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args

OperatorVerdict = Literal["false_alarm", "attack"]
VERDICTS: Final[tuple[OperatorVerdict, ...]] = get_args(OperatorVerdict)
_SCORE = "_score"


@dataclass(frozen=True, slots=True)
class JudgedIncident:
    """What a verdict judges. scores: the largest that each detector with a budget gave, by its name."""

    rule: str = ""
    node: str = ""
    scores: Mapping[str, float] = field(default_factory=dict)

    def as_text(self) -> str:
        """Return it as JSON for the database."""
        return json.dumps({"rule": self.rule, "node": self.node, "scores": dict(self.scores)}, ensure_ascii=True)


def judged_of(rule: str, node: str, picture: Mapping[str, Any]) -> JudgedIncident:
    """Return what a verdict on an incident judges. picture: its stored object; `peak` has the largest measures."""
    peak = picture.get("peak") or {}
    scores = {
        name.removesuffix(_SCORE): float(value)
        for name, value in peak.items()
        if name.endswith(_SCORE) and isinstance(value, int | float) and math.isfinite(value)
    }
    return JudgedIncident(rule, node, scores)


def judged_from(text: str | None) -> JudgedIncident:
    """Return what was stored; nothing for an action without a verdict."""
    if not text:
        return JudgedIncident()
    saved = json.loads(text)
    return JudgedIncident(
        str(saved["rule"]), str(saved["node"]), {str(k): float(v) for k, v in saved["scores"].items()}
    )


def latest_verdict(done: Iterable[Mapping[str, object]]) -> dict[str, object] | None:
    """Return the verdict that counts among the actions on one incident, with who gave it and when; None without one.

    done: the actions as objects, in their order.
    """
    judging = [action for action in done if action["verdict"]]
    return {name: judging[-1][name] for name in ("verdict", "who", "time")} if judging else None
