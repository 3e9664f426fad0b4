"""Checkpoint files: all that a replay needs to go on exactly where it stopped, written whole or not at all."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from alerts.incident import IncidentChange
from watchdog.core.errors import StateError
from watchdog.pipeline.atomic_file import write_whole

MAGIC = b"watchdog checkpoint 2\n"  # 2: engine and book by parts of the rules


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """rules: digest of the rule set. sources: as given. positions: by source name. times in ns.

    starts: by source, where its news began (`first_start.Quiet`). held: incidents that nobody was told of, by their
    first change, and whether they fire. last_action: operators' actions up to this id are in the book, and those of
    `acted`, which came before their turn.
    """

    rules: str
    sources: tuple[str, ...]
    node: str
    asmap: str
    positions: Mapping[str, Mapping[str, object]]
    engine: bytes
    book: bytes
    events: int = 0
    first_event_ns: int | None = None
    last_event_ns: int | None = None
    last_action: int = 0
    acted: tuple[int, ...] = ()
    starts: Mapping[str, int] = field(default_factory=dict)
    held: tuple[tuple[IncidentChange, bool], ...] = ()


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Replace `path` atomically: a temporary file beside it, fsync, rename. OSError when the disk refuses."""
    body = msgspec.msgpack.encode(checkpoint)
    write_whole(path, MAGIC + zlib.crc32(body).to_bytes(4, "little") + body, private=True)  # it has peers' addresses


def read_checkpoint(path: Path) -> Checkpoint:
    """The checkpoint in `path`; StateError with place and reason when it is none or damaged."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise StateError(f"checkpoint '{path}': {(error.strerror or 'cannot be read').lower()}") from None
    if not raw.startswith(MAGIC):
        raise StateError(f"checkpoint '{path}': not a checkpoint of this version; remove it to start anew")
    body = raw[len(MAGIC) + 4 :]
    if raw[len(MAGIC) : len(MAGIC) + 4] != zlib.crc32(body).to_bytes(4, "little"):
        raise StateError(f"checkpoint '{path}': checksum does not fit, the file is damaged; remove it to start anew")
    try:  # text that is not UTF-8, or lists in lists without limit, are no DecodeError
        return msgspec.msgpack.decode(body, type=Checkpoint)
    except (
        msgspec.DecodeError,
        UnicodeDecodeError,
        RecursionError,
    ) as error:
        raise StateError(f"checkpoint '{path}': {error}; remove it to start anew") from None
