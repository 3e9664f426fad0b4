"""Findings as events, so that rules can read them: `finding:fire` and its like, one kind for each change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

import numpy as np

from watchdog.core.address import parse_address, split_port
from watchdog.core.batch import Batch, Column, Strings
from watchdog.core.enrich import Enricher
from watchdog.core.finding import OVERFLOW, Change, Finding
from watchdog.core.prefix import AS, PAYLOAD_BITS, UNKNOWN_PREFIX, parse_prefix
from watchdog.core.text import printable

KIND_OF: Final[Mapping[Change, str]] = {
    "fire": "finding:fire",
    "update": "finding:update",
    "escalate": "finding:escalate",
    "clear": "finding:clear",
}
_AS_BITS: Final = (1 << PAYLOAD_BITS) - 1


def finding_batches(findings: Sequence[Finding]) -> tuple[Batch, ...]:
    """Return findings as events of the kinds `finding:*`: a batch for each kind, node and rule, rows as given.

    The engine calls it with the findings of one step. Pure, and it reads nothing but the findings, so that findings of
    other nodes can be converted too. The time of an event is that of its finding: the end of the pane. Its `source` is
    `rule:ID`, so that events of one time have an order whichever rule was judged first. Texts are safe to show.
    """
    parts: dict[tuple[str, str, str], list[Finding]] = {}
    for finding in findings:
        parts.setdefault((KIND_OF[finding.change], finding.node, finding.rule), []).append(finding)
    return tuple(
        Batch(kind, node, printable(f"rule:{rule}"), _columns(rows)) for (kind, node, rule), rows in parts.items()
    )


def key_text(key: Mapping[str, str]) -> str:
    """Return a key as one text, `name=value` with commas between; different keys have different texts."""
    return ",".join(f"{name}={_escaped(value)}" for name, value in key.items())


def _escaped(value: str) -> str:
    return printable(value).replace("\\", "\\\\").replace(",", "\\,") if value else ""


def _columns(findings: Sequence[Finding]) -> dict[str, Column]:
    """Return the columns of the kinds, in the catalogue's order."""
    parties = [_party(finding) for finding in findings]
    addresses, netgroups, netblocks, asns = zip(*parties, strict=True)
    return {
        "time_ns": np.array([finding.time_ns for finding in findings], np.int64),
        "rule": Strings.of([printable(finding.rule) for finding in findings]),
        "attack": Strings.of([finding.attack for finding in findings]),
        "severity": Strings.of([finding.severity for finding in findings]),
        "maturity": Strings.of([finding.maturity or "incubating" for finding in findings]),
        "key": Strings.of([key_text(finding.key) for finding in findings]),
        "keys": np.array([max(finding.stands_for, 1) for finding in findings], np.uint32),
        "node": Strings.of([printable(finding.node) for finding in findings]),
        "peer_addr": Strings.of(addresses),
        "netgroup": np.array(netgroups, np.uint64),
        "netblock": np.array(netblocks, np.uint64),
        "asn": np.array(asns, np.uint32),
        "since_ns": np.array([finding.since_ns for finding in findings], np.int64),
    }


def _party(finding: Finding) -> tuple[str, int, int, int]:
    """Return address, netgroup, netblock and AS number of the key that a finding is about, as far as known."""
    if finding.key == OVERFLOW:
        return "", UNKNOWN_PREFIX, UNKNOWN_PREFIX, 0
    known = finding.party
    address = known.get("peer_addr") or split_port(known.get("peer", ""))[0]
    netgroup, netblock = _prefix(known.get("netgroup", "")), _prefix(known.get("netblock", ""))
    if netblock == UNKNOWN_PREFIX and address:
        netblock = _netblock(address)
    asn = known.get("asn", "").removeprefix("AS")
    number = int(asn) if asn.isascii() and asn.isdecimal() and len(asn) <= 10 else 0
    if not number and netgroup >> PAYLOAD_BITS == AS:
        number = netgroup & _AS_BITS
    return printable(address), netgroup, netblock, number if number < 1 << 32 else 0


def _prefix(text: str) -> int:
    try:
        return parse_prefix(text) if text else UNKNOWN_PREFIX
    except ValueError:
        return UNKNOWN_PREFIX


@lru_cache(4_096)
def _netblock(address: str) -> int:
    """Return the netblock of an address: its netgroup on a watchdog without an asmap."""
    return Enricher().peer(address).netblock if parse_address(address) is not None else UNKNOWN_PREFIX
