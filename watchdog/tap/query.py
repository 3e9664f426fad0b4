"""What a tap asks for: the expressions of its command line, checked against the kinds that it reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

from rules.catalogue import field_types
from rules.cells import names_in, parts_of
from rules.formula import RowFormula, check_row
from rules.functions import count_arguments
from rules.keys import LONGEST_ID, NAME
from rules.measures import Measures
from rules.syntax import Call, Expr, parse
from rules.tokens import ExpressionError
from rules.typed import fail
from watchdog.core.durations import SECOND_NS
from watchdog.core.errors import WatchdogError
from watchdog.core.plan import CellExpression, MeasurePlan, RowExpression

HISTOGRAM: Final = "histogram"
MOST_MEASURES: Final = 32
MOST_FIELDS: Final = 8  # of `--by`
_NOT_KEYS: Final = ("bytes", "float")
_Result = TypeVar("_Result")


class QueryError(WatchdogError):
    """An expression of the command line cannot be used."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The query as it was typed. measures: NAME=EXPR. every_ns: of event time, 0 for one table over everything."""

    where: str = ""
    measures: tuple[str, ...] = ()
    by: tuple[str, ...] = ()
    every_ns: int = 5 * SECOND_NS


@dataclass(frozen=True, slots=True)
class TablePlan:
    """The table that a tap computes for each key of `by`.

    plans: what is accumulated; histograms have the operation `HISTOGRAM`. values: expressions over plans, in order.
    shown: the names that were asked for, in their order.
    """

    by: tuple[str, ...]
    every_ns: int
    plans: tuple[MeasurePlan, ...]
    values: tuple[tuple[str, CellExpression], ...]
    shown: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TapQuery:
    """A checked query. left_out: kinds without a field that the expressions name; no row of theirs passes."""

    kinds: frozenset[str]
    left_out: frozenset[str]
    where: RowExpression | None
    table: TablePlan | None


def query_of(asked: Asked, kinds: frozenset[str]) -> TapQuery:
    """Check the expressions against these kinds. QueryError names the option, the place and a hint."""
    where = _parsed("--where", asked.where) if asked.where else None
    measures = [_named(text) for text in asked.measures]
    if len(measures) > MOST_MEASURES:
        raise QueryError(f"more than {MOST_MEASURES} measures")
    if asked.by and not measures:
        raise QueryError("--by needs a --measure, such as --measure 'n=count()'")
    if len(asked.by) > MOST_FIELDS:
        raise QueryError(f"more than {MOST_FIELDS} fields in --by")
    names = [name for name, _ in measures]
    twice = next((name for name in names if names.count(name) > 1), "")
    if twice:
        raise QueryError(f"--measure: the name '{twice}' is given twice")

    def made(some: frozenset[str]) -> TapQuery:
        return _checked(asked, where, measures, sorted(some))

    try:
        return made(kinds)
    except QueryError:
        fitting = _fitting(kinds, where, measures, asked.by)
        if not fitting or fitting == kinds:
            raise
        query = made(fitting)
        return TapQuery(query.kinds, kinds - fitting, query.where, query.table)


def _fitting(
    kinds: Iterable[str], where: Expr | None, measures: Sequence[tuple[str, Expr]], by: Sequence[str]
) -> frozenset[str]:
    """Return the kinds that have every field that the expressions name."""
    known = {name for name, _ in measures}
    fields = set(by) | (names_in(where) if where is not None else set())
    for _, tree in measures:
        fields |= names_in(tree) - known
    return frozenset(kind for kind in kinds if fields <= field_types(kind).keys())


def _checked(asked: Asked, where: Expr | None, measures: Sequence[tuple[str, Expr]], kinds: list[str]) -> TapQuery:
    formula = None
    if where is not None:
        _tried("--where", asked.where, lambda: check_row(where, kinds, {}, "filter"))
        formula = RowFormula(where, kinds, {}, "filter")
    if not measures:
        return TapQuery(frozenset(kinds), frozenset(), formula, None)
    for field in asked.by:
        _check_key(field, kinds)
    table = _table(asked, measures, kinds)
    return TapQuery(frozenset(kinds), frozenset(), formula, table)


