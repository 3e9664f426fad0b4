"""The tracepoints (USDT probes) of a binary, from the notes that sys/sdt.h leaves in it.

The file is untrusted: whatever is in it, reading takes bounded time and memory, and ends with probes or one line of
`SourceError`. pyelftools reads the tables; the notes' contents are read here.
"""

from __future__ import annotations

import errno
import io
import os
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from elftools.common.exceptions import ELFError
from elftools.construct import ConstructError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import NoteSection, Section

from watchdog.core.errors import SourceError
from watchdog.core.text import decode_text, printable
from watchdog.extract.descriptors import Argument, arguments_of

NOTES: Final = ".note.stapsdt"  # section, owner and type of the notes: sys/sdt.h
OWNER: Final = "stapsdt"
TYPE: Final = 3
BASE: Final = ".stapsdt.base"  # its address moves with the code when a binary is prelinked
STRINGS: Final = ".rodata"

MOST_SITES: Final = 16_384  # Core has about 60; a template may multiply one
MOST_SECTIONS: Final = 4_096
MOST_SEGMENTS: Final = 256
LONGEST_NAME: Final = 128  # characters of a provider or a name
TABLES_BYTES: Final = 16 << 20  # read of tables and notes
CALL_BYTES: Final = 64  # that each read costs beside its bytes, so that their number is bounded as well
STRINGS_BYTES: Final = 64 << 20  # read of constant strings, in which the version is searched

