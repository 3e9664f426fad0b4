"""Packed files (.gz, .xz), unpacked as they are read."""

from __future__ import annotations

import gzip
import lzma
import zlib
from collections.abc import Mapping
from typing import IO, Final

FORMATS: Final[Mapping[str, str]] = {".gz": "gzip", ".xz": "xz"}
UNPACK_ERRORS: Final = (lzma.LZMAError, gzip.BadGzipFile, zlib.error, EOFError)


Unpacked = gzip.GzipFile | lzma.LZMAFile


def unpacked(file: IO[bytes], ending: str) -> Unpacked:
    """Return the text of a file of that ending, one of FORMATS.

    Reads raise one of UNPACK_ERRORS where the file is cut off or damaged; read1 gives all that stands before it.
    """
    return gzip.GzipFile(fileobj=file, mode="rb") if ending == ".gz" else lzma.LZMAFile(file, "rb")
