"""Which source alone lets which shipped rule fire: the table of docs/rules/README.md."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from watchdog.core.plan import RulePlan
from watchdog.service.capabilities import Facts, capabilities
from watchdog.sources.registry import SCHEMES

SHOWN: Final = ("capture", "stream", "nats", "log", "rpc", "zmq")
"""Sources with a column. `ipc` and `snapshots` give what `rpc` gives, `peer-observer` what `nats` gives."""
INTRODUCTION: Final = """\
## Rules by source

A source in whose column there is a mark lets the rule fire by itself: `stream` with all tracepoints of a current
release, `log` with `-debug=net` and `-debug=addrman`, `nats` with all extractors of peer-observer, each with an asmap
where the rule asks for one. `ipc` and `snapshots` are as `rpc`, archives (`peer-observer`) as `nats`. A rule without a
mark needs several sources. Rules over nodes need several nodes and are left out.
"""


def matrix(plans: Sequence[RulePlan]) -> str:
    """Return the section as Markdown, one row a rule of a node, in the order of ids."""
    node = [plan for plan in plans if plan.scope == "node"]
    facts = Facts(asmap=True, log_net=True, log_addrman=True)
    columns = []
    for scheme in SHOWN:
        kinds = SCHEMES[scheme].kinds
        given = frozenset[str]() if kinds is None else kinds()
        columns.append(capabilities(node, {scheme: given}, facts))
    head = f"| rule | {' | '.join(SHOWN)} |\n| --- |{' --- |' * len(SHOWN)}"
    rows = []
    for plan in sorted(node, key=lambda one: one.id):
        marks = ("x" if column[plan.id].can_fire is not False else "" for column in columns)
        rows.append(
            f"| [{plan.id}]({plan.id}.md) | {' | '.join(marks)} |".replace("|  |", "| |").replace("|  |", "| |")
        )
    return "\n".join([INTRODUCTION, head, *rows, ""])
