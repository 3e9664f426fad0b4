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


def plans(text: str) -> tuple[RulePlan, ...]:
    """The plans of a rule file with this content."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rules.yaml"
        path.write_text(dedent(text), encoding="utf-8")
        return load([path], packs=False).plans
