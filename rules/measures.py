"""Measures: from the expressions of a rule to measure, value and baseline plans.

Every measure call becomes one MeasurePlan (equal ones are shared) and a name in the expression
around it; `mean` and `rate` are written out as divisions, `flat` as a comparison with cover.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rules.budget import STANDARD, Budget
from rules.canonical import Lists, canonical
from rules.catalogue import field_types, possible_values
from rules.cells import CellFormula
from rules.changing import MOVED, changed
from rules.comparison import PARTS, comparison
from rules.detector import baseline
from rules.formula import RowFormula, check_row
from rules.functions import NUMERIC, count_arguments
from rules.impossible import ANY, Bounds, Reach, check_together, field_bounds
from rules.measure_table import MEAN, MEASURES, TABLE, parameters_of
from rules.syntax import Binary, Call, Expr, Literally, Logic, Member, Name, Unary, parse
from rules.typed import ValueType, fail
from watchdog.core.durations import SECOND_NS
from watchdog.core.plan import COVERED, BaselinePlan, CellExpression, ComparisonPlan, DriftPlan, MeasurePlan, ModelPlan
from watchdog.located_yaml.suggest import did_you_mean

DETECTORS = ("anomalous", "changed", "unlike_others")
CELL_FUNCTIONS = (*DETECTORS, "flat", "rate", *NUMERIC)


class Measures:
    """The measures, values and baselines of one rule, filled expression by expression.

    kinds, lists: what row expressions may read. over_ns, pane_ns: the rule's window and pane. by: its key.
    budget: of a detector that names none. absence: whether `flat` was used.
    """

    def __init__(
        self,
        kinds: Sequence[str],
        lists: Lists,
        over_ns: int,
        pane_ns: int,
        *,
        by: tuple[str, ...] = (),
        budget: Budget = STANDARD,
    ) -> None:
        self.kinds, self.lists, self.by = kinds, lists, by
        self.over_ns, self.pane_ns, self.budget = over_ns, pane_ns, budget
        self.plans: list[MeasurePlan] = []
        self.values: list[tuple[str, CellExpression]] = []
        self.formulas: dict[str, CellFormula] = {}
        self.fields: dict[str, Bounds] = {}
        self.baselines: list[BaselinePlan] = []
        self.comparisons: list[ComparisonPlan] = []
        self.drifts: list[DriftPlan] = []
        self.model: ModelPlan | None = None
        self.types: dict[str, ValueType] = {}
        self.verdicts: dict[str, ValueType] = {}
        self.absence = False
        self._by_text: dict[str, str] = {}

    def add(self, name: str, tree: Expr) -> None:
        """Define a measure. Raises ExpressionError; the name is then known, but has no value."""
        if isinstance(tree, Call) and tree.name in DETECTORS:
            self._add_detector(name, tree)
            return
        if is_measure(tree):
            assert isinstance(tree, Call)
            if tree.name != MEAN:
                self._add_plan(name, tree)
                return
        formula = CellFormula(self._lower(tree), {**self.types, COVERED: "bool"})
        self.values.append((name, formula))
        self.formulas[name] = formula
        self.types[name] = formula.type

    def poison(self, name: str, tree: Expr | None = None) -> None:
        """Register a name whose definition failed, so that the mistake is reported only once."""
        if isinstance(tree, Call) and tree.name in DETECTORS:
            self._name_verdict(name, tree.name)
        else:
            self.types.setdefault(name, "int")

    def verdict(self, tree: Expr, name: str) -> CellFormula:
        """Compile a deciding expression; name: its key, for errors. Raises ExpressionError."""
        lowered = self._lower(tree, deciding=True)
        formula = CellFormula(lowered, {**self.types, **self.verdicts, COVERED: "bool"})
        if formula.type != "bool":
            raise fail(tree, "expected true or false, found a number", "compare it with something")
        reach = Reach(self._bounds(), {each: value.tree for each, value in self.formulas.items()})
        truth = formula.constant if formula.constant is not None else reach.truth(lowered)
        if truth is not None:
            raise fail(tree, f"'{name}' is {'always' if truth else 'never'} true")
        reach.check(lowered)
        check_together(lowered)
        return formula

    def _bounds(self) -> dict[str, Bounds]:
        """Return what each measure can be, by name."""
        return {plan.name: TABLE[plan.op].bounds(self.fields.get(plan.name, ANY)) for plan in self.plans}

    def names(self) -> set[str]:
        """Return the names that a summary may show."""
        return {name for name in (*self.types, *self.verdicts) if not name.startswith("__")}

    def _add_plan(self, name: str, call: Call) -> None:
        """Add a measure, or another name for an equal one."""
        existing = self._plan(name, call)
        if existing != name:
            tree = Name(existing, call.start, call.end)
            self.values.append((name, CellFormula(tree, self.types)))
            self.types[name] = self.types[existing]

    def _plan(self, name: str, call: Call) -> str:
        """Return the name of the measure plan for a call; make the plan unless an equal one exists."""
        plan = self._measure(name, call)
        known = self._by_text.get(plan.text)
        if known is not None:
            return known
        self._by_text[plan.text] = name
        self.plans.append(plan)
        self.types[name] = "float" if TABLE[plan.op].fraction else "int"
        return name

    def _measure(self, name: str, call: Call) -> MeasurePlan:
        """Check a measure call and compile its value and filter."""
        if call.options:
            hint = "write '==' to compare; a filter follows the value: sum(x where y == 1)"
            raise fail(call.options[0][0], f"'{call.name}' has no option '{call.options[0][0].name}'", hint)
        row = TABLE[call.name]
        if row.use == "filter":
            return MeasurePlan(name, call.name, None, self._count_filter(call))
        count_arguments(call, 1 + row.parameters)
        self._check_fields(call)
        parameters = parameters_of(call)
        where = self._filter(call.where) if call.where else None
        check_row(call.args[0], self.kinds, self.lists, row.use, where)
        if isinstance(call.args[0], Name):
            self.fields[name] = field_bounds(self.kinds, call.args[0].name)
        return MeasurePlan(
            name, call.name, RowFormula(call.args[0], self.kinds, self.lists, row.use), where, parameters
        )

    def _check_fields(self, call: Call) -> None:
        """Reword the error for a measure of a measure."""
        arg = call.args[0]
        if isinstance(arg, Name) and arg.name in self.types and not self._is_field(arg.name):
            hint = f"{call.name}(a, b) compares measures" if call.name in NUMERIC else "use the measure as it is"
            raise fail(arg, f"'{arg.name}' is a measure, and '{call.name}' reads a field", hint)

    def _is_field(self, name: str) -> bool:
        """Return whether any of the kinds has this field."""
        return any(name in field_types(kind) for kind in self.kinds)

    def _count_filter(self, call: Call) -> RowFormula | None:
        """Compile `count()`, `count(condition)`."""
        if len(call.args) > 1:
            raise fail(call, f"'count' takes one condition, found {len(call.args)}", "join them with 'and'")
        if call.where is not None:
            raise fail(call.where, "'count' takes its condition without 'where'", "write count(condition)")
        return self._filter(call.args[0]) if call.args else None

    def _filter(self, tree: Expr) -> RowFormula:
        """Compile and check a filter."""
        check_row(tree, self.kinds, self.lists, "filter")
        return RowFormula(tree, self.kinds, self.lists, "filter")

    def _add_detector(self, name: str, call: Call) -> None:
        """Add a detector under a name, with what it gives beside its verdict."""
        if call.name == "anomalous":
            self.baselines.append(baseline(name, call, self._watched(call), self.pane_ns, self.budget))
        elif call.name == "changed":
            self.drifts.append(changed(name, call, self._watched(call), self.pane_ns))
        else:
            self.comparisons.append(
                comparison(name, call, self._compared, self._among, by=self.by, default=self.budget)
            )
        self._name_verdict(name, call.name)

    def _name_verdict(self, name: str, detector: str) -> None:
        """Let deciding expressions use a detector's verdict, and what it gives beside."""
        self.verdicts[name] = "bool"
        if detector == "anomalous":
            self.verdicts[f"{name}_expected"] = "float"
            return
        if detector == "changed":
            self.verdicts |= {f"{name}_{part}": "float" for part in MOVED}
            return
        for part in PARTS:
            self.verdicts[f"{name}_{part}"] = "float" if part in ("value", "median", "score") else "int"

    def _compared(self, value: Expr) -> CellFormula:
        return CellFormula(self._lower(value), self.types)

    def _among(self, field: Expr) -> CellFormula:
        """Return a number by which keys are grouped: which of its known values a text field has."""
        texts = sorted(possible_values(self.kinds, field.name)) if isinstance(field, Name) else []
        if not isinstance(field, Name) or not texts or not self._everywhere(field.name):
            raise fail(
                field, "'among' takes a text field with known values that all kinds have", "as in among=direction"
            )
        parts = (f'if(count({field.name} == "{text}") > 0, {at}, 0)' for at, text in enumerate(texts, start=1))
        return self._compared(parse(f"max({', '.join(parts)}, 0)"))

    def _everywhere(self, name: str) -> bool:
        return all(field_types(kind).get(name) == "text" for kind in self.kinds)

    def _watched(self, call: Call) -> CellFormula:
        """Return the one value that a detector watches."""
        count_arguments(call, 1)
        value = CellFormula(self._lower(call.args[0]), self.types)
        if value.type == "bool":
            raise fail(call.args[0], "expected a number, found true or false")
        return value

    def _hidden(self, call: Call) -> str:
        """Return a name that no rule can use."""
        return f"__{call.name}{len(self.plans) + len(self.baselines) + len(self.comparisons) + len(self.drifts)}"

    def _lower(self, tree: Expr, deciding: bool = False) -> Expr:
        """Return the tree with measure calls replaced by names. deciding: verdicts may be used."""
        if isinstance(tree, Name):
            self._check_name(tree, deciding)
            return tree
        if isinstance(tree, Logic):
            return replace(tree, parts=tuple(self._lower(part, deciding) for part in tree.parts))
        if isinstance(tree, Unary):
            return replace(tree, operand=self._lower(tree.operand, deciding))
        if isinstance(tree, Binary):
            return replace(tree, left=self._lower(tree.left, deciding), right=self._lower(tree.right, deciding))
        if isinstance(tree, Member):
            return replace(tree, item=self._lower(tree.item, deciding))
        return self._lower_call(tree, deciding) if isinstance(tree, Call) else tree

    def _lower_call(self, call: Call, deciding: bool) -> Expr:
        """Replace a call: a measure, a detector, a rewritten function, or a plain one."""
        if is_measure(call):
            return self._mean(call) if call.name == MEAN else self._named(self._plan(self._hidden(call), call), call)
        if call.name in DETECTORS:
            return self._detected(call, deciding)
        if call.name not in CELL_FUNCTIONS:
            known = (*MEASURES, *CELL_FUNCTIONS)
            raise fail(call, f"unknown function '{call.name}'", did_you_mean(call.name, known, "functions"))
        if call.name in NUMERIC:
            return replace(call, args=tuple(self._lower(arg, deciding) for arg in call.args))
        if call.where is not None or call.options:
            raise fail(call, f"'{call.name}' takes one value and nothing else")
        count_arguments(call, 1)
        inner = self._lower(call.args[0], deciding)
        if call.name == "rate":
            seconds = self.over_ns / SECOND_NS
            return self._divided(call, inner, Literally(seconds, call.start, call.end))
        self.absence = True
        zero = Binary("==", inner, Literally(0, call.start, call.end), call.start, call.end, inner.depth + 1)
        return Logic("and", (zero, self._named(COVERED, call)), call.start, call.end, inner.depth + 2)

    def _mean(self, call: Call) -> Expr:
        """Compile `mean(x where c)`, which is `sum(x where c) / count(c)`."""
        total = self._plan(self._hidden(call), replace(call, name="sum"))
        rows = replace(call, name="count", args=(call.where,) if call.where else (), where=None)
        return self._divided(call, self._named(total, call), self._named(self._plan(self._hidden(call), rows), call))

    def _detected(self, call: Call, deciding: bool) -> Expr:
        """Replace a detector inside a deciding expression."""
        if not deciding:
            raise fail(call, f"a verdict of {call.name}() can only stand alone, or in fire, clear and escalate")
        text = canonical(call, self.lists)
        known = self._by_text.get(text)
        if known is None:
            known = self._by_text[text] = self._hidden(call)
            self._add_detector(known, call)
        return self._named(known, call)

    def _check_name(self, node: Name, deciding: bool) -> None:
        """Reword the error for names that exist, but not here."""
        name = node.name
        if name in self.types or (deciding and name in self.verdicts):
            return
        if name in self.verdicts:
            raise fail(node, f"'{name}' comes from a detector, which values cannot use", "use it in fire or escalate")
        if self._is_field(name):
            hint = f"put a measure around it, as in sum({name}) or distinct({name})"
            raise fail(node, f"'{name}' is a field, not a measure", hint)

    @staticmethod
    def _named(name: str, node: Expr) -> Name:
        return Name(name, node.start, node.end)

    @staticmethod
    def _divided(node: Expr, above: Expr, below: Expr) -> Binary:
        depth = 1 + max(above.depth, below.depth)
        return Binary("/", above, below, node.start, node.end, depth)


def is_measure(tree: Expr) -> bool:
    """Return whether a tree is a measure call; min and max are one with one argument, else a function."""
    if not isinstance(tree, Call) or tree.name not in MEASURES:
        return False
    return tree.name not in ("min", "max") or len(tree.args) == 1
