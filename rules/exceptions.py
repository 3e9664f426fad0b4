"""Exceptions: events that do not count for some rules, by a condition over the event's own fields.

    except:
      - {rules: all, when: 'peer_addr in own', reason: our monitors, until: 2027-06-01}

`rules` is `all`, one or several ids, or `{attack: CLASS}`. An exception becomes part of the row filter of each rule
that reads a kind with all fields of `when`; events of other kinds count as before. `until` is event time, so that a
replay gives what the service gave. Rules over findings read no events of peers and are left out of `all`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from difflib import SequenceMatcher, get_close_matches
from functools import partial

import numpy as np
from numpy.typing import NDArray

from rules.canonical import Lists, canonical
from rules.catalogue import field_types
from rules.cells import names_in
from rules.formula import check_row
from rules.fragment import parse_node, report_flaws
from rules.kind_condition import KindCondition, conditions_of
from rules.syntax import Expr
from rules.tokens import ExpressionError
from watchdog.core.batch import Batch
from watchdog.core.finding import ATTACKS
from watchdog.core.kinds import FINDING_KINDS, FLEET_KINDS
from watchdog.core.plan import RowExpression, RulePlan, as_bool
from watchdog.core.resolved import RESOLVED, TELLING
from watchdog.located_yaml import values
from watchdog.located_yaml.nodes import Entry, Node, Scalar, Series, Table
from watchdog.located_yaml.problem import Location, Report
from watchdog.located_yaml.suggest import did_you_mean

KEY = "except"
KEYS = ("rules", "when", "reason", "until")
ALL = "all"
MOST = 200  # of all files together: each rule asks its own of every event
FOREVER_NS = (1 << 63) - 1
_IN = re.compile(r"\bin\s+([a-z][a-z0-9_]*)")


@dataclass(frozen=True, slots=True)
class ExceptionSource:
    """An exception as written. rules: ids; empty with an attack, and for all rules. when: the located condition."""

    rules: tuple[Scalar, ...]
    attack: str
    when: Scalar
    reason: str
    until_ns: int
    place: Location

    @property
    def lists(self) -> set[str]:
        """Names of lists that the condition may use."""
        return set(_IN.findall(self.when.text))


@dataclass(slots=True)
class ExceptionUse:
    """How often an exception has matched since it was loaded. Any thread may read; those of engines write.

    last: the rows that were asked last, with the answer: the rules of one stream ask the same.
    """

    matched: int = 0
    last: tuple[Batch, NDArray[np.bool_]] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class RuleException:
    """A checked exception. conditions: by kind, true for rows that do not count, until an event time.

    id: eight hex digits of what it says. when: as written. rules: the ids of those that it changes.
    """

    id: str
    when: str
    condition: str
    conditions: Mapping[str, KindCondition]
    until_ns: int
    reason: str
    place: str
    rules: tuple[str, ...]
    use: ExceptionUse = field(default_factory=ExceptionUse)

    @property
    def text(self) -> str:
        """Canonical form; equal text, equal meaning."""
        return f"{self.condition} until {self.until_ns}"

    def matches(self, batch: Batch) -> NDArray[np.bool_] | None:
        """Return which rows do not count; None when all of them do."""
        condition = self.conditions.get(batch.kind)
        if condition is None:
            return None
        last = self.use.last
        if last is not None and last[0] is batch:
            found = last[1]
        else:
            found = condition(batch)
            if self.until_ns != FOREVER_NS:
                found = found & (batch.time_ns < self.until_ns)
            self.use.last = batch, found
        return found if found.any() else None


class ExceptedFilter:
    """The filter of a rule with exceptions: `watchdog.core.plan.RowExpression`. base: the rule's own, None for all."""

    __slots__ = ("base", "exceptions", "text")

    def __init__(self, base: RowExpression | None, exceptions: tuple[RuleException, ...]) -> None:
        self.base, self.exceptions = base, exceptions
        beside = " except ".join(one.text for one in exceptions)
        self.text = f"{base.text if base else 'true'} except {beside}"

    def __call__(self, batch: Batch) -> NDArray[np.bool_]:
        """Return which rows count."""
        passed = np.ones(batch.rows, np.bool_) if self.base is None else as_bool(self.base(batch), batch.rows)
        for one in self.exceptions:
            found = one.matches(batch)
            if found is not None:
                one.use.matched += int(np.count_nonzero(found & passed))
                passed = passed & ~found
        return passed

    @property
    def equals(self) -> tuple[tuple[str, str], ...]:
        """Conjuncts that every row fulfils: those of the rule's own filter."""
        return self.base.equals if self.base else ()

    def without(self, field: str, value: str) -> ExceptedFilter:
        """Return the filter for rows known to fulfil `field == value`."""
        return ExceptedFilter(self.base.without(field, value) if self.base else None, self.exceptions)

    def constant_for(self, kind: str) -> bool | None:
        """Return the answer for every row of a kind; None if it depends on the row."""
        own = True if self.base is None else self.base.constant_for(kind)
        return own if own is False or all(kind not in one.conditions for one in self.exceptions) else None


