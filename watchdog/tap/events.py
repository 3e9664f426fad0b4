"""Events as a tap prints them: lines for people, JSON lines, bytes of messages. Text of peers is escaped everywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from watchdog.core.batch import Batch, Blobs
from watchdog.core.durations import SECOND_NS
from watchdog.core.kinds import KINDS, PEER_FIELDS
from watchdog.offline.export import plain_columns

GAP: Final = "source:gap"
LONGEST_VALUE: Final = 160  # characters of a value in a line
BYTES_A_LINE: Final = 16
PAYLOAD_SIZE: Final = "payload_size"
PAYLOAD: Final = ("payload", PAYLOAD_SIZE)
_CONSTANT: Final = frozenset({"time_ns", "kind", "node", "source", "boot_ns", *PAYLOAD})
_PEER: Final = frozenset(PEER_FIELDS)
Printed = tuple[int, str]
"""The time of an event in ns, and its text with a line break at its end."""

_ENCODER: Final = msgspec.json.Encoder()


def as_json(batch: Batch) -> Iterator[Printed]:
    """Yield each event as the object of `export --format jsonl`, `kind` first; payloads only where there are any."""
    columns = plain_columns(batch)
    if not any(columns.get(PAYLOAD_SIZE, ())):
        columns = {name: column for name, column in columns.items() if name not in PAYLOAD}
    names = ("kind", *(name for name in columns if name != "kind"))
    for time_ns, *row in zip(columns["time_ns"], *(columns[name] for name in names), strict=True):
        yield time_ns, _ENCODER.encode(dict(zip(names, row, strict=True))).decode() + "\n"


def as_lines(batch: Batch) -> Iterator[Printed]:
    """Yield each event as `TIME KIND PEER NAME=VALUE ...`; what is empty is left out."""
    columns = _shown(batch)
    own = [name for name in columns if name not in _PEER and name not in _CONSTANT]
    with_peer = "conn" in columns and "peer" in columns
    for row in range(batch.rows):
        parts = [moment(columns["time_ns"][row]), batch.kind if batch.kind != GAP else "LOST"]
        parts += [_peer(columns, row)] if with_peer else []
        parts += [f"{name}={text}" for name in own if (text := _value(columns[name][row]))]
        yield columns["time_ns"][row], " ".join(parts) + "\n"


def as_hex(batch: Batch) -> Iterator[Printed]:
    """Yield each event as a line; a message is followed by its bytes, sixteen a line, with the text beside them."""
    payloads = batch.columns.get("payload")
    if not isinstance(payloads, Blobs):
        yield from as_lines(batch)
        return
    present = batch.numbers("payload_size").tolist()
    sizes = batch.numbers("size").tolist()
    for row, ((time_ns, line), payload) in enumerate(zip(as_lines(batch), payloads.tolist(), strict=True)):
        yield time_ns, line + "".join(_dump(payload)) + _missing(int(present[row]), int(sizes[row]))


FORMATS: Final[Mapping[str, Callable[[Batch], Iterator[Printed]]]] = {
    "line": as_lines,
    "json": as_json,
    "hex": as_hex,
}


def moment(time_ns: int) -> str:
    """Return a time as ISO 8601 with microseconds, UTC."""
    seconds, rest = divmod(time_ns, SECOND_NS)
    try:
        text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    except (ValueError, OverflowError, OSError):  # a field that holds any number, such as that of a gap
        return str(time_ns)
    return f"{text}.{rest // 1000:06d}Z"


def _shown(batch: Batch) -> dict[str, list[Any]]:
    """Return the columns without payloads, whose text would be large; times inside an event as people read them."""
    light = {name: column for name, column in batch.columns.items() if name != "payload"}
    columns = plain_columns(Batch(batch.kind, batch.node, batch.source, light, batch.boot_ns))
    if batch.kind == GAP:
        return {
            "time_ns": columns["time_ns"],
            "of": columns["source"],
            "from": [moment(value) for value in columns["from_ns"]],
            "to": [moment(value) for value in columns["to_ns"]],
            "events": [value or "" for value in columns["lost"]],  # 0: their number is not known
            "kinds": columns["kinds"],
            "reason": columns["reason"],
        }
    if batch.kind not in KINDS or "source" in KINDS[batch.kind].fields:
        columns.setdefault("of", columns["source"])
    return columns


def _peer(columns: Mapping[str, list[Any]], row: int) -> str:
    """Return number, direction, type and address of a connection: `#12 in inbound 1.2.3.4:8333`."""
    parts = [f"#{columns['conn'][row]}"]
    for name in ("direction", "connection_type", "peer"):
        text = str(columns[name][row]) if name in columns else ""
        parts += [text] if text and text not in parts else []
    return " ".join(parts)


def _value(value: object) -> str:
    """Return a value as it is shown; empty for one that says nothing."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, str):
        text = value if len(value) <= LONGEST_VALUE else f"{value[: LONGEST_VALUE - 1]}…"
        return f'"{text}"' if " " in text else text
    return str(value)


def _dump(payload: bytes) -> Iterator[str]:
    for start in range(0, len(payload), BYTES_A_LINE):
        piece = payload[start : start + BYTES_A_LINE]
        digits = f"{piece[:8].hex(' '):<23}  {piece[8:].hex(' '):<23}"
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in piece)
        yield f"  {start:08x}  {digits}  |{text}|\n"


def _missing(present: int, size: int) -> str:
    """Return a line where the payload is not whole. present: `payload_size`."""
    if present < 0:
        return "  (the payload could not be read)\n"
    if present == 0 and size:
        return "  (this payload was not asked for)\n"
    return f"  ({present:,} of {size:,} bytes are present)\n" if present < size else ""
