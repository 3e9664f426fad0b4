"""What a row of the table of line forms holds.

A form is one line of debug.log as the reader knows it: how it begins, the pattern that all its wordings match, the fact
it gives. A wording is the text of one `Log...(...)` call in Bitcoin Core's source, with the merges into Core's master
that began and ended it; `python -m watchdog.sources.core_log` looks for the texts in a source tree.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

ID = rb"(?P<conn>\d{1,18})(?:,? peeraddr=(?P<addr>[^\s,]{1,300}))?(?:, mapped_as=\d{1,10})?"
PEER = rb"peer=" + ID
HASH = rb"(?P<hash>[0-9a-f]{64})"
IGNORED = ""  # `fact` of a line that is known and gives no event


class Wording(NamedTuple):
    """One text of a form.

    text: the literal in Core's source, `%` for each conversion, without the newline. line: one as a node writes it,
    without prefixes. since, until: release and merge commit that began and ended it; empty: older than v22, or still
    there in the newest master that was looked at (952ff9da4352, August 2026).
    """

    text: str
    line: str
    since: str = ""
    until: str = ""


@dataclass(frozen=True, slots=True)
class Form:
    """One line form.

    head: how its lines begin, at most 8 bytes, compared for all lines at once. begin: what makes a line one of this
    form, so that a line of it that `pattern` does not match is counted as unread. fact: the method of `LogFacts` that
    takes the match, with a word for it. kinds: what the form is read for. file: Core's source file.
    """

    name: str
    head: bytes
    begin: re.Pattern[bytes]
    pattern: re.Pattern[bytes]
    fact: str
    kinds: frozenset[str]
    file: str
    wordings: tuple[Wording, ...]


def form(  # noqa: PLR0917  (a row of a table)
    name: str, begin: bytes, pattern: bytes, fact: str, kinds: tuple[str, ...], file: str, *wordings: Wording
) -> Form:
    """Make a form; its lines begin with the literal bytes before the first special sign of the expression `begin`."""
    literal = re.match(rb"(?:[^\\()\[\]{}.?*+|^$]|\\[^a-zA-Z0-9])*", begin)
    head = re.sub(rb"\\(.)", rb"\1", literal[0] if literal else b"")[:8]
    return Form(name, head, re.compile(begin), re.compile(pattern), fact, frozenset(kinds), file, wordings)


def ending(name: str, begin: bytes, reason: str, file: str, *wordings: Wording) -> Form:
    """Make a form that says why a connection is about to end. reason: our word, as in `log:disconnected`."""
    pattern = rb"(?=" + begin + rb").{0,700}?\bpeer[= ]" + ID + rb".*"
    return form(name, begin, pattern, f"ending {reason}", ("log:disconnected",), file, *wordings)
