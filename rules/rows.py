"""Row expressions: over the fields of one event, compiled to closures over batch columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rules.canonical import Lists, canonical, conjuncts
from rules.catalogue import PSEUDO, field_types, possible_values, shared_fields, storage_type
from rules.functions import NUMERIC, count_arguments, numeric_call
from rules.near import did_you_mean
from rules.syntax import Binary, Call, Expr, Literally, Logic, Member, Name
from rules.texts import TextIds, TextTest, is_text, list_test, pattern_test
from rules.tokens import ExpressionError, Flaw
from rules.typed import WORDS, Typed, compare_numbers, compile_tree, constant, fail, number, truth
from watchdog.core.batch import Batch, Strings
from watchdog.core.prefix import parse_prefix

Row = Typed[Batch]
Use = Literal["filter", "number", "amount", "identity"]
MOST = 1 << 42  # of one event in a sum: two million events of it stay within 64 bits, and 48 days in microseconds

TEXT_FUNCTIONS = ("contains", "endswith", "has", "matches", "startswith")
PREFIX_FORMS = 'as in "136.43.0.0/16", "AS24940", "onion:5"'
_LARGEST = (1 << 63) - 1


def text_column(batch: Batch, name: str) -> Strings:
    """A text field of a batch, also those that the batch holds once for all rows."""
    if name == "node":
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
        """A field as a column: whole numbers as int64, text by its dictionary."""
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
        """The error for a field that the kind lacks."""
        if node.name in self.lists:
            return fail(node, f"'{node.name}' is a list, not a field", f"write 'field in {node.name}'")
        hint = did_you_mean(node.name, self.types, "fields", f"watchdog events {self.kind}")
        return fail(node, f"unknown field '{node.name}' of kind '{self.kind}'", hint)

    def call(self, node: Call) -> Row:
        """Functions of numbers and of text."""
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
        return _ask(item, _text_question(node.name, wanted, wanted.value))

    def compare(self, node: Binary, left: Row, right: Row) -> Row:
        """Comparisons: numbers as such, text and prefixes for equality."""
        if "prefix" in (left.type, right.type) and {left.type, right.type} <= {"prefix", "text"}:
            return self._compare_prefix(node, left, right)
        if left.type != "text" or right.type != "text":
            return compare_numbers(node, left, right)
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
        """`kind` can only be what the rule reads."""
        for side in (node.left, node.right):
            if isinstance(side, Literally) and side.value not in self.kinds:
                hint = did_you_mean(str(side.value), self.kinds, "kinds")
                raise fail(side, f"kind '{side.value}' is not among the rule's kinds", hint)

    def _check_value(self, spot: Expr, name: str, value: str) -> None:
        """A field of a closed set is never anything else."""
        known = possible_values(self.kinds, name)
        if known and value not in known:
            raise fail(spot, f"'{name}' is never \"{value[:80]}\"", did_you_mean(value, known, "values"))

    def _compare_prefix(self, node: Binary, left: Row, right: Row) -> Row:
        """`netgroup == "136.43.0.0/16"`, `netgroup != source_netgroup`."""
        if node.op not in ("==", "!="):
            raise fail(node, f"cannot order prefixes by '{node.op}'")
        runs = []
        for side, tree in ((left, node.left), (right, node.right)):
            if side.type == "text":
                if not isinstance(tree, Literally):
                    raise fail(tree, "cannot compare text with a prefix", "write the prefix in quotes")
                packed = np.uint64(_prefix(tree))
                runs.append(_always(packed))
            else:
                runs.append(side.run)
        a, b = runs
        equal: Row = Typed("bool", lambda batch: np.equal(a(batch), b(batch)))
        return equal if node.op == "==" else _negated(equal)

    def member(self, node: Member) -> Row:
        """`x in [..]` and `x in list`."""
        item = compile_tree(node.item, self)
        found = self._member_of(node, item)
        return _negated(found) if node.negated else found

    def _member_of(self, node: Member, item: Row) -> Row:
        """The test without its negation."""
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
            packed = np.array([_prefix(spot, v) for v, spot in zip(values, spots, strict=True)], np.uint64)
            return Typed("bool", lambda batch: np.isin(item.run(batch), packed))
        if item.type == "text":
            return self._text_member(node, item, values)
        return number_member(node, item, values, spots)

    def _text_member(self, node: Member, item: Row, values: Sequence[str]) -> Row:
        """Text against a list; addresses against its ranges when the list is a named one."""
        if item.field == "kind":
            for value in values:
                if value not in self.kinds:
                    hint = did_you_mean(value, self.kinds, "kinds")
                    raise fail(node, f"kind '{value}' is not among the rule's kinds", hint)
        if not isinstance(node.choices, Name):
            for choice in node.choices:
                self._check_value(choice, item.field, str(choice.value))
        try:
            ask = list_test(values)
        except ValueError as error:
            raise fail(node, str(error)) from error
        ranged = getattr(ask, "__self__", None) is None
        if item.field == "peer" and ranged and values:
            raise fail(node.item, "'peer' carries a port and is never in a range", "use 'peer_addr'")
        return _ask(item, ask)

    def _list(self, name: Name) -> Sequence[Any]:
        """The named list."""
        if name.name not in self.lists:
            hint = did_you_mean(name.name, self.lists, "lists") or "there are no lists; define it under 'lists'"
            if self.types.get(name.name) == "text":
                hint = f"'{name.name}' is a field; write has({name.name}, \"...\")"
            raise fail(name, f"unknown list '{name.name}'", hint)
        return self.lists[name.name]


def number_member(node: Member, item: Typed[Any], values: Sequence[Any], spots: Sequence[Expr]) -> Typed[Any]:
    """Numbers against a list of numbers."""
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
    """u64 columns; values above the largest int64 count as that."""
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
    """A question to a text column, or to a constant at once."""
    if isinstance(item.constant, str):
        return constant(ask(item.constant))
    name, test = item.field, TextTest(ask)
    return Typed("bool", lambda batch: test(text_column(batch, name)))


def _text_question(function: str, node: Literally, wanted: str) -> Callable[[str], bool]:
    """The question that a text function asks of each distinct string."""
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
    """A written prefix as the columns hold it."""
    text = str(node.value if isinstance(node, Literally) else value)
    try:
        return parse_prefix(text)
    except ValueError:
        raise fail(node, f'not a prefix: "{text}"', PREFIX_FORMS) from None


class RowFormula:
    """A checked row expression of a rule: `watchdog.core.plan.RowExpression`.

    use: `filter` gives bool; `number` gives int64, `amount` such of at most MOST; `identity` gives
    int64 that are equal exactly when the values are (text by a 64-bit hash). Works on a batch of any
    kind: it is compiled for a kind when first called. Where a filter that goes with it is false for the
    whole kind, columns that the kind lacks count as 0.
    """

    __slots__ = ("_divides", "_dtype", "_kinds", "_lists", "_runs", "_tree", "equals", "text", "use")

    def __init__(self, tree: Expr, kinds: Sequence[str], lists: Lists, use: Use) -> None:
        self._tree = tree
        self._kinds = tuple(kinds)
        self._lists = lists
        self._runs: dict[str, Callable[[Batch], Any]] = {}
        self.use = use
        text = canonical(tree, lists)
        # identities of wide numbers and of text are other values than the numbers: equal text, equal meaning
        self.text = f"identity({text})" if use == "identity" else text
        self._divides = "/" in self.text  # only then can floats overflow; the guard costs as much as a small batch
        self._dtype = np.dtype(np.bool_ if use == "filter" else np.int64)
        self.equals = _equals(tree, kinds) if use == "filter" else ()

    def __call__(self, batch: Batch) -> NDArray[Any]:
        """One value a row, bool or int64."""
        run = self._runs.get(batch.kind)
        if run is None:
            run = self._runs[batch.kind] = self._compiled(batch.kind)
        if self._divides:
            with np.errstate(all="ignore"):
                values = run(batch)
        else:
            values = run(batch)
        if isinstance(values, np.ndarray) and values.ndim and values.dtype == self._dtype:
            return values
        return np.broadcast_to(np.asarray(values, self._dtype), (batch.rows,))

    def without(self, field: str, value: str) -> RowFormula | None:
        """The filter for rows that are known to fulfil `field == value`; None if that is all it asks."""
        known = ((field, value),)
        parts = tuple(part for part in conjuncts(self._tree) if _equals(part, self._kinds) != known)
        if not parts:
            return None
        tree = parts[0]
        if len(parts) > 1:
            depth = 1 + max(part.depth for part in parts)
            tree = Logic("and", parts, parts[0].start, parts[-1].end, depth)
        return RowFormula(tree, self._kinds, self._lists, self.use)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RowFormula) and (self.use, self.text) == (other.use, other.text)

    def __hash__(self) -> int:
        return hash((self.use, self.text))

    def __repr__(self) -> str:
        return f"RowFormula({self.text!r}, {self.use!r})"

    def _compiled(self, kind: str) -> Callable[[Batch], Any]:
        try:
            return compile_row(self._tree, RowScope(kind, self._kinds, self._lists), self.use).run
        except ExpressionError:
            if self.use == "filter":
                raise
            return lambda _: 0  # checked at load: a kind that never passes the filter

    def constant_for(self, kind: str) -> bool | None:
        """What a filter says of every row of a kind, None if that depends on the row."""
        typed = compile_row(self._tree, RowScope(kind, self._kinds, self._lists), self.use)
        return None if typed.constant is None else bool(typed.constant)


def compile_row(tree: Expr, scope: RowScope, use: Use) -> Row:
    """A tree for one kind. Raises ExpressionError when it does not fit its use."""
    if use == "filter":
        return truth(tree, scope)
    if use == "identity":
        return _identity(tree, scope)
    typed = number(tree, scope)
    if typed.type == "float":
        hint = "sums are exact; compare it instead, as in count(x > 0.5)"
        raise fail(tree, "expected a whole number, found a number with a fraction", hint)
    if use == "number" or typed.type == "bool" or _is_narrow(scope, typed):
        return typed
    return Typed("int", lambda batch: np.clip(typed.run(batch), -MOST, MOST))


def _identity(tree: Expr, scope: RowScope) -> Row:
    """Any value as an int64 that tells it from others."""
    typed = compile_tree(tree, scope)
    if typed.constant is not None:
        raise fail(tree, "a constant has nothing to count apart", "name a field")
    name = typed.field
    if typed.type == "prefix" or (typed.type == "int" and name and _is_u64(scope, name)):
        return Typed("int", lambda batch: batch.numbers(name).view(np.int64))
    if typed.type == "float":
        return Typed("int", lambda batch: np.asarray(typed.run(batch), np.float64).view(np.int64))
    return Typed("int", typed.run)


def _is_u64(scope: RowScope, name: str) -> bool:
    return name not in PSEUDO and storage_type(scope.kind, name) == "u64"


def _is_narrow(scope: RowScope, typed: Row) -> bool:
    """Whether it is a field that cannot hold more than MOST."""
    name = typed.field
    return bool(name) and name not in PSEUDO and storage_type(scope.kind, name) not in ("u64", "i64")


def _equals(tree: Expr, kinds: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Conjuncts `field == "text"` on columns that all of the kinds have."""
    shared: Mapping[str, str] = shared_fields(kinds)
    found = set()
    for part in conjuncts(tree):
        if not isinstance(part, Binary) or part.op != "==":
            continue
        sides = (part.left, part.right) if isinstance(part.left, Name) else (part.right, part.left)
        name, value = sides
        if not (isinstance(name, Name) and isinstance(value, Literally) and isinstance(value.value, str)):
            continue
        if name.name not in PSEUDO and shared.get(name.name) == "text":
            found.add((name.name, value.value))
    return tuple(sorted(found))


def check_row(tree: Expr, kinds: Sequence[str], lists: Lists, use: Use, where: RowFormula | None = None) -> None:
    """Check a tree for all kinds of a rule; raises ExpressionError with each mistake once.

    where: a filter that goes with it; kinds that it keeps out entirely are not checked.
    """
    flaws: dict[tuple[int, int], Flaw] = {}
    for kind in kinds:
        try:
            if where is not None and where.constant_for(kind) is False:
                continue
            compile_row(tree, RowScope(kind, kinds, lists), use)
        except ExpressionError as error:
            for flaw in error.flaws:
                flaws.setdefault((flaw.start, flaw.end), flaw)
    if flaws:
        raise ExpressionError(*flaws.values())
