"""The expression grammar: from tokens to a tree, by operator precedence (Pratt).

    or < and < not < == != < <= > >= in < + - < * / < -x < names, calls, brackets

`and` and `or` are flat lists of parts, so that long ones do not nest. A call may carry a
filter after its value, `sum(entries where flow == "received")`, and named options,
`anomalous(per_s, floor=0.5)`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
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
    parser = _Parser(tokenize(text))
    tree = parser.expression()
    parser.expect_end()
    return tree


@dataclass(slots=True)
class _Parser:
    """A cursor over tokens; each method reads one level of precedence."""

    tokens: list[Token]
    at: int = 0
    open: int = field(default=0)

    @property
    def next(self) -> Token:
        return self.tokens[self.at]

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

    def expression(self) -> Expr:
        """Parse the lowest precedence; counts open brackets so that input cannot exhaust the stack."""
        self.open += 1
        if self.open > DEEPEST:
            raise self.unexpected("nested too deeply")
        tree = self.logic("or")
        self.open -= 1
        return tree

    def logic(self, op: Literal["and", "or"]) -> Expr:
        """Parse `a or b or c` or `a and b and c`."""
        parts = [self.logic("and") if op == "or" else self.negation()]
        while self.accept(op):
            parts.append(self.logic("and") if op == "or" else self.negation())
        if len(parts) == 1:
            return parts[0]
        depth = self.deeper(*parts)
        return Logic(op, tuple(parts), parts[0].start, parts[-1].end, depth)

    def negation(self) -> Expr:
        """Parse `not x`."""
        marks = []
        while mark := self.accept("not"):
            marks.append(mark)
        tree = self.comparison()
        for mark in reversed(marks):
            tree = Unary("not", tree, mark.start, tree.end, self.deeper(tree))
        return tree

    def comparison(self) -> Expr:
        """Parse at most one comparison or membership."""
        left = self.chain("+", "-")
        sign = self.accept(*_COMPARE)
        if sign:
            right = self.chain("+", "-")
            return Binary(sign.text, left, right, left.start, right.end, self.deeper(left, right))
        negated = self.next.text == "not" and self.tokens[self.at + 1].text == "in"
        if negated:
            self.take()
        if self.accept("in"):
            return self.member(left, negated)
        return left

    def member(self, item: Expr, negated: bool) -> Expr:
        """Parse a list in brackets, or its name, after `in`."""
        depth = self.deeper(item)
        if self.next.kind == "name":
            name = self.take()
            choices = Name(name.text, name.start, name.end)
            return Member(item, choices, negated, item.start, name.end, depth)
        if self.next.text != "[":
            raise self.unexpected("expected '['", 'a list stands in brackets: in ["a", "b"], or is the name of one')
        self.take()
        values: list[Literally] = []
        while not self.accept("]"):
            if values:
                self.expect(",")
            values.append(self.constant())
        return Member(item, tuple(values), negated, item.start, self.tokens[self.at - 1].end, depth)

    def constant(self) -> Literally:
        """Parse a constant in a list."""
        token = self.next
        tree = self.sign()
        if not isinstance(tree, Literally) or isinstance(tree.value, bool):
            raise ExpressionError(Flaw(token.start, tree.end, "a list holds text or numbers"))
        return tree

    def chain(self, *ops: str) -> Expr:
        """Parse `a + b - c` and, one level up, `a * b / c`, from the left."""
        tree = self.operand(ops)
        while sign := self.accept(*ops):
            right = self.operand(ops)
            tree = Binary(sign.text, tree, right, tree.start, right.end, self.deeper(tree, right))
        return tree

    def operand(self, ops: tuple[str, ...]) -> Expr:
        """Parse the next higher level."""
        return self.chain("*", "/") if "+" in ops else self.sign()

    def sign(self) -> Expr:
        """Parse `-x`; the sign of a number is part of the number."""
        marks = []
        while mark := self.accept("-"):
            marks.append(mark)
        tree = self.primary()
        for mark in reversed(marks):
            if isinstance(tree, Literally) and not isinstance(tree.value, (bool, str)):
                tree = Literally(-tree.value, mark.start, tree.end)
            else:
                tree = Unary("-", tree, mark.start, tree.end, self.deeper(tree))
        return tree

    def primary(self) -> Expr:
        """Parse a constant, a name, a call, or an expression in brackets."""
        token = self.next
        if token.kind in ("number", "duration", "text"):
            return self.literal()
        if self.accept("("):
            tree = self.expression()
            self.expect(")")
            return tree
        if token.text == "where" and token.kind == "name":
            raise self.unexpected("expected a value", "a filter follows one: sum(x where y > 1); count takes it alone")
        if token.kind != "name" or token.text in ("and", "or", "in", "not"):
            raise self.unexpected("expected a value")
        self.take()
        if token.text in ("true", "false"):
            return Literally(token.text == "true", token.start, token.end)
        if self.accept("("):
            return self.call(token)
        return Name(token.text, token.start, token.end)

    def literal(self) -> Expr:
        """Parse a number, a duration or text."""
        token = self.take()
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

    def call(self, name: Token) -> Expr:
        """Parse arguments up to the closing bracket."""
        args: list[Expr] = []
        options: list[tuple[Name, Expr]] = []
        where: Expr | None = None
        while not self.accept(")"):
            if args or options:
                self.expect(",")
            if self.next.kind == "name" and self.tokens[self.at + 1].text == "=":
                key = self.take()
                self.take()
                options.append((Name(key.text, key.start, key.end), self.expression()))
                continue
            args.append(self.expression())
            if self.accept("where"):
                where = self.expression()
        parts = [*args, *(value for _, value in options), *([where] if where else [])]
        end = self.tokens[self.at - 1].end
        return Call(name.text, tuple(args), where, tuple(options), name.start, end, self.deeper(*parts))

    def deeper(self, *parts: Expr) -> int:
        """Return the depth of a node over these parts."""
        depth = 1 + max((part.depth for part in parts), default=0)
        if depth > DEEPEST:
            raise self.unexpected("nested too deeply")
        return depth
