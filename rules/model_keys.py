"""`model: river.MODULE.CLASS` of a rule with the keys beside it, and what a rule with a detector of river must say."""

from __future__ import annotations

import math
import re
from typing import Final, NamedTuple

from rules.deciding import Verdicts, read_verdicts
from rules.measures import Measures
from rules.rule import RuleKeys
from watchdog.core.durations import MINUTE_NS
from watchdog.core.plan import SCORE, ModelPlan
from watchdog.core.river_classes import MODULES, class_names, refused, wants_one
from watchdog.located_yaml import values
from watchdog.located_yaml.nodes import Entry, Node, Scalar
from watchdog.located_yaml.suggest import did_you_mean

BESIDE: Final = ("memory", "features", "parameters", "limits")  # keys that mean nothing without a model
MOST_KEYS: Final = 64  # of a rule: each has a detector, an object of Python
MOST_FEATURES: Final = 64
_PATH: Final = re.compile(r"river\.([a-z_]{1,40})\.([A-Za-z_][A-Za-z0-9_]{0,60})")
_NUMBER: Final = re.compile(r"[+-]?[0-9][0-9_]{0,15}(\.[0-9]{1,16})?(e[+-]?[0-9]{1,3})?")
_RANGE: Final = re.compile(r"(\S+) to (\S+)")


def read_decisions(keys: RuleKeys, measures: Measures) -> Verdicts:
    """Read the model of a rule into its measures, and all deciding expressions; they may use the model's score."""
    measures.model = _model(keys, measures, measures.pane_ns) if measures.kinds else None
    verdicts = read_verdicts(keys, measures)
    _check_river(keys, measures, verdicts)
    return verdicts


def _model(keys: RuleKeys, measures: Measures, pane_ns: int) -> ModelPlan | None:
    """Read the model of a rule, and let its deciding expressions use the score; None without one, or a broken one."""
    node, report = keys.node("model"), keys.report
    if node is None:
        for name in BESIDE:
            if (beside := keys.rule.entries.get(name)) is not None:
                report.error(beside.key.place, f"'{name}' means nothing without 'model'", "as in river.drift.ADWIN")
        return None
    if SCORE in measures.types:
        report.error(node.place, f"'{SCORE}' is what the model gives", "choose another name for the measure")
        return None
    measures.verdicts[SCORE] = "float"
    path = _path(keys, node)
    if "memory" not in keys.rule.entries:
        hint = "the samples that each key keeps, which a restart feeds to a fresh model: memory: 2000"
        report.error(node.place, "a rule with 'model' lacks 'memory'", hint)
    features = _features(keys, measures)
    if pane_ns < MINUTE_NS:
        place = keys.rule.entries["pane"].value.place if "pane" in keys.rule.entries else node.place
        report.error(place, "a model scores once a pane, and a pane of it is 1m at least", "write pane: 1m")
    plan = ModelPlan(
        model=path,
        features=features,
        parameters=tuple(sorted(_numbers(keys, "parameters").items())),
        limits=tuple(_limits(keys, features)),
        memory=keys.whole("memory", 0),
        step_ns=pane_ns,
    )
    if not path or not features or not plan.memory:
        return None
    if wants_one(plan) and len(features) != 1:
        report.error(node.place, f"'{path}' watches one series, found {len(features)}", "name one under 'features'")
        return None
    return plan if _fits(keys, node, plan) else None


def _check_river(keys: RuleKeys, measures: Measures, verdicts: Verdicts) -> None:
    """Report what a rule with `changed` or a model may not be."""
    report, rule = keys.report, keys.rule.id
    if measures.drifts:
        node = keys.node("severity")
        if node is not None and keys.choice("severity", "info") != "info":
            hint = "severity: info; a normal that has moved is no attack, and anomalous() is for alarms"
            report.error(node.place, "a rule with changed() reports at severity info only", hint)
        if (raised := keys.rule.entries.get("escalate")) is not None:
            report.error(raised.key.place, "a rule with changed() cannot escalate", "remove 'escalate'")
        if (lasting := keys.node("for")) is not None and keys.duration("for", 0):
            report.error(lasting.place, "changed() is true in one pane, so 'for' keeps it silent", "remove 'for'")
    model = keys.node("model")
    if model is not None and (measures.baselines or measures.comparisons or measures.drifts):
        report.error(model.place, "a rule with 'model' has no other detector", "write a rule of its own for each")
    if model is not None and verdicts.fire is not None:
        deciding = (verdicts.fire, *(formula for _, formula in verdicts.escalate))
        if not any(SCORE in formula.names for formula in deciding):
            report.error(model.place, f"nothing asks for the '{SCORE}' of the model", f"as in fire: {SCORE} > 0.95")
    if (model is not None or measures.drifts) and measures.by:
        most = keys.node("max_keys")
        if most is None or keys.whole("max_keys", MOST_KEYS) > MOST_KEYS:
            hint = f"max_keys: {MOST_KEYS} or less, and a key that peers cannot invent, such as [network] or [type]"
            place = rule.place if most is None else most.place
            report.error(place, "a detector of river is an object for each key, so keys are few", hint)


