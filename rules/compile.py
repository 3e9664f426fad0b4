"""One rule from located nodes to its plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar, cast

from rules import values
from rules.amounts import show_duration
from rules.canonical import Lists
from rules.catalogue import determined, field_types, kind_names, missing_in, shared_fields
from rules.cells import CellFormula, overlaps
from rules.fragment import parse_node, report_flaws
from rules.functions import NUMERIC
from rules.keys import LONGEST_ID, NAME, RULE_KEYS, Key
from rules.measures import CELL_FUNCTIONS, MEASURES, Measures
from rules.near import did_you_mean
from rules.problem import Place, Report
from rules.reader import Entry, Node, Scalar, Series
from rules.rows import RowFormula, check_row
from rules.summary import ALWAYS, check_summary
from rules.syntax import WORDS
from rules.tokens import ExpressionError
from rules.window import MOST_PANES, default_pane_ns
from watchdog.core.finding import SEVERITIES, Attack, Severity
from watchdog.core.plan import CellExpression, RulePlan

T = TypeVar("T")

_KEYS: Mapping[str, Key] = {key.name: key for key in RULE_KEYS}
_RESERVED = {*WORDS, *MEASURES, *CELL_FUNCTIONS, *NUMERIC, *ALWAYS}
_RESOLVE_AFTER_NS = 30 * 60 * 1_000_000_000
_EVIDENCE = 50
_MAX_KEYS = 100_000
_PERSONAL = ("conn", "peer", "peer_addr")


@dataclass(frozen=True, slots=True)
class RuleSource:
    """A rule as written: its id, and its keys by name (those of overrides in place of its own)."""

    id: Scalar
    entries: Mapping[str, Entry]
    place: Place


def compile_rule(rule: RuleSource, lists: Lists, report: Report) -> RulePlan | None:
    """The plan of a rule; None with every problem found in the report."""
    before = len(report.problems) + report.dropped
    for key in RULE_KEYS:
        if key.required and key.name not in rule.entries:
            report.error(rule.id.place, f"rule '{rule.id.text}' lacks '{key.name}'", key.about.rstrip("."))
    plan = _Compiler(rule, lists, report).plan()
    return plan if len(report.problems) + report.dropped == before else None


class _Compiler:
    """Reads the keys of one rule; every method notes its problems and goes on."""

    def __init__(self, rule: RuleSource, lists: Lists, report: Report) -> None:
        self.rule, self.lists, self.report = rule, lists, report

    def plan(self) -> RulePlan | None:
        """Compile all keys; None when the kinds or the window are unusable."""
        kinds = self.kinds()
        over_ns, pane_ns = self.window()
        scalars = self.metadata()
        if not kinds:
            return None
        by = self.fields("by", kinds, ()) or ()
        where = self.where(kinds)
        measures = self.measures(kinds, over_ns, pane_ns)
        fire = self.verdict("fire", measures)
        clear = self.clear(fire, measures)
        escalate = self.escalate(measures)
        incident = self.incident(kinds, by)
        entities = self.entities(kinds)
        summary = self.summary(kinds, by, measures)
        if fire is None:
            return None
        return RulePlan(
            id=self.rule.id.text,
            title=str(scalars["title"]),
            attack=cast(Attack, scalars["attack"]),
            severity=cast(Severity, scalars["severity"]),
            kinds=kinds,
            where=where,
            by=by,
            over_ns=over_ns,
            pane_ns=pane_ns,
            measures=tuple(measures.plans),
            values=tuple(measures.values),
            baselines=tuple(measures.baselines),
            fire=fire,
            clear=clear,
            for_ns=self.duration("for", 0),
            resolve_after_ns=self.duration("resolve_after", _RESOLVE_AFTER_NS),
            escalate=escalate,
            incident=incident,
            entities=entities,
            summary=summary,
            evidence=self.whole("evidence", _EVIDENCE),
            max_keys=self.whole("max_keys", _MAX_KEYS),
            absence=measures.absence,
            maturity=str(scalars["maturity"]),
            place=f"{self.rule.place.source.name}:{self.rule.place.line}",
            metadata={name: scalars[name] for name in ("references", "false_positives")},
        )

    def node(self, name: str) -> Node | None:
        """The value of a key, if it was given."""
        entry = self.rule.entries.get(name)
        return entry.value if entry else None

    def metadata(self) -> dict[str, object]:
        """Title, attack, severity, maturity and the notes."""
        found: dict[str, object] = {"title": "", "attack": None, "severity": None, "maturity": "stable"}
        for name in tuple(found):
            node = self.node(name)
            if node is None:
                continue
            choices = _KEYS[name].choices
            if choices:
                found[name] = values.choice(node, name, choices, self.report) or found[name]
            else:
                found[name] = values.text(node, name, self.report)
        for name in ("references", "false_positives"):
            node = self.node(name)
            items = values.scalars(node, name, "text or a list of text", self.report) if node else []
            found[name] = tuple(values.text(item, name, self.report) for item in items)
        return found

    def kinds(self) -> tuple[str, ...]:
        """The kinds of `on`; empty with problems when one is unknown."""
        node = self.node("on")
        if node is None:
            return ()
        items = values.scalars(node, "on", "an event kind or a list of kinds", self.report)
        known = kind_names()
        found: list[str] = []
        for item in items:
            if item.text not in known:
                self.report.error(item.place, f"unknown kind '{item.text[:80]}'", _kind_hint(item.text, known))
            elif item.text in found:
                self.report.error(item.place, f"kind '{item.text}' is given twice")
            else:
                found.append(item.text)
        if isinstance(node, Series) and not items:
            self.report.error(node.place, "'on' names no kind")
        return tuple(sorted(found)) if len(found) == len(items) else ()

    def window(self) -> tuple[int, int]:
        """Window and pane in nanoseconds; one minute and one second stand in for broken ones."""
        fallback = (60_000_000_000, 1_000_000_000)
        over, given = self.node("over"), self.node("pane")
        over_ns = self.duration("over", 0)
        if over is None or not over_ns:
            return fallback
        pane_ns = self.duration("pane", 0) if given else default_pane_ns(over_ns)
        if pane_ns is None:
            self.report.error(
                over.place, "'over' must be a whole number of seconds", "or give a 'pane' that divides it"
            )
            return fallback
        if not pane_ns:
            return fallback
        if over_ns % pane_ns:
            message = (
                f"'over' must be a multiple of 'pane': {show_duration(over_ns)} is none of {show_duration(pane_ns)}"
            )
            self.report.error((given or over).place, message)
            return fallback
        if over_ns // pane_ns > MOST_PANES:
            self.report.error((given or over).place, f"more than {MOST_PANES} panes in a window", "use a longer 'pane'")
            return fallback
        return over_ns, pane_ns

    def duration(self, name: str, default: int) -> int:
        """A duration key; its default also when it is broken."""
        node, key = self.node(name), _KEYS[name]
        if node is None:
            return default
        return values.duration(node, name, key.low, key.high, self.report) or 0

    def whole(self, name: str, default: int) -> int:
        """A whole-number key; its default also when it is broken."""
        node, key = self.node(name), _KEYS[name]
        if node is None:
            return default
        found = values.whole(node, name, key.low, key.high, self.report)
        return default if found is None else found

    def where(self, kinds: tuple[str, ...]) -> RowFormula | None:
        """The stream's filter, checked for every kind."""
        node = self.node("where")
        tree = parse_node(node, "where", self.report) if node else None
        if node is None or tree is None:
            return None
        try:
            check_row(tree, kinds, self.lists, "filter")
        except ExpressionError as error:
            report_flaws(node, error, self.report)
            return None
        formula = RowFormula(tree, kinds, self.lists, "filter")
        for kind in kinds:
            if formula.constant_for(kind) is False:
                self.report.error(
                    node.place, f"'where' keeps out every event of kind '{kind}'", "drop the kind from 'on'"
                )
        return formula

    def measures(self, kinds: tuple[str, ...], over_ns: int, pane_ns: int) -> Measures:
        """All measures in order."""
        found = Measures(kinds, self.lists, over_ns, pane_ns)
        node = self.node("measure")
        table = values.table(node, "measure", self.report) if node else None
        for entry in table.entries if table else ():
            name = entry.key.text
            if not self.usable_name(entry.key, kinds):
                continue
            tree = parse_node(entry.value, name, self.report)
            if tree is not None:
                try:
                    found.add(name, tree)
                    continue
                except ExpressionError as error:
                    report_flaws(entry.value, error, self.report)
            found.poison(name)
        return found

    def usable_name(self, key: Scalar, kinds: tuple[str, ...]) -> bool:
        """Whether a measure may have this name."""
        name = key.text
        if not NAME.fullmatch(name) or len(name) > LONGEST_ID:
            self.report.error(key.place, f"bad name '{name[:80]}'", "small letters, digits and _, a letter first")
            return False
        if name in _RESERVED:
            self.report.error(key.place, f"'{name}' is a word of the language", "choose another name")
            return False
        if name in determined(kinds, ("conn", "peer_addr")):
            self.report.error(key.place, f"'{name}' is a field of the key", "choose another name")
            return False
        return True

    def verdict(self, name: str, measures: Measures) -> CellFormula | None:
        """`fire` or `clear`."""
        node = self.node(name)
        return self.verdict_of(node, name, measures) if node else None

    def verdict_of(self, node: Node, name: str, measures: Measures) -> CellFormula | None:
        """A deciding expression, with problems named after its key."""
        tree = parse_node(node, name, self.report)
        if tree is None:
            return None
        try:
            return measures.verdict(tree, name)
        except ExpressionError as error:
            report_flaws(node, error, self.report)
            return None

    def clear(self, fire: CellFormula | None, measures: Measures) -> CellFormula | None:
        """`clear`, which must not hold while `fire` does."""
        clear, node = self.verdict("clear", measures), self.node("clear")
        if fire is not None and clear is not None and node is not None and overlaps(fire.tree, clear.tree):
            hint = "leave a distance between them, as in fire: x > 100, clear: x < 20"
            self.report.error(node.place, "'clear' can hold while 'fire' does", hint)
        return clear

    def escalate(self, measures: Measures) -> tuple[tuple[Severity, CellExpression], ...]:
        """Higher severities, lowest first."""
        node, severity = self.node("escalate"), self.node("severity")
        table = values.table(node, "escalate", self.report) if node else None
        base = severity.text if isinstance(severity, Scalar) else ""
        found: list[tuple[Severity, CellExpression]] = []
        for entry in table.entries if table else ():
            level = values.choice(entry.key, "severity", SEVERITIES, self.report)
            if level and base in SEVERITIES and _rank(level) <= SEVERITIES.index(base):
                message = f"escalates to '{level}', which is not above the rule's severity '{base}'"
                self.report.error(entry.key.place, message)
            formula = self.verdict_of(entry.value, entry.key.text, measures)
            if level and formula:
                found.append((cast(Severity, level), formula))
        return tuple(sorted(found, key=lambda pair: _rank(pair[0])))

    def fields(self, name: str, kinds: tuple[str, ...], default: tuple[str, ...] | None) -> tuple[str, ...] | None:
        """A list of field names that all kinds have and that can make a key."""
        node = self.node(name)
        if node is None:
            return default
        found: list[str] = []
        shared = shared_fields(kinds)
        for item in values.scalars(node, name, "a list of fields", self.report):
            problem = self.field_problem(item, kinds)
            if not problem and item.text in found:
                problem = (f"field '{item.text}' is given twice", "")
            if not problem and shared[item.text] in ("bytes", "float"):
                problem = (f"'{item.text}' cannot be part of a key", "use a field of text, whole numbers or prefixes")
            if problem:
                self.report.error(item.place, *problem)
            else:
                found.append(item.text)
        return tuple(found)

    def field_problem(self, item: Scalar, kinds: tuple[str, ...]) -> tuple[str, str] | None:
        """Why a field cannot be used, with a hint."""
        name = item.text
        if name in ("node", "boot_ns", "kind", "source", "time_ns"):
            return f"'{name}' cannot be part of a key", "keys are always within one node"
        shared = shared_fields(kinds)
        if name in shared:
            return None
        if len(kinds) > 1 and any(name in field_types(kind) for kind in kinds):
            return f"field '{name}' is not in kind '{missing_in(kinds, name)}'", "a key needs a field of all kinds"
        return f"unknown field '{name[:80]}' of kind '{kinds[0]}'", did_you_mean(name, shared, "fields")

    def incident(self, kinds: tuple[str, ...], by: tuple[str, ...]) -> tuple[str, ...]:
        """Under which fields findings come together; each must follow from the key."""
        known = determined(kinds, by)
        default = [("netgroup" if name in _PERSONAL and "netgroup" in known else name) for name in by]
        given = self.fields("incident", kinds, None)
        node = self.node("incident")
        if given is None or node is None:
            return tuple(dict.fromkeys(default))
        for item in values.scalars(node, "incident", "a list of fields", Report()):
            if item.text in given and item.text not in known:
                hint = f"fields of the key: {', '.join(sorted(known))}" if known else "the key has no fields"
                self.report.error(item.place, f"'{item.text}' does not follow from the key", hint)
        return given

    def entities(self, kinds: tuple[str, ...]) -> tuple[str, ...]:
        """Fields that name who is involved."""
        default = ("peer_addr",) if "peer_addr" in shared_fields(kinds) else ()
        return self.fields("entities", kinds, default) or ()

    def summary(self, kinds: tuple[str, ...], by: tuple[str, ...], measures: Measures) -> str:
        """The sentence for people; the title when there is none."""
        node = self.node("summary") or self.node("title")
        if not isinstance(node, Scalar):
            return ""
        if self.node("summary") is None:
            return node.text.strip().replace("{", "(").replace("}", ")")
        given = self.node("by")
        whole = given is None or len(by) == len(values.scalars(given, "by", "", Report()))
        known = determined(kinds, by) if whole else shared_fields(kinds)  # a broken key is one mistake, not two
        try:
            check_summary(node.text, {*known, *measures.names()})
        except ExpressionError as error:
            report_flaws(node, error, self.report)
        return values.text(node, "summary", self.report)


def _rank(severity: str) -> int:
    return SEVERITIES.index(cast(Severity, severity))


def _kind_hint(name: str, known: list[str]) -> str:
    """A close kind, or the kinds of the same family."""
    family = [kind for kind in known if kind.startswith(name.split(":", maxsplit=1)[0] + ":")]
    return did_you_mean(name, family or known, "kinds" if family else "") or "see: watchdog events"
