"""What parent and child write into the pipes between them: frames of a length and a msgpack object.

    parent --stdin--> Ask                                         end of file: leave the node, then end
    child --stdout--> NodeOpened, then CallAnswer, Tip, Events, Mark ...  the last one is Closed

Both sides are ours, but the child holds bytes of a node: lengths are bounded, and what is no message ends the child.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final, Literal, TypeVar

import msgspec

MOST_BYTES: Final = 96 << 20
"""Of one frame: the largest answer (64 MiB, `watchdog.sources.rpc.answer_bounds`) and what surrounds it."""
MOST_ASKED: Final = 64 << 10
"""Of one frame to the child: a method with its parameters. A pipe holds as much, so writing it never blocks."""
LENGTH: Final = struct.Struct("<I")
CloseReason = Literal["unreachable", "timeout", "garbage", "stopped"]
AnswerStatus = Literal["ok", "timeout", "too-large", "fault", "unreachable"]
Message = TypeVar("Message")


class Ask(msgspec.Struct, tag=True):
    """One call of JSON-RPC. params: as JSON. most_bytes: a larger answer is left out. deadline_s: from now."""

    number: int
    method: str
    params: bytes
    deadline_s: float
    most_bytes: int


class NodeOpened(msgspec.Struct, tag=True):
    """The connection is made. layout: a name of `watchdog.sources.ipc.layouts`. seen: what an unknown node offers.

    tip: the node reports its tip. kinds: of the events that are subscribed; they begin with this message.
    """

    layout: str
    seen: str
    tip: bool
    kinds: tuple[str, ...]
    time_ns: int


class CallAnswer(msgspec.Struct, tag=True):
    """The answer to an Ask. body: the JSON-RPC answer as the node sent it. why: for people, where it is not `ok`."""

    number: int
    status: AnswerStatus
    body: bytes = b""
    why: str = ""


class Tip(msgspec.Struct, tag=True):
    """The node's tip: the one at the start, then each that another follows. hash: 32 bytes in internal order."""

    hash: bytes
    height: int
    time_ns: int


class Events(msgspec.Struct, tag=True):
    """Records of one kind, in the form of `watchdog.sources.ipc.records`.

    lost: that the child had no room for, between from_ns and to_ns (0 without any).
    """

    kind: str
    records: bytes
    lost: int = 0
    from_ns: int = 0
    to_ns: int = 0


class Mark(msgspec.Struct, tag=True):
    """No event before `until_ns` follows. counts: of all events so far by kind, and of their values in satoshi.

    begun: kinds whose subscription began since the mark before.
    """

    until_ns: int
    counts: dict[str, tuple[int, int]]
    begun: tuple[str, ...] = ()


class NotYet(msgspec.Struct, tag=True):
    """The connection is made, and for now the node cannot be asked. why: for people."""

    why: str


class Said(msgspec.Struct, tag=True):
    """A line for the log of the parent. warn: at the level of a warning."""

    text: str
    warn: bool


class Closed(msgspec.Struct, tag=True):
    """The child ends. why: for people."""

    reason: CloseReason
    why: str


FromChild = NodeOpened | NotYet | CallAnswer | Tip | Events | Mark | Said | Closed
_encoder = msgspec.msgpack.Encoder()
_from_child: msgspec.msgpack.Decoder[FromChild] = msgspec.msgpack.Decoder(FromChild)
_from_parent = msgspec.msgpack.Decoder(Ask)


class BrokenPipeFrameError(Exception):
    """The other side wrote what is no frame, or ended within one."""


def frame(message: Ask | FromChild) -> bytes:
    """Return a message with its length."""
    body = _encoder.encode(message)
    return LENGTH.pack(len(body)) + body


def next_from_child(read: Callable[[int], bytes]) -> FromChild | None:
    """Return the next message of a child; None at the end. read: returns this many bytes, fewer at the end only."""
    return _next(read, MOST_BYTES, _from_child.decode)


def next_from_parent(read: Callable[[int], bytes]) -> Ask | None:
    """Return the next message of the parent; None at the end."""
    return _next(read, MOST_ASKED, _from_parent.decode)


def _next(read: Callable[[int], bytes], most: int, decode: Callable[[bytes], Message]) -> Message | None:
    head = read(LENGTH.size)
    if not head:
        return None
    if len(head) < LENGTH.size or (size := LENGTH.unpack(head)[0]) > most:
        raise BrokenPipeFrameError("a frame has no length that can be true")
    body = read(size)
    if len(body) < size:
        raise BrokenPipeFrameError("a frame is cut off")
    try:
        return decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise BrokenPipeFrameError(f"a frame holds no message: {error}") from None
