"""Row expressions: the fields of one event, as closures over batch columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rules.canonical import Lists
from rules.catalogue import PSEUDO, field_types, possible_values, storage_type
from rules.functions import NUMERIC, count_arguments, numeric_call
from rules.impossible import (
    check_address,
    check_member_numbers,
    check_number,
    check_prefix,
    check_question,
    check_ranges,
)
from rules.syntax import Binary, Call, Expr, Literally, Member, Name
from rules.texts import TextIds, TextTest, is_text, list_test, pattern_test
from rules.tokens import ExpressionError
from rules.typed import WORDS, Typed, compare_numbers, compile_tree, constant, fail
from watchdog.core.batch import Batch, Strings
from watchdog.core.prefix import parse_prefix
from watchdog.located_yaml.suggest import did_you_mean

Row = Typed[Batch]

SOURCE_SCHEMES = frozenset({"capture", "events", "log", "recording", "rpc", "snapshots"})  # a name follows them
TEXT_FUNCTIONS = ("contains", "endswith", "has", "matches", "startswith")
PREFIX_FORMS = 'as in "136.43.0.0/16", "AS24940", "onion:5"'
_LARGEST = (1 << 63) - 1


def text_column(batch: Batch, name: str) -> Strings:
    """Return a text field of a batch, also one that the batch holds once for all rows."""
    if name == "node" and name not in batch.columns:  # findings have it in each row
        return Strings.constant(batch.node, batch.rows)
    if name == "source":
        return Strings.constant(batch.source, batch.rows)
    return batch.strings(name)


class RowScope:
    """Fields of one kind. kinds: all kinds of the rule, to check what `kind` is compared with."""

    def __init__(self, kind: str, kinds: Sequence[str], lists: Lists) -> None:
        self.kind = kind
        self.kinds = kinds
        self.lists = lists
        self.types = field_types(kind)

    def name(self, node: Name) -> Row:
        """Compile a field: whole numbers as int64, text by its dictionary."""
        name = node.name
        kind = self.types.get(name)
        if kind is None:
            raise self._unknown(node)
        if name == "kind":
            return Typed("text", lambda _: self.kind, self.kind, "kind")
        if name == "boot_ns":
            return Typed("int", lambda batch: batch.boot_ns)
        if kind == "text":
            identities = TextIds()
            return Typed("text", lambda batch: identities(text_column(batch, name)), None, name)
        if kind == "int":
            wide = name not in PSEUDO and storage_type(self.kind, name) == "u64"
            return Typed("int", _wide_integers(name) if wide else _integers(name), None, name)
        if kind == "bytes":
            raise fail(node, f"'{name}' is bytes, which rules cannot read", "use a field of text or numbers")
        return Typed(kind, lambda batch: batch.numbers(name), None, name)

    def _unknown(self, node: Name) -> ExpressionError:
        """Return the error for a field that the kind lacks."""
        if node.name in self.lists:
            return fail(node, f"'{node.name}' is a list, not a field", f"write 'field in {node.name}'")
        hint = _fields_hint(node.name, tuple(self.types), self.kind)
        return fail(node, f"unknown field '{node.name}' of kind '{self.kind}'", hint)

    def call(self, node: Call) -> Row:
        """Compile a function of numbers or of text."""
        if node.name in NUMERIC:
            return numeric_call(node, self)
        if node.name not in TEXT_FUNCTIONS:
            known = (*NUMERIC, *TEXT_FUNCTIONS)
            raise fail(node, f"unknown function '{node.name}'", did_you_mean(node.name, known, "functions"))
        if node.where is not None or node.options:
            raise fail(node, f"'{node.name}' takes two arguments and nothing else")
        count_arguments(node, 2)
        item = compile_tree(node.args[0], self)
        wanted = node.args[1]
        if item.type != "text":
            raise fail(node.args[0], f"expected text, found {WORDS[item.type]}")
        if not isinstance(wanted, Literally) or not isinstance(wanted.value, str):
            raise fail(wanted, f"'{node.name}' needs text in quotes")
        question = _text_question(node.name, wanted, wanted.value)
        if item.constant is None:
            literal = "" if node.name == "matches" else wanted.value
            check_question(wanted, item.field, literal, map(question, possible_values(self.kinds, item.field)))
        return _ask(item, question)

    def compare(self, node: Binary, left: Row, right: Row) -> Row:
        """Compile a comparison: of numbers, or the equality of texts or prefixes."""
        if "prefix" in (left.type, right.type) and {left.type, right.type} <= {"prefix", "text"}:
            return self._compare_prefix(node, left, right)
        if left.type != "text" or right.type != "text":
            if {left.field, right.field} & {"asn"} and "text" in (left.type, right.type):
                raise fail(node, "'asn' is a number", "write it without quotes and AS, as in asn == 24940")
            test = compare_numbers(node, left, right)
            check_number(node, self.kinds)
            return test
        if node.op not in ("==", "!="):
            raise fail(node, f"cannot order text by '{node.op}'")
        if left.constant is not None and right.constant is None:
            left, right = right, left
        if "kind" in (left.field, right.field):
            self._check_kind(node)
        wanted = right.constant
        equal: Row = Typed("bool", lambda batch: np.equal(left.run(batch), right.run(batch)))
        if isinstance(wanted, str):
            if left.constant is not None:
                return constant((left.constant == wanted) == (node.op == "=="))
            self._check_value(node.left if isinstance(node.left, Literally) else node.right, left.field, wanted)
            equal = _is(left.field, wanted)
        return equal if node.op == "==" else _negated(equal)

    def _check_kind(self, node: Binary) -> None:
        """Raise ExpressionError when `kind` is compared with a kind that the rule does not read."""
        for side in (node.left, node.right):
            if isinstance(side, Literally) and side.value not in self.kinds:
                hint = did_you_mean(str(side.value), self.kinds, "kinds")
                raise fail(side, f"kind '{side.value}' is not among the rule's kinds", hint)

    def _check_value(self, spot: Expr, name: str, value: str) -> None:
        """Raise ExpressionError when a field with a closed set of texts is compared with another text."""
        known = possible_values(self.kinds, name)
        if known and value not in known:
            raise fail(spot, f"'{name}' is never \"{value[:80]}\"", did_you_mean(value, known, "values"))
        if name == "source" and value in SOURCE_SCHEMES:
            raise fail(spot, f"'source' is never \"{value}\" alone", f'write startswith(source, "{value}:")')
        check_address(spot, name, value)

    def _compare_prefix(self, node: Binary, left: Row, right: Row) -> Row:
        """Compile `netgroup == "136.43.0.0/16"` or `netgroup != source_netgroup`."""
        if node.op not in ("==", "!="):
            raise fail(node, f"cannot order prefixes by '{node.op}'")
        runs = []
        for side, tree in ((left, node.left), (right, node.right)):
            if side.type == "text":
                if not isinstance(tree, Literally):
                    raise fail(tree, "cannot compare text with a prefix", "write the prefix in quotes")
                packed = np.uint64(_prefix(tree))
                check_prefix(tree, right.field if side is left else left.field, str(tree.value))
                runs.append(_always(packed))
            else:
                runs.append(side.run)
        a, b = runs
        equal: Row = Typed("bool", lambda batch: np.equal(a(batch), b(batch)))
        return equal if node.op == "==" else _negated(equal)

    def member(self, node: Member) -> Row:
        """Compile `x in [..]` or `x in list`."""
        item = compile_tree(node.item, self)
        test = self._member_of(node, item)
        return _negated(test) if node.negated else test

    def _member_of(self, node: Member, item: Row) -> Row:
        """Compile the test without its negation."""
        if isinstance(node.choices, Name):
            values: Sequence[Any] = self._list(node.choices)
            spots: Sequence[Expr] = [node.choices] * len(values)
        else:
            values, spots = [choice.value for choice in node.choices], node.choices
        if item.type in ("text", "prefix"):
            for value, spot in zip(values, spots, strict=True):
                if not isinstance(value, str):
                    raise fail(spot, f"expected text to compare with {WORDS[item.type]}, found {value}")
        if item.type == "prefix":
            if not isinstance(node.choices, Name):
                for choice in node.choices:
                    _prefix(choice)
                    check_prefix(choice, item.field, str(choice.value))
            packed = np.array([_prefix(spot, v) for v, spot in zip(values, spots, strict=True)], np.uint64)
            return Typed("bool", lambda batch: np.isin(item.run(batch), packed))
        if item.type == "text":
            return self._text_member(node, item, values)
        test = number_member(node, item, values, spots)
        check_member_numbers(node, self.kinds)
        return test

    def _text_member(self, node: Member, item: Row, values: Sequence[str]) -> Row:
        """Look text up in a list; addresses also in the ranges of a named list."""
        if item.field == "kind":
            for value in values:
                if value not in self.kinds:
                    hint = did_you_mean(value, self.kinds, "kinds")
                    raise fail(node, f"kind '{value}' is not among the rule's kinds", hint)
        if not isinstance(node.choices, Name):
            for choice in node.choices:
                if "/" not in str(choice.value):  # ranges are for lists
                    self._check_value(choice, item.field, str(choice.value))
        check_ranges(node, item.field, values)
        try:
            ask = list_test(values)
        except ValueError as error:
            raise fail(node, str(error)) from error
        ranged = getattr(ask, "__self__", None) is None
        if item.field == "peer" and ranged and values:
            raise fail(node.item, "'peer' carries a port and is never in a range", "use 'peer_addr'")
        return _ask(item, ask)

    def _list(self, name: Name) -> Sequence[Any]:
        """Return the named list; raises ExpressionError for an unknown one."""
        if name.name not in self.lists:
            hint = did_you_mean(name.name, self.lists, "lists") or "there are no lists; define it under 'lists'"
            if self.types.get(name.name) == "text":
                hint = f"'{name.name}' is a field; write has({name.name}, \"...\")"
            raise fail(name, f"unknown list '{name.name}'", hint)
        return self.lists[name.name]


@lru_cache(maxsize=1_024)  # each guard on `kind` asks for the other kinds, and drops the answer
def _fields_hint(name: str, fields: tuple[str, ...], kind: str) -> str:
    return did_you_mean(name, fields, "fields", f"watchdog events {kind}")


def number_member(node: Member, item: Typed[Any], values: Sequence[Any], spots: Sequence[Expr]) -> Typed[Any]:
    """Look numbers up in a list of numbers."""
    if item.type not in ("int", "float"):
        raise fail(node.item, f"expected text or a number before 'in', found {WORDS[item.type]}")
    for value, spot in zip(values, spots, strict=True):
        if isinstance(value, str):
            raise fail(spot, f'expected numbers to compare with, found "{value}"')
    wanted = np.array(values, np.float64 if item.type == "float" else None) if values else np.zeros(0)
    if item.constant is not None:
        return constant(item.constant in values)
    return Typed("bool", lambda env: np.isin(item.run(env), wanted))


def _integers(name: str) -> Callable[[Batch], NDArray[np.int64]]:
    return lambda batch: batch.numbers(name).astype(np.int64, copy=False)


def _wide_integers(name: str) -> Callable[[Batch], NDArray[np.int64]]:
    """Return a u64 column as int64; values above the largest int64 count as that."""
    return lambda batch: np.minimum(batch.numbers(name), np.uint64(_LARGEST)).astype(np.int64)


def _always(value: Any) -> Callable[[Batch], Any]:
    return lambda _: value


def _is(name: str, wanted: str) -> Row:
    return Typed("bool", lambda batch: is_text(text_column(batch, name), wanted))


def _negated(typed: Row) -> Row:
    if typed.constant is not None:
        return constant(not typed.constant)
    return Typed("bool", lambda batch: np.logical_not(typed.run(batch)))


def _ask(item: Row, ask: Callable[[str], bool]) -> Row:
    """Apply a test to a text column, or at once to a constant."""
    if isinstance(item.constant, str):
        return constant(ask(item.constant))
    name, test = item.field, TextTest(ask)
    return Typed("bool", lambda batch: test(text_column(batch, name)))


def _text_question(function: str, node: Literally, wanted: str) -> Callable[[str], bool]:
    """Return the test that a text function applies to each distinct string."""
    if function == "matches":
        try:
            return pattern_test(wanted)
        except ValueError as error:
            raise fail(node, str(error)) from error
    if function == "has":
        return lambda value: wanted in value.split(",")
    if function == "contains":
        return lambda value: wanted in value
    if function == "startswith":
        return lambda value: value.startswith(wanted)
    return lambda value: value.endswith(wanted)


def _prefix(node: Expr, value: object = None) -> int:
    """Return a written prefix as the columns hold it."""
    text = str(node.value if isinstance(node, Literally) else value)
    try:
        return parse_prefix(text)
    except ValueError:
        raise fail(node, f'not a prefix: "{text}"', PREFIX_FORMS) from None
