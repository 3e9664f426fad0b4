"""Small ELF files with the notes of tracepoints, for releases and machines that cannot be compiled here."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

X86_64, AARCH64 = 62, 183
FILE_BASE = 0x10000  # address of the first byte of the file when it runs


@dataclass(frozen=True)
class Note:
    """One probe. base: the address of .stapsdt.base when the note was written."""

    provider: str
    name: str
    arguments: str
    location: int = 0x10010
    base: int = 0x20000
    semaphore: int = 0x30000

    def content(self) -> bytes:
        """The note with its header, padded."""
        texts = b"".join(text.encode() + b"\0" for text in (self.provider, self.name, self.arguments))
        return note(struct.pack("<3Q", self.location, self.base, self.semaphore) + texts)


def note(content: bytes, owner: bytes = b"stapsdt\0", kind: int = 3) -> bytes:
    """A note with any content."""
    padding = bytes(-len(content) % 4)
    return struct.pack("<3I", len(owner), len(content), kind) + owner + bytes(-len(owner) % 4) + content + padding


def elf(
    notes: Sequence[Note | bytes] = (), *, machine: int = X86_64, strings: bytes = b"", base: int = 0x20000
) -> bytes:
    """A little-endian ELF64 file. strings: its .rodata. base: where .stapsdt.base is."""
    raw = b"".join(one if isinstance(one, bytes) else one.content() for one in notes)
    names = b"\0.note.stapsdt\0.stapsdt.base\0.rodata\0.shstrtab\0"
    bodies = [raw, b"\0", strings, names]
    at, places = 64 + 56, []
    for body in bodies:
        places.append(at)
        at += len(body) + (-len(body) % 8)
    sections = [bytes(64)]
    kinds = (7, 1, 1, 3)  # SHT_NOTE, SHT_PROGBITS, SHT_PROGBITS, SHT_STRTAB
    for number, (body, place) in enumerate(zip(bodies, places, strict=True)):
        label = names.index((b".note.stapsdt", b".stapsdt.base", b".rodata", b".shstrtab")[number])
        address = base if number == 1 else FILE_BASE + place
        sections.append(struct.pack("<2I4Q2I2Q", label, kinds[number], 2, address, place, len(body), 0, 0, 4, 0))
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    header = ident + struct.pack("<2HI3QI6H", 2, machine, 1, FILE_BASE, 64, at, 0, 64, 56, 1, 64, 5, 4)
    loaded = struct.pack("<2I6Q", 1, 5, 0, FILE_BASE, FILE_BASE, at, at, 4096)
    padded = b"".join(body + bytes(-len(body) % 8) for body in bodies)
    return header + loaded + padded + b"".join(sections)


def written(path: Path, content: bytes) -> Path:
    """The content as a file."""
    path.write_bytes(content)
    return path
