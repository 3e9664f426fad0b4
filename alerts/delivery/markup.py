"""Texts cut to a service's limit, and strings of strangers that no service takes for markup."""

from __future__ import annotations

import html
import re

from watchdog.core.text import printable

ELLIPSIS = "…"
LONGEST = 4_000  # characters of one string, before any service's own limit
_HALF_ENTITY = re.compile(r"&[#a-z0-9]{0,7}$")
_LOOK_ALIKE = str.maketrans({"*": "∗", "~": "∼", "`": "ˋ", "@": "＠", "|": "ǀ"})
"""Bold, struck, code, mentions and cells of tables: in Slack and Mattermost no escape exists for them."""
_BRACKETS = str.maketrans({"<": "‹", ">": "›"})
_EDGE = re.compile(r"(?<![^\W_])_|_(?![^\W_])")  # an underline that is not inside a word: italics
_COMMAND = re.compile(r"ˋ((?:bitcoin-cli|watchdog) [A-Za-z0-9 ./:=-]{1,100})ˋ")  # no markup fits in
_LINK = re.compile(r"\](?=[(\[])")


def plain(text: str) -> str:
    """Return a text for places without markup."""
    return printable(text, LONGEST)


def for_chat(text: str) -> str:
    """Return a text for Slack's mrkdwn, and for Mattermost, which reads the same field as Markdown."""
    safe = html.escape(printable(text, LONGEST), quote=False).translate(_LOOK_ALIKE)
    return _LINK.sub("] ", _EDGE.sub("＿", safe))


def commands_as_code(escaped: str) -> str:
    """Return a text of `for_chat` with its commands as code, to copy.

    For advice only: a command in a stranger's user agent must not look like one of ours.
    """
    return _COMMAND.sub(r"`\1`", escaped)


def for_unknown(text: str) -> str:
    """Return a text for a service whose markup is not known: what begins any of them becomes a look-alike."""
    safe = printable(text, LONGEST).translate(_LOOK_ALIKE).translate(_BRACKETS)
    return _COMMAND.sub(r"`\1`", _LINK.sub("] ", _EDGE.sub("＿", safe)))


def for_html(text: str) -> str:
    """Return a text for Telegram's HTML; a mention would notify a stranger's friend."""
    return html.escape(printable(text, LONGEST), quote=False).replace("@", "＠")


def cut(text: str, limit: int) -> str:
    """Return at most `limit` characters, with an ellipsis where some are missing; an entity is never halved."""
    if len(text) <= limit:
        return text
    return _HALF_ENTITY.sub("", text[: max(limit - 1, 0)]) + ELLIPSIS if limit > 0 else ""


def cut_units(text: str, limit: int) -> str:
    """Return at most `limit` UTF-16 code units, as Telegram counts."""
    size, end = 0, 0
    for end, char in enumerate(text):  # noqa: B007 (the place is needed after the loop)
        size += 1 + (ord(char) > 0xFFFF)
        if size > limit:
            break
    else:
        return text
    while end and units(text[:end]) > limit - 1:
        end -= 1
    return _HALF_ENTITY.sub("", text[:end]) + ELLIPSIS


def units(text: str) -> int:
    """Return the number of UTF-16 code units."""
    return len(text) + sum(ord(char) > 0xFFFF for char in text)


def cut_bytes(text: str, limit: int) -> str:
    """Return at most `limit` bytes of UTF-8, with an ellipsis where some are missing."""
    raw = text.encode("utf-8", "replace")
    if len(raw) <= limit:
        return text
    return raw[: max(limit - len(ELLIPSIS.encode()), 0)].decode("utf-8", "ignore") + ELLIPSIS