def exceptions_of(plan: RulePlan) -> tuple[RuleException, ...]:
    """Return the exceptions of a rule."""
    return plan.where.exceptions if isinstance(plan.where, ExceptedFilter) else ()


def plain_plan(plan: RulePlan) -> RulePlan:
    """Return a rule without its exceptions."""
    if not isinstance(plan.where, ExceptedFilter):
        return plan
    return replace(plan, where=plan.where.base, resolved=frozenset())


# ---- reading


def read_exceptions(node: Node, report: Report) -> list[ExceptionSource]:
    """Read the exceptions of one file; mistakes go to the report."""
    if not isinstance(node, Series):
        report.error(node.place, f"'{KEY}' must be a list, not {values.describe(node)}")
        return []
    if len(node.items) > MOST:
        report.error(node.place, f"'{KEY}' has more than {MOST} entries", "put addresses into a named list")
        return []
    found = [_read(item, report) for item in node.items]
    return [one for one in found if one is not None]


def _read(node: Node, report: Report) -> ExceptionSource | None:
    table = values.table(node, KEY, report)
    if table is None:
        return None
    before = len(report.problems)
    given: dict[str, Entry] = {}
    for entry in table.entries:
        name = entry.key.text
        if name in KEYS:
            given[name] = entry
        else:
            hint = partial(did_you_mean, name, KEYS, "keys")
            report.error(entry.key.place, f"unknown key '{name[:80]}' in '{KEY}'", hint)
    for name in ("rules", "when", "reason"):
        if name not in given:
            report.error(table.place, f"'{KEY}' lacks '{name}'", f"{{rules: {ALL}, when: ..., reason: ...}}")
    if len(report.problems) > before:
        return None
    rules, attack = _rules(given["rules"].value, report)
    when = values.scalar(given["when"].value, "when", "an expression", report)
    reason = values.text(given["reason"].value, "reason", report)
    until_ns = read_until(given["until"].value, report) if "until" in given else FOREVER_NS
    if len(report.problems) > before or when is None or until_ns is None:
        return None
    return ExceptionSource(rules, attack, when, reason, until_ns, table.place)


def _rules(node: Node, report: Report) -> tuple[tuple[Scalar, ...], str]:
    if isinstance(node, Table):
        if len(node.entries) != 1 or node.entries[0].key.text != "attack":
            report.error(node.place, "'rules' must be all, a list of ids, or {attack: CLASS}")
            return (), ""
        return (), values.choice(node.entries[0].value, "attack", ATTACKS, report) or ""
    found = values.scalars(node, "rules", "all, a list of ids, or {attack: CLASS}", report)
    if isinstance(node, Series) and not node.items:
        report.error(node.place, "'rules' names no rule")
    return (() if [one.text for one in found] == [ALL] else tuple(found)), ""


def read_until(node: Node, report: Report) -> int | None:
    """Return the unix ns of a date or time, UTC unless it has an offset; None with a problem."""
    found = values.scalar(node, "until", "a date such as 2027-01-31", report)
    if found is None:
        return None
    try:
        when = datetime.fromisoformat(found.text.strip())
        when = when if when.tzinfo else when.replace(tzinfo=UTC)
        return int(when.timestamp()) * 1_000_000_000
    except (ValueError, OverflowError):
        hint = "such as 2027-01-31 or 2027-01-31T12:00+01:00"
        report.error(node.place, f"'until' is not a date: '{found.text[:60]}'", hint)
        return None


# ---- compiling


