"""Checked rules as text: canonical JSON that another process compiles without YAML.

    {"format": ..., "version": 1, "hash": "...", "lists": {...}, "rules": [{"id": ..., "place": ..., "keys": {...}}]}

Compiled plans hold functions and cannot be pickled. The text holds the keys that they were compiled from, overrides
applied: each in one spelling, expressions word by word, tables whose order counts as pairs. `from_text` makes located
nodes of them and compiles these like a rule file: a text is checked as strictly as YAML, and needs no PyYAML.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NoReturn

from rules.keys import RULE_KEYS, RuleShape
from rules.load import RuleReading, RuleSet
from rules.rule import RuleSource
from rules.syntax import WORDS
from rules.tokens import Token, tokenize
from watchdog.core.declared import declaration_of, declare, declared
from watchdog.core.durations import exact_duration, parse_duration
from watchdog.core.errors import RuleError, WatchdogError
from watchdog.core.plan import RulePlan
from watchdog.located_yaml.nodes import Entry, Node, Scalar, Series, Table
from watchdog.located_yaml.problem import Location, Report, SourceText, plain
from watchdog.located_yaml.values import parse_integer

FORMAT: Final = "bitcoin-watchdog rules"
VERSION: Final = 1
LARGEST: Final = 1 << 22  # characters of a text; the shipped packs need 80,000
MOST_VALUES: Final = 200_000  # commas, brackets and braces; the shipped packs need 4,000
MOST_RULES: Final = 2_000
LONGEST_STRING: Final = 8192  # characters, but for values of lists; the longest is an expression (`rules/tokens.py`)
MOST_LINES: Final = 1 << 31  # of a file, in a place
TEXT_NAME: Final = "rules text"  # what errors call it

_SHAPES: Mapping[str, RuleShape] = {key.name: key.shape for key in RULE_KEYS}
_PAIRS: Final = ("measures", "escalations", "answers", "numbers")
_CLOSING: Final = frozenset(")],")
_OPENING: Final = frozenset("([")


def to_text(rules: RuleSet) -> str:
    """Return the rules as canonical JSON: equal rules at equal places give equal text.

    Raises RuleError when the text would be larger than `from_text` takes, or is not valid Unicode.
    """
    _check_count(rules.plans)
    if rules.exceptions:
        _refuse(f"exceptions do not travel as text; remove 'except' at {plain(rules.exceptions[0].place)}")
    content = {
        "format": FORMAT,
        "version": VERSION,
        "hash": rules.hash,
        "lists": {name: list(values) for name, values in rules.typed_lists.items()},
        "rules": [_written(plan, rules.sources[plan.id]) for plan in rules.plans],
    }
    if read := [one for one in declared() if any(one.kind_name in plan.kinds for plan in rules.plans)]:
        content["tracepoints"] = {one.kind_name: [list(each) for each in one.fields] for one in read}
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    _check_size(text)
    if not _encodable(text):
        _refuse("a value is not valid Unicode: remove the escape \\ud800 to \\udfff from the rules")
    return text


def from_text(text: str) -> RuleSet:
    """Compile the rules of a text that `to_text` made. The text may be hostile.

    Raises RuleError, in one line, for everything else: a text that is too large, is damaged, has another version, or
    holds rules that this release does not compile to the same behaviour.
    """
    content = _parsed(text)
    if content.get("format") != FORMAT:
        _refuse(f"not a text of rules: 'format' must be '{FORMAT}'")
    if content.get("version") != VERSION or isinstance(content["version"], bool):
        version = content.get("version")
        shown = str(version)[:40] if isinstance(version, int) else f"of type {type(version).__name__}"
        _refuse(f"version {shown}, this release reads {VERSION}: load the rules and write the text with this release")
    more = ("tracepoints",) if "tracepoints" in content else ()
    _check_names(content, ("format", "version", "hash", "lists", "rules", *more), "the text")
    _declare(content.get("tracepoints", {}))
    rules = _compiled(_lists(content["lists"]), _rules(content["rules"]))
    if content["hash"] != rules.hash:
        reason = "their behaviour differs from when they were written"
        _refuse(f"{reason}: load the rules and write the text with this release")
    return rules


def _declare(tracepoints: object) -> None:
    """Make the declared tracepoints known that the rules read. Raises RuleError."""
    for name, fields in _table(tracepoints, "'tracepoints'").items():
        label = f"tracepoint '{plain(name[:80])}'"
        pairs = [_array(one, f"a field of {label}") for one in _array(fields, label)]
        if any(len(pair) != 2 for pair in pairs):
            _refuse(f"a field of {label} must be its name and type")
        try:
            declare([declaration_of(name, [(_string(one, label), _string(typ, label)) for one, typ in pairs])])
        except WatchdogError as error:
            _refuse(f"{label}: {plain(str(error))}")


def _refuse(reason: str) -> NoReturn:
    raise RuleError(f"{TEXT_NAME}: {reason}")


# ---- writing


def _written(plan: RulePlan, source: RuleSource) -> dict[str, object]:
    keys = {name: _value(_SHAPES[name], entry.value) for name, entry in source.entries.items()}
    return {"id": plan.id, "place": plain(plan.place), "keys": keys}


def _value(shape: RuleShape, node: Node) -> object:
    """Return a checked value in its one spelling."""
    if isinstance(node, Table):
        inner: RuleShape = "text" if shape in ("answers", "numbers") else "expression"
        return [[entry.key.text, _value(inner, entry.value)] for entry in node.entries]
    if isinstance(node, Series) or shape in ("texts", "names", "kinds"):
        items = [node] if isinstance(node, Scalar) else node.items
        texts = [item.text.strip() for item in items if isinstance(item, Scalar)]
        return sorted(texts) if shape == "kinds" else texts
    if shape == "expression":
        return one_spelling(node.text)
    if shape == "duration":
        return exact_duration(parse_duration(node.text) or 0)
    return parse_integer(node.text) if shape == "whole" else node.text.strip()


def one_spelling(expression: str) -> str:
    """Return an expression with its words as written and its spaces normalised. Raises ExpressionError as `tokenize`.

    Words keep their order: hidden measures are numbered in it, and a checkpoint fits only equal numbers.
    """
    parts: list[str] = []
    before: Token | None = None
    for token in tokenize(expression)[:-1]:
        word = expression[token.start : token.end]
        if before is not None and not _joined(before, token):
            parts.append(" ")
        parts.append(word)
        before = token
    return "".join(parts)


def _joined(left: Token, right: Token) -> bool:
    """Return whether no space stands between two words."""
    if right.kind == "sign" and right.text in _CLOSING:
        return True
    if right.kind == "sign" and right.text == "(" and left.kind == "name":
        return left.text not in WORDS
    return left.kind == "sign" and left.text in _OPENING


# ---- reading


def _check_size(text: str) -> None:
    if len(text) > LARGEST:
        _refuse(f"larger than {LARGEST} characters: use fewer rules or shorter lists")
    if sum(map(text.count, ",[{")) > MOST_VALUES:
        _refuse(f"more than {MOST_VALUES} values: use fewer rules or shorter lists")


def _check_count(rules: Sequence[object]) -> None:
    if len(rules) > MOST_RULES:
        _refuse(f"more than {MOST_RULES} rules")


def _parsed(text: str) -> dict[str, Any]:
    """Return the object of a text, with bounds on its size; deeper values are of any JSON type."""
    if not isinstance(text, str):
        _refuse(f"must be a str, not {type(text).__name__}")
    _check_size(text)
    try:
        content = json.loads(text, object_pairs_hook=_distinct, parse_float=_no_fraction, parse_constant=_no_fraction)
    except json.JSONDecodeError as error:
        _refuse(f"not JSON: {error.msg.lower()} at character {error.pos}")
    except RecursionError:
        _refuse("nested too deep")
    except ValueError as error:  # Python's own bound on the digits of a number
        _refuse(f"not JSON: {plain(str(error))[:200].lower()}")
    if not isinstance(content, dict):
        _refuse("must be a JSON object")
    return content


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            _refuse(f"name '{plain(name[:80])}' is given twice in an object")
        found[name] = value
    return found


def _no_fraction(number: str) -> NoReturn:
    _refuse(f"number {plain(number[:40])} is not whole")


def _check_names(table: Mapping[str, object], wanted: Sequence[str], where: str) -> None:
    missing = [name for name in wanted if name not in table]
    unknown = [name for name in table if name not in wanted]
    if missing:
        _refuse(f"{where} lacks '{missing[0]}'")
    if unknown:
        _refuse(f"{where} has an unknown name '{plain(unknown[0][:80])}'")


def _table(value: object, where: str) -> dict[str, object]:
    return value if isinstance(value, dict) else _refuse(f"{where} must be an object")


def _array(value: object, where: str) -> list[object]:
    return value if isinstance(value, list) else _refuse(f"{where} must be an array")


def _string(value: object, where: str, longest: int = LONGEST_STRING) -> str:
    """Return a string of at most `longest` characters, without halves of surrogate pairs."""
    if not isinstance(value, str):
        _refuse(f"{where} must be a string")
    if len(value) > longest:
        _refuse(f"{where} is longer than {longest} characters")
    if not _encodable(value):
        _refuse(f"{where} is not valid Unicode")
    return value


def _encodable(text: str) -> bool:
    """Return whether a text has no half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _lists(value: object) -> Table:
    """Return the node of the named lists."""
    where = Location(SourceText(f"{TEXT_NAME}, lists"))
    found = []
    for name, items in _table(value, "'lists'").items():
        label = f"list '{plain(name[:80])}'"
        nodes = [_list_item(item, label, where) for item in _array(items, label)]
        found.append(Entry(_scalar(_string(name, label), where), Series(tuple(nodes), where)))
    return Table(tuple(found), where)