def _path(keys: RuleKeys, node: Node) -> str:
    """Return the path of a class; empty, with a problem, for one that cannot be used."""
    text = keys.text("model")
    found = _PATH.fullmatch(text)
    if text and (found is None or found[1] not in MODULES):
        hint = f"river.MODULE.CLASS, where MODULE is {' or '.join(MODULES)}"
        keys.report.error(node.place, f"'{text[:80]}' is no model", hint)
        return ""
    known = class_names(found[1]) if found else []
    if found and known and found[2] not in known:
        hint = did_you_mean(found[2], known, "classes")
        keys.report.error(node.place, f"river.{found[1]} has no class '{found[2]}'", hint)
        return ""
    return text


def _features(keys: RuleKeys, measures: Measures) -> tuple[str, ...]:
    """Return the names of the model's features: those that are given, else all measures that are numbers."""
    numbers = tuple(name for name, kind in measures.types.items() if kind != "bool" and not name.startswith("__"))
    node = keys.node("features")
    if node is None:
        given: tuple[str, ...] = numbers
    else:
        items = values.scalars(node, "features", "a list of measures", keys.report)
        for item in items:
            if item.text not in numbers:
                hint = did_you_mean(item.text, numbers, "measures that are numbers")
                keys.report.error(item.place, f"'{item.text[:80]}' is no feature", hint)
        if any(item.text not in numbers for item in items):
            return ()
        given = tuple(dict.fromkeys(item.text for item in items))
    if not given or len(given) > MOST_FEATURES:
        place = node.place if node else keys.rule.id.place
        keys.report.error(place, f"a model takes 1 to {MOST_FEATURES} features, found {len(given)}", "name measures")
        return ()
    return given


def _numbers(keys: RuleKeys, name: str) -> dict[str, int | float]:
    """Return a table of names with plain numbers."""
    found: dict[str, int | float] = {}
    for entry in _entries(keys, name):
        text = entry.value.text.strip() if isinstance(entry.value, Scalar) else ""
        number = _number(text)
        if number is None:
            keys.report.error(entry.value.place, f"'{entry.key.text[:80]}' must be a plain number", "as in 25 or 0.5")
        else:
            found[entry.key.text] = number
    return found


class _Limit(NamedTuple):
    feature: str
    low: float
    high: float


def _limits(keys: RuleKeys, features: tuple[str, ...]) -> list[_Limit]:
    """Return the range of each feature, as `LOW to HIGH`."""
    found = []
    for entry in _entries(keys, "limits"):
        name, text = entry.key.text, entry.value.text.strip() if isinstance(entry.value, Scalar) else ""
        if name not in features:
            hint = did_you_mean(name, features, "features")
            keys.report.error(entry.key.place, f"'{name[:80]}' is no feature", hint)
            continue
        parts = _RANGE.fullmatch(text)
        low, high = (_number(parts[1]), _number(parts[2])) if parts else (None, None)
        if low is None or high is None or low >= high:
            keys.report.error(entry.value.place, f"the limits of '{name}' are no range", "as in 0 to 100")
        else:
            found.append(_Limit(name, float(low), float(high)))
    return sorted(found)


def _entries(keys: RuleKeys, name: str) -> tuple[Entry, ...]:
    node = keys.node(name)
    table = values.table(node, name, keys.report) if node else None
    return table.entries if table else ()


def _number(text: str) -> int | float | None:
    """Return a plain number, whole where it is written so; None for anything else."""
    if not _NUMBER.fullmatch(text):
        return None
    whole = values.parse_integer(text)
    number = float(text.replace("_", "")) if whole is None else whole
    return number if math.isfinite(number) else None


def _fits(keys: RuleKeys, node: Node, plan: ModelPlan) -> bool:
    """Return whether the class takes these parameters; a problem otherwise. Without river nothing is known."""
    wrong = refused(plan)
    if wrong is None:
        return True
    table = keys.node("parameters")
    entries = () if table is None or isinstance(table, Scalar) else _entries(keys, "parameters")
    place = next((entry.key.place for entry in entries if entry.key.text == wrong.about), node.place)
    hint = wrong.hint
    if wrong.about and wrong.known:
        hint = did_you_mean(wrong.about, wrong.known, "parameters")
    keys.report.error(place, wrong.message, hint)
    return False
