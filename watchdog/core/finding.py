"""Findings: one verdict of one rule for one key, with what it rests on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Severity = Literal["info", "warning", "high", "critical"]
SEVERITIES: tuple[Severity, ...] = ("info", "warning", "high", "critical")

Attack = Literal["addr-flooding", "eclipse", "message-anomaly", "chain", "resource", "node", "data"]
ATTACKS: tuple[Attack, ...] = (
    "addr-flooding",
    "eclipse",
    "message-anomaly",
    "chain",
    "resource",
    "node",
    "data",
)

Change = Literal["fire", "update", "escalate", "clear"]

Maturity = Literal["sandbox", "incubating", "stable", "deprecated"]
"""How far a rule has been proved; findings of a `sandbox` rule are judged and stored, never sent."""


FLEET = "*fleet*"
"""The node of findings of fleet rules that accuse no single node; no node can have this name."""
OVERFLOW: Mapping[str, str] = {"group": "*"}
"""Key of the incident that a rule's keys share when there is no room for one each."""


PARTY = ("peer_addr", "peer", "netgroup", "netblock", "asn")
"""Fields of a key, or that follow from it, that say who or what network it is."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """One event behind a finding, as people read it: kind, time and its plain fields."""

    time_ns: int
    kind: str
    fields: Mapping[str, str | int | float | bool]


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule says of one key at one moment of event time.

    change: `fire` opens, `update` refreshes, `escalate` raises the severity, `clear` says
    that the condition no longer holds. key: the rule's `by` fields as text. incident: the
    fields under which findings of one attack come together (all peers of a netgroup, say).
    entities: addresses without port, netgroups and ASNs, most involved first.
    watched: share of the window after watching began, 0 to 1: after the first event of the slowest
    source that feeds the rule, and after the node's last start. completeness: share of this watched
    part that no gap covers, 0 to 1; 1 when nothing was watched.
    stands_for: keys that this finding counts, because more than a pane's limit fired at once: all that
    fired then, also those with a finding of their own; 0 when it reports its own key. Its key and
    incident are `OVERFLOW` then. counted: such a finding has counted this key already.
    maturity: the rule's; None in a snapshot of a version that did not report it.
    party: who the key is, as text: those of `PARTY` that key, incident or summary name; the same from fire to clear.
    """

    rule: str
    attack: Attack
    severity: Severity
    node: str
    change: Change
    time_ns: int
    since_ns: int
    key: Mapping[str, str]
    incident: Mapping[str, str]
    entities: tuple[str, ...]
    measures: Mapping[str, int | float]
    summary: str
    evidence: tuple[Evidence, ...] = ()
    completeness: float = 1.0
    resolve_after_ns: int = 0
    evidence_limit: int = 50
    watched: float = 1.0
    stands_for: int = 0
    counted: bool = False
    maturity: Maturity | None = None
    party: Mapping[str, str] = field(default_factory=dict)
