"""Silences: claims of a rule, of a technique or about a party that count for nothing for a while, at a person's word.

A silence acts on claims before links, never on cases: an attack beside silenced noise has claims of its own, which open
a case as if the noise were not there. Times are event time: a claim is silenced from `from_ns` until before `until_ns`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from functools import lru_cache

from alerts.case.links import OUTBOUND, STAGE_OF, VIEW
from alerts.claims import ANNOUNCERS, Claim
from alerts.party import HOSTS, REMEMBERED, network_of_name, party_of
from alerts.render import time_text
from watchdog.core.durations import DAY_NS
from watchdog.core.errors import WatchdogError
from watchdog.core.finding import Severity
from watchdog.core.text import printable

LONGEST_NS = 30 * DAY_NS  # of a silence that is not in the configuration
MOST = 1_000  # silences in force; each finding is compared with all of them
WIDEST = {4: 16, 6: 32}  # bits of a prefix; a wider one never holds back what must be heard
ENDING_NS = DAY_NS  # before its end, an operator is reminded of it
WHO_LIMIT, COMMENT_LIMIT = 100, 2_000  # characters, as for operators' actions
HEARD_STAGES = frozenset({OUTBOUND, VIEW})
"""Stages that a silence without a narrow party never holds back: the node is being cut off."""


class SilenceError(WatchdogError):
    """A silence cannot be made, or changed, so."""


@dataclass(frozen=True, slots=True)
class ClaimSilence:
    """One silence. An empty matcher matches all; at least one of party, rule and technique is given.

    id: a number in the database, `file:` and a hash from the configuration. party: an address, a prefix, or the host of
    an onion or I2P peer. node: empty for all nodes and the house. place: in the configuration.
    """

    id: str
    from_ns: int
    until_ns: int
    author: str
    comment: str
    party: str = ""
    rule: str = ""
    technique: str = ""
    node: str = ""
    place: str = ""

    @property
    def is_narrow(self) -> bool:
        """Whether it names a party of at most a /16 (IPv6: /32): only such a one holds back everything."""
        network = network_of_name(self.party)
        return bool(self.party) and (network is None or network.prefixlen >= WIDEST[network.version])

    @property
    def words(self) -> str:
        """What it says for people, in one line."""
        who, why = printable(self.author, WHO_LIMIT), printable(self.comment, 200)
        kept = f" ({self.place})" if self.place else ""
        return f"silenced by {who} until {time_text(self.until_ns)}: {why} (silence {self.id}){kept}"

    @property
    def matcher(self) -> str:
        """What it matches for people, in one line."""
        parts = (("party", self.party), ("rule", self.rule), ("technique", self.technique), ("node", self.node))
        return ", ".join(f"{name} {printable(value)}" for name, value in parts if value)


@dataclass(frozen=True, slots=True)
class Accused:
    """What a silence is compared with: a claim, or a part of a stored incident.

    party: a netblock or host, empty for state, witnesses and rules that name no one. names: those that were named, or
    for names that gossip made up the peers that announced them. more: there were further ones. state: it is about the
    node, so that its names are bystanders. strangers: others without a party are accused with it, such as onion peers.
    """

    node: str
    rule: str
    technique: str
    severity: Severity
    party: str
    names: Collection[str]
    more: bool = False
    state: bool = False
    strangers: bool = False


def accused_by(claim: Claim, node: str) -> Accused:
    """Return what silences see of a claim."""
    words = claim.words
    if words.forged:  # anyone can be named in gossip, so who announced the names decides
        party, names, more = "", claim.announcers, len(claim.announcers) >= ANNOUNCERS
    else:
        party, names, more = claim.party, claim.weights, claim.beyond > 0 or claim.crowded
    state = words.role == "state"
    return Accused(node, claim.rule, words.technique, claim.severity, party, names, more, state, claim.strangers)


def matches(silence: ClaimSilence, accused: Accused) -> bool:
    """Return whether a silence holds a claim back while it lasts."""
    if silence.node not in {"", accused.node} or silence.rule not in {"", accused.rule}:
        return False
    if silence.technique not in {"", accused.technique}:
        return False
    must_be_heard = accused.severity == "critical" or STAGE_OF.get(accused.technique) in HEARD_STAGES
    if must_be_heard and not silence.is_narrow:
        return False
    return not silence.party or _all_within(silence.party, accused)


def _all_within(party: str, accused: Accused) -> bool:
    """Return whether everyone who is accused belongs to a party: one stranger beside it, and the claim counts."""
    if accused.state or accused.strangers:
        return False
    if accused.party and covers(party, accused.party):
        return True
    named = [name for name in accused.names if party_of(name) is not None]
    names = [name for name in named if name != accused.party] or named  # rules by netblock name it beside its addresses
    return bool(names) and not accused.more and all(covers(party, name) for name in names)


@lru_cache(maxsize=REMEMBERED)
def covers(party: str, name: str) -> bool:
    """Return whether a name is a party, or an address or prefix within it."""
    if party == name:
        return True
    outer, inner = network_of_name(party), network_of_name(name)
    if outer is None or inner is None or outer.version != inner.version:
        return False
    first, last = int(outer.network_address), int(outer.broadcast_address)
    return first <= int(inner.network_address) and int(inner.broadcast_address) <= last


def silencing(silences: Iterable[ClaimSilence], accused: Accused, time_ns: int) -> str:
    """Return the id of the first silence that holds a claim back at a time; empty when it counts."""
    for one in silences:
        if one.from_ns <= time_ns < one.until_ns and matches(one, accused):
            return one.id
    return ""


def ending(silences: Iterable[ClaimSilence], now_ns: int) -> list[ClaimSilence]:
    """Return the silences that end within a day, the next one first; not those that were made for a day or less."""
    soon = [
        one
        for one in silences
        if now_ns < one.until_ns <= now_ns + ENDING_NS and one.until_ns - one.from_ns > ENDING_NS
    ]
    return sorted(soon, key=lambda one: (one.until_ns, one.id))


def checked_party(text: str) -> str:
    """Return a party as cases write it. SilenceError: it names no one."""
    text = text.strip().lower()
    if not text or (text.endswith(HOSTS) and len(text) > max(map(len, HOSTS))):
        return text
    try:
        network = ipaddress.ip_network(text)
    except ValueError as error:
        shown = printable(text, 80)
        if "host bits" in str(error):
            meant = ipaddress.ip_network(text, strict=False)
            raise SilenceError(f"party {shown!r} has bits set behind its length; write {meant}") from None
        hint = "an address, a prefix such as 203.0.113.0/24, or a host that ends in .onion or .b32.i2p"
        raise SilenceError(f"party {shown!r} is not {hint}") from None
    if network.version == 6 and (mapped := network.network_address.ipv4_mapped) is not None and network.prefixlen >= 96:
        network = ipaddress.ip_network(f"{mapped}/{network.prefixlen - 96}")
    if network.is_loopback:
        raise SilenceError(f"party {printable(text, 80)!r} is this machine, from where all onion peers come: no party")
    return str(network.network_address) if network.num_addresses == 1 else str(network)


def checked(silence: ClaimSilence) -> ClaimSilence:
    """Return a silence with its party as cases write it. SilenceError: something is missing, or too much."""
    if not (silence.party or silence.rule or silence.technique):
        raise SilenceError("a silence needs a party, a rule or a technique")
    if silence.rule and silence.technique:
        raise SilenceError("a silence has a rule or a technique, not both")
    author, comment = silence.author.strip(), silence.comment.strip()
    for what, value, most in (("author", author, WHO_LIMIT), ("comment", comment, COMMENT_LIMIT)):
        if not value:
            raise SilenceError(f"a silence needs {'an' if what == 'author' else 'a'} {what}")
        if len(value) > most:
            raise SilenceError(f"{what} of {len(value)} characters: at most {most}")
    for what, value in (("rule", silence.rule), ("technique", silence.technique), ("node", silence.node)):
        if len(value) > WHO_LIMIT:
            raise SilenceError(f"{what} of {len(value)} characters: at most {WHO_LIMIT}")
    return replace(silence, party=checked_party(silence.party), author=author, comment=comment)


def check_end(until_ns: int, now_ns: int) -> None:
    """Check the end of a silence that people add or extend. SilenceError: it is past, or too far off."""
    if until_ns <= now_ns:
        raise SilenceError("a silence must end in the future")
    if until_ns > now_ns + LONGEST_NS:
        raise SilenceError(
            "a silence lasts 30 days at most; a longer one belongs in the configuration, under 'silences'"
        )
