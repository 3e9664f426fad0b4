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
"""An address, a range or an AS that somebody has written without quotes; no two numbers or names look like that."""


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
    """All tokens and an `end` token. Raises ExpressionError at the first that is none."""
    if len(text) > LONGEST:
        raise ExpressionError(Flaw(0, 1, f"expression is longer than {LONGEST} characters"))
    tokens: list[Token] = []
    at = 0
    while at < len(text):
        space = _SPACE.match(text, at)
        if space:
            at = space.end()
            continue
        token = _token(text, at)
        tokens.append(token)
        at = token.end
        if len(tokens) > MOST_TOKENS:
            raise ExpressionError(Flaw(at - 1, at, f"expression has more than {MOST_TOKENS} words"))
    tokens.append(Token("end", "", len(text), len(text)))
    return tokens


def _token(text: str, at: int) -> Token:
    """The token that starts here."""
    found = _BARE.match(text, at)
    if found:
        raise ExpressionError(Flaw(at, found.end(), f"'{found[0]}' without quotes", _quoted(found[0])))
    for foreign in ("===", "=~", "<>"):
        if text.startswith(foreign, at):
            raise ExpressionError(_foreign(foreign, at))
    found = _NAME.match(text, at)
    if found:
        return Token("name", found[0], at, found.end())
    found = _SIGN.match(text, at)
    if found:
        return Token("sign", found[0], at, found.end())
    if text[at].isascii() and text[at].isdigit():
        return _number(text, at)
    found = _TEXT.match(text, at)
    if found:
        return Token("text", _unquote(found), at, found.end())
    if text[at] in "\"'":
        raise ExpressionError(Flaw(at, len(text), "text without a closing quote"))
    for foreign in _FOREIGN:
        if text.startswith(foreign, at):
            raise ExpressionError(_foreign(foreign, at))
    if text[at] == "%":
        before = re.search(r"([\d.]+)\s*$", text[:at])
        share = f"{float(before[1]) / 100:g}" if before and before[1].count(".") < 2 and before[1] != "." else "0.6"
        raise ExpressionError(Flaw(at, at + 1, "unexpected character '%'", f"shares are 0 to 1: write {share}"))
    raise ExpressionError(Flaw(at, at + 1, f"unexpected character '{text[at]}'"))


def _foreign(sign: str, at: int) -> Flaw:
    return Flaw(at, at + len(sign), f"unknown sign '{sign}'", f"write '{_FOREIGN[sign]}'")


def _quoted(bare: str) -> str:
    if bare[:2].upper() == "AS":
        return f'write "{bare.upper()}" for a netgroup, {bare[2:]} for asn'
    return f'write it in quotes; ranges stand in a list: in ["{bare}"]'


def _number(text: str, at: int) -> Token:
    """A number or, with a unit right behind it, a duration."""
    found = _NUMBER.match(text, at)
    assert found
    if not found[2]:
        return Token("number", found[1].replace("_", ""), at, found.end())
    if found[2] in UNITS_NS and found[1].replace("_", "").isdigit():
        return Token("duration", found[0], at, found.end())
    flaw = Flaw(at, found.end(), f"not a number: '{found[0]}'", f"durations end in {UNITS_TEXT}")
    raise ExpressionError(flaw)


def _unquote(found: re.Match[str]) -> str:
    """The content; only a backslash before the same quote is taken away (patterns keep theirs)."""
    if found[1] is not None:
        return found[1].replace('\\"', '"')
    return found[2].replace("\\'", "'")
