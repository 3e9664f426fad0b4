"""`unlike_others` of a rule: the keys of a pane beside each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detectors.unlike import unlike_others
from watchdog.core.plan import COVERED, ComparisonPlan
from watchdog.engine.panes import PaneCells

COMPARED: Final = ("measure", "value", "median", "peers", "score")
"""What is added beside the verdict: `<name>_measure` and so on."""

NO_THRESHOLDS: Final[Mapping[str, float]] = MappingProxyType({})


def compare(
    plans: Sequence[ComparisonPlan],
    cells: PaneCells,
    named: dict[str, NDArray[Any]],
    thresholds: Mapping[str, float] = NO_THRESHOLDS,
) -> None:
    """Add verdict, measure, value, median, peers and score of each comparison to `named`.

    cells: all keys of one pane. named: their measures, and whether their window was seen as a whole: else no verdict.
    thresholds: by name, where a budget has learnt another one than the plan's.
    """
    size, live = len(cells.slots), cells.live > 0
    for plan in plans:
        columns = [np.broadcast_to(np.asarray(value(named), np.float64), (size,)) for _, value, _ in plan.values]
        floors = np.array([floor for _, _, floor in plan.values])
        groups = None if plan.among is None else np.broadcast_to(np.asarray(plan.among(named), np.float64), (size,))
        found = unlike_others(np.stack(columns, axis=1), floors, least=plan.least, groups=groups, live=live)
        named[plan.name] = (found.score > thresholds.get(plan.name, plan.threshold)) & named[COVERED]
        named[f"{plan.name}_measure"] = found.measure
        named[f"{plan.name}_value"], named[f"{plan.name}_median"] = found.value, found.median
        named[f"{plan.name}_peers"], named[f"{plan.name}_score"] = found.peers, found.score
