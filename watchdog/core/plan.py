"""Plans: what a rule compiles to, and all that the engine knows of rules.

The rule language makes plans, the engine runs them; neither imports the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from watchdog.core.batch import Batch
from watchdog.core.finding import Attack, Maturity, Severity

Cells = Mapping[str, NDArray[Any]]
Direction = Literal["up", "down", "both"]
"""Which side of what is expected counts as anomalous."""

COVERED = "__covered"  # cell column: the whole window was seen (no gap, no restart in it)


class RowExpression(Protocol):
    """A typed expression over the columns of a batch: one value a row.

    Equal `text` means equal meaning, so the engine evaluates it once for all rules.
    `equals` are the conjuncts `field == "constant"` on text fields that every matching row
    fulfils; the engine may select by them before it evaluates the rest.
    """

    @property
    def text(self) -> str:
        """The expression in its canonical spelling."""
        ...

    def without(self, field: str, value: str) -> RowExpression | None:
        """Return the expression for rows known to fulfil `field == value`; None when it is true for all of them."""
        ...

    @property
    def equals(self) -> tuple[tuple[str, str], ...]:
        """(field, constant) of every conjunct `field == "constant"`."""
        ...

    def __call__(self, batch: Batch) -> NDArray[Any]:
        """Return the value of each row of the batch."""
        ...


class CellExpression(Protocol):
    """A typed expression over measures: one value for each (key, pane) that is decided.

    `floors`: the expression can only be true where each of these measures is at or above its number; the
    engine need not look at other cells. `strengths`: for each `measure > constant` in the expression,
    how many times the constant the measure is; for constants above 0.
    """

    @property
    def strengths(self) -> Sequence[CellExpression]:
        """Measures relative to the constants that they must exceed."""
        ...

    @property
    def floors(self) -> Mapping[str, float]:
        """Least values, by measure, without which the expression is false."""
        ...

    @property
    def text(self) -> str:
        """The expression in its canonical spelling."""
        ...

    @property
    def names(self) -> frozenset[str]:
        """The measures that it reads."""
        ...

    def __call__(self, cells: Cells) -> NDArray[Any]:
        """Return the value of each (key, pane)."""
        ...


@dataclass(frozen=True, slots=True)
class MeasurePlan:
    """One number for each key and window.

    op: a measure of the rule language, by its name; the engine's registry of measures has a row for each.
    value: the expression that is measured, None for a count of rows. where: a filter of the measure's own. parameters:
    constants of the call, such as the share of a quantile.
    """

    name: str
    op: str
    value: RowExpression | None = None
    where: RowExpression | None = None
    parameters: tuple[float, ...] = ()

    @property
    def text(self) -> str:
        """Canonical form; equal text, equal numbers."""
        arguments = [self.value.text] if self.value else []
        arguments += [repr(parameter) for parameter in self.parameters]
        where = f" where {self.where.text}" if self.where else ""
        return f"{self.op}({', '.join(arguments)}){where}"


@dataclass(frozen=True, slots=True)
class BaselinePlan:
    """`anomalous(value)`: EWMA of a stabilised rate, with warm-up and an effect floor.

    name: the cell column that the verdict (bool) is stored under; `<name>_expected` holds the
    expected value. value: what is watched, sampled once each `step_ns`. floor: least
    difference from the expectation that counts, in units of the value. threshold: in
    standard deviations of the stabilised series. half_life_ns, warmup_ns: event time.
    """

    name: str
    value: CellExpression
    direction: Direction
    threshold: float
    floor: float
    half_life_ns: int
    warmup_ns: int
    step_ns: int


@dataclass(frozen=True, slots=True)
class RulePlan:
    """A compiled rule.

    kinds/where: the stream. by: the key (field names; always within one node). over_ns and
    pane_ns: window and pane, over a multiple of pane. measures feed `values`, which are named
    expressions over measures and earlier values, in order; baselines come after them. fire,
    clear and escalate see all of these names. clear None: cleared as soon as fire is false.
    incident: fields under which findings come together (of `by`, or identity fields of the key).
    entities: row fields that name who is involved; the key's own fields come on top.
    absence: the rule speaks of things not seen (`flat`), so its keys outlive their events.
    """

    id: str
    title: str
    attack: Attack
    severity: Severity
    kinds: tuple[str, ...]
    where: RowExpression | None
    by: tuple[str, ...]
    over_ns: int
    pane_ns: int
    measures: tuple[MeasurePlan, ...]
    values: tuple[tuple[str, CellExpression], ...]
    baselines: tuple[BaselinePlan, ...]
    fire: CellExpression
    clear: CellExpression | None
    for_ns: int
    resolve_after_ns: int
    escalate: tuple[tuple[Severity, CellExpression], ...]
    incident: tuple[str, ...]
    entities: tuple[str, ...]
    summary: str
    evidence: int
    max_keys: int = 100_000
    absence: bool = False
    maturity: Maturity = "incubating"
    place: str = ""  # file:line of the rule
    metadata: Mapping[str, object] = field(default_factory=dict)

    @property
    def stream_text(self) -> str:
        """Canonical text of what the rule reads; equal text shares selection and windows."""
        where = self.where.text if self.where else ""
        return f"{','.join(self.kinds)} where {where} by {','.join(self.by)}"


def as_bool(values: NDArray[Any], like: int) -> NDArray[np.bool_]:
    """Return a verdict column of `like` rows, also when the expression was a constant."""
    verdicts = np.asarray(values, np.bool_)
    return verdicts if verdicts.shape == (like,) else np.broadcast_to(verdicts, (like,))
