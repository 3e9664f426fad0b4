"""Canonical text of expressions: equal text means equal meaning.

Spacing and brackets are normalised, parts of `and`, `or` and lists are sorted and made
distinct, constants stand on the right of comparisons, `x == true` is `x`. Named lists carry
a hash of their content, so that a changed list changes the text.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence

from rules.syntax import Binary, Call, Constant, Expr, Literally, Logic, Member, Name, Span, Unary

FLIPPED = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}

Lists = Mapping[str, Sequence[str] | Sequence[int]]


def canonical(tree: Expr, lists: Lists) -> str:
    """Return the canonical text of a tree; `lists` are the named lists that it may refer to."""
    if isinstance(tree, Literally):
        return constant_text(tree.value)
    if isinstance(tree, Span):
        return f"{tree.nanoseconds}ns"
    if isinstance(tree, Name):
        return tree.name
    if isinstance(tree, Logic):
        return _logic(tree, lists)
    if isinstance(tree, Member):
        return _member(tree, lists)
    if isinstance(tree, Call):
        return _call(tree, lists)
    if isinstance(tree, Unary):
        return _unary(tree, lists)
    return _binary(tree, lists)


def constant_text(value: Constant) -> str:
    """Write a constant as the language does."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def conjuncts(tree: Expr) -> list[Expr]:
    """Return the parts that must all hold; a tree that is no `and` is its own only part."""
    if isinstance(tree, Logic) and tree.op == "and":
        return [part for each in tree.parts for part in conjuncts(each)]
    return [tree]


def list_digest(values: Sequence[str] | Sequence[int]) -> str:
    """Return a short hash of a list's content, independent of its order."""
    joined = "\n".join(sorted({str(value) for value in values}))
    return hashlib.sha256(joined.encode()).hexdigest()[:12]


def _logic(tree: Logic, lists: Lists) -> str:
    """Return the distinct parts in the order of their text."""
    parts: set[str] = set()

    def flatten(node: Expr) -> None:
        if isinstance(node, Logic) and node.op == tree.op:
            for part in node.parts:
                flatten(part)
        else:
            parts.add(canonical(node, lists))

    flatten(tree)
    if len(parts) == 1:
        return parts.pop()
    return f"({f' {tree.op} '.join(sorted(parts))})"


def _member(tree: Member, lists: Lists) -> str:
    """Write `(x in ["a", "b"])` or `(x in name#hash)`."""
    word = "not in" if tree.negated else "in"
    if isinstance(tree.choices, Name):
        name = tree.choices.name
        return f"({canonical(tree.item, lists)} {word} {name}#{list_digest(lists.get(name, ()))})"
    texts = sorted({constant_text(choice.value) for choice in tree.choices})
    return f"({canonical(tree.item, lists)} {word} [{', '.join(texts)}])"


def _call(tree: Call, lists: Lists) -> str:
    """Write `name(args where filter, option=value)`."""
    args = ", ".join(canonical(arg, lists) for arg in tree.args)
    where = f" where {canonical(tree.where, lists)}" if tree.where else ""
    options = "".join(sorted(f", {name.name}={canonical(value, lists)}" for name, value in tree.options))
    return f"{tree.name}({args}{where}{options})"


def _unary(tree: Unary, lists: Lists) -> str:
    """Write `not x` or `-x`."""
    inner = canonical(tree.operand, lists)
    return f"(not {inner})" if tree.op == "not" else f"(-{inner})"


def _binary(tree: Binary, lists: Lists) -> str:
    """Put the constant of a comparison on the right, and resolve comparisons with true and false."""
    left, right, op = tree.left, tree.right, tree.op
    if op in FLIPPED and isinstance(left, Literally) and not isinstance(right, Literally):
        left, right, op = right, left, FLIPPED[op]
    shown = canonical(left, lists)
    if op in ("==", "!=") and isinstance(right, Literally) and isinstance(right.value, bool):
        return shown if (op == "==") == right.value else f"(not {shown})"
    return f"({shown} {op} {canonical(right, lists)})"