def _list_item(item: object, label: str, where: Location) -> Scalar:
    if isinstance(item, int) and not isinstance(item, bool):
        return Scalar(str(item), where, plain=True, start=0, end=0)
    return _scalar(_string(item, f"a value of {label}", LARGEST), where)


def _rules(value: object) -> Table:
    """Return the node of all rules."""
    found, seen, rules = [], set(), _array(value, "'rules'")
    _check_count(rules)
    for number, each in enumerate(rules):
        rule = _table(each, f"rule number {number}")
        _check_names(rule, ("id", "keys", "place"), f"rule number {number}")
        name = _string(rule["id"], f"'id' of rule number {number}")
        label = f"rule '{plain(name[:80])}'"
        if name in seen:
            _refuse(f"{label} is given twice")
        seen.add(name)
        place = _place(rule["place"], label)
        keys = _table(rule["keys"], f"'keys' of {label}").items()
        entries = [Entry(_scalar(_string(key, label), place), _node(key, item, label, place)) for key, item in keys]
        found.append(Entry(_scalar(name, place), Table(tuple(entries), place)))
    return Table(tuple(found), Location(SourceText(TEXT_NAME)))


def _place(value: object, label: str) -> Location:
    """Return the place of a rule, written as `file:line`."""
    name, _, line = _string(value, f"'place' of {label}").rpartition(":")
    if not (line.isascii() and line.isdigit() and len(line) < 11 and 0 < int(line) < MOST_LINES):
        _refuse(f"'place' of {label} is not of the form file:line")
    return Location(SourceText(name), int(line))


