"""Checkpoint files: all that a run needs to resume exactly where it stopped, written whole or not at all."""

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
    """The state of a replay or a service between two slices. Times in ns.

    rules: digest of the rule set. sources: as given. positions: by source name. starts: by source, the time from which
    changes are reported (`first_start.Quiet`). held: incidents not reported yet, by their first change, and whether
    they fire. last_action: the books have every operators' action up to this id, and those in `acted`. streams: by node
    and stream, rows that a node has reported to the fleet since `origin` (ns of the wall clock), or that the fleet has
    taken in. stage: of the fleet, see `FleetStage.snapshot`. in_force: which source gives what several have, see
    `watchdog.service.in_force.Saved`. cases: see `NodeCases.snapshot`.
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
    streams: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    origin: int = 0
    stage: bytes = b""
    in_force: Mapping[str, tuple[str, int, int]] = field(default_factory=dict)
    cases: tuple[bytes, bytes] = (b"", b"")


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Replace `path` atomically by a temporary file beside it, fsync and rename. OSError when that fails."""
    body = msgspec.msgpack.encode(checkpoint)
    write_whole(path, MAGIC + zlib.crc32(body).to_bytes(4, "little") + body, private=True)  # it holds peers' addresses


def read_checkpoint(path: Path) -> Checkpoint:
    """Read the checkpoint in `path`. StateError, with path and reason, when it is damaged or no checkpoint."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise StateError(f"checkpoint '{path}': {(error.strerror or 'cannot be read').lower()}") from None
    if not raw.startswith(MAGIC):
        raise StateError(f"checkpoint '{path}': not a checkpoint of this version; remove it to start over")
    body = raw[len(MAGIC) + 4 :]
    if raw[len(MAGIC) : len(MAGIC) + 4] != zlib.crc32(body).to_bytes(4, "little"):
        raise StateError(f"checkpoint '{path}': wrong checksum, the file is damaged; remove it to start over")
    try:  # invalid UTF-8 and deep nesting raise other errors than DecodeError
        return msgspec.msgpack.decode(body, type=Checkpoint)
    except (
        msgspec.DecodeError,
        UnicodeDecodeError,
        RecursionError,
    ) as error:
        raise StateError(f"checkpoint '{path}': {error}; remove it to start over") from None
