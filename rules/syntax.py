"""The expression grammar: from tokens to a tree, by operator precedence (Pratt).

    or < and < not < == != < <= > >= in < + - < * / < -x < names, calls, brackets

`and` and `or` are flat lists of parts, so that long ones do not nest. A call may carry a
filter after its value, `sum(entries where flow == "received")`, and named options,
`anomalous(per_s, floor=0.5)`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rules.tokens import ExpressionError, Flaw, Token, tokenize
from watchdog.core.durations import parse_duration

DEEPEST = 50  # nested operations; recursion over a tree stays far below Python's limit
LARGEST = (1 << 63) - 1  # numbers are int64

Constant = bool | int | float | str

WORDS = ("and", "or", "not", "in", "where", "true", "false")
_FOREIGN_WORDS = {
    "contains": 'write contains(field, "...")',
    "startswith": 'write startswith(field, "...")',
    "endswith": 'write endswith(field, "...")',
    "matches": 'write matches(field, "...")',
    "like": 'write contains(field, "...") or matches(field, "...")',
    "has": 'write has(field, "...")',
    "is": "write '==' to compare",
    "equals": "write '==' to compare",
    "between": "write two comparisons: x >= 1 and x <= 9",
    "xor": "write '!=' between two conditions",
}
FLOORED = "unlike_others"  # the only function whose values have floors
_COMPARE = ("==", "!=", "<", "<=", ">", ">=")


@dataclass(frozen=True, slots=True)
class Literally:
    """A constant."""

    value: Constant
    start: int
    end: int
    depth: int = 0


@dataclass(frozen=True, slots=True)
class Span:
    """A duration such as `6h`, in nanoseconds; only options take one."""

    nanoseconds: int
    start: int
    end: int
    depth: int = 0


@dataclass(frozen=True, slots=True)
class Name:
    """A field, a measure, or a list."""

    name: str
    start: int
    end: int
    depth: int = 0


@dataclass(frozen=True, slots=True)
class Unary:
    """`not x` or `-x`."""

    op: Literal["not", "-"]
    operand: Expr
    start: int
    end: int
    depth: int


@dataclass(frozen=True, slots=True)
class Binary:
    """Arithmetic or a comparison."""

    op: str
    left: Expr
    right: Expr
    start: int
    end: int
    depth: int


@dataclass(frozen=True, slots=True)
class Logic:
    """All of the parts (`and`) or any of them (`or`)."""

    op: Literal["and", "or"]
    parts: tuple[Expr, ...]
    start: int
    end: int
    depth: int


@dataclass(frozen=True, slots=True)
class Member:
    """`x in [a, b]`, `x not in name`."""

    item: Expr
    choices: tuple[Literally, ...] | Name
    negated: bool
    start: int
    end: int
    depth: int


@dataclass(frozen=True, slots=True)
class Call:
    """A function with its arguments, a filter of its own, and named options."""

    name: str
    args: tuple[Expr, ...]
    where: Expr | None
    options: tuple[tuple[Name, Expr], ...]
    start: int
    end: int
    depth: int


Expr = Literally | Span | Name | Unary | Binary | Logic | Member | Call


def parse(text: str) -> Expr:
    """Parse an expression to its tree. Raises ExpressionError with the first mistake."""
    tokens = _Cursor(tokenize(text))
    tree = _Grammar(tokens).expression()
    tokens.expect_end()
    return tree


@dataclass(slots=True)
class _Cursor:
    """A place in the tokens."""

    tokens: list[Token]
    at: int = 0

    @property
    def next(self) -> Token:
        """The token to take."""
        return self.tokens[self.at]

    @property
    def following(self) -> Token:
        """The token after `next`, which is not the end."""
        return self.tokens[self.at + 1]

    @property
    def last_end(self) -> int:
        """Where the token that was taken last ends in the text."""
        return self.tokens[self.at - 1].end

    def take(self) -> Token:
        """Return this token and advance, but never past the end."""
        token = self.tokens[self.at]
        self.at = min(self.at + 1, len(self.tokens) - 1)
        return token

    def accept(self, *texts: str) -> Token | None:
        """Return this token and advance if it is one of these signs or words."""
        if self.next.kind in ("sign", "name") and self.next.text in texts:
            return self.take()
        return None

    def expect(self, text: str) -> Token:
        """Require this sign; raises ExpressionError at any other token."""
        token = self.accept(text)
        if token is None:
            raise self.unexpected(f"expected '{text}'")
        return token

    def expect_end(self) -> None:
        """Require the end of the text."""
        if self.next.kind == "end":
            return
        if self.next.text == "=":
            raise self.unexpected("expected an operator", "write '==' to compare")
        if self.next.text in _COMPARE:
            raise self.unexpected("comparisons cannot be chained", "join two with 'and'")
        if self.next.text == "where":
            raise self.unexpected("'where' stands inside a measure", "as in sum(entries where x > 1)")
        raise self.unexpected("expected an operator or the end", _FOREIGN_WORDS.get(self.next.text.lower(), ""))

    def unexpected(self, message: str, hint: str = "") -> ExpressionError:
        """Return an error at this token."""
        token = self.next
        shown = "at the end" if token.kind == "end" else f"at '{token.text}'"
        return ExpressionError(Flaw(token.start, max(token.end, token.start + 1), f"{message} {shown}", hint))


class _Grammar:
    """The grammar over a cursor; each method reads one level of precedence."""

    def __init__(self, tokens: _Cursor) -> None:
        self._tokens = tokens
        self._open = 0  # nested calls of `expression`

    def expression(self) -> Expr:
        """Parse the lowest precedence; counts open brackets so that input cannot exhaust the stack."""
        self._open += 1
        if self._open > DEEPEST:
            raise self._tokens.unexpected("nested too deeply")
        tree = self._logic("or")
        self._open -= 1
        return tree

    def _logic(self, op: Literal["and", "or"]) -> Expr:
        """Parse `a or b or c` or `a and b and c`."""
        parts = [self._logic("and") if op == "or" else self._negation()]
        while self._tokens.accept(op):
            parts.append(self._logic("and") if op == "or" else self._negation())
        if len(parts) == 1:
            return parts[0]
        depth = self._deeper(*parts)
        return Logic(op, tuple(parts), parts[0].start, parts[-1].end, depth)

    def _negation(self) -> Expr:
        """Parse `not x`."""
        marks = []
        while mark := self._tokens.accept("not"):
            marks.append(mark)
        tree = self._comparison()
        for mark in reversed(marks):
            tree = Unary("not", tree, mark.start, tree.end, self._deeper(tree))
        return tree

    def _comparison(self) -> Expr:
        """Parse at most one comparison or membership."""
        left = self._chain("+", "-")
        sign = self._tokens.accept(*_COMPARE)
        if sign:
            right = self._chain("+", "-")
            return Binary(sign.text, left, right, left.start, right.end, self._deeper(left, right))
        negated = self._tokens.next.text == "not" and self._tokens.following.text == "in"
        if negated:
            self._tokens.take()
        if self._tokens.accept("in"):
            return self._member(left, negated)
        return left

    def _member(self, item: Expr, negated: bool) -> Expr:
        """Parse a list in brackets, or its name, after `in`."""
        depth = self._deeper(item)
        if self._tokens.next.kind == "name":
            name = self._tokens.take()
            choices = Name(name.text, name.start, name.end)
            return Member(item, choices, negated, item.start, name.end, depth)
        if self._tokens.next.text != "[":
            raise self._tokens.unexpected(
                "expected '['", 'a list stands in brackets: in ["a", "b"], or is the name of one'
            )
        self._tokens.take()
        values: list[Literally] = []
        while not self._tokens.accept("]"):
            if values:
                self._tokens.expect(",")
            values.append(self._constant())
        return Member(item, tuple(values), negated, item.start, self._tokens.last_end, depth)

    def _constant(self) -> Literally:
        """Parse a constant in a list."""
        token = self._tokens.next
        tree = self._sign()
        if not isinstance(tree, Literally) or isinstance(tree.value, bool):
            raise ExpressionError(Flaw(token.start, tree.end, "a list holds text or numbers"))
        return tree

    def _chain(self, *ops: str) -> Expr:
        """Parse `a + b - c` and, one level up, `a * b / c`, from the left."""
        tree = self._operand(ops)
        while sign := self._tokens.accept(*ops):
            right = self._operand(ops)
            tree = Binary(sign.text, tree, right, tree.start, right.end, self._deeper(tree, right))
        return tree

    def _operand(self, ops: tuple[str, ...]) -> Expr:
        """Parse the next higher level."""
        return self._chain("*", "/") if "+" in ops else self._sign()

    def _sign(self) -> Expr:
        """Parse `-x`; the sign of a number is part of the number."""
        marks = []
        while mark := self._tokens.accept("-"):
            marks.append(mark)
        tree = self._primary()
        for mark in reversed(marks):
            if isinstance(tree, Literally) and not isinstance(tree.value, (bool, str)):
                tree = Literally(-tree.value, mark.start, tree.end)
            else:
                tree = Unary("-", tree, mark.start, tree.end, self._deeper(tree))
        return tree

    def _primary(self) -> Expr:
        """Parse a constant, a name, a call, or an expression in brackets."""
        token = self._tokens.next
        if token.kind in ("number", "duration", "text"):
            return self._literal()
        if self._tokens.accept("("):
            tree = self.expression()
            self._tokens.expect(")")
            return tree
        if token.text == "where" and token.kind == "name":
            raise self._tokens.unexpected(
                "expected a value", "a filter follows one: sum(x where y > 1); count takes it alone"
            )
        if token.kind != "name" or token.text in ("and", "or", "in", "not"):
            raise self._tokens.unexpected("expected a value")
        self._tokens.take()
        if token.text in ("true", "false"):
            return Literally(token.text == "true", token.start, token.end)
        if self._tokens.accept("("):
            return self._call(token)
        return Name(token.text, token.start, token.end)

    def _literal(self) -> Expr:
        """Parse a number, a duration or text."""
        token = self._tokens.take()
        if token.kind == "text":
            return Literally(token.text, token.start, token.end)
        flaw = Flaw(token.start, token.end, f"out of range: {token.text[:40]}")
        if token.kind == "duration":
            nanoseconds = parse_duration(token.text)
            if nanoseconds is None:
                raise ExpressionError(flaw)
            return Span(nanoseconds, token.start, token.end)
        value = int(token.text) if token.text.isdigit() and len(token.text) < 40 else float(token.text)
        if abs(value) > LARGEST and (isinstance(value, int) or value > 1e300):
            raise ExpressionError(flaw)
        return Literally(value, token.start, token.end)

    def _call(self, name: Token) -> Expr:
        """Parse arguments up to the closing bracket."""
        args: list[Expr] = []
        options: list[tuple[Name, Expr]] = []
        where: Expr | None = None
        while not self._tokens.accept(")"):
            if args or options:
                self._tokens.expect(",")
            if self._tokens.next.kind == "name" and self._tokens.following.text == "=":
                key = self._tokens.take()
                self._tokens.take()
                options.append((Name(key.text, key.start, key.end), self.expression()))
                continue
            arg = self.expression()
            args.append(self._floored(arg) if name.text == FLOORED else arg)
            if self._tokens.accept("where"):
                where = self.expression()
        parts = [*args, *(value for _, value in options), *([where] if where else [])]
        end = self._tokens.last_end
        return Call(name.text, tuple(args), where, tuple(options), name.start, end, self._deeper(*parts))

    def _floored(self, value: Expr) -> Expr:
        """Return a value, with its floor where one follows: `pings floor 3`."""
        if not self._tokens.accept("floor"):
            return value
        floor = self.expression()
        return Binary("floor", value, floor, value.start, floor.end, self._deeper(value, floor))

    def _deeper(self, *parts: Expr) -> int:
        """Return the depth of a node over these parts."""
        depth = 1 + max((part.depth for part in parts), default=0)
        if depth > DEEPEST:
            raise self._tokens.unexpected("nested too deeply")
        return depth
