"""The catalogue of events for people: docs/EVENTS.md, `watchdog events`, and the same as data."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from watchdog.core.declared import declared
from watchdog.core.kinds import KINDS, PEER_FIELDS, PSEUDO_FIELDS, Field, Kind
from watchdog.sources.registry import SCHEMES

DOCS = Path(__file__).parents[2] / "docs" / "EVENTS.md"
AREAS: Mapping[str, str] = {
    "net": "Connections and messages",
    "p2p": "Message contents",
    "rpc": "State of the node, polled",
    "peer": "Peers that come and go between polls",
    "addrman": "Changes of the address tables",
    "node": "The node's process",
    "chain": "The chain between polls",
    "log": "Lines of debug.log",
    "zmq": "Notifications of the node over ZMQ",
    "validation": "Blocks",
    "mempool": "Mempool",
    "utxocache": "Coins cache",
    "coin_selection": "Wallet",
    "finding": "Findings of rules",
    "fleet": "Nodes compared",
    "source": "What sources say of themselves",
}
INTRODUCTION = """\
# Events

Made from `watchdog/core/schema/events.capnp` by `make docs`. `watchdog events` prints the same.

Rules name kinds with `on:` and use fields in `where`, `by` and `measure`. Numbers are integers unless the type says
otherwise. `prefix` is a netgroup, netblock or subnet: a number inside, text such as `136.43.0.0/16` or `AS24940` for
people.
Fields marked *c* are constant for the life of a connection.

**Sources.** `capture`, `snapshots`, `rpc` and `log` are read today, and `recording:` is capture, snapshots and log
together; `events:` gives back what was recorded, as the sources that it was recorded from. `tracepoint` stands for
kinds that Bitcoin Core's tracepoints give; `nats:` and `peer-observer:` give most of them, and some of the others: the
table below has all. `rules` stands for findings: rules give
them to rules over findings, no source has them, and `watchdog record` leaves them out. `fleet` stands for comparisons
of several nodes: only rules with `scope: fleet` read them.

**One fact, several sources.** A message in a capture may also be a line in the log and a step of a counter. Where other
kinds report the same fact, the page says so: a rule counts one of them.
"""


def as_data(kind: Kind) -> dict[str, object]:
    """Return a kind as JSON-able data."""
    return {
        "kind": kind.name,
        "description": kind.description,
        "sources": list(kind.sources),
        "same_fact": list(kind.same_fact),
        "fields": [_field_data(field) for field in kind.fields.values()],
    }


def listing(kinds: Collection[Kind]) -> str:
    """Render kinds, one a line: name, sources, description."""
    width = max(len(kind.name) for kind in kinds)
    sources = max(len(", ".join(kind.sources)) for kind in kinds)
    lines = (f"{kind.name:<{width}}  {', '.join(kind.sources):<{sources}}  {kind.description}" for kind in kinds)
    return "\n".join(lines) + "\n"


def page_of(kind: Kind) -> str:
    """Render one kind with its fields, as a plain table."""
    constants = (field for name, field in PSEUDO_FIELDS.items() if name not in kind.fields)
    fields = [*kind.fields.values(), *constants]
    name, typ, unit = (max(len(text(field)) for field in fields) for text in (_name, _type, _unit))
    lines = [kind.name, f"  {kind.description}.", f"  from: {', '.join(kind.sources)}"]
    others = [other for other in kind.same_fact if other != kind.name]
    if others:
        lines.append(f"  the same fact: {', '.join(others)} (count one of them)")
    lines.append("")
    lines += [
        f"  {field.name:<{name}}  {field.type:<{typ}}  {field.unit:<{unit}}  {field.description}".rstrip()
        for field in fields
    ]
    return "\n".join(lines) + "\n"


def markdown() -> str:
    """Return the whole of docs/EVENTS.md."""
    parts = [INTRODUCTION, _sources_table(), _shared_fields()]
    for area, title in AREAS.items():
        kinds = [kind for kind in KINDS.values() if kind.name.partition(":")[0] == area]
        parts.append(f"## {title}\n")
        parts += [_section(kind) for kind in kinds]
    return "\n".join(parts)


def main(arguments: list[str]) -> int:
    """Write docs/EVENTS.md, or with `--check` compare it; 1 when it is not current."""
    text = markdown()
    if "--check" in arguments:
        return 0 if DOCS.exists() and DOCS.read_text(encoding="utf-8") == text else 1
    DOCS.write_text(text, encoding="utf-8")
    return 0


def _sources_table() -> str:
    lines = ["| source | kinds |", "| --- | --- |"]
    kinds = [kind for kind in KINDS.values() if kind.name not in {one.kind_name for one in declared()}]
    named = dict.fromkeys(name for kind in kinds for name in kind.sources)
    for source in (*(name for name in SCHEMES if name in named), *(name for name in named if name not in SCHEMES)):
        names = [kind.name for kind in kinds if source in kind.sources]
        only = [name for name in names if "capture" not in KINDS[name].sources]
        shown = names if source in SCHEMES else only
        note = "; and all kinds of capture" if source == "tracepoint" else ""
        lines.append(f"| {source} | {', '.join(f'`{name}`' for name in shown)}{note} |")
    for name, row in SCHEMES.items():
        if name not in named and row.kinds is not None:  # a source of kinds that others give, too
            given = row.kinds()
            lines.append(f"| {name} | {', '.join(f'`{kind.name}`' for kind in kinds if kind.name in given)} |")
    return "## Which source gives what\n\n" + "\n".join(lines) + "\n"


def _shared_fields() -> str:
    peer = [KINDS["rpc:peer"].fields[name] for name in PEER_FIELDS]
    every = [KINDS["rpc:peer"].fields["time_ns"], *PSEUDO_FIELDS.values()]
    return (
        f"## Fields of every event\n\n{_table(every)}\n"
        f"## Fields of a peer\n\nKinds that belong to a connection begin with these (*peer fields*).\n\n{_table(peer)}"
    )


def _section(kind: Kind) -> str:
    names = tuple(kind.fields)
    has_peer = names[1 : 1 + len(PEER_FIELDS)] == PEER_FIELDS
    own = [field for name, field in kind.fields.items() if name != "time_ns" and not (has_peer and name in PEER_FIELDS)]
    lines = [f"### {kind.name}\n", f"{kind.description}. From: {', '.join(kind.sources)}."]
    others = [other for other in kind.same_fact if other != kind.name]
    if others:
        lines.append(f"The same fact as {', '.join(f'`{other}`' for other in others)}.")
    if has_peer:
        lines.append("Peer fields" + (", and:" if own else "."))
    return "\n".join(lines) + "\n" + (f"\n{_table(own)}" if own else "")


def _table(fields: Iterable[Field]) -> str:
    lines = ["| field | type | unit | meaning |", "| --- | --- | --- | --- |"]
    for field in fields:
        mark = " *c*" if field.identity else ""
        lines.append(f"| {field.name}{mark} | {field.type} | {field.unit} | {field.description} |")
    return "\n".join(lines) + "\n"


def _field_data(field: Field) -> dict[str, object]:
    return {
        "name": field.name,
        "type": field.type,
        "unit": field.unit,
        "description": field.description,
        "identity": field.identity,
        "values": list(field.values),
    }


def _name(field: Field) -> str:
    return field.name


def _type(field: Field) -> str:
    return field.type


def _unit(field: Field) -> str:
    return field.unit


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
