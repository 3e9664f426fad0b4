"""Text for people: folded to the width of a terminal, and left as it is for a file or another program."""

from __future__ import annotations

import re
import shutil
import sys
import textwrap

HANGING = 4  # further lines of a folded one begin so much to the right
NARROWEST = 40  # on less nothing can be read either way
_GAP = re.compile(r"(?<=\S) {2,}(?=\S)")  # between two columns


def fitted(text: str) -> str:
    """Return whole lines for standard output; for a terminal, folded at spaces to its width."""
    return folded(text, shutil.get_terminal_size().columns) if sys.stdout.isatty() else text


def folded(text: str, width: int) -> str:
    """Fold long lines; continue them below the last column of a table where there is room.

    Words that are longer than a line stay whole, so that a name can be copied.
    """
    return "".join(_folded_line(line, max(width, NARROWEST)) for line in text.splitlines(keepends=True))


def _folded_line(line: str, width: int) -> str:
    bare = line.rstrip("\n")
    if len(bare) <= width:
        return line
    lead = len(bare) - len(bare.lstrip())
    last = max((gap.end() for gap in _GAP.finditer(bare)), default=lead)
    hanging = min(lead, width // 2) + HANGING
    if lead < last <= width // 2:
        parts = _wrapped(bare, width, last)
    elif lead < last <= width:  # too little room beside the other columns: below them
        parts = [bare[:last].rstrip(), *_wrapped(" " * hanging + bare[last:], width, hanging)]
    else:
        parts = _wrapped(bare, width, hanging)
    return "\n".join(parts) + line[len(bare) :]


def _wrapped(text: str, width: int, hanging: int) -> list[str]:
    return textwrap.wrap(text, width, subsequent_indent=" " * hanging, break_long_words=False, break_on_hyphens=False)
