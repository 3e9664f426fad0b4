"""Numbers and names as they fit into narrow columns, and the table for a pipe. Pure text, no terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from watchdog.core.durations import SECOND_NS, rough_duration
from watchdog.core.text import printable
from watchdog.top.facts import NodeLook, ShownIncident, ShownMessage, ShownNode, ShownPeer

COLUMNS: Final = (
    ("conn", "#", 6),
    ("type", "type", 5),
    ("peer", "peer", 18),
    ("age", "age", 4),
    ("ping", "ping", 5),
    ("received", "in/s", 4),
    ("sent", "out/s", 5),
    ("addresses", "addrs", 5),
    ("dropped", "drop", 5),
)
"""Key, heading and width of the columns of peers; `busiest` takes the rest of a line."""
TEXT_COLUMNS: Final = frozenset({"type", "peer", "busiest"})
BUSIEST: Final = 48
"""Width of the types with the highest rates in a table for a pipe."""
_SHORT: Final = {
    "inbound": "in",
    "outbound-full-relay": "full",
    "block-relay-only": "block",
    "addr-fetch": "addr",
    "private-broadcast": "priv",
    "outbound": "out",
    "unknown": "?",
}
NOTHING: Final = "-"
QUIET: Final = 0.05  # messages a second below which a rate is a dot


def peer_cells(peer: ShownPeer, busiest: int) -> dict[str, str]:
    """Return the cells of a peer by column. busiest: the width of the last one."""
    return {
        "conn": NOTHING if peer.conn is None else str(peer.conn),
        "type": _SHORT.get(peer.connection_type, printable(peer.connection_type, 5)),
        "peer": cut(peer.peer, 18),
        "age": span(peer.age_s),
        "ping": ping(peer.ping_s),
        "received": NOTHING if peer.messages is None else rate(peer.per_s("received")),
        "sent": NOTHING if peer.messages is None else rate(peer.per_s("sent")),
        "addresses": amount(peer.addresses),
        "dropped": amount(peer.addresses_dropped),
        "busiest": busiest_types([peer], busiest),
    }


def busiest_types(peers: Sequence[ShownPeer], width: int) -> str:
    """Return the types with the highest rates, in both directions together, as many as fit: `inv 12  tx 0.3`."""
    rates: dict[str, float] = {}
    for peer in peers:
        for flow in ("received", "sent"):
            for name, one in peer.types(flow).items():
                rates[name] = rates.get(name, 0.0) + one.per_s
    text = ""
    for name, per_s in sorted(rates.items(), key=lambda pair: (-pair[1], pair[0])):
        more = f"{printable(name, 16)} {per_s:.0f}" if per_s >= 9.5 else f"{printable(name, 16)} {rate(per_s)}"
        if per_s < QUIET or len(text) + len(more) + 2 > width:
            break
        text = f"{text}  {more}" if text else more
    return text


def head(look: NodeLook) -> tuple[str, str]:
    """Return two lines about the node: its chain, then its mempool and tables."""
    state = look.facts.state
    blocks, headers = state.get("blocks"), state.get("headers")
    tip = f"block {whole(blocks)}, {span(state.get('tip_age_s'))} old" if blocks is not None else "chain unknown"
    if blocks is not None and headers is not None and headers > blocks:
        tip += f", {whole(headers - blocks)} behind its headers"
    peers = look.facts.peers
    inbound = sum(peer.direction == "in" for peer in peers)
    first = f"{tip}   {len(peers) - inbound} out, {inbound} in"
    mempool = "mempool unknown"
    if state.get("mempool_transactions") is not None:
        mempool = f"mempool {whole(state['mempool_transactions'])} tx, {size(state.get('mempool_bytes'), 'vB')}"
    tables = "address tables unknown"
    if state.get("addresses_new") is not None:
        tables = f"tables {whole(state['addresses_new'])} new, {whole(state.get('addresses_tried'))} tried"
    return first, f"{mempool}   {tables}"


def traffic_line(peers: Sequence[ShownPeer]) -> str:
    """Return a line about all messages of the node: their rates by direction and by type."""
    talking = [peer for peer in peers if peer.messages is not None]
    if not talking:
        return "messages unknown"
    received, sent = (rate(sum(peer.per_s(flow) for peer in talking)) for flow in ("received", "sent"))
    return f"messages a second: {received} in, {sent} out   {busiest_types(talking, BUSIEST)}".rstrip()


def incident_line(incident: ShownIncident, now_s: float, width: int) -> str:
    """Return an incident as one line: severity, age, rule's summary."""
    age = span(max(now_s - incident.opened, 0.0))
    return cut(f"{incident.severity:<8} {age:>4}  {printable(incident.summary, 400)}", width)