# What pyelftools raises on damaged tables, beside its own errors.
_DAMAGED: Final = (
    ELFError, ConstructError, ValueError, LookupError, ArithmeticError, TypeError, AttributeError, AssertionError,
    struct.error, RecursionError, MemoryError,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Probe:
    """One place in the code where a tracepoint is. location, base, semaphore: addresses in the binary's own space.

    location and semaphore are corrected for prelinking; semaphore is 0 for a probe without one.
    """

    provider: str
    name: str
    location: int
    base: int
    semaphore: int
    arguments: tuple[Argument, ...]

    @property
    def full_name(self) -> str:
        """Provider and name, as kinds are named."""
        return f"{self.provider}:{self.name}"


@dataclass(frozen=True, slots=True)
class Loaded:
    """A part of the file that is mapped when the program runs. Addresses and offsets in bytes."""

    address: int
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class TracedBinary:
    """What was read of one file. machine: pyelftools' name (`EM_X86_64`). strings: where constant texts are.

    faults: notes that could not be read, one line each; probes: all sites of all probes, in the order of the file.
    """

    path: str
    machine: str
    pointer_bytes: int
    probes: tuple[Probe, ...]
    loaded: tuple[Loaded, ...]
    faults: tuple[str, ...] = ()

    def sites(self) -> dict[str, tuple[Probe, ...]]:
        """Return the sites of each probe by full name, in the order of the file."""
        found: dict[str, list[Probe]] = {}
        for probe in self.probes:
            found.setdefault(probe.full_name, []).append(probe)
        return {name: tuple(places) for name, places in found.items()}

    def file_offset(self, address: int) -> int | None:
        """Return where in the file an address is, as uprobes want it; None for an address that is not in it."""
        for part in self.loaded:
            if part.address <= address < part.address + part.size:
                return part.offset + address - part.address
        return None


class _Metered(io.FileIO):
    """A file that gives a bounded number of bytes in a bounded number of calls."""

    left = TABLES_BYTES

    def read(self, size: int | None = -1, /) -> bytes:
        """Read exactly as a file does. ValueError: the budget is used up."""
        wanted = self.left if size is None or size < 0 else size
        self.left -= CALL_BYTES
        if wanted > self.left:
            raise ValueError("its tables are too large")
        data: bytes = super().read(wanted) or b""
        self.left -= len(data)
        return data


def read_binary(path: Path | str) -> TracedBinary:
    """Return the probes of an ELF file; a file without any has no `probes`.

    Raises SourceError when it cannot be read, is no regular file, no ELF, or damaged.
    """
    with _opened(path) as file:
        try:
            return _read(str(path), file)
        except _DAMAGED as error:
            reason = printable(str(error)) or type(error).__name__
            raise SourceError(f"{_shown(path)}: its ELF tables are damaged: {reason}") from None
        except OSError as error:
            raise SourceError(f"{_shown(path)}: {(error.strerror or str(error)).lower()}") from None


def constant_strings(path: Path | str) -> bytes:
    """Return the first 64 MiB of the binary's constant strings; empty where it has none. Errors as `read_binary`."""
    with _opened(path) as file:
        try:
            section = next((one for one in _sections(_elf(file, path)) if one.name == STRINGS), None)
            if section is None or section["sh_type"] != "SHT_PROGBITS":
                return b""
            file.left = STRINGS_BYTES + CALL_BYTES
            file.seek(section["sh_offset"])
            return file.read(min(section["sh_size"], STRINGS_BYTES))
        except _DAMAGED as error:
            raise SourceError(f"{_shown(path)}: its ELF tables are damaged: {printable(str(error))}") from None
        except OSError as error:
            raise SourceError(f"{_shown(path)}: {(error.strerror or str(error)).lower()}") from None


def program_of(pid: int) -> Path:
    """Return the path under which the program of a process can be read, even after its file was replaced.

    Raises SourceError when there is no such process or this user may not read it.
    """
    path = Path(f"/proc/{pid}/exe")
    try:
        path.readlink()
    except PermissionError:
        raise SourceError(
            f"process {pid}: this user may not see its program: give the path of the binary instead"
        ) from None
    except OSError as error:
        gone = error.errno in {errno.ENOENT, errno.ESRCH}
        reason = "there is no such process, or it has no program" if gone else (error.strerror or str(error)).lower()
        raise SourceError(f"process {pid}: {reason}") from None
    return path


def _opened(path: Path | str) -> _Metered:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except ValueError:  # a zero byte in the name
        raise SourceError(f"{_shown(path)}: no file can have this name") from None
    except OSError as error:
        raise SourceError(f"{_shown(path)}: {(error.strerror or str(error)).lower()}") from None
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise SourceError(f"{_shown(path)}: not an ordinary file")
    return _Metered(handle, "rb")


def _shown(path: Path | str) -> str:
    return f"'{printable(os.fsdecode(path))}'"


def _elf(file: _Metered, path: Path | str) -> ELFFile:
    if file.read(4) != b"\x7fELF":
        raise SourceError(f"{_shown(path)}: not an ELF binary")
    return ELFFile(file)


def _read(path: str, file: _Metered) -> TracedBinary:
    elf = _elf(file, path)
    notes: Section | None = None
    base = 0
    for section in _sections(elf):
        if section.name == NOTES:
            notes = notes or section
        elif section.name == BASE:
            base = int(section["sh_addr"])
    found, faults = [], []
    for raw in _raw_notes(notes):
        try:
            found.append(_probe(raw, elf, base))
        except ValueError as error:
            faults.append(f"a note is not readable: {printable(str(error))}")
        if len(found) + len(faults) > MOST_SITES:
            raise ValueError(f"more than {MOST_SITES} probes")
    return TracedBinary(
        path, str(elf["e_machine"]), elf.elfclass // 8, tuple(found), tuple(_loaded(elf)), tuple(faults)
    )


def _sections(elf: ELFFile) -> Iterator[Section]:
    many = elf.num_sections()
    if many > MOST_SECTIONS:
        raise ValueError(f"{many} sections")
    yield from elf.iter_sections()


def _loaded(elf: ELFFile) -> Iterator[Loaded]:
    many = elf.num_segments()
    if many > MOST_SEGMENTS:
        raise ValueError(f"{many} segments")
    for segment in elf.iter_segments():
        if segment["p_type"] == "PT_LOAD":
            yield Loaded(segment["p_vaddr"], segment["p_offset"], segment["p_filesz"])


def _raw_notes(notes: Section | None) -> Iterator[bytes]:
    """Yield the content of each note of the right owner and type."""
    if not isinstance(notes, NoteSection):
        return
    if notes["sh_size"] > TABLES_BYTES:
        raise ValueError(f"notes of {notes['sh_size']} bytes")
    for note in notes.iter_notes():
        if note["n_name"] == OWNER and _type_of(note["n_type"]) == TYPE:
            yield note["n_descdata"]


def _type_of(value: Any) -> int:  # Any: pyelftools gives the number, or its name for notes of another owner
    return {"NT_GNU_BUILD_ID": TYPE}.get(value, -1) if isinstance(value, str) else int(value)


def _probe(raw: bytes, elf: ELFFile, base: int) -> Probe:
    """Return the probe of a note: three addresses, then three texts that each end in a zero byte. ValueError."""
    width = 3 * elf.elfclass // 8
    if len(raw) < width:
        raise ValueError(f"{len(raw)} bytes")
    form = ("<" if elf.little_endian else ">") + ("3Q" if elf.elfclass == 64 else "3I")
    location, noted, semaphore = struct.unpack_from(form, raw)
    texts = raw[width:].split(b"\0")
    if len(texts) < 4:
        raise ValueError("its texts do not end")
    provider, name, arguments = (decode_text(text) for text in texts[:3])
    if not provider or not name or max(len(provider), len(name)) > LONGEST_NAME:
        raise ValueError("its name is empty or too long")
    moved = base - noted if base and noted else 0
    place = location + moved
    sign = semaphore + moved if semaphore else 0
    if place < 0 or sign < 0:
        raise ValueError("an address is negative")
    return Probe(provider, name, place, noted, sign, arguments_of(arguments))
