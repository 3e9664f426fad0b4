"""Who a case accuses, most involved first, and its headline."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from alerts.case.life import SHOWN, CaseLife, in_order
from alerts.case.links import STAGE_OF
from alerts.claims import Claim
from alerts.incident import RANK
from alerts.party import is_address, party_of

LISTED_PARTIES = 1_000
LISTED_ADDRESSES = 64
RELAYED_BY = 16  # parties; with more, none of which has a quarter of the weight, peers only carry what others made
TELLER_SHARE = 3  # a peer that announced a name weighs as one of a mixture: honest peers relay


@dataclass(slots=True)
class PartyView:
    """One accused party. weight: of the claims that count now. addresses: most involved first."""

    party: str
    weight: int = 0
    firing: bool = False
    first_ns: int = 0
    last_ns: int = 0
    weights: dict[str, int] = field(default_factory=dict)
    rules: list[str] = field(default_factory=list)

    @property
    def addresses(self) -> list[str]:
        """The addresses known of it, at most `LISTED_ADDRESSES`."""
        names = sorted((name for name in self.weights if is_address(name)), key=lambda one: (-self.weights[one], one))
        return names[:LISTED_ADDRESSES]

    @property
    def name(self) -> str:
        """An address when there is one only, else the netblock."""
        known = self.addresses
        return known[0] if len(known) == 1 else self.party

    @property
    def label(self) -> str:
        """The name, with the number of addresses of a netblock."""
        many = len(self.addresses)
        return self.name if many < 2 else f"{self.party} ({many} addresses)"

    def add(self, claim: Claim, names: Mapping[str, int], weight: int, now_ns: int) -> None:
        """Count a claim that accuses it."""
        self.weight += weight
        self.firing = self.firing or claim.fires
        self.first_ns = min(self.first_ns or claim.first_ns, claim.first_ns)
        self.last_ns = max(self.last_ns, min(claim.end_ns(now_ns), now_ns))
        for name, share in names.items():
            self.weights[name] = self.weights.get(name, 0) + share
        if claim.rule not in self.rules:
            self.rules.append(claim.rule)


def parties_of(claims: Iterable[Claim], counting: set[int], now_ns: int) -> list[PartyView]:
    """Return the parties that claims accuse, by weight among the claims that count now, then by that of the others."""
    found: dict[str, PartyView] = {}
    later: dict[str, int] = {}
    for claim in sorted(claims, key=lambda one: one.order):
        for party, names, weight in _accused(claim):
            view = found.setdefault(party, PartyView(party))
            view.add(claim, names, weight if claim.number in counting else 0, now_ns)
            later[party] = later.get(party, 0) + weight
    return sorted(found.values(), key=lambda one: (-one.weight, -later[one.party], one.party))


def _accused(claim: Claim) -> list[tuple[str, Mapping[str, int], int]]:
    """Return the parties of a claim with names and weights. Of a forged name its announcers are accused."""
    weight = claim.weight()
    if not weight or claim.words.role != "core":
        return []
    if not claim.words.forged:
        return [(claim.party, claim.weights, weight)] if claim.party else []
    announcers: dict[str, dict[str, int]] = {}
    for name, times in claim.announcers.items():
        party = party_of(name)
        if party is not None:
            announcers.setdefault(party, {})[name] = times
    total = max(sum(claim.announcers.values()), 1)
    return [
        (party, names, weight * sum(names.values()) // total // TELLER_SHARE)
        for party, names in sorted(announcers.items())
    ]


def announced(claims: Iterable[Claim]) -> list[str]:
    """Return the netblocks that gossip named: an attacker chooses them, so they accuse no one."""
    return list(dict.fromkeys(one.party for one in claims if one.words.forged and one.party))


def names_shown(views: Sequence[PartyView], claims: Sequence[Claim]) -> tuple[str, ...]:
    """Return the names for a notice: the first parties, or one line when many peers only relay."""
    counting = [view for view in views if view.weight]
    total = sum(view.weight for view in counting)
    spread = sum(claim.spread for claim in claims if claim.attack == "addr-flooding")  # nothing else is relayed
    if len(counting) > RELAYED_BY and 4 * counting[0].weight < total and 2 * spread > sum(c.findings for c in claims):
        return (f"no single origin: {len(counting)} peers relay it",)
    return tuple(view.name for view in (counting or views)[:SHOWN])


def worst_claim(claims: Sequence[Claim], witnesses: Sequence[Claim]) -> Claim | None:
    """Return the gravest claim, whose title is that of the case; of a case without claims, the gravest witness."""
    return max(
        claims or witnesses,
        key=lambda one: (RANK[one.severity], bool(one.words.technique), one.weight(), one.order),
        default=None,
    )


def headline(case: CaseLife, claims: Sequence[Claim], witnesses: Sequence[Claim], parties: int) -> str:
    """Return what the case is, in one line."""
    worst = worst_claim(claims, witnesses)
    title = "case" if worst is None else worst.words.title or worst.rule
    stages = in_order({STAGE_OF[one.words.technique] for one in claims if one.words.technique in STAGE_OF})
    stages = in_order([*stages, *case.stages])
    if len(stages) > 1:
        title = f"Eclipse ({', '.join(stages)}): {title}"
    return f"{title} ({parties} parties)" if parties > 1 else title
