"""Loading of rule files into a rule set: all files, all mistakes at once.

Only reading YAML needs a library, imported when a file is read: a program that takes rules as text
(`rules/portable.py`) imports this module without it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from rules.canonical import Lists
from rules.compile import compile_rule
from rules.digest import rule_hash, set_hash
from rules.evasion import require_answers
from rules.exceptions import KEY as EXCEPT
from rules.exceptions import ExceptionSource, RuleException, apply_exceptions, read_exceptions
from rules.keys import LONGEST_ID, RULE_ID, RULE_KEY_NAMES, TOP_KEYS
from rules.maturity import check_successors
from rules.named_lists import NamedLists, read_lists, texts_of
from rules.overrides import Override, apply_override, overridden, read_overrides
from rules.pack_budget import KEY, split_budget
from rules.rule import RuleSource
from rules.second_stage import check_feeders
from rules.unused import unused_lists
from watchdog.core.declared import Declaration
from watchdog.core.errors import RuleError
from watchdog.core.own_rules import OWN_RULES
from watchdog.core.plan import RulePlan
from watchdog.located_yaml import values
from watchdog.located_yaml.nodes import Node, Scalar, Table
from watchdog.located_yaml.problem import Location, Problem, Report, RuleSetError
from watchdog.located_yaml.suggest import did_you_mean
from watchdog.located_yaml.tracepoints import read_tracepoints

PACKS = Path(__file__).parent / "packs"
OPTIONAL_PACKS = PACKS / "optional"
DEFAULT_PACK = "default"
"""Names all packs in `PACKS` together; a pack in `OPTIONAL_PACKS` has the name of its file, and is off unless named."""
PacksChoice = bool | Sequence[str]
"""Which shipped packs are read: their names; True for the default ones, False for none."""


@dataclass(frozen=True, slots=True)
class RuleSet:
    """Compiled rules, ordered by id. lists: the named lists as text. warnings: problems that do not stop the set.
    sources: the rules as written, overrides applied. hash: of their behaviour, stable over formatting. typed_lists: the
    named lists, numbers as numbers. tracepoints: those that the files declare. overridden: `ID: KEY, KEY` for each rule
    that an override changes, `ID: off` for one that it switches off; sorted. exceptions: part of the plans.
    """

    plans: tuple[RulePlan, ...]
    warnings: tuple[Problem, ...]
    lists: Mapping[str, tuple[str, ...]]
    sources: Mapping[str, RuleSource] = field(default_factory=dict)
    typed_lists: Lists = field(default_factory=dict)
    tracepoints: tuple[Declaration, ...] = ()
    overridden: tuple[str, ...] = ()
    exceptions: tuple[RuleException, ...] = ()

    @property
    def hash(self) -> str:
        """Return the twelve hex digits of `set_hash`."""
        return set_hash(self.plans, self.lists)


def pack_names() -> tuple[str, ...]:
    """Return the names of all shipped packs, the default one first."""
    return DEFAULT_PACK, *sorted(path.stem for path in OPTIONAL_PACKS.glob("*.yaml"))


def _chosen(packs: PacksChoice) -> list[Path]:
    """Return the files and folders of packs. RuleError: there is no such pack."""
    names = ([DEFAULT_PACK] if packs else []) if isinstance(packs, bool) else list(dict.fromkeys(packs))
    unknown = [name for name in names if name not in pack_names()]
    if unknown:
        raise RuleError(f"no pack '{unknown[0][:80]}'; there are: {', '.join(pack_names())}")
    return [PACKS if name == DEFAULT_PACK else OPTIONAL_PACKS / f"{name}.yaml" for name in names]


def load(paths: Sequence[Path], *, packs: PacksChoice = True, exceptions: Sequence[ExceptionSource] = ()) -> RuleSet:
    """Read and compile rule files and folders (every *.yaml in them), after the shipped packs.

    exceptions: those of a configuration, beside those of the files.
    Raises RuleSetError (a RuleError) with all problems of all files.
    """
    report = Report()
    rule_set = _load([*_chosen(packs), *paths], report, exceptions)
    if report.problems:
        raise RuleSetError(report.ordered())
    return rule_set


def check(paths: Sequence[Path], *, packs: PacksChoice = True) -> list[Problem]:
    """Return all problems of these files, which may override rules of the packs; empty without problems."""
    report = Report()
    _load([*_chosen(packs), *paths], report)
    return list(report.ordered())


def load_text(text: str, name: str = "rules.yaml") -> RuleSet:
    """Load a rule set from one text, without packs; for tests and editors.

    Raises RuleSetError with all problems.
    """
    from watchdog.located_yaml.reader import read_yaml, source_text  # noqa: PLC0415 - it loads PyYAML

    report = Report()
    reading = RuleReading(report)
    reading.add(read_yaml(source_text(name, text), report))
    rule_set = reading.finish()
    if report.problems:
        raise RuleSetError(report.ordered())
    return rule_set


def _load(paths: Sequence[Path], report: Report, exceptions: Sequence[ExceptionSource] = ()) -> RuleSet:
    """Load all files in order; problems go to the report."""
    from watchdog.located_yaml.reader import read_file, read_yaml  # noqa: PLC0415 - it loads PyYAML

    reading = RuleReading(report)
    reading.exceptions += exceptions
    seen: set[Path] = set()
    packs: set[str] = set()
    for path in _files(paths, report):
        real = path.resolve()
        if real in seen:
            continue
        seen.add(real)
        shipped = _shipped_as(real)  # named by their place in the tree, the same on every machine
        source = read_file(path, report, shipped or str(path))
        if source is None or source.text in packs:  # a copy of a shipped pack, checked by an installed command
            continue
        if shipped:
            packs.add(source.text)
        known = len(report.problems) + report.dropped
        node = read_yaml(source, report)
        if node is None and len(report.problems) + report.dropped == known:
            report.warn(Location(source), "nothing in this file: no rules, lists or overrides")
        reading.add(node, shipped=bool(shipped))
    return reading.finish()


def _shipped_as(real: Path) -> str:
    """Return how a file of a shipped pack is named to people, "" for any other file."""
    for folder, name in ((PACKS, "rules/packs"), (OPTIONAL_PACKS, "rules/packs/optional")):
        if real.parent == folder.resolve():
            return f"{name}/{real.name}"
    return ""


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


class RuleReading:
    """The lists, rules and overrides read so far; they are compiled at the end, when all are known."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.lists: NamedLists = {}
        self.list_places: dict[str, Location] = {}
        self.rules: dict[str, RuleSource] = {}
        self.overrides: list[Override] = []
        self.tracepoints: list[Declaration] = []
        self.exceptions: list[ExceptionSource] = []

    def add(self, node: Node | None, *, shipped: bool = False) -> None:
        """Add the sections of one file, which may be empty. shipped: its rules must answer the questions on evasion."""
        if node is None:
            return
        table = values.table(node, "rule file", self.report)
        before, budget = set(self.rules), None
        for entry in table.entries if table else ():
            name = entry.key.text
            if name not in TOP_KEYS:
                hint = did_you_mean(name, TOP_KEYS, "keys")
                self.report.error(entry.key.place, f"unknown key '{name[:80]}' at the top of the file", hint)
            elif isinstance(entry.value, Scalar) and entry.value.empty:
                continue
            elif name == "lists":
                read_lists(entry.value, self.lists, self.list_places, self.report)
            elif name == "tracepoints":
                self.tracepoints += read_tracepoints(entry.value, self.report)
            elif name == "rules":
                self._add_rules(entry.value, shipped=shipped)
            elif name == EXCEPT:
                self.exceptions += read_exceptions(entry.value, self.report)
            elif name == KEY:
                budget = entry
            else:
                self.overrides += read_overrides(entry.value, self.report)
        if budget is not None:
            own = {rule_id: rule for rule_id, rule in self.rules.items() if rule_id not in before}
            self.rules |= split_budget(budget, own, self.report)

    def finish(self) -> RuleSet:
        """Compile all rules; called once, after the last file."""
        written = list(self.rules.values())
        self._apply_overrides()
        used = {name for one in self.exceptions for name in one.lists}
        places = {name: place for name, place in self.list_places.items() if name not in used}
        unused_lists(places, [*written, *self.rules.values()], self.report)
        plans = []
        for rule in self.rules.values():
            plan = compile_rule(rule, self.lists, self.report)
            if plan is not None:
                plans.append(plan)
        plans.sort(key=lambda plan: plan.id)
        check_successors(self.rules, plans, self.report)
        check_feeders(self.rules, plans, self.report)
        plans, exceptions = apply_exceptions(plans, self.exceptions, self.lists, self.report)
        return RuleSet(
            tuple(plans),
            tuple(self.report.warnings),
            texts_of(self.lists),
            dict(self.rules),
            dict(self.lists),
            tuple(self.tracepoints),
            overridden(self.overrides),
            exceptions,
        )

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
