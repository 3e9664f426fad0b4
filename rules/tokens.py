"""Expression text to tokens, each with its place in the text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from watchdog.core.durations import UNITS_NS, UNITS_TEXT

LONGEST = 8192  # characters of one expression
MOST_TOKENS = 2000

TokenKind = Literal["number", "duration", "text", "name", "sign", "end"]

_SPACE = re.compile(r"\s+")
_NUMBER = re.compile(r"(\d[\d_]*(?:\.\d+)?(?:[eE][+-]?\d+)?)([A-Za-z_]*)")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TEXT = re.compile(r'"((?:[^"\\]|\\.)*)"|\'((?:[^\'\\]|\\.)*)\'', re.DOTALL)
_SIGN = re.compile(r"==|!=|<=|>=|[<>+\-*/()\[\],=]")
_FOREIGN = {
    "&&": "and",
    "||": "or",
    "!~": 'not matches(field, "...")',
    "!": "not",
    "&": "and",
    "|": "or",
    "=~": 'matches(field, "...")',
    "~": 'matches(field, "...")',
    "===": "==",
    "<>": "!=",
    "≥": ">=",
    "≤": "<=",
    "≠": "!=",
    "`": "quotes",
}
_BARE = re.compile(r"(?:\d{1,3}(?:\.\d{1,3}){2,3}|[0-9A-Fa-f]*:[0-9A-Fa-f]*:[0-9A-Fa-f:.]*)(?:/\d+)?|(?:AS|as)\d+\b")
"""An address, a range or an AS written without quotes; numbers and names never look like that."""


@dataclass(frozen=True, slots=True)
class Flaw:
    """One mistake in an expression: characters start to end (exclusive) of its text."""

    start: int
    end: int
    message: str
    hint: str = ""


class ExpressionError(Exception):
    """An expression cannot be used; `flaws` has what is wrong, at least one."""

    def __init__(self, *flaws: Flaw) -> None:
        super().__init__(flaws[0].message)
        self.flaws = flaws


@dataclass(frozen=True, slots=True)
class Token:
    """A word of an expression; `text` of a string is its content without quotes."""

    kind: TokenKind
    text: str
    start: int
    end: int


def tokenize(text: str) -> list[Token]:
    """Return all tokens and an `end` token. Raises ExpressionError at the first invalid character."""
    if len(text) > LONGEST:
        raise ExpressionError(Flaw(0, 1, f"expression is longer than {LONGEST} characters"))
    tokens: list[Token] = []
    start = 0
    while start < len(text):
        space = _SPACE.match(text, start)
        if space:
            start = space.end()
            continue
        token = _token(text, start)
        tokens.append(token)
        start = token.end
        if len(tokens) > MOST_TOKENS:
            raise ExpressionError(Flaw(start - 1, start, f"expression has more than {MOST_TOKENS} words"))
    tokens.append(Token("end", "", len(text), len(text)))
    return tokens


def _token(text: str, start: int) -> Token:
    """Return the token that starts here."""
    match = _BARE.match(text, start)
    if match:
        raise ExpressionError(Flaw(start, match.end(), f"'{match[0]}' without quotes", _quoted(match[0])))
    for foreign in ("===", "=~", "<>"):
        if text.startswith(foreign, start):
            raise ExpressionError(_foreign(foreign, start))
    match = _NAME.match(text, start)
    if match:
        return Token("name", match[0], start, match.end())
    match = _SIGN.match(text, start)
    if match:
        return Token("sign", match[0], start, match.end())
    if text[start].isascii() and text[start].isdigit():
        return _number(text, start)
    match = _TEXT.match(text, start)
    if match:
        return Token("text", _unquote(match), start, match.end())
    if text[start] in "\"'":
        raise ExpressionError(Flaw(start, len(text), "text without a closing quote"))
    for foreign in _FOREIGN:
        if text.startswith(foreign, start):
            raise ExpressionError(_foreign(foreign, start))
    if text[start] == "%":
        before = re.search(r"([\d.]+)\s*$", text[:start])
        share = f"{float(before[1]) / 100:g}" if before and before[1].count(".") < 2 and before[1] != "." else "0.6"
        raise ExpressionError(Flaw(start, start + 1, "unexpected character '%'", f"shares are 0 to 1: write {share}"))
    raise ExpressionError(Flaw(start, start + 1, f"unexpected character '{text[start]}'"))


def _foreign(sign: str, start: int) -> Flaw:
    return Flaw(start, start + len(sign), f"unknown sign '{sign}'", f"write '{_FOREIGN[sign]}'")


def _quoted(bare: str) -> str:
    if bare[:2].upper() == "AS":
        return f'write "{bare.upper()}" for a netgroup, {bare[2:]} for asn'
    return f'write it in quotes; ranges stand in a list: in ["{bare}"]'


def _number(text: str, start: int) -> Token:
    """Return a number or, when a unit follows directly, a duration."""
    match = _NUMBER.match(text, start)
    assert match
    if not match[2]:
        return Token("number", match[1].replace("_", ""), start, match.end())
    if match[2] in UNITS_NS and match[1].replace("_", "").isdigit():
        return Token("duration", match[0], start, match.end())
    flaw = Flaw(start, match.end(), f"not a number: '{match[0]}'", f"durations end in {UNITS_TEXT}")
    raise ExpressionError(flaw)


def _unquote(match: re.Match[str]) -> str:
    """Return the content; only a backslash before the same quote is removed (patterns keep theirs)."""
    if match[1] is not None:
        return match[1].replace('\\"', '"')
    return match[2].replace("\\'", "'")