def message_cells(message: ShownMessage) -> tuple[str, str]:
    """Return the left and the right column of a message, one of them empty, as p2p_monitor.py has them."""
    text = f"{printable(message.type, 16)} ({message.size:,} byte{'' if message.size == 1 else 's'})"
    return (f"{text} --->", "") if message.flow == "sent" else ("", f"<--- {text}")


def plain_table(look: NodeLook, now_s: float) -> Iterator[str]:
    """Yield the lines of one table for a pipe or a file."""
    facts: ShownNode = look.facts
    yield f"{printable(facts.node)}   {head(look)[0]}"
    yield head(look)[1]
    yield traffic_line(facts.peers)
    if look.trouble:
        yield f"trouble: {look.trouble}"
    yield ""
    heads = {key: title for key, title, _ in COLUMNS} | {"busiest": "busiest, a second"}
    rows = [heads, *(peer_cells(peer, BUSIEST) for peer in facts.peers)]
    for row in rows:
        cells = [_fitted(row[key], width, key) for key, _, width in COLUMNS]
        yield " ".join([*cells, row["busiest"]]).rstrip()
    if facts.peers_beyond:
        yield f"({whole(facts.peers_beyond)} peers gave way to others, for want of room)"
    yield from _incidents(look.incidents, now_s)


def _incidents(incidents: Sequence[ShownIncident] | None, now_s: float) -> Iterator[str]:
    if incidents is None:
        return
    yield ""
    yield f"{len(incidents)} open incident{'' if len(incidents) == 1 else 's'}"
    for incident in incidents:
        yield incident_line(incident, now_s, 400)


def _fitted(text: str, width: int, key: str) -> str:
    return text.ljust(width) if key in TEXT_COLUMNS else text.rjust(width)


def cut(text: str, width: int) -> str:
    """Return the text, harmless, in at most `width` characters; of an address the port is left out first."""
    shown = printable(text, 400)
    if len(shown) > width:
        address, colon, _ = shown.rpartition(":")
        shown = address if colon and len(address) <= width and address.endswith("]") else shown
    return shown if len(shown) <= width else f"{shown[: width - 1]}…"


def span(seconds: float | None) -> str:
    """Return a time in its largest unit: `45s`, `12m`, `3h`, `9d`."""
    return NOTHING if seconds is None else rough_duration(int(seconds * SECOND_NS)).partition(" ")[0]


def ping(seconds: float | None) -> str:
    """Return a round trip: `52ms`, `1.3s`."""
    if seconds is None:
        return NOTHING
    return f"{seconds * 1000:.0f}ms" if seconds < 0.9995 else f"{seconds:.1f}s" if seconds < 100 else f"{seconds:.0f}s"


def rate(per_s: float) -> str:
    """Return a rate in four characters at most; a dot for next to nothing."""
    if per_s < QUIET:
        return "·"
    return f"{per_s:.1f}" if per_s < 99.95 else f"{per_s:.0f}" if per_s < 9_999.5 else f"{min(per_s / 1e3, 999):.0f}k"


def amount(number: float | None) -> str:
    """Return a number in five characters at most: `9999`, `12k`, `3.4M`."""
    if number is None:
        return NOTHING
    if number < 9_999.5:
        return f"{number:.0f}"
    for unit in ("k", "M", "G"):
        number /= 1_000
        if number < 99.95:
            return f"{number:.1f}{unit}"
        if number < 999.5:
            return f"{number:.0f}{unit}"
    return f"{number / 1_000:.0f}T"


def whole(number: float | None) -> str:
    """Return a whole number with thousands apart."""
    return NOTHING if number is None else f"{number:,.0f}"


def size(number: float | None, unit: str) -> str:
    """Return a size: `12.3 MvB`."""
    if number is None:
        return NOTHING
    for prefix in ("", "k", "M", "G"):
        if number < 1_000 or prefix == "G":
            return f"{number:.0f} {unit}" if not prefix else f"{number:.1f} {prefix}{unit}"
        number /= 1_000
    return NOTHING
