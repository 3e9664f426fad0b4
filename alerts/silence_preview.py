"""What a silence would have held back: compared with stored incidents, before anyone relies on it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from alerts.claims import NAMED, RuleWords
from alerts.gathered import key_entities
from alerts.party import is_this_machine, party_of
from alerts.silence import Accused, ClaimSilence, matches
from watchdog.core.text import printable

SHOWN = 6  # parties in a line
Extent = Literal["none", "part", "whole"]
IncidentRow = Mapping[str, Any]  # Any: JSON, as `alerts.render.as_object` makes it
WordsOf = Callable[[str], RuleWords]


@dataclass(frozen=True, slots=True)
class Previewed:
    """An incident that a silence would have held back, in part or as a whole. parties: those of its claims."""

    incident: IncidentRow
    extent: Extent
    held: tuple[str, ...]
    heard: tuple[str, ...]

    def as_object(self) -> dict[str, object]:
        """Return the object for API and command line; times in unix seconds."""
        names = ("id", "rule", "node", "severity", "state", "opened", "updated")
        outer = {name: self.incident[name] for name in names}
        return {**outer, "extent": self.extent, "held": list(self.held), "heard": list(self.heard)}


def previewed(silence: ClaimSilence, incident: IncidentRow, words: RuleWords) -> Previewed:
    """Compare a silence with a stored incident, as it is now.

    Of names that gossip made up the history does not say who announced them, so no party matches those.
    """
    parties: dict[str, list[str]] = {}
    keyed = key_entities(incident["key"])
    names = dict.fromkeys((*keyed, *incident["entities"]))
    strangers = any(map(is_this_machine, names)) and not any(map(party_of, keyed))  # `has_strangers`, as far as known
    for name in names:
        party = party_of(name)
        if party is not None:
            parties.setdefault(party if words.role == "core" else "", []).append(name)
    state = words.role == "state"
    held: list[str] = []
    heard: list[str] = []
    for party, own in (parties or {"": []}).items():
        named = () if words.forged else own
        more = incident["entities_beyond"] > 0 or len(own) >= NAMED
        whom = "" if words.forged else party
        accused = Accused(
            incident["node"],
            incident["rule"],
            words.technique,
            incident["severity"],
            whom,
            named,
            more,
            state,
            strangers,
        )
        (held if matches(silence, accused) else heard).append(party)
    extent: Extent = "none" if not held else "part" if heard else "whole"
    return Previewed(incident, extent, tuple(held), tuple(heard))


def silenced_lines(silences: Iterable[ClaimSilence], incident: IncidentRow, words: RuleWords) -> list[str]:
    """Return a line for each silence that held an incident back, in part or as a whole, at some time of its life."""
    begin_ns = int(incident["opened"] * 1e9)
    end_ns = int((incident["resolved"] or incident["updated"]) * 1e9)
    lines = []
    for one in silences:
        found = previewed(one, incident, words)
        if found.extent != "none" and one.from_ns <= end_ns and begin_ns < one.until_ns:
            parties = ", ".join(printable(party) for party in found.held[:SHOWN] if party)
            part = f" (not {', '.join(printable(party) for party in found.heard[:SHOWN])})" if found.heard else ""
            lines.append(f"held back: silenced ({parties}{part}{': ' if parties else ''}{one.words})")
    return lines
