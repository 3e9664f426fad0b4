"""Cell expressions: over the measures of one key and window, compiled to NumPy closures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rules.canonical import canonical, conjuncts
from rules.functions import NUMERIC, numeric_call
from rules.rows import number_member
from rules.syntax import DEEPEST, Binary, Call, Expr, Literally, Logic, Member, Name, Unary
from rules.typed import Typed, ValueType, compare_numbers, compile_tree, constant, fail
from watchdog.core.plan import Cells
from watchdog.located_yaml.suggest import did_you_mean

Cell = Typed[Cells]


class CellScope:
    """Names of measures and values with their types."""

    def __init__(self, types: Mapping[str, ValueType]) -> None:
        self.types = types

    def name(self, node: Name) -> Cell:
        """Compile the name of a measure or an earlier value."""
        kind = self.types.get(node.name)
        name = node.name
        if kind is None:
            known = [each for each in self.types if not each.startswith("__")]
            hint = did_you_mean(name, known, "measures") or "there are no measures before this one"
            raise fail(node, f"unknown measure '{name}'", hint)
        return Typed(kind, lambda cells: cells[name], None, name)

    def call(self, node: Call) -> Cell:
        """Compile a function of numbers; measures and detectors are replaced by names before."""
        if node.name not in NUMERIC:
            raise fail(node, f"unknown function '{node.name}'", did_you_mean(node.name, NUMERIC, "functions"))
        return numeric_call(node, self)

    def compare(self, node: Binary, left: Cell, right: Cell) -> Cell:
        """Compile a comparison of numbers."""
        return compare_numbers(node, left, right)

    def member(self, node: Member) -> Cell:
        """Compile `x in [1, 2]`."""
        if isinstance(node.choices, Name):
            raise fail(node.choices, "measures cannot be compared with a named list", "write the numbers in brackets")
        item = compile_tree(node.item, self)
        test = number_member(node, item, [choice.value for choice in node.choices], node.choices)
        if not node.negated:
            return test
        if test.constant is not None:
            return constant(not test.constant)
        return Typed("bool", lambda cells: np.logical_not(test.run(cells)))


class CellFormula:
    """A checked expression over measures: `watchdog.core.plan.CellExpression`.

    Raises ExpressionError when it does not fit the types. `type` and `constant` say what it
    gives; a constant formula gives an array of no dimension.
    """

    __slots__ = ("_run", "_types", "constant", "floors", "names", "text", "tree", "type")

    def __init__(self, tree: Expr, types: Mapping[str, ValueType]) -> None:
        typed = compile_tree(tree, CellScope(types))
        self._run = typed.run
        self.tree = tree
        self.type = typed.type
        self.constant = typed.constant
        self.text = canonical(tree, {})
        self.names = frozenset(names_in(tree))
        self.floors = _floors(tree)
        self._types = types

    @property
    def strengths(self) -> tuple[CellFormula, ...]:
        """Return x / constant for each `x > constant` in the expression; constants of 0 and below are left out."""
        floors = []
        for part in _comparisons(self.tree):
            high, low = (part.left, part.right) if part.op in (">", ">=") else (part.right, part.left)
            bar = CellFormula(low, self._types)
            if bar.names or bar.type not in ("int", "float") or not names_in(high):
                continue
            number = float(bar({}))
            if number > 0:
                ratio = Binary("/", high, Literally(number, low.start, low.end), high.start, high.end, DEEPEST)
                floors.append(CellFormula(ratio, self._types))
        return tuple(floors)

    def __call__(self, cells: Cells) -> NDArray[Any]:
        """Return one value for each cell, or a single value for a constant."""
        with np.errstate(all="ignore"):
            return np.asarray(self._run(cells))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CellFormula) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"CellFormula({self.text!r})"


def _floors(tree: Expr) -> dict[str, float]:
    """Return lower bounds: the expression is true only where each of these names is at or above its number."""
    bounds: dict[str, float] = {}
    for part in conjuncts(tree):
        if not isinstance(part, Binary):
            continue
        low, high = (part.right, part.left) if part.op in (">", ">=") else (part.left, part.right)
        if part.op not in (">", ">=", "<", "<=") or not (isinstance(low, Literally) and isinstance(high, Name)):
            continue
        if isinstance(low.value, (int, float)) and not isinstance(low.value, bool):
            bounds[high.name] = max(bounds.get(high.name, -np.inf), float(low.value))
    return bounds


def _comparisons(tree: Expr) -> list[Binary]:
    """Return all comparisons of order, at any depth of the tree, that are not negated."""
    if isinstance(tree, Unary) and tree.op == "not":
        return []
    own = [tree] if isinstance(tree, Binary) and tree.op in (">", ">=", "<", "<=") else []
    return [*own, *(comparison for part in parts_of(tree) for comparison in _comparisons(part))]


def names_in(tree: Expr) -> set[str]:
    """Return all names that a tree refers to."""
    if isinstance(tree, Name):
        return {tree.name}
    names: set[str] = set()
    for part in parts_of(tree):
        names |= names_in(part)
    return names


def parts_of(tree: Expr) -> tuple[Expr, ...]:
    """Return the direct parts of a node."""
    if isinstance(tree, Logic):
        return tree.parts
    if isinstance(tree, Binary):
        return (tree.left, tree.right)
    if isinstance(tree, Unary):
        return (tree.operand,)
    if isinstance(tree, Member):
        return (tree.item,)
    if isinstance(tree, Call):
        where = (tree.where,) if tree.where else ()
        return (*tree.args, *where, *(value for _, value in tree.options))
    return ()


def overlaps(fire: Expr, clear: Expr) -> bool:
    """Return whether both compare the same name and can be true together."""
    sides = []
    for tree in (fire, clear):
        if not (isinstance(tree, Binary) and isinstance(tree.left, Name) and isinstance(tree.right, Literally)):
            return False
        if isinstance(tree.right.value, (bool, str)):
            return False
        sides.append((tree.left.name, tree.op, tree.right.value))
    (name, up, high), (other, down, low) = sides
    if name != other:
        return False
    if up[0] == down[0] and up[0] in "<>":
        return True
    if up[0] == ">" and down[0] == "<":
        return high < low or (high == low and up == ">=" and down == "<=")
    if up[0] == "<" and down[0] == ">":
        return high > low or (high == low and up == "<=" and down == ">=")
    return False
