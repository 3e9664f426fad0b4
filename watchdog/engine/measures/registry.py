"""All measures, a row each: what the engine asks instead of the name of an operation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from watchdog.core.plan import MeasurePlan
from watchdog.engine.measures import count, distinct, entropy, last, max, min, quantile, sum, top_share  # noqa: A004 - modules
from watchdog.engine.measures.measure import MeasureKind

KINDS: Final[Mapping[str, MeasureKind]] = {
    module.KIND.op: module.KIND for module in (count, sum, min, max, last, distinct, top_share, entropy, quantile)
}


def kind_of(plan: MeasurePlan) -> MeasureKind:
    """Return the registry's row for a plan. Raises KeyError for an operation that is not in the registry."""
    return KINDS[plan.op]
