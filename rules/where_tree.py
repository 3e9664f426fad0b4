"""From a filter to a tree that can travel to where the events are.

Not every filter can: arithmetic, patterns, prefixes and ranges stay here. So the tree may be true for more rows than
the filter, never for fewer, and the sender still applies the filter to what comes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from rules.canonical import Lists
from rules.catalogue import field_types
from rules.syntax import LARGEST, Binary, Call, Expr, Literally, Logic, Member, Name, Unary
from watchdog.core.kinds import KINDS
from watchdog.core.where_tree import Apply, FieldValue, FixedValue, WhereTree

PARTS_MOST: Final = 500
"""A larger tree does not travel; servers refuse more than 1,000 parts (docs/STREAM.md)."""
_COMPARE: Final = frozenset({"==", "!=", "<", "<=", ">", ">="})
_TEXT_CALLS: Final = frozenset({"startswith", "endswith", "contains", "has"})
_CLASSES: Final[Mapping[str, str]] = {"int": "number", "float": "number", "text": "text", "bool": "flag"}


def where_tree(tree: Expr, kind: str, lists: Lists) -> WhereTree | None:
    """Return a condition that is true at least where a checked filter is, for rows of one kind; None for all rows."""
    found = _Converter(kind, lists).at_least(tree)
    return None if found is None or _parts(found) > PARTS_MOST else found


class _Converter:
    """Converts the nodes of a filter over one kind; None for what cannot travel."""

    def __init__(self, kind: str, lists: Lists) -> None:
        types = field_types(kind)
        self._classes = {name: _CLASSES[types[name]] for name in KINDS[kind].fields if types[name] in _CLASSES}
        self._lists = lists

    def at_least(self, tree: Expr) -> WhereTree | None:
        """Return a condition that may be true for further rows: parts of an `and` that cannot travel are left out."""
        if not isinstance(tree, Logic) or tree.op != "and":
            return self.exactly(tree)
        parts = tuple(part for part in map(self.at_least, tree.parts) if part is not None)
        return None if not parts else parts[0] if len(parts) == 1 else Apply("and", parts)

    def exactly(self, tree: Expr) -> WhereTree | None:
        """Return a condition that is true for the same rows."""
        if isinstance(tree, Logic):
            return self._all_of(tree.op, tree.parts)
        if isinstance(tree, Unary):
            return self._all_of("not", (tree.operand,)) if tree.op == "not" else None
        if isinstance(tree, Literally):
            return tree.value if isinstance(tree.value, bool) else None
        if isinstance(tree, Name):
            return FieldValue(tree.name) if self._classes.get(tree.name) == "flag" else None
        if isinstance(tree, Binary):
            return self._comparison(tree) if tree.op in _COMPARE else None
        if isinstance(tree, Member):
            return self._member(tree)
        return self._text_call(tree) if isinstance(tree, Call) and tree.name in _TEXT_CALLS else None

    def _all_of(self, op: str, parts: tuple[Expr, ...]) -> WhereTree | None:
        found = [self.exactly(part) for part in parts]
        whole = tuple(part for part in found if part is not None)
        return Apply(op, whole) if len(whole) == len(found) else None

    def _comparison(self, tree: Binary) -> WhereTree | None:
        left, right = self._value(tree.left), self._value(tree.right)
        if left is None or right is None or self._class(left) != self._class(right):
            return None
        return Apply(tree.op, (left, right)) if isinstance(left, FieldValue) or isinstance(right, FieldValue) else None

    def _value(self, tree: Expr) -> FieldValue | FixedValue | None:
        """Return a field or a constant."""
        if isinstance(tree, Name) and tree.name in self._classes:
            return FieldValue(tree.name)
        if not isinstance(tree, Literally):
            return None
        whole = isinstance(tree.value, int) and not isinstance(tree.value, bool)
        return None if whole and not -LARGEST <= tree.value <= LARGEST else tree.value  # type: ignore[operator]

    def _class(self, value: FieldValue | FixedValue) -> str:
        if isinstance(value, FieldValue):
            return self._classes[value.name]
        return "flag" if isinstance(value, bool) else "text" if isinstance(value, str) else "number"

    def _member(self, tree: Member) -> WhereTree | None:
        item = self._value(tree.item)
        if not isinstance(item, FieldValue):
            return None
        named = isinstance(tree.choices, Name)
        values = (
            self._lists.get(tree.choices.name, ())
            if isinstance(tree.choices, Name)
            else [choice.value for choice in tree.choices]
        )
        ranges = any(isinstance(value, str) and "/" in value for value in values)
        if (named and ranges) or any(self._class(value) != self._class(item) for value in values):
            return None
        found = Apply("in", (item, *values))
        return Apply("not", (found,)) if tree.negated else found

    def _text_call(self, tree: Call) -> WhereTree | None:
        item, wanted = (self._value(part) for part in tree.args)
        fits = isinstance(item, FieldValue) and self._class(item) == "text" and isinstance(wanted, str)
        return Apply(tree.name, (item, wanted)) if fits and item is not None and wanted is not None else None


def _parts(tree: WhereTree) -> int:
    return 1 + sum(map(_parts, tree.parts)) if isinstance(tree, Apply) else 1
