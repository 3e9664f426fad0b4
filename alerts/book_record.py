"""Snapshots of incident books: the record of one book, its versions, and how NumPy's values become plain ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar, cast

import msgspec

from alerts.incident_life import IncidentLife
from watchdog.core.errors import StateError
from watchdog.core.finding import Finding

BOOK_VERSION = 4  # 2: incidents count their steps; 3: a book for each part of the rules; 4: the watched share
READABLE = (3, BOOK_VERSION)  # each field that is new in 4 has a default
NEVER_NS = -(1 << 63)  # the time of a book that has not been advanced
Snapshot = TypeVar("Snapshot", bound="BookRecord | BooksRecord")


@dataclass(slots=True)
class BookRecord:
    """The state of one book; settled incidents are listed in the order in which they settled."""

    version: int = BOOK_VERSION
    now_ns: int = NEVER_NS
    settled: list[IncidentLife] = field(default_factory=list)
    live: list[IncidentLife] = field(default_factory=list)
    pending: list[Finding] = field(default_factory=list)
    counters: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class BooksRecord:
    """The state of several books, by the names of their parts."""

    version: int = BOOK_VERSION
    books: dict[str, BookRecord] = field(default_factory=dict)


def encoded(record: BookRecord | BooksRecord) -> bytes:
    """Return a record as msgpack, for a checkpoint. TypeError: a finding holds a value that is no plain number."""
    return msgspec.msgpack.encode(record, enc_hook=plain_value)


def decoded(blob: bytes, type_: type[Snapshot]) -> Snapshot:
    """Return the record that `encoded` wrote. StateError: the bytes are damaged or of a version not in `READABLE`."""
    name = "incident book" if type_ is BookRecord else "incident books"
    try:
        record = msgspec.msgpack.decode(blob, type=type_)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise StateError(f"{name}: not a snapshot of this version ({error})") from None
    if record.version not in READABLE:
        raise StateError(f"{name}: version {record.version}, this program reads {BOOK_VERSION}")
    return record


def plain_value(value: object) -> object:
    """Convert a NumPy number or a read-only mapping for the encoder."""
    if isinstance(value, Mapping):
        return dict(value)
    item = getattr(value, "item", None)
    if item is None:
        raise TypeError(f"{type(value).__name__} in a finding cannot be stored")
    return cast("object", item())
