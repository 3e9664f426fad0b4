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
from watchdog.core.declared import kind_text
from watchdog.core.durations import HOUR_NS
from watchdog.core.finding import Attack, Maturity, Severity

Cells = Mapping[str, NDArray[Any]]
Direction = Literal["up", "down", "both"]
"""Which side of what is expected counts as anomalous."""
CaseRole = Literal["core", "state", "witness"]
"""In a case: accuses a party and links, is about the node, or is evidence that never links."""
Accusation = Literal["party", "mixed", "bystander"]
"""Whether the entities of a rule are those who do it, such and others, or only others."""
LawName = Literal["level", "counts"]
"""By what a baseline judges: a stabilised level, or the chance of a count."""
RuleScope = Literal["node", "fleet"]

SCORE = "score"
"""The cell column of what a rule's model says."""
COVERED = "__covered"  # cell column: the whole window was seen (no gap, no restart in it)
SPEAKS = "__speaks"  # cell column: detectors with a budget may judge: covered, no start before, no initial download


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

    def constant_for(self, kind: str) -> bool | None:
        """Return the answer of a filter for every row of a kind; None if it depends on the row."""
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
    """`anomalous(value)`: what is far from what this key used to do, with warm-up and an effect floor.

    name: the cell column that the verdict (bool) is stored under; `<name>_expected` holds the expected value. value:
    what is watched, sampled once each `step_ns`. floor: least difference from the expectation that counts, in units of
    the value. law, threshold: of `level`, standard deviations of the stabilised series; of `counts`, -log10 of the
    chance. half_life_ns, warmup_ns: event time. freeze_ns: event time for which a key that is anomalous learns nothing;
    after it the key learns afresh. budget: the text that the threshold follows from, "" when it was given; the
    threshold is then for the worst key of a pane. every_ns: event time for one false finding by this budget, else 0.
    """

    name: str
    value: CellExpression
    direction: Direction
    threshold: float
    floor: float
    half_life_ns: int
    warmup_ns: int
    step_ns: int
    law: LawName = "level"
    freeze_ns: int = 6 * HOUR_NS
    budget: str = ""
    every_ns: int = 0

    @property
    def text(self) -> str:
        """Canonical form of what the state depends on, and the verdicts after it."""
        text = f"{self.name}={self.value.text}/{self.direction}/{self.threshold}/{self.floor}/{self.half_life_ns}"
        return text if self.law == "level" else f"{text}/{self.law}"


@dataclass(frozen=True, slots=True)
class ComparisonPlan:
    """`unlike_others(a floor 3, ...)`: each key against the other keys of the same pane.

    name: the cell column of the verdict (bool); `<name>_measure` is the number of the value that is farthest from the
    others, `<name>_value` and `<name>_median` that value and the others' median, `<name>_peers` how many keys were
    compared, `<name>_score` the distance in deviations. values: name, expression and floor of each. among: keys with
    an equal value of it are compared with each other; None: all. least: fewer keys are not compared. threshold: in
    deviations. budget: the text that it follows from, "" when it was given; every_ns: event time for one false finding
    by it. tail: by which it does: level, mean excess, peaks, and the time (ns) in which they were measured.
    """

    name: str
    values: tuple[tuple[str, CellExpression, float], ...]
    among: CellExpression | None
    least: int
    threshold: float
    budget: str = ""
    every_ns: int = 0
    tail: tuple[float, float, int, int] = (0.0, 0.0, 0, 0)

    @property
    def text(self) -> str:
        """Canonical form; equal text, equal verdicts."""
        values = ", ".join(f"{name}={value.text} floor {floor!r}" for name, value, floor in self.values)
        among = self.among.text if self.among else ""
        return f"{self.name}: {values} among {among} least {self.least} threshold {self.threshold!r}"


