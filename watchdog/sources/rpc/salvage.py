"""What can be read of an RPC answer that does not fit its record: wrong types, missing fields, damaged parts."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Generic, TypeVar

import msgspec

T = TypeVar("T")
S = TypeVar("S", bound=msgspec.Struct)

BAD_INPUT = (ValueError, RecursionError)  # all that msgspec raises on bytes it cannot take
Loss = Callable[[str, int], None]  # (reason, how many): what was left out of an answer
UNREADABLE = "answer that cannot be read"
OTHER_TYPE = "fields of another type"


class RpcAnswer(msgspec.Struct, Generic[T]):
    """One line of a snapshots file, as far as its result is concerned."""

    result: T


_raw = msgspec.json.Decoder(RpcAnswer[msgspec.Raw])
_items = msgspec.json.Decoder(list[msgspec.Raw])
FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])


def raw_result(line: bytes, loss: Loss) -> msgspec.Raw | None:
    """Return the result of an answer. None: it has none."""
    try:
        return _raw.decode(line).result
    except BAD_INPUT:
        loss(UNREADABLE, 1)
        return None


def parts_of(decoder: msgspec.json.Decoder[T], line: bytes, loss: Loss) -> T | None:
    """Return the parts of a result, not decoded. None: it is of another form."""
    result = raw_result(line, loss)
    if result is None:
        return None
    try:
        return decoder.decode(result)
    except BAD_INPUT:
        loss(UNREADABLE, 1)
        return None


def items_of(record: type[S], line: bytes, loss: Loss) -> list[S] | None:
    """Return the items of a list that can be read. None: no list, or no item can be read."""
    parts = parts_of(_items, line, loss)
    return [one for part in parts or () if (one := record_of(record, part, loss)) is not None] or None


def record_of(record: type[S], part: msgspec.Raw, loss: Loss) -> S | None:
    """Build the record from the fields that have the right type; others keep their default.

    None: a field without a default is not there, null or of another type.
    """
    try:
        fields = {name: text for name, text in FIELDS.decode(part).items() if bytes(text) != b"null"}
    except BAD_INPUT:
        loss(UNREADABLE, 1)
        return None
    values: dict[str, object] = {}
    for field in msgspec.structs.fields(record):
        text = fields.get(field.name)
        if text is None:
            continue
        try:
            value = msgspec.json.decode(text, type=field.type, strict=False)
        except BAD_INPUT:
            value = math.nan
        if isinstance(value, float) and not math.isfinite(value):  # a text such as "nan" is read as a number, too
            loss(OTHER_TYPE, 1)
            continue
        values[field.name] = value
    lacking = {field.name for field in msgspec.structs.fields(record) if field.required} - values.keys()
    if lacking - fields.keys():  # others have another type, as said above
        loss(UNREADABLE, 1)
    return None if lacking else record(**values)


def table_of(part: msgspec.Raw | None, loss: Loss) -> dict[str, msgspec.Raw]:
    """Return the entries of an object, not decoded; none where it is missing or no object."""
    try:
        return FIELDS.decode(part) if part is not None else {}
    except BAD_INPUT:
        loss(UNREADABLE, 1)
        return {}
