"""Message classes of the `.proto` files in `proto/`, from the descriptors that `make proto` wrote: no protoc is needed.

Classes made at run time have no types that mypy knows, so their instances are `Any`. Every field that is read is in a
`.proto` file, and a test compares the stored descriptors with these files.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet

PROTO: Final = Path(__file__).parent / "proto"
STORED: Final = PROTO / "descriptors.binpb"
LENGTH_DELIMITED: Final = 2  # wire type of text, bytes and messages (protobuf's encoding.md)


@cache
def message_class(name: str) -> Any:
    """Return the class of a message by its full name, such as `watchdog.nats.ArchiveHead`."""
    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(name))


@cache
def _pool() -> descriptor_pool.DescriptorPool:
    """Return a pool of our own: the default one is shared with every other user of protobuf in the process."""
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(STORED.read_bytes()).file:
        pool.Add(file)
    return pool


def parsed(name: str, raw: bytes) -> Any | None:
    """Return a message; None when the bytes are none, or lack a required field. Total."""
    try:
        message = message_class(name).FromString(raw)
    except DecodeError:
        return None
    return message if message.IsInitialized() else None


def unknown_fields(message: Any) -> list[tuple[int, int]]:
    """Return number and wire type of the fields of a message that its class does not know."""
    found = UnknownFieldSet(message)
    fields = [found[place] for place in range(len(found))]
    return [(field.field_number, field.wire_type) for field in fields]
