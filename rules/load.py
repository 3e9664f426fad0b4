"""Loading of rule files into a rule set: all files, all mistakes at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from rules.compile import compile_rule
from rules.digest import rule_hash, set_hash
from rules.evasion import require_answers
from rules.keys import LONGEST_ID, RULE_ID, RULE_KEY_NAMES, TOP_KEYS
from rules.maturity import check_successors
from rules.named_lists import NamedLists, read_lists, texts_of
from rules.overrides import Override, apply_override, read_overrides
from rules.rule import RuleSource
from rules.unused import unused_lists
from watchdog.core.own_rules import OWN_RULES
from watchdog.core.plan import RulePlan
from watchdog.located_yaml import values
from watchdog.located_yaml.problem import Location, Problem, Report, RuleSetError
from watchdog.located_yaml.reader import Node, Scalar, Table, read_file, read_yaml, source_text
from watchdog.located_yaml.suggest import did_you_mean

PACKS = Path(__file__).parent / "packs"


@dataclass(frozen=True, slots=True)
class RuleSet:
    """Compiled rules, ordered by id. lists: the named lists as text. warnings: problems that do not stop the set.
    sources: the rules as written, overrides applied. hash: of their behaviour, stable over formatting.
    """

    plans: tuple[RulePlan, ...]
    warnings: tuple[Problem, ...]
    lists: Mapping[str, tuple[str, ...]]
    sources: Mapping[str, RuleSource] = field(default_factory=dict)

    @property
    def hash(self) -> str:
        """Return the twelve hex digits of `set_hash`."""
        return set_hash(self.plans, self.lists)


def load(paths: Sequence[Path], *, packs: bool = True) -> RuleSet:
    """Read and compile rule files and folders (every *.yaml in them), after the shipped packs.

    Raises RuleSetError (a RuleError) with all problems of all files.
    """
    report = Report()
    rule_set = _load([*([PACKS] if packs else []), *paths], report)
    if report.problems:
        raise RuleSetError(report.ordered())
    return rule_set


def check(paths: Sequence[Path], *, packs: bool = True) -> list[Problem]:
    """Return all problems of these files, which may override rules of the packs; empty without problems."""
    report = Report()
    _load([*([PACKS] if packs else []), *paths], report)
    return list(report.ordered())


def load_text(text: str, name: str = "rules.yaml") -> RuleSet:
    """Load a rule set from one text, without packs; for tests and editors.

    Raises RuleSetError with all problems.
    """
    report = Report()
    reading = _Reading(report)
    reading.add(read_yaml(source_text(name, text), report))
    rule_set = reading.finish()
    if report.problems:
        raise RuleSetError(report.ordered())
    return rule_set


def _load(paths: Sequence[Path], report: Report) -> RuleSet:
    """Load all files in order; problems go to the report."""
    reading = _Reading(report)
    seen: set[Path] = set()
    packs: set[str] = set()
    for path in _files(paths, report):
        real = path.resolve()
        if real in seen:
            continue
        seen.add(real)
        shipped = real.parent == PACKS.resolve()  # named by their place in the tree, the same on every machine
        source = read_file(path, report, f"rules/packs/{path.name}" if shipped else str(path))
        if source is None or source.text in packs:  # a copy of a shipped pack, checked by an installed command
            continue
        if shipped:
            packs.add(source.text)
        reading.add(read_yaml(source, report), shipped=shipped)
    return reading.finish()


def _files(paths: Sequence[Path], report: Report) -> list[Path]:
    """Return the files named, and all *.yaml of the folders named, sorted."""
    files: list[Path] = []
    for path in paths:
        if not path.is_dir():
            files.append(path)
            continue
        try:
            inside = sorted(path.glob("*.yaml"))
        except OSError as error:
            report.unreadable(str(path), f"cannot read: {(error.strerror or 'failed').lower()}")
            continue
        if not inside and path != PACKS:
            report.unreadable(str(path), "no *.yaml file in this folder")
        files.extend(inside)
    return files


class _Reading:
    """The lists, rules and overrides read so far; they are compiled at the end, when all are known."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.lists: NamedLists = {}
        self.list_places: dict[str, Location] = {}
        self.rules: dict[str, RuleSource] = {}
        self.overrides: list[Override] = []

    def add(self, node: Node | None, *, shipped: bool = False) -> None:
        """Add the sections of one file, which may be empty. shipped: its rules must answer the questions on evasion."""
        if node is None:
            return
        table = values.table(node, "rule file", self.report)
        for entry in table.entries if table else ():
            name = entry.key.text
            if name not in TOP_KEYS:
                hint = did_you_mean(name, TOP_KEYS, "keys")
                self.report.error(entry.key.place, f"unknown key '{name[:80]}' at the top of the file", hint)
            elif isinstance(entry.value, Scalar) and entry.value.empty:
                continue
            elif name == "lists":
                read_lists(entry.value, self.lists, self.list_places, self.report)
            elif name == "rules":
                self._add_rules(entry.value, shipped=shipped)
            else:
                self.overrides += read_overrides(entry.value, self.report)

    def finish(self) -> RuleSet:
        """Compile all rules; called once, after the last file."""
        written = list(self.rules.values())
        self._apply_overrides()
        unused_lists(self.list_places, [*written, *self.rules.values()], self.report)
        plans = []
        for rule in self.rules.values():
            plan = compile_rule(rule, self.lists, self.report)
            if plan is not None:
                plans.append(plan)
        plans.sort(key=lambda plan: plan.id)
        check_successors(self.rules, plans, self.report)
        return RuleSet(tuple(plans), tuple(self.report.warnings), texts_of(self.lists), dict(self.rules))

    def _add_rules(self, node: Node, *, shipped: bool) -> None:
        """Add the rules of one file; ids are unique over all files."""
        table = values.table(node, "rules", self.report)
        for entry in table.entries if table else ():
            rule_id = entry.key.text
            if not RULE_ID.fullmatch(rule_id) or len(rule_id) > LONGEST_ID:
                hint = "small letters, digits and -, a letter first"
                self.report.error(entry.key.place, f"bad rule id '{rule_id[:80]}'", hint)
                continue
            if rule_id in OWN_RULES:
                self.report.error(
                    entry.key.place, f"rule id '{rule_id}' is taken by a built-in finding", "choose another"
                )
                continue
            if rule_id in self.rules:
                first = self.rules[rule_id].place
                message = f"rule '{rule_id}' is already defined in {first.source.name}:{first.line}"
                self.report.error(entry.key.place, message, "to change a rule, use 'overrides'")
                continue
            body = values.table(entry.value, rule_id, self.report)
            if body is not None:
                self._check_keys(rule_id, body)
                known = {each.key.text: each for each in body.entries if each.key.text in RULE_KEY_NAMES}
                self.rules[rule_id] = RuleSource(entry.key, known, entry.key.place)
                if shipped:
                    require_answers(self.rules[rule_id], self.report)

    def _check_keys(self, rule_id: str, body: Table) -> None:
        """Report unknown keys; they are never ignored."""
        for entry in body.entries:
            name = entry.key.text
            if name not in RULE_KEY_NAMES:
                self.report.error(
                    entry.key.place,
                    f"unknown key '{name[:80]}' in rule '{rule_id}'",
                    partial(did_you_mean, name, RULE_KEY_NAMES, "keys"),
                )

    def _apply_overrides(self) -> None:
        """Apply the overrides to the rules of all files, in the order in which they were read."""
        disabled: set[str] = set()
        for override in self.overrides:
            rule_id = override.id.text
            rule = self.rules.get(rule_id)
            if rule is None:
                hint = did_you_mean(rule_id, self.rules, "rules")
                self.report.error(override.id.place, f"override of unknown rule '{rule_id[:80]}'", hint)
                continue
            self._check_expected(rule, override)
            if override.enabled:
                self.rules[rule_id] = apply_override(rule, override)
            else:
                disabled.add(rule_id)
        self.rules = {rule_id: rule for rule_id, rule in self.rules.items() if rule_id not in disabled}

    def _check_expected(self, rule: RuleSource, override: Override) -> None:
        """Warn when the rule below an override has changed since the override was written."""
        if override.expects is None:
            return
        plan = compile_rule(rule, self.lists, Report())
        current = rule_hash(plan) if plan else "unknown"
        if current != override.expects.text:
            self.report.warn(
                override.expects.place,
                f"rule '{rule.id.text}' has changed: expected {override.expects.text[:40]}, found {current}",
                "compare it with your override, then write the new hash",
            )