@dataclass(frozen=True, slots=True)
class DriftPlan:
    """`changed(value)`: whether the normal of a series has moved for good, sampled once each `step_ns`.

    name: the cell column of the verdict (bool), true at the pane in which the change is seen; `<name>_old` and
    `<name>_new` are the levels before and after, else 0. delta: chance of a change that is none, of ADWIN. ratio: least
    quotient of the two levels. floor: levels below it hardly differ, in the unit of the value.
    """

    name: str
    value: CellExpression
    delta: float
    ratio: float
    floor: float
    step_ns: int

    @property
    def text(self) -> str:
        """Canonical form; equal text, equal verdicts."""
        return f"{self.name}: changed {self.value.text}/{self.delta!r}/{self.ratio!r}/{self.floor!r}/{self.step_ns}"


@dataclass(frozen=True, slots=True)
class ModelPlan:
    """`model: river.MODULE.CLASS`: a score of each key by a model of another library, once a pane (`step_ns`).

    model: the class as written. features: names of measures and values of the rule, in the model's order. parameters:
    of the class, numbers only. limits: lowest and highest value by feature, for classes that need them. memory: samples
    that a key keeps, and that a restart feeds to a fresh model.
    """

    model: str
    features: tuple[str, ...]
    parameters: tuple[tuple[str, int | float], ...]
    limits: tuple[tuple[str, float, float], ...]
    memory: int
    step_ns: int

    @property
    def text(self) -> str:
        """Canonical form; equal text, equal scores."""
        return repr((self.model, self.features, self.parameters, self.limits, self.memory, self.step_ns))


@dataclass(frozen=True, slots=True)
class RulePlan:
    """A compiled rule.

    kinds/where: the stream. by: the key (field names; always within one node). over_ns and
    pane_ns: window and pane, over a multiple of pane. measures feed `values`, which are named
    expressions over measures and earlier values, in order; baselines, comparisons, drifts and the model come after
    them. fire, clear and escalate see all of these names. clear None: cleared as soon as fire is false.
    incident: fields under which findings come together (of `by`, or identity fields of the key).
    entities: row fields that name who is involved; the key's own fields come on top.
    scope: whether an engine of one node runs it, or the fleet's; there `node` may be part of the key.
    absence: the rule speaks of things not seen (`flat`), so its keys outlive their events.
    technique: what is done, empty for a symptom of many attacks; role, names: see `docs/RULES.md`, only cases use them.
    resolved: facts of connections that `where` asks of kinds without them, see `watchdog.core.resolved`.
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
    comparisons: tuple[ComparisonPlan, ...] = ()
    drifts: tuple[DriftPlan, ...] = ()
    model: ModelPlan | None = None
    absence: bool = False
    maturity: Maturity = "incubating"
    scope: RuleScope = "node"
    technique: str = ""
    role: CaseRole = "core"
    names: Accusation = "party"
    resolved: frozenset[str] = frozenset()
    place: str = ""  # file:line of the rule
    metadata: Mapping[str, object] = field(default_factory=dict)

    @property
    def sampled(self) -> bool:
        """Whether a part of it takes samples of every key, also where no event comes."""
        return bool(self.baselines or self.drifts or self.model)

    @property
    def budgeted(self) -> bool:
        """Whether one of its detectors keeps a budget."""
        return any(one.every_ns for one in self.baselines) or any(one.every_ns for one in self.comparisons)

    @property
    def guarded(self) -> bool:
        """Whether one of its detectors waits after a start of the node."""
        return self.budgeted or bool(self.drifts)

    @property
    def stream_text(self) -> str:
        """Canonical text of what the rule reads; equal text shares selection and windows."""
        where = self.where.text if self.where else ""
        return f"{','.join(map(kind_text, self.kinds))} where {where} by {','.join(self.by)}"


def as_bool(values: NDArray[Any], like: int) -> NDArray[np.bool_]:
    """Return a verdict column of `like` rows, also when the expression was a constant."""
    verdicts = np.asarray(values, np.bool_)
    return verdicts if verdicts.shape == (like,) else np.broadcast_to(verdicts, (like,))
