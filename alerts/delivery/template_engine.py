"""Jinja2 within bounds, see `alerts.delivery.template`: which words of its language are taken, and how long it runs.

Jinja2's sandbox guards attributes; it bounds neither time nor memory. So a template may only hold the nodes in
`ALLOWED`, none of which calls anything, every loop counts its steps, and no operator or filter makes a text much longer
than its parts.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from types import TracebackType
from typing import Any, Final, cast

import jinja2
from jinja2 import nodes, pass_context
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from alerts.delivery.body_reader import moment
from alerts.delivery.template_terms import (
    BLOCKS,
    FILTERS,
    LONGEST_OUTPUT,
    LONGEST_RUN_S,
    MOST_STEPS,
    NAMES,
    OwnText,
    TemplateError,
)
from watchdog.core.durations import SECOND_NS, rough_duration
from watchdog.core.text import printable

FILE: Final = "<template>"
LONGEST_VALUE: Final = 4_000  # characters of one value
LONGEST_NUMBER: Final = 10**18
TESTS: Final = ("defined", "none", "string", "number", "even", "odd")
ALLOWED: Final = (
    nodes.Template,
    nodes.Block,
    nodes.Output,
    nodes.TemplateData,
    nodes.If,
    nodes.For,
    nodes.Name,
    nodes.Const,
    nodes.List,
    nodes.Tuple,
    nodes.Getattr,
    nodes.Getitem,
    nodes.Slice,
    nodes.Filter,
    nodes.Test,
    nodes.Keyword,
    nodes.CondExpr,
    nodes.Compare,
    nodes.Operand,
    nodes.And,
    nodes.Or,
    nodes.Not,
    nodes.Concat,
    nodes.Add,
    nodes.Sub,
    nodes.Neg,
)
"""What a template may hold. Not calls, macros, `set`, includes, nor operators that can make much out of little."""
WORDS: Final[Mapping[type[nodes.Node], str]] = {
    nodes.Call: "a call",
    nodes.Macro: "a macro",
    nodes.CallBlock: "a call",
    nodes.FilterBlock: "a filter block: write {{ value|filter }}",
    nodes.Assign: "'set'",
    nodes.AssignBlock: "'set'",
    nodes.Include: "'include'",
    nodes.Import: "'import'",
    nodes.FromImport: "'import'",
    nodes.Extends: "'extends'",
    nodes.With: "'with'",
    nodes.Mul: "'*'",
    nodes.Pow: "'**'",
    nodes.Mod: "'%'",
    nodes.Div: "'/'",
    nodes.FloorDiv: "'//'",
}
FAILURES: Final = (
    jinja2.TemplateError,
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    RecursionError,
    TypeError,
    ValueError,
)
_MISSING: Final = re.compile(r"'?\w+ object'? has no (?:attribute|element) '?(.*?)'?")  # as Jinja2 words it
ESCAPE, METER = "_escape", "_meter"  # of a context; no template can name them


class Meter:
    """What is left of one run."""

    def __init__(self) -> None:
        self.steps, self.until_s = MOST_STEPS, time.monotonic() + LONGEST_RUN_S

    def step(self) -> None:
        """Count a step of a loop. TemplateRuntimeError: too many, or too late."""
        self.steps -= 1
        if self.steps < 0:
            raise jinja2.TemplateRuntimeError(f"its loops take more than {MOST_STEPS} steps")
        if time.monotonic() > self.until_s:
            raise jinja2.TemplateRuntimeError(f"it takes more than {LONGEST_RUN_S:g} s")


class TemplateProgram:
    """A compiled template."""

    def __init__(self, template: jinja2.Template) -> None:
        self._template = template

    def run(self, known: Mapping[str, object], escape: Callable[[str], str]) -> dict[str, str]:
        """Return the texts of its blocks. TemplateError: it failed, with the line."""
        context = self._template.new_context({**known, ESCAPE: escape, METER: Meter()})
        found = {}
        for name, block in self._template.blocks.items():
            try:
                found[name] = "".join(_bounded_output(block(context)))
            except FAILURES as error:
                raise TemplateError(_said(error), self._line(error.__traceback__)) from None
        return found

    def _line(self, traceback: TracebackType | None) -> int:
        """Return the line of the template where an error came up."""
        line = 0
        while traceback is not None:
            if traceback.tb_frame.f_code.co_filename == FILE:
                line = self._template.get_corresponding_lineno(traceback.tb_lineno)
            traceback = traceback.tb_next
        return line


def compiled(source: str) -> TemplateProgram:
    """Return the program of a source. TemplateError: not in this language."""
    environment = _environment()
    try:
        tree = environment.parse(source)
        _check(tree)
        code = environment.compile(_Bounding().visit(tree), filename=FILE)
    except jinja2.TemplateSyntaxError as error:
        raise TemplateError(printable(error.message or "not a template", 200), error.lineno) from None
    except (RecursionError, MemoryError, SyntaxError, ValueError, OverflowError):
        raise TemplateError("it is nested too deeply, or holds a number that is too long") from None
    return TemplateProgram(jinja2.Template.from_code(environment, code, {}))


class _Bounding(NodeTransformer):
    """Bounds every loop and every concatenation with `~`."""

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802 - Jinja2 calls it by the node's name
        """Count the steps of a loop."""
        self.generic_visit(node)
        node.iter = _filter(node.iter, "counted", node.lineno)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        """Join with `~` as the filter `join` does."""
        self.generic_visit(node)
        return _filter(nodes.List(list(node.nodes), lineno=node.lineno), "join", node.lineno)


def _filter(node: nodes.Node, name: str, line: int) -> nodes.Filter:
    return nodes.Filter(cast("nodes.Expr", node), name, [], [], None, None, lineno=line)


class _Environment(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset({"+", "-"})

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:  # noqa: ARG002 - as its base
        """Add and subtract numbers only: texts and lists would grow. TypeError: anything else."""
        if not (isinstance(left, int | float) and isinstance(right, int | float)):
            raise TypeError(f"'{operator}' takes numbers; texts are joined with '~'")
        return left + right if operator == "+" else left - right


@cache
def _environment() -> _Environment:
    environment = _Environment(
        autoescape=False,
        loader=None,
        undefined=jinja2.StrictUndefined,
        finalize=_finalize,
        optimized=False,
        trim_blocks=True,
        lstrip_blocks=True,
        cache_size=0,
    )
    environment.globals.clear()
    own: dict[str, Callable[..., Any]] = {"join": _join, "utc": _utc, "lasting": _lasting}
    environment.filters = {name: own.get(name) or environment.filters[name] for name in FILTERS}
    environment.filters["counted"] = _counted
    environment.tests = {name: environment.tests[name] for name in TESTS}
    return environment


# ---- the language


def _check(tree: nodes.Template) -> None:
    """Raise TemplateError at the first thing that a template may not hold."""
    _check_top(tree)
    stored = {name.name for name in tree.find_all(nodes.Name) if name.ctx == "store"}
    for node in _all(tree):
        if not isinstance(node, ALLOWED):
            raise TemplateError(f"a template cannot hold {WORDS.get(type(node), 'this')}", node.lineno)
        if isinstance(node, nodes.For) and node.recursive:
            raise TemplateError("a loop cannot be recursive", node.lineno)
        if isinstance(node, nodes.Const) and isinstance(node.value, int | float) and abs(node.value) > LONGEST_NUMBER:
            raise TemplateError("a number is too long", node.lineno)
        if isinstance(node, nodes.Filter) and node.name not in FILTERS:
            raise TemplateError(f"no filter '{node.name[:40]}'; there are {', '.join(FILTERS)}", node.lineno)
        if isinstance(node, nodes.Name) and node.name not in {*NAMES, *stored, "loop"}:
            raise TemplateError(f"'{node.name[:40]}' is undefined", node.lineno)
        if isinstance(node, nodes.Name) and node.name.startswith("_"):
            raise TemplateError("a name cannot begin with '_'", node.lineno)


def _all(tree: nodes.Template) -> Iterator[nodes.Node]:
    """Yield every node, in the order of the text."""
    waiting: list[nodes.Node] = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        waiting += reversed(list(node.iter_child_nodes()))


def _check_top(tree: nodes.Template) -> None:
    """Check that the top holds the blocks and nothing that would be lost beside them."""
    blocks = [one for one in tree.body if isinstance(one, nodes.Block)]
    for node in tree.body:
        parts = node.nodes if isinstance(node, nodes.Output) else [node]
        for part in parts:
            if isinstance(part, nodes.Block) or (isinstance(part, nodes.TemplateData) and not part.data.strip()):
                continue
            raise TemplateError("outside of the blocks 'first' and 'body' nothing is shown", part.lineno)
    for block in tree.find_all(nodes.Block):
        if block not in blocks:
            raise TemplateError("a block cannot be inside another", block.lineno)
        if block.name not in BLOCKS or block.required:
            raise TemplateError(f"the blocks are 'first' and 'body', not '{block.name[:40]}'", block.lineno)
    if not blocks:
        raise TemplateError("it has neither {% block first %} nor {% block body %}", 1)


# ---- a run


@pass_context
def _finalize(context: Context, value: object) -> str:
    """Return a value as it is printed: harmless for people, then for the channel."""
    escape = cast("Callable[[str], str]", context[ESCAPE])
    if isinstance(value, OwnText):
        return "\n".join(escape(printable(line, LONGEST_VALUE)) for line in value.split("\n"))
    if isinstance(value, jinja2.Undefined):
        str(value)  # raises UndefinedError, which names it
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and value.is_integer() and abs(value) < LONGEST_NUMBER:
        return str(int(value))
    if not isinstance(value, str | int | float):
        raise jinja2.TemplateRuntimeError("a list or a table is no text: write a loop, or |join(', ')")
    return escape(printable(str(value), LONGEST_VALUE))


def _bounded_output(pieces: Iterable[str]) -> Iterator[str]:
    room = LONGEST_OUTPUT
    for piece in pieces:
        room -= len(piece)
        if room < 0:
            raise jinja2.TemplateRuntimeError(f"its text is longer than {LONGEST_OUTPUT} characters")
        yield piece


@pass_context
def _counted(context: Context, values: Iterable[object]) -> Iterator[object]:
    """Yield what a loop runs over, counting its steps."""
    meter = cast("Meter", context[METER])
    for value in values:
        meter.step()
        yield value


def _join(values: Iterable[object], between: str = "", attribute: str | None = None) -> str:
    """Join texts and numbers, up to `LONGEST_OUTPUT` characters."""
    found, room = [], LONGEST_OUTPUT
    for value in values:
        one = value.get(attribute) if attribute is not None and isinstance(value, Mapping) else value
        if not isinstance(one, str | int | float):
            raise jinja2.TemplateRuntimeError("join takes texts and numbers; of tables name one: |join(', ', 'name')")
        found.append(str(one))
        room -= len(found[-1]) + len(str(between))
        if room < 0:
            raise jinja2.TemplateRuntimeError(f"a joined text is longer than {LONGEST_OUTPUT} characters")
    return str(between).join(found)


def _utc(seconds: object) -> str:
    return f"{moment(float(seconds))} UTC" if isinstance(seconds, int | float) else ""


def _lasting(seconds: object) -> str:
    known = isinstance(seconds, int | float) and abs(seconds) < LONGEST_NUMBER
    return rough_duration(int(seconds * SECOND_NS)) if known and isinstance(seconds, int | float) else ""


def _said(error: BaseException) -> str:
    text = str(error) if isinstance(error, jinja2.TemplateError | TypeError | ValueError) else ""
    missing = _MISSING.fullmatch(text)
    if missing:
        return f"there is nothing named '{printable(missing[1], 60)}' here"
    return printable(text or f"it failed ({type(error).__name__})", 200)