def _node(key: str, value: object, label: str, place: Location) -> Node:
    """Return the node of a key's value; what the key asks for is checked when it is compiled."""
    where = f"'{plain(key[:80])}' of {label}"
    if _SHAPES.get(key) in _PAIRS:
        return Table(tuple(_pairs(value, where, place)), place)
    if isinstance(value, list):
        return Series(tuple(_scalar(_string(item, f"a value of {where}"), place) for item in value), place)
    if isinstance(value, int) and not isinstance(value, bool):
        return Scalar(str(value), place, plain=True, start=0, end=0)
    return _scalar(_string(value, where), place)


def _pairs(value: object, where: str, place: Location) -> Iterable[Entry]:
    """Yield the entries of a table that is written as pairs."""
    seen = set()
    for pair in _array(value, where):
        if not isinstance(pair, list) or len(pair) != 2:
            _refuse(f"{where} must be an array of pairs")
        name = _string(pair[0], f"a name of {where}")
        if name in seen:
            _refuse(f"name '{plain(name[:80])}' is given twice in {where}")
        seen.add(name)
        yield Entry(_scalar(name, place), _scalar(_string(pair[1], f"'{plain(name[:80])}' of {where}"), place))


def _scalar(text: str, place: Location) -> Scalar:
    return Scalar(text, place, plain=False, start=0, end=0)


def _compiled(lists: Table, rules: Table) -> RuleSet:
    """Compile the nodes as those of one rule file; the first mistake becomes the one line."""
    report = Report()
    reading = RuleReading(report)
    sections = [("lists", lists), ("rules", rules)]
    reading.add(Table(tuple(Entry(_scalar(name, node.place), node) for name, node in sections), lists.place))
    compiled = reading.finish()
    if report.problems:
        first, more = report.problems[0], len(report.problems) + report.dropped - 1
        hint = f"; {first.hint}" if first.hint else ""
        rest = f" (and {more} more)" if more else ""
        _refuse(plain(f"{first.place.source.name}:{first.place.line}: {first.message}{hint}{rest}"))
    return compiled