def _check_key(field: str, kinds: Sequence[str]) -> None:
    lacking = next((kind for kind in kinds if field not in field_types(kind)), "")
    if lacking:
        raise QueryError(f"--by: '{lacking}' has no field '{field}'; see: watchdog events {lacking}")
    if field in ("time_ns", "boot_ns") or any(field_types(kind)[field] in _NOT_KEYS for kind in kinds):
        raise QueryError(f"--by: '{field}' cannot be a key; use a field of text, whole numbers or truth")


def _table(asked: Asked, measures: Sequence[tuple[str, Expr]], kinds: list[str]) -> TablePlan:
    span_ns = asked.every_ns or SECOND_NS  # `rate` is refused without an interval
    language = Measures(kinds, {}, span_ns, span_ns)
    histograms = []
    for name, tree in measures:
        option, text = "--measure", dict(_split(each) for each in asked.measures)[name]
        if isinstance(tree, Call) and tree.name == HISTOGRAM:
            histograms.append(_tried(option, text, partial(_histogram, name, tree, kinds)))
        else:
            _tried(option, text, partial(_add, language, name, tree, asked.every_ns))
    return TablePlan(
        asked.by,
        asked.every_ns,
        (*language.plans, *histograms),
        tuple(language.values),
        tuple(name for name, _ in measures),
    )


def _add(language: Measures, name: str, tree: Expr, every_ns: int) -> None:
    for call in _calls(tree):
        if call.name == HISTOGRAM:
            raise fail(call, "a histogram cannot be part of an expression", "write NAME=histogram(x)")
        if call.name in ("anomalous", "changed", "flat"):
            raise fail(call, f"'{call.name}' judges a window of a rule", "a tap measures; see docs/RULES.md")
        if call.name == "rate" and not every_ns:
            raise fail(call, "'rate' needs the length of the interval", "give --every a duration")
    language.add(name, tree)


def _histogram(name: str, call: Call, kinds: list[str]) -> MeasurePlan:
    if call.options:
        raise fail(call.options[0][0], f"'{HISTOGRAM}' has no option '{call.options[0][0].name}'")
    count_arguments(call, 1)
    where = None
    if call.where is not None:
        check_row(call.where, kinds, {}, "filter")
        where = RowFormula(call.where, kinds, {}, "filter")
    check_row(call.args[0], kinds, {}, "number", where)
    return MeasurePlan(name, HISTOGRAM, RowFormula(call.args[0], kinds, {}, "number"), where)


def _calls(tree: Expr) -> list[Call]:
    own = [tree] if isinstance(tree, Call) else []
    return [*own, *(call for part in parts_of(tree) for call in _calls(part))]


def _named(text: str) -> tuple[str, Expr]:
    name, expression = _split(text)
    if not NAME.fullmatch(name) or len(name) > LONGEST_ID:
        raise QueryError(f"--measure: bad name '{name[:LONGEST_ID]}'; small letters, digits and _, a letter first")
    return name, _parsed("--measure", expression)


def _split(text: str) -> tuple[str, str]:
    name, equals, expression = text.partition("=")
    if not equals or not expression.strip() or expression.startswith("="):
        raise QueryError(f"--measure: expected NAME=EXPR, such as n=count(), not '{text[:80]}'")
    return name.strip(), expression


def _parsed(option: str, text: str) -> Expr:
    return _tried(option, text, lambda: parse(text))


def _tried(option: str, text: str, work: Callable[[], _Result]) -> _Result:
    """Return what `work` returns; turn its mistakes into one line that quotes the place."""
    try:
        return work()
    except ExpressionError as error:
        flaws = [
            f"{flaw.message}{f' ({flaw.hint})' if flaw.hint else ''} at '{text[flaw.start : flaw.end][:80]}'"
            for flaw in error.flaws
        ]
        raise QueryError(f"{option}: {'; '.join(flaws)}") from None
