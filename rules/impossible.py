"""Comparisons that can never be true, and conditions that contradict each other: mistakes, not quiet rules.

Everything here is decided from the catalogue (what a field can hold) and from constants. What it cannot decide it
leaves alone: `None` or no error means "perhaps".
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from rules.canonical import FLIPPED, conjuncts
from rules.catalogue import PSEUDO
from rules.syntax import LARGEST, Binary, Call, Expr, Literally, Logic, Member, Name, Unary
from rules.typed import fail
from watchdog.core.kinds import KINDS, dtype_of

ADDRESSES = ("address", "old_address")
"""Fields of addresses besides those that end in `_addr`; some kinds give them with a port."""


class Bounds(NamedTuple):
    """Least and greatest value, both possible. whole: whole numbers only."""

    low: float = -math.inf
    high: float = math.inf
    whole: bool = False

    def __str__(self) -> str:
        low, high = (f"{end:g}" if abs(end) < 1e6 else f"{end:.0f}" for end in self[:2])
        if self.high == math.inf:
            return f"at least {low}"
        return f"at most {high}" if self.low == -math.inf else f"{low} to {high}"


ANY = Bounds()


def field_bounds(kinds: Sequence[str], name: str) -> Bounds:
    """Return the bounds of a number field in the kinds that have it; wider than 63 bits counts as unlimited above."""
    stored = [_stored(KINDS[kind].fields[name].type) for kind in kinds if name in KINDS[kind].fields]
    if not stored or name in PSEUDO:
        return ANY
    return Bounds(
        min(bounds.low for bounds in stored),
        max(bounds.high for bounds in stored),
        all(bounds.whole for bounds in stored),
    )


def _stored(type_: str) -> Bounds:
    dtype = dtype_of(type_)
    if dtype is None or dtype.kind not in "iu":
        return ANY
    info = np.iinfo(dtype.name)
    low = float(info.min) if info.min > -LARGEST else -math.inf
    return Bounds(low, float(info.max) if info.max < LARGEST else math.inf, whole=True)


def decided(op: str, left: Bounds, right: Bounds) -> bool | None:
    """Return whether a comparison of anything within these bounds is always or never true."""
    if op in (">", ">="):
        return decided(FLIPPED[op], right, left)
    if op == "<":
        return True if left.high < right.low else False if left.low >= right.high else None
    if op == "<=":
        return True if left.high <= right.low else False if left.low > right.high else None
    apart = left.high < right.low or left.low > right.high or _between(left, right) or _between(right, left)
    same = left.low == left.high == right.low == right.high
    equal = False if apart else True if same else None
    return equal if op == "==" or equal is None else not equal


def _between(wholes: Bounds, point: Bounds) -> bool:
    return wholes.whole and point.low == point.high and math.isfinite(point.low) and not point.low.is_integer()


def check_number(node: Binary, kinds: Sequence[str]) -> None:
    """Raise ExpressionError for a comparison of a number field with a constant that it never has or reaches."""
    left, right, op = turned(node)
    if not (isinstance(left, Name) and isinstance(right, Literally)) or isinstance(right.value, (bool, str)):
        return
    bounds, value = field_bounds(kinds, left.name), float(right.value)
    truth = decided(op, bounds, Bounds(value, value))
    if truth is False or (op == "!=" and truth):
        raise fail(node, f"'{left.name}' is never {_worded(op)}{right.value}", f"it is {bounds}")


def check_member_numbers(node: Member, kinds: Sequence[str]) -> None:
    """Raise ExpressionError for a number in brackets that the field never has."""
    if isinstance(node.item, Name) and not isinstance(node.choices, Name):
        bounds = field_bounds(kinds, node.item.name)
        for choice in node.choices:
            if isinstance(choice.value, (int, float)):
                value = float(choice.value)
                if decided("==", bounds, Bounds(value, value)) is False:
                    raise fail(choice, f"'{node.item.name}' is never {choice.value}", f"it is {bounds}")


def _worded(op: str) -> str:
    return {"<": "below ", "<=": "", ">": "above ", ">=": "", "==": "", "!=": ""}[op] + (
        {"<=": "at most ", ">=": "at least "}.get(op, "")
    )


def is_address(field: str) -> bool:
    """Return whether a text field holds addresses."""
    return field.endswith("_addr") or field in ADDRESSES


def check_address(spot: Expr, field: str, value: str) -> None:
    """Raise ExpressionError where an address or peer is compared with text that cannot be an address."""
    if not (is_address(field) or field == "peer"):
        return
    name = "peer_addr" if field == "peer" else field
    base, slash, _ = value.strip("[]").partition("/")
    try:
        address = ipaddress.ip_address(base)
    except ValueError:
        _check_port(spot, field, value)
        _check_form(spot, field, value)
        return
    if slash:
        raise fail(spot, f"'{field}' is one address and never a range", f'write {name} in ["{value}"]')
    if field == "peer":
        raise fail(spot, "'peer' always has a port", f'write peer_addr == "{address}"')
    if str(address) != value:
        raise fail(spot, f"'{field}' is never written \"{value}\"", f'write "{address}"')


_NUMERIC = re.compile(r"[0-9.*?x_/-]+")
"""Digits and what people put between them: no name of a host, onion or I2P address looks so."""


def _check_form(spot: Expr, field: str, value: str) -> None:
    """Raise ExpressionError for digits that are no address, such as "1.2.3.*"."""
    base = value.rpartition(":")[0] if field == "peer" and ":" in value else value
    if value and _NUMERIC.fullmatch(base) and not _is_ip(base):
        hint = 'a range is looked up: peer_addr in ["10.0.0.0/8"]; a leading zero is never written'
        raise fail(spot, f"'{field}' is never \"{value[:80]}\": that is no address", hint)


def check_question(spot: Expr, field: str, wanted: str, answers: Iterable[bool]) -> None:
    """Raise ExpressionError for a text function that says no to all that a field can be.

    answers: to each value of a closed set. A pattern is not looked into.
    """
    known = list(answers)
    if known and not any(known):
        raise fail(spot, f"this is never true of '{field}'", "see its values in 'watchdog events'")
    if "/" in wanted and (is_address(field) or field == "peer"):
        raise fail(spot, f"'{field}' never has a '/' in it", 'a range is looked up: peer_addr in ["10.0.0.0/8"]')


def row_truth(tree: Expr, kinds: Sequence[str]) -> bool | None:
    """Return whether a condition on rows is always or never true, as far as the catalogue says; None: perhaps."""
    if isinstance(tree, Logic):
        truths = [row_truth(part, kinds) for part in tree.parts]
        decisive = tree.op == "or"
        return decisive if decisive in truths else None if None in truths else not decisive
    if isinstance(tree, Unary) and tree.op == "not":
        truth = row_truth(tree.operand, kinds)
        return None if truth is None else not truth
    if isinstance(tree, Binary) and tree.op in FLIPPED:
        left, right, op = turned(tree)
        if isinstance(left, Name) and isinstance(right, Literally) and type(right.value) in (int, float):
            return decided(op, field_bounds(kinds, left.name), Bounds(float(right.value), float(right.value)))
    return None


def _check_port(spot: Expr, field: str, value: str) -> None:
    base, colon, port = value.rpartition(":")
    if not (field.endswith("_addr") and colon and port.isdecimal()):
        return
    base = base.strip("[]")
    if base.endswith((".onion", ".i2p")) or _is_ip(base):
        raise fail(spot, f"'{field}' has no port", f'write "{base}"')


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def check_ranges(node: Member, field: str, values: Sequence[str]) -> None:
    """Raise ExpressionError when a text field without addresses is looked up in ranges."""
    if is_address(field) or field in ("", "peer") or not values:
        return
    if all("/" in value and _is_ip(value.partition("/")[0]) for value in values):
        raise fail(node, f"'{field}' is not an address and is never in a range", "use 'peer_addr', or another list")


_WIDTHS = {"subnet": ("/24", "/48"), "netgroup": ("/16", "/32", "/36"), "netblock": ("/16", "/32", "/36")}


def check_prefix(spot: Expr, field: str, text: str) -> None:
    """Raise ExpressionError for a prefix of a length or kind that the field never has (`Enricher.place`)."""
    widths = next((width for name, width in _WIDTHS.items() if field == name or field.endswith(f"_{name}")), None)
    if widths is None:
        return
    if text.startswith("AS"):
        if not field.endswith("netgroup"):
            raise fail(spot, f"'{field}' is never an AS", f"write asn == {text[2:]}, or use 'netgroup' with an asmap")
        return
    _, slash, length = text.partition("/")
    if slash and f"/{length}" not in widths:
        wanted = f"it is a {' or '.join(widths[:2])}"
        raise fail(spot, f"'{field}' is never a /{length}", f'{wanted}; a range of addresses: peer_addr in ["{text}"]')


def turned(node: Binary) -> tuple[Expr, Expr, str]:
    """Return both sides and the operator, with a constant on the right."""
    if isinstance(node.left, Literally) and not isinstance(node.right, Literally):
        return node.right, node.left, FLIPPED.get(node.op, node.op)
    return node.left, node.right, node.op


def check_together(tree: Expr) -> None:
    """Raise ExpressionError where the parts of an `and` can never hold together, as in `x > 5 and x < 3`."""
    if isinstance(tree, Logic) and tree.op == "and":
        _check_all(conjuncts(tree))
    for part in _inside(tree):
        check_together(part)


def _inside(tree: Expr) -> Iterable[Expr]:
    if isinstance(tree, Logic):
        return tree.parts if tree.op == "or" else [inner for part in tree.parts for inner in _inside(part)]
    if isinstance(tree, Unary):
        return (tree.operand,)
    if isinstance(tree, Call):
        return (*tree.args, *((tree.where,) if tree.where is not None else ()))
    return (tree.left, tree.right) if isinstance(tree, Binary) else ()


class _Left(NamedTuple):
    """The values of a name that the parts read so far allow. among: None for all."""

    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False
    among: frozenset[object] | None = None
    without: frozenset[object] = frozenset()

    def impossible(self) -> bool:
        if self.low > self.high or (self.low == self.high and (self.open_low or self.open_high)):
            return True
        return self.among is not None and not any(self._fits(value) for value in self.among - self.without)

    def _fits(self, value: object) -> bool:
        if isinstance(value, str):
            return True
        assert isinstance(value, (int, float))
        above = value > self.low or (value == self.low and not self.open_low)
        return above and (value < self.high or (value == self.high and not self.open_high))


def _check_all(parts: Sequence[Expr]) -> None:
    left: dict[str, _Left] = {}
    for part in parts:
        demand = _demand(part)
        if demand is None:
            continue
        name, op, values = demand
        left[name] = _narrowed(left.get(name, _Left()), op, values)
        if left[name].impossible():
            raise fail(part, f"the conditions on '{name}' here and before can never hold together", "write 'or'?")


def _demand(part: Expr) -> tuple[str, str, frozenset[object]] | None:
    """Return the name, operator and constants of a part that consists of these only."""
    if isinstance(part, Name):
        return part.name, "==", frozenset((True,))
    if isinstance(part, Unary) and part.op == "not":
        return (part.operand.name, "==", frozenset((False,))) if isinstance(part.operand, Name) else None
    if isinstance(part, Member) and isinstance(part.item, Name) and not isinstance(part.choices, Name):
        values = frozenset(choice.value for choice in part.choices)
        ranged = any(isinstance(value, str) and "/" in value for value in values)
        return None if ranged else (part.item.name, "!=" if part.negated else "==", values)
    if isinstance(part, Binary):
        name, value, op = turned(part)
        if isinstance(name, Name) and isinstance(value, Literally) and op in FLIPPED:
            return name.name, op, frozenset((value.value,))
    return None


def _narrowed(left: _Left, op: str, values: frozenset[object]) -> _Left:
    if op == "==":
        return left._replace(among=values if left.among is None else left.among & values)
    if op == "!=":
        return left._replace(without=left.without | values)
    (value,) = values
    assert isinstance(value, (int, float))
    if op in ("<", "<="):
        lower = value < left.high or (value == left.high and op == "<")
        return left._replace(high=float(value), open_high=op == "<") if lower else left
    higher = value > left.low or (value == left.low and op == ">")
    return left._replace(low=float(value), open_low=op == ">") if higher else left


class Reach:
    """What measures and values can be. measures: bounds of each measure. values: trees of the names made of them."""

    def __init__(self, measures: Mapping[str, Bounds], values: Mapping[str, Expr]) -> None:
        self._values, self._known = values, measures

    def bounds(self, tree: Expr) -> Bounds:
        """Return the bounds of a number; `ANY` where they are not obvious."""
        if isinstance(tree, Literally):
            return ANY if isinstance(tree.value, str) else Bounds(float(tree.value), float(tree.value))
        if isinstance(tree, Name):
            if tree.name in self._known:
                return self._known[tree.name]
            found = self._values.get(tree.name)
            return ANY if found is None else self.bounds(found)
        if isinstance(tree, Binary):
            return _calculated(tree.op, self.bounds(tree.left), self.bounds(tree.right))
        if isinstance(tree, Call) and tree.name in ("min", "max") and len(tree.args) > 1:
            parts, pick = [self.bounds(arg) for arg in tree.args], min if tree.name == "min" else max
            return Bounds(pick(one.low for one in parts), pick(one.high for one in parts))
        return Bounds(low=0.0) if isinstance(tree, Call) and tree.name in ("abs", "rate") else ANY

    def truth(self, tree: Expr) -> bool | None:
        """Return whether a condition is always or never true."""
        if isinstance(tree, Unary) and tree.op == "not":
            inner = self.truth(tree.operand)
            return None if inner is None else not inner
        if isinstance(tree, Logic):
            found = [self.truth(part) for part in tree.parts]
            settles = tree.op == "or"
            return settles if settles in found else None if None in found else not settles
        if isinstance(tree, Binary) and tree.op in FLIPPED:
            return decided(tree.op, self.bounds(tree.left), self.bounds(tree.right))
        return None

    def check(self, tree: Expr) -> None:
        """Raise ExpressionError for a comparison within a condition that is never true."""
        if isinstance(tree, Binary) and tree.op in FLIPPED:
            if self.truth(tree) is False:
                left, right, _ = turned(tree)
                bounds = self.bounds(left)
                shown = f"'{left.name}'" if isinstance(left, Name) and not left.name.startswith("__") else "it"
                hint = f"{shown} is {bounds}" if isinstance(right, Literally) and bounds != ANY else ""
                raise fail(tree, "this is never true", hint)
            return
        for part in _inside(tree) if isinstance(tree, (Logic, Unary)) else ():
            self.check(part)
        if isinstance(tree, Logic) and tree.op == "and":
            for part in tree.parts:
                self.check(part)


def _calculated(op: str, left: Bounds, right: Bounds) -> Bounds:
    """Calculate bounds by interval arithmetic for values that are not negative, as measures are; `ANY` for others."""
    if op == "+":
        return Bounds(left.low + right.low, left.high + right.high)
    if left.low < 0 or right.low < 0:
        return ANY
    if op == "*" and math.isfinite(left.high) and math.isfinite(right.high):
        return Bounds(left.low * right.low, left.high * right.high)
    if op == "/" and right.low == right.high and right.low > 0:
        return Bounds(left.low / right.low, left.high / right.low)
    return Bounds(0.0) if op in ("*", "/") else ANY
