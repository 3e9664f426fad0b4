"""The measures of a rule and its decisions: measure, fire, clear, escalate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from rules.budget import STANDARD, Budget
from rules.canonical import Lists
from rules.catalogue import determined
from rules.cells import CellFormula, overlaps
from rules.fragment import parse_node, report_flaws
from rules.functions import NUMERIC
from rules.keys import LONGEST_ID, NAME
from rules.measure_table import MEASURES
from rules.measures import CELL_FUNCTIONS, Measures
from rules.naming import ALWAYS
from rules.pack_budget import KEY, budget_of, unbudgeted
from rules.rule import RuleKeys
from rules.syntax import WORDS
from rules.tokens import ExpressionError
from watchdog.core.finding import SEVERITIES, Severity
from watchdog.core.plan import CellExpression
from watchdog.located_yaml import values
from watchdog.located_yaml.nodes import Node, Scalar, Series
from watchdog.located_yaml.problem import Problem

_RESERVED = {*WORDS, *MEASURES, *CELL_FUNCTIONS, *NUMERIC, *ALWAYS}


@dataclass(frozen=True, slots=True)
class Verdicts:
    """The deciding expressions of a rule; fire is None when it is missing or broken."""

    fire: CellFormula | None
    clear: CellFormula | None
    escalate: tuple[tuple[Severity, CellExpression], ...]


def read_verdicts(keys: RuleKeys, measures: Measures) -> Verdicts:
    """Read all deciding expressions over these measures."""
    fire = _verdict(keys, "fire", measures)
    return Verdicts(fire, _read_clear(keys, fire, measures), _read_escalate(keys, measures))


def read_measures(keys: RuleKeys, kinds: tuple[str, ...], lists: Lists, over_ns: int, pane_ns: int) -> Measures:
    """Read all measures in order; without any kind only their grammar is checked and their names are kept."""
    measures = Measures(kinds, lists, over_ns, pane_ns, by=_key(keys), budget=_budget(keys))
    node = keys.node("measure")
    table = values.table(node, "measure", keys.report) if node else None
    for entry in table.entries if table else ():
        name = entry.key.text
        if not _usable_name(keys, entry.key, kinds):
            continue
        tree = parse_node(entry.value, name, keys.report)
        if tree is not None and kinds:
            try:
                measures.add(name, tree)
                continue
            except ExpressionError as error:
                report_flaws(entry.value, error, keys.report)
        measures.poison(name, tree)
    return measures


def _budget(keys: RuleKeys) -> Budget:
    """Return what each detector of the rule may spend that names nothing itself."""
    node, spenders = keys.node(KEY), unbudgeted(keys.rule.entries)
    whole = budget_of(node, keys.report) if node else None
    if node and not spenders:
        hint = 'a budget is for unlike_others() and anomalous(law="counts") without one of their own'
        keys.report.warn(node.place, f"the budget of rule '{keys.rule.id.text}' is spent by no detector", hint)
    return STANDARD if whole is None else whole.share(spenders)


def _key(keys: RuleKeys) -> tuple[str, ...]:
    """Return the fields of the key as they are written; `read_fields` reports mistakes in them."""
    node = keys.node("by")
    items = node.items if isinstance(node, Series) else (node,)
    return tuple(item.text for item in items if isinstance(item, Scalar))


def _usable_name(keys: RuleKeys, key: Scalar, kinds: tuple[str, ...]) -> bool:
    """Return whether a measure may have this name."""
    name = key.text
    if not NAME.fullmatch(name) or len(name) > LONGEST_ID:
        keys.report.error(key.place, f"bad name '{name[:80]}'", "small letters, digits and _, a letter first")
        return False
    if name in _RESERVED:
        keys.report.error(key.place, f"'{name}' is a word of the language", "choose another name")
        return False
    if kinds and name in determined(kinds, ("conn", "peer_addr")):
        keys.report.error(key.place, f"'{name}' is a field of the key", "choose another name")
        return False
    return True


def _verdict(keys: RuleKeys, name: str, measures: Measures) -> CellFormula | None:
    """Read `fire` or `clear`."""
    node = keys.node(name)
    return _verdict_of(keys, node, name, measures) if node else None


def _verdict_of(keys: RuleKeys, node: Node, name: str, measures: Measures) -> CellFormula | None:
    """Read a deciding expression; problems name its key."""
    tree = parse_node(node, name, keys.report)
    if tree is None:
        return None
    try:
        return measures.verdict(tree, name)
    except ExpressionError as error:
        report_flaws(node, error, keys.report)
        return None


def _read_clear(keys: RuleKeys, fire: CellFormula | None, measures: Measures) -> CellFormula | None:
    """Read `clear`, which must not hold while `fire` does."""
    clear, node = _verdict(keys, "clear", measures), keys.node("clear")
    if fire is not None and clear is not None and node is not None and overlaps(fire.tree, clear.tree):
        hint = "leave a distance between them, as in fire: x > 100, clear: x < 20"
        _clash(keys, "fire", "clear", Problem(node.place, "'clear' can hold while 'fire' does", hint))
    return clear


def _read_escalate(keys: RuleKeys, measures: Measures) -> tuple[tuple[Severity, CellExpression], ...]:
    """Read the higher severities, lowest first."""
    node, severity = keys.node("escalate"), keys.node("severity")
    table = values.table(node, "escalate", keys.report) if node else None
    base = severity.text if isinstance(severity, Scalar) else ""
    levels: list[tuple[Severity, CellExpression]] = []
    for entry in table.entries if table else ():
        level = values.choice(entry.key, "severity", SEVERITIES, keys.report)
        if level and base in SEVERITIES and _rank(level) <= SEVERITIES.index(base):
            message = f"escalates to '{level}', which is not above the rule's severity '{base}'"
            _clash(keys, "severity", "escalate", Problem(entry.key.place, message))
        formula = _verdict_of(keys, entry.value, entry.key.text, measures)
        if level and formula:
            levels.append((cast(Severity, level), formula))
    return tuple(sorted(levels, key=lambda pair: _rank(pair[0])))


def _clash(keys: RuleKeys, changed: str, kept: str, problem: Problem) -> None:
    """Report two keys that contradict each other, at `kept` unless an override changed only the other one."""
    node, place = keys.node(changed), problem.place
    if node is not None and place.source is keys.rule.place.source and node.place.source is not place.source:
        message = f"{problem.message}; '{kept}' is still that of {place}"
        keys.report.error(node.place, message, f"override '{kept}' too")
    else:
        keys.report.error(place, problem.message, problem.hint)


def _rank(severity: str) -> int:
    return SEVERITIES.index(cast(Severity, severity))
