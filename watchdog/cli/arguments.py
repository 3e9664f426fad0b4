"""Values of arguments that several commands share."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Callable, Sequence

LONGEST_NODE = 64  # characters


def node_name(text: str) -> str:
    """A node's name as incidents carry it; ArgumentTypeError when it is blank, too long or not printable."""
    if not text.strip():
        raise ArgumentTypeError("a node needs a name that is not empty")
    if len(text) > LONGEST_NODE or not text.isprintable():
        raise ArgumentTypeError(f"a node's name has at most {LONGEST_NODE} printable characters")
    return text


def some_of(known: Sequence[str]) -> Callable[[str], list[str]]:
    """Reads `a,b` as words of a list; ArgumentTypeError for the first that is none. For `action="extend"`."""

    def read(text: str) -> list[str]:
        words = [word.strip() for word in text.split(",")]
        for word in words:
            if word not in known:
                raise ArgumentTypeError(f"invalid choice: {word!r} (choose from {', '.join(known)})")
        return words

    return read