def apply_exceptions(
    plans: Sequence[RulePlan], sources: Sequence[ExceptionSource], lists: Lists, report: Report
) -> tuple[list[RulePlan], tuple[RuleException, ...]]:
    """Return the rules with their exceptions, and these; mistakes go to the report."""
    if len(sources) > MOST:
        report.error(sources[MOST].place, f"more than {MOST} exceptions", "put addresses into a named list")
        return list(plans), ()
    own: dict[str, list[RuleException]] = {}
    compiled = []
    for source in sources:
        one = _compiled(source, plans, lists, report)
        if one is not None:
            compiled.append(one)
            for rule in one.rules:
                own.setdefault(rule, []).append(one)
    changed = [_excepted(plan, own[plan.id]) if plan.id in own else plan for plan in plans]
    return changed, tuple(compiled)


def _excepted(plan: RulePlan, exceptions: Sequence[RuleException]) -> RulePlan:
    """Return a rule with its exceptions, and which facts of connections they ask."""
    conditions = [one.conditions[kind] for one in exceptions for kind in plan.kinds if kind in one.conditions]
    resolved = frozenset(name for one in conditions for name in one.resolved)
    return replace(plan, where=ExceptedFilter(plan.where, tuple(exceptions)), resolved=resolved)


def _compiled(source: ExceptionSource, plans: Sequence[RulePlan], lists: Lists, report: Report) -> RuleException | None:
    tree = parse_node(source.when, "when", report)
    meant = _meant(source, {plan.id: plan for plan in plans}, report)
    if tree is None or not meant:
        return None
    read = {kind for plan in meant for kind in plan.kinds}
    conditions = conditions_of(tree, read, lists)
    try:
        check_row(tree, _checked_kinds(tree, read, conditions), lists, "filter")
    except ExpressionError as error:
        report_flaws(source.when, error, report)
        return None
    if conditions and all(one.always for one in conditions.values()):
        report.error(source.when.place, "'when' is always true", "to switch a rule off, use 'overrides'")
        return None
    fitting = [plan for plan in meant if not conditions.keys().isdisjoint(plan.kinds)]
    for written in source.rules:
        if written.text not in {plan.id for plan in fitting}:
            hint = f"watchdog rules show {written.text}"
            report.error(written.place, f"rule '{written.text}' reads no kind with all fields of 'when'", hint)
    text = canonical(tree, lists)
    return RuleException(
        _id_of(source, text),
        " ".join(source.when.text.split()),
        text,
        conditions,
        source.until_ns,
        source.reason,
        f"{source.place.source.name}:{source.place.line}",
        tuple(plan.id for plan in fitting),
    )


def _checked_kinds(tree: Expr, read: Iterable[str], conditions: Mapping[str, KindCondition]) -> list[str]:
    """Return the kinds that a condition is checked for, so that a mistake is named by the kind that was meant."""
    plain = [kind for kind, one in conditions.items() if not one.resolved]
    if plain:
        return plain
    names, kinds = names_in(tree), sorted(read)
    telling = sorted({kind for name in names & set(RESOLVED) for kind in TELLING[name]})
    whole = [kind for kind in [*telling, *kinds] if names <= field_types(kind).keys()]
    return whole or [max(kinds, key=lambda kind: sum(_likeness(name, kind) for name in names))]


def _likeness(name: str, kind: str) -> float:
    """Return how close a name is to a field of a kind, from 0 to 1."""
    fields = field_types(kind).keys()
    near = get_close_matches(name, fields, n=1)
    return 1.0 if name in fields else SequenceMatcher(None, name, near[0]).ratio() if near else 0.0


def _meant(source: ExceptionSource, plans: Mapping[str, RulePlan], report: Report) -> list[RulePlan]:
    """Return the rules that an exception names."""
    if source.rules:
        for written in source.rules:
            if written.text not in plans:
                hint = partial(did_you_mean, written.text, plans, "rules")
                report.error(written.place, f"exception for unknown rule '{written.text[:80]}'", hint)
        return [plans[one.text] for one in source.rules if one.text in plans]
    every = [one for one in plans.values() if not (FINDING_KINDS | FLEET_KINDS) & set(one.kinds)]
    meant = [one for one in every if not source.attack or one.attack == source.attack]
    if not meant and every:
        report.warn(source.place, f"no rule has the attack '{source.attack}', so this exception changes nothing")
    return meant


def _id_of(source: ExceptionSource, when: str) -> str:
    named = sorted(one.text for one in source.rules) or [source.attack or ALL]
    text = "\n".join([*named, when, str(source.until_ns)])
    return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()
