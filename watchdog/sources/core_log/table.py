"""The table of line forms: every line of debug.log that the reader takes notice of, from v22 to master.

To add a line: write its wording into the module that fits, with a line as a node writes it; then let
`WATCHDOG_CORE_SOURCE=DIR python -m watchdog.sources.core_log` look for all texts in Core's source. The spans came from
Core's history on master, by bisection along first parents.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from watchdog.sources.core_log import connections, endings_net, endings_policy, endings_protocol, peers, tables
from watchdog.sources.core_log.form import IGNORED, Form

FORMS: Final[tuple[Form, ...]] = (
    *tables.NODE,
    *connections.FORMS,
    *peers.FORMS,
    *tables.FORMS,
    *endings_net.FORMS,
    *endings_policy.FORMS,
    *endings_protocol.FORMS,
)
PEER_KINDS: Final = frozenset(connections.PEER_KINDS)
KINDS: Final[frozenset[str]] = frozenset().union(*(form.kinds for form in FORMS))


@dataclass(frozen=True, slots=True)
class Selection:
    """The forms that are read: `heads[i]` is a beginning, `forms[i]` are all that share it."""

    heads: tuple[bytes, ...]
    forms: tuple[tuple[Form, ...], ...]

    @property
    def start_code(self) -> int:
        """Index of the beginning of the line that a starting node writes."""
        return self.heads.index(b"Bitcoin ")


def select(wanted: frozenset[str] | None) -> Selection:
    """Return the forms needed for the wanted kinds, None for all; a node's start, stop and rate limit are always read.

    Forms that a line with such a head may be of come with them, without a fact: their lines are no unread lines.
    """
    read = {form.name for form in FORMS if wanted is None or form in tables.NODE or form.kinds & wanted}
    heads: dict[bytes, list[Form]] = {form.head: [] for form in FORMS if form.name in read}
    for head, forms in heads.items():
        alike = (form for form in FORMS if head.startswith(form.head))
        forms.extend(form if form.name in read else replace(form, fact=IGNORED) for form in alike)
    order = sorted(heads, key=len)  # of two beginnings that fit, the later and longer one decides
    return Selection(tuple(order), tuple(tuple(heads[head]) for head in order))
