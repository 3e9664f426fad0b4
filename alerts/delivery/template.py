"""Templates of messages: what an operator writes, compiled and run within bounds.

A template has the blocks `first` and `body`, or one of them. It is data, not a program: names, fields, conditions,
loops and a few filters; no calls, no macros, no imports, no files. It ends after `MOST_STEPS` steps of loops,
`LONGEST_RUN_S` seconds or `LONGEST_OUTPUT` characters, whatever is written in it or comes from peers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from alerts.delivery.template_terms import LARGEST, MOST_PARAGRAPHS, NAMES, TemplateError

if TYPE_CHECKING:
    from collections.abc import Callable

    from alerts.delivery.template_engine import TemplateProgram


@dataclass(frozen=True, slots=True)
class Rendered:
    """What a template made; None for a block that it does not have. body: paragraphs."""

    first: str | None
    body: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class CompiledTemplate:
    """A checked template; equal sources are equal."""

    source: str
    program: TemplateProgram = field(compare=False, repr=False)

    def render(self, known: Mapping[str, object], escape: Callable[[str], str]) -> Rendered:
        """Return the blocks. known: values by the `NAMES`; missing ones are empty. escape: for each value printed.

        Raises TemplateError, and nothing else.
        """
        texts = self.program.run({name: known.get(name) for name in NAMES}, escape)
        first, body = texts.get("first"), texts.get("body")
        return Rendered(None if first is None else " ".join(first.split()), None if body is None else _split(body))


def compile_template(source: str) -> CompiledTemplate:
    """Compile a template. Raises TemplateError with the line: unknown names, anything but text, if, for and filters."""
    from alerts.delivery.template_engine import compiled  # noqa: PLC0415 - Jinja2 loads slowly, and few need it

    if len(source.encode("utf-8", "surrogatepass")) > LARGEST:
        raise TemplateError(f"a template has at most {LARGEST // 1024} KiB")
    return CompiledTemplate(source, compiled(source))


def _split(text: str) -> tuple[str, ...]:
    """Return paragraphs: blank lines are between them."""
    parts = [part.strip("\n") for part in re.split(r"\n[ \t]*\n", text)]
    return tuple(part for part in parts if part.strip())[:MOST_PARAGRAPHS]
