r"""Peer strings made harmless: what strangers send may reach a terminal, a log or a page only through here.

Escapes are `\xNN` up to U+00FF and `\u{N...}` above, so a person sees that something odd was
sent, and what. The result of `printable` holds no character that moves the cursor, turns
the direction of writing, hides, or joins to its neighbours.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from urllib.parse import quote

from watchdog.core.core_constants import MAX_SUBVERSION_LENGTH

MAX_TEXT = MAX_SUBVERSION_LENGTH

# Controls, formats (bidi, zero width), surrogates, private, unassigned, line and paragraph separators, odd spaces,
# and marks, which pile up on the character before them.
_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs", "Mn", "Me"})
# Letters by category, but drawn as nothing (Unicode Default_Ignorable_Code_Point)
_BLANK_LETTERS = frozenset("\u115f\u1160\u3164\uffa0\u2800")
_CUT = "…"
LEAST_SECRET = 6
HIDDEN = "[hidden]"


def _escape(char: str) -> str:
    if char == " " or (unicodedata.category(char) not in _UNSAFE and char not in _BLANK_LETTERS):
        return char
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{{{code:x}}}"


def counted(many: int, noun: str) -> str:
    """Return `1 rule`, `2 rules`: for nouns that take an s."""
    return f"{many} {noun}" if many == 1 else f"{many} {noun}s"


def printable(text: str, limit: int = MAX_TEXT) -> str:
    """Return `text` with every unsafe character escaped, at most `limit` characters long.

    A longer text ends in "…"; an escape is never cut in two. Total, and the work is bounded by
    `limit`, however long the text.
    """
    if len(text) <= limit and text.isascii() and text.isprintable():
        return text
    pieces: list[str] = []
    room = limit
    for char in text[: limit + 1]:
        piece = _escape(char)
        room -= len(piece)
        pieces.append(piece)
        if room < 0:
            return _cut(pieces, limit)
    return "".join(pieces)


def _cut(pieces: list[str], limit: int) -> str:
    """Keep as many whole pieces as leave room for the mark of a cut."""
    size = sum(map(len, pieces))
    while pieces and size > limit - len(_CUT):
        size -= len(pieces.pop())
    return "".join(pieces) + (_CUT if limit > 0 else "")


def is_encodable(text: str) -> bool:
    """Return whether UTF-8 can encode it: not with lone surrogates, which stand for odd bytes in the name of a file."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def without_secrets(text: str, secrets: Iterable[str]) -> str:
    """Return a text of a stranger without our secrets, which it may repeat: as they are, percent-encoded, or in JSON.

    Only those of `LEAST_SECRET` characters and more: of shorter ones nothing would be left readable.
    """
    for secret in sorted({one for one in secrets if len(one) >= LEAST_SECRET}, key=len, reverse=True):
        for form in dict.fromkeys((secret, quote(secret), quote(secret, safe=""), secret.replace("/", "\\/"))):
            text = text.replace(form, HIDDEN)
    return text


def decode_text(raw: bytes) -> str:
    r"""Decode UTF-8; other bytes become `\xNN`. Total. Not yet safe to show: see `printable`."""
    return raw.decode("utf-8", "backslashreplace")
