"""A command line's parser as plain data, for pages and completion made from it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

FILES: Final = frozenset({"FILE", "DIR", "PATH", "RECORDING", "SOURCE"})
"""Words for values that a shell completes as paths; a source begins with its scheme, then has a path."""


@dataclass(frozen=True, slots=True)
class Option:
    """One option or argument. names: empty for an argument. value: the word for its value, empty for a flag.

    choices: all values that it takes; empty where these are not listed.
    """

    names: tuple[str, ...]
    value: str
    about: str
    choices: tuple[str, ...] = ()
    optional: bool = False
    several: bool = False


@dataclass(frozen=True, slots=True)
class CommandPage:
    """One command or one action of it. words: its words behind the program's name. actions: names of its own."""

    words: tuple[str, ...]
    about: str
    line: str
    options: tuple[Option, ...]
    actions: tuple[str, ...] = ()


def pages(parser: argparse.ArgumentParser, words: tuple[str, ...] = (), line: str = "") -> Iterator[CommandPage]:
    """Yield the page of a parser, then those of its commands and actions, in their order."""
    nested = [one for one in parser._actions if isinstance(one, argparse._SubParsersAction)]  # noqa: SLF001
    options = tuple(_option(one) for one in parser._actions if one not in nested)  # noqa: SLF001
    names = tuple(name for one in nested for name in one.choices)
    yield CommandPage(words, _plain(parser.description or line), line, options, names)
    for one in nested:
        lines = {choice.dest: choice.help or "" for choice in one._choices_actions}  # noqa: SLF001
        for name, inner in one.choices.items():
            yield from pages(inner, (*words, name), lines.get(name, ""))


def _option(action: argparse.Action) -> Option:
    """Return one option; a flag takes no value."""
    value = ""
    if action.nargs != 0:
        metavar = action.metavar if isinstance(action.metavar, str) else None
        choices = "" if action.choices is None else "{" + ",".join(map(str, action.choices)) + "}"
        value = metavar or choices or action.dest.upper()
    return Option(
        tuple(action.option_strings),
        value,
        _plain((action.help or "") % {"default": action.default, "prog": ""}),
        tuple(map(str, action.choices or ())),
        optional=bool(action.option_strings) or action.nargs in {"?", "*"},
        several=action.nargs in {"*", "+"},
    )


def _plain(text: str) -> str:
    return " ".join(text.split())
