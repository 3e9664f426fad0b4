"""Claims: one rule accuses one party in one incident, from when to when, with these names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import isqrt

from alerts.gathered import FIRST_PLACE, key_entities
from alerts.incident import RANK
from alerts.party import is_address, is_this_machine, party_of
from watchdog.core.finding import Attack, Evidence, Finding, Severity
from watchdog.core.own_rules import OWN_RULES
from watchdog.core.plan import Accusation, CaseRole, RulePlan
from watchdog.core.text import printable

PARTIES = 64  # of one finding
NAMES = 64  # of one claim
LONGEST_SAID = 200  # characters of a claim's sentence
NAMED = 20  # names that a finding has of a field at most; there may be more who have none
ANNOUNCERS = 32  # of one claim: peers that announced what entered the tables
FORGED = "entry_"  # fields that gossip fills: an attacker chooses what they name
LOST = frozenset({"peer:outbound_lost"})  # kinds whose peers were lost: bystanders
ANNOUNCER = "source_addr"
OUTBOUND = "out"


@dataclass(frozen=True, slots=True)
class RuleWords:
    """What cases know of a rule. forged: its entities are names that peers announced. over_ns: its window.

    comparing: it says who is odd, not what they do, so two of its claims at one time need not be one attack. sandbox:
    its maturity, so it notifies no one by itself.
    """

    technique: str
    role: CaseRole = "core"
    names: Accusation = "party"
    forged: bool = False
    over_ns: int = 0
    title: str = ""
    comparing: bool = False
    sandbox: bool = False


def words_of(plans: Iterable[RulePlan]) -> dict[str, RuleWords]:
    """Return the words of rules by id, and those of findings by the wall clock, which are about the input."""
    own = {one.id: RuleWords("data", "state", "bystander", title=one.title) for one in OWN_RULES.values()}
    return own | {
        plan.id: RuleWords(
            plan.technique,
            plan.role,
            plan.names,
            bool(plan.entities) and all(name.startswith(FORGED) for name in plan.entities),
            plan.over_ns,
            plan.title,
            bool(plan.comparisons),
            plan.maturity == "sandbox",
        )
        for plan in plans
    }


def no_words(rule: str) -> RuleWords:
    """Return the words of a rule that is no longer loaded: core, its id its technique."""
    return RuleWords(rule, title=rule)


@dataclass(slots=True)
class Claim:
    """One claim. Rule words are those at its beginning, whatever a reload changes.

    number: of its book, from 1. party: empty for state and witnesses, and where a rule names no one. first_ns, last_ns:
    of the findings that name the party. ended_ns: since when no key fires, None while one does. firing: keys as text.
    weights: names, weighed. announcers: addresses that announced a forged party. spread: findings with peers that
    the node chose or that were there before. promoted: counts as warning though it is info. grown: it has something
    new that may link. case: the case that shows it, empty without one.
    said: the sentence of its first finding of its severity, harmless for people.
    silenced: the id of the silence that holds it back; empty when it counts. crowded: a finding named so many
    that others may have remained unnamed. strangers: one accused others too, who have no claim (`has_strangers`).
    """

    number: int
    incident: str
    rule: str
    attack: Attack
    words: RuleWords
    party: str
    round: int
    severity: Severity
    first_ns: int
    last_ns: int
    ended_ns: int | None = None
    firing: dict[str, int] = field(default_factory=dict)
    weights: dict[str, int] = field(default_factory=dict)
    beyond: int = 0
    announcers: dict[str, int] = field(default_factory=dict)
    spread: int = 0
    said: str = ""
    findings: int = 0
    promoted: bool = False
    grown: bool = True
    case: str = ""
    laid_aside: bool = False

    silenced: str = ""
    crowded: bool = False
    strangers: bool = False

    @property
    def links(self) -> bool:
        """Whether it may open a case and link: warning and above, or promoted, no witness, and not silenced."""
        if self.silenced or self.words.role == "witness":
            return False
        return self.promoted or RANK[self.severity] >= RANK["warning"]

    @property
    def fires(self) -> bool:
        """Whether a key of it fires."""
        return self.ended_ns is None

    @property
    def counts(self) -> bool:
        """Whether it fires and is not silenced."""
        return self.ended_ns is None and not self.silenced

    @property
    def reopens(self) -> bool:
        """Whether it opens its case again: it counts, and not as an operator saw it when resolving the case."""
        return self.counts and not self.laid_aside

    @property
    def order(self) -> tuple[int, str, str, int]:
        """When it began, then what it is: the older of two claims comes first."""
        return self.first_ns, self.incident, self.party, self.round

    def end_ns(self, now_ns: int) -> int:
        """Return until when it has fired."""
        return now_ns if self.ended_ns is None else self.ended_ns

    def note(self, names: Mapping[str, int], finding: Finding, time_ns: int, member: str) -> None:
        """Take in a finding. names: those of this party by place, from 1."""
        self.last_ns = max(self.last_ns, time_ns)
        self.ended_ns = None
        self.firing[member] = time_ns
        self.findings += 1
        if not self.said or RANK[finding.severity] > RANK[self.severity]:
            self.said = printable(finding.summary, LONGEST_SAID)
        self.crowded |= len(names) >= NAMED
        self.strangers = self.strangers or has_strangers(finding)
        if RANK[finding.severity] > RANK[self.severity]:
            self.severity, self.grown, self.laid_aside = finding.severity, True, False
        for name, place in names.items():
            _weigh(self, name, FIRST_PLACE // place)
        for announcer in announced_by(finding.evidence):
            if announcer in self.announcers or len(self.announcers) < ANNOUNCERS:
                self.grown |= announcer not in self.announcers
                self.announcers[announcer] = self.announcers.get(announcer, 0) + 1
        self.spread += carried(finding.evidence, self.first_ns)

    def stop(self, member: str, time_ns: int) -> None:
        """Note that a key no longer fires, or no longer names the party."""
        if self.firing.pop(member, None) is not None and not self.firing:
            self.ended_ns, self.laid_aside = max(time_ns, self.first_ns), False

    def weight(self) -> int:
        """Return how much it accuses: grows slower than its findings, so that repetition counts little."""
        if self.words.names == "bystander":
            return 0
        weight = 1_000 * isqrt(sum(self.weights.values())) * (1 + RANK[self.severity])
        return weight // 3 if self.words.names == "mixed" else weight


def _weigh(claim: Claim, name: str, weight: int) -> None:
    if name in claim.weights or len(claim.weights) < NAMES:
        claim.grown |= name not in claim.weights
        claim.weights[name] = claim.weights.get(name, 0) + weight
    else:
        claim.beyond += 1


def parties_in(finding: Finding, words: RuleWords) -> dict[str, dict[str, int]]:
    """Return the parties that a finding accuses, most involved first: their names with their places, from 1.

    A key that names a network accuses that network alone. State and witnesses accuse no one: one party without a name,
    with the names that are involved. So does a rule that names no one.
    """
    keyed = keyed_names(finding)
    names = dict.fromkeys((*keyed, *finding.entities))
    if words.role != "core":
        return {"": {name: place for place, name in enumerate(list(names)[:NAMES], 1)}}
    own = {party for name in keyed if (party := party_of(name))}
    lost = bystanders(finding.evidence)
    found: dict[str, dict[str, int]] = {}
    for place, name in enumerate(names, 1):
        party = party_of(name)
        if party is None or name in lost or (own and party not in own):
            continue
        if party in found or len(found) < PARTIES:
            found.setdefault(party, {})[name] = place
    return found or {"": {}}


def keyed_names(finding: Finding) -> tuple[str, ...]:
    """Return the names in the key of a finding."""
    keyed = key_entities({**finding.party, **finding.incident, **finding.key})
    return (finding.key["party"], *keyed) if "party" in finding.key else keyed  # the former of rules over nodes


def has_strangers(finding: Finding) -> bool:
    """Return whether a finding accuses peers of whom no claim says anything.

    Onion peers all come from this machine, which is no party, and beyond `NAMED` names there may be others. Where the
    key names a party, the finding is about that party alone.
    """
    if len(finding.entities) < NAMED and not any(is_this_machine(name) for name in finding.entities):
        return False
    return not any(party_of(name) for name in keyed_names(finding))


def bystanders(evidence: Iterable[Evidence]) -> set[str]:
    """Return the peers that the evidence shows as lost and never as come."""
    lost: set[str] = set()
    came: set[str] = set()
    for event in evidence:
        name = str(event.fields.get("peer_addr", ""))
        (lost if event.kind in LOST else came).add(name)
    return lost - came


def announced_by(evidence: Iterable[Evidence]) -> list[str]:
    """Return the addresses that announced what entered the node's tables, once for each event."""
    names = (str(event.fields.get(ANNOUNCER, "")) for event in evidence)
    return [name for name in names if is_address(name)]


def carried(evidence: Iterable[Evidence], since_ns: int) -> bool:
    """Return whether most events are of peers that the node chose, or that were there before `since_ns`."""
    known = old = 0
    for event in evidence:
        age_s = event.fields.get("age_s")
        known += 1
        chosen = event.fields.get("direction") == OUTBOUND
        old += chosen or (isinstance(age_s, int | float) and event.time_ns - int(age_s * 1e9) < since_ns - int(3.6e12))
    return known > 0 and 2 * old > known
