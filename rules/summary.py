"""Summaries: which {placeholders} a rule's sentence may use."""

from __future__ import annotations

import re
from collections.abc import Iterable

from rules.tokens import ExpressionError, Flaw
from watchdog.located_yaml.suggest import did_you_mean

ALWAYS = ("node", "over")

_PART = re.compile(r"\{([^{}]*)\}|[{}]")
_PLAIN = re.compile(r"[a-z_][a-z0-9_]*")


def check_summary(text: str, known: Iterable[str]) -> None:
    """Raise ExpressionError for each placeholder that is not known, and for stray braces."""
    names = {*known, *ALWAYS}
    flaws = []
    for part in _PART.finditer(text):
        name = part[1]
        if name is None:
            flaws.append(Flaw(part.start(), part.end(), f"stray '{part[0]}'", "placeholders look like {sent}"))
        elif not _PLAIN.fullmatch(name):
            flaws.append(Flaw(part.start(), part.end(), f"not a placeholder: '{part[0]}'", "only a name in braces"))
        elif name not in names:
            hint = did_you_mean(name, names, "placeholders")
            flaws.append(Flaw(part.start(), part.end(), f"unknown placeholder '{name}'", hint))
    if flaws:
        raise ExpressionError(*flaws)
