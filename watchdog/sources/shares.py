"""Kinds that several sources of a node can give, and which of the sources is asked first.

Two sources of one kind would count every event twice. So their common kinds are a share: one member gives it, the
others are on standby. See docs/adr/0024-one-source-in-force.md.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from watchdog.core.batch import Batch, Column, Strings

ORDER: Final = ("stream", "capture", "ipc", "rpc", "snapshots", "nats", "peer-observer")
"""Schemes whose sources share kinds, the first asked first: what sees more, and costs the node less, comes earlier."""
FAMILIES: Final[Mapping[str, tuple[str, ...]]] = {
    "messages": ("net:", "p2p:", "chain:block_age"),  # announced blocks: from messages
    "states": ("rpc:", "peer:", "addrman:", "chain:", "node:warning"),
    "tracing": ("mempool:", "utxocache:", "validation:", "coin_selection:"),
}
"""Beginnings of the kinds that are shared, by family. Each source gives all other kinds for itself."""


@dataclass(frozen=True, slots=True)
class Share:
    """Kinds that the same sources of two or more schemes can give.

    name: the source that the engine knows in place of them. members: names of sources, the first in the order first.
    """

    name: str
    members: tuple[str, ...]
    kinds: frozenset[str]

    @property
    def families(self) -> tuple[str, ...]:
        """The families that its kinds are of."""
        return tuple(dict.fromkeys(family for kind in sorted(self.kinds) if (family := family_of(kind))))


def family_of(kind: str) -> str:
    """Return the family of a kind; empty for a kind that each source gives for itself."""
    return next((family for family, begins in FAMILIES.items() if kind.startswith(begins)), "")


def ordered(order: Sequence[str]) -> tuple[str, ...]:
    """Return all schemes of `ORDER`, those of `order` first."""
    return (*order, *(scheme for scheme in ORDER if scheme not in order))


def scheme_in(name: str) -> str:
    """Return the scheme of a source's name; of a source in an events file that of the source it was recorded from."""
    scheme, _, place = name.partition(":")
    if scheme != "events":
        return scheme
    inside = (part.partition(":")[0] for part in place.split("#")[1:])
    return next((one for one in inside if one in ORDER), scheme)


def shares_of(sources: Mapping[str, frozenset[str]], order: Sequence[str] = ()) -> tuple[Share, ...]:
    """Divide the kinds of several sources. sources: their kinds, by name. order: schemes that come before the others.

    Sources of one scheme share nothing among themselves: two captures of a node are of different days, or of two runs.
    The name of a share has its members in the order of `sources`, so that another `order` changes no name.
    """
    places = {scheme: place for place, scheme in enumerate(ordered(order))}
    givers: dict[str, list[str]] = defaultdict(list)
    for name, kinds in sources.items():
        if scheme_in(name) in places:
            for kind in kinds:
                if family_of(kind):
                    givers[kind].append(name)
    kinds_of: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for kind, names in givers.items():
        if len({scheme_in(name) for name in names}) > 1:
            kinds_of[tuple(names)].add(kind)
    return tuple(
        Share(" or ".join(names), tuple(sorted(names, key=lambda name: places[scheme_in(name)])), frozenset(kinds))
        for names, kinds in sorted(kinds_of.items())
    )


def own_kinds(name: str, kinds: frozenset[str], shares: Iterable[Share]) -> frozenset[str]:
    """Return the kinds that a source gives for itself."""
    return kinds.difference(*(share.kinds for share in shares if name in share.members))


def part_of_gaps(gaps: Batch, kinds: frozenset[str], *, counted: bool = True) -> Batch | None:
    """Return the gaps that concern some of these kinds, None without any; one of all kinds becomes one of these.

    counted: whether the lost events count here; else another part of the same gaps counts them.
    """
    column = gaps.strings("kinds")
    every = ",".join(sorted(kinds))
    concerned = np.array([not text or _names_one(text, kinds) for text in column.values], np.bool_)
    rows = np.flatnonzero(concerned[column.codes])
    if not len(rows) or not kinds:
        return None
    part = gaps.take(rows)
    texts = Strings(part.strings("kinds").codes, tuple(text or every for text in column.values))
    columns: dict[str, Column] = {**part.columns, "kinds": texts}
    if not counted:
        columns["lost"] = np.zeros(part.rows, np.uint64)
    return replace(part, columns=columns)


def _names_one(text: str, kinds: frozenset[str]) -> bool:
    """Return whether the text of a gap, kinds or beginnings of kinds, names one of these."""
    begins = tuple(part for part in text.split(",") if part)
    return any(kind.startswith(begins) for kind in kinds)
