"""Rules from text, as plans."""

from __future__ import annotations

import tempfile
from pathlib import Path
from textwrap import dedent

from rules.load import load
from watchdog.core.plan import RulePlan

FULL_MEMPOOL = """
rules:
  full-mempool:
    title: Mempool is full
    attack: resource
    severity: warning
    on: rpc:mempool
    by: []
    measure: {most: max(txs)}
    over: 10s
    pane: 1s
    fire: most > 100
    resolve_after: 1m
"""

ESCALATING_MEMPOOL = """
rules:
  mempool-full:
    title: Mempool is full
    attack: resource
    severity: warning
    on: rpc:mempool
    by: []
    measure: {most: max(txs)}
    over: 10s
    fire: most > 100
    resolve_after: 1m
    escalate: {high: most > 1000}
    summary: "{most} transactions wait"
"""
ODD_AGENT = """
  odd-agent:
    title: Odd user agent
    attack: node
    severity: warning
    on: rpc:peer
    by: [user_agent]
    measure: {polls: count()}
    over: 10s
    fire: polls > 0
    summary: "{user_agent} was seen {polls} times"
    evidence: 4
"""
PINGS = """
rules:
  pings:
    title: Pings
    attack: resource
    severity: SEVERITY
    on: p2p:ping
    by: [peer]
    where: flow == "received"
    measure: {pings: count()}
    over: 10s
    fire: pings > 20
    summary: "{pings} pings"
"""
"""With `SEVERITY` in place of a severity."""
FULL_AT_TWO = """
rules:
  full-at-two:
    title: The mempool is full at two nodes
    attack: resource
    severity: high
    scope: fleet
    on: rpc:mempool
    measure: {full: distinct(node where txs > 100)}
    over: 1m
    fire: full >= 2
"""


def plans(text: str) -> tuple[RulePlan, ...]:
    """The plans of a rule file with this content."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rules.yaml"
        path.write_text(dedent(text), encoding="utf-8")
        return load([path], packs=False).plans
