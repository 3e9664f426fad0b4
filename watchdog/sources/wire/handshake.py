"""p2p:version: how one side introduces itself."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from watchdog.core.batch import Column, Strings
from watchdog.core.core_constants import MAX_SUBVERSION_LENGTH
from watchdog.core.text import MAX_TEXT, decode_text, printable
from watchdog.sources.wire.messages import Decoded
from watchdog.sources.wire.part import TRUNCATED, MessageBlock, RefusedError, compact_at

_FIXED = struct.Struct("<iQq")  # protocol version, services, time
_ADDRESS_BYTES = 26  # services, address and port, without a stamp


@dataclass(frozen=True, slots=True)
class Version:
    """Fields of a version message; those that Core lets a sender leave out have its defaults."""

    protocol_version: int
    services: int
    time_s: int
    nonce: int = 1
    user_agent: bytes = b""
    start_height: int = -1
    relay: bool = True


def parse_version(raw: bytes) -> Version:
    """Read what Core's ProcessMessage reads; RefusedError where it throws. A negative time counts as 0."""
    at = _FIXED.size + _ADDRESS_BYTES
    if len(raw) < at:
        raise RefusedError(TRUNCATED)
    protocol_version, services, time_s = _FIXED.unpack_from(raw)
    version = Version(protocol_version, services, max(time_s, 0))
    if len(raw) == at:
        return version
    at += _ADDRESS_BYTES
    nonce = _number(raw, at, 8)
    at += 8
    if len(raw) == at:
        return Version(protocol_version, services, version.time_s, nonce)
    size, at = compact_at(raw, at, MAX_SUBVERSION_LENGTH)
    user_agent = raw[at : at + size]
    at += size
    if at > len(raw):
        raise RefusedError(TRUNCATED)
    height, relay = -1, True
    if at < len(raw):
        height = _number(raw, at, 4)
        height -= (height >> 31) << 32
        relay = raw[at + 4 : at + 5] != b"\0"
    return Version(protocol_version, services, version.time_s, nonce, user_agent, height, relay)


def _number(raw: bytes, at: int, width: int) -> int:
    if at + width > len(raw):
        raise RefusedError(TRUNCATED)
    return int.from_bytes(raw[at : at + width], "little")


def version(part: MessageBlock) -> list[Decoded]:
    """Decode p2p:version; messages are few and small, so one after another."""
    rows: list[int] = []
    found: list[Version] = []
    for row in part.good.nonzero()[0].tolist():
        try:
            found.append(parse_version(part.message(row)))
        except RefusedError as error:
            part.reason[row] = error.reason
        else:
            rows.append(row)
    chosen = np.array(rows, np.intp)
    columns: dict[str, Column] = {
        "protocol_version": np.array([one.protocol_version for one in found], np.int32),
        "services": np.array([one.services for one in found], np.uint64),
        "user_agent": Strings.of([printable(decode_text(one.user_agent), MAX_TEXT) for one in found]),
        "start_height": np.array([one.start_height for one in found], np.int32),
        "relay": np.array([one.relay for one in found], np.bool_),
        "nonce": np.array([one.nonce for one in found], np.uint64),
        "time_offset_s": np.array([one.time_s for one in found], np.int64) - part.time_s[chosen],
    }
    return [Decoded("p2p:version", part.rows(chosen), columns)]
