"""What of debug.log depends on Bitcoin Core's -debug categories, and which of them a log shows.

Kinds by category follow the log calls of Core's net, net_processing and addrman. Lines of other kinds are written
always. A log says nothing of its categories as such; its lines show them: Core v24 and later writes `[net] ` before
lines of a category, and before that the lines of messages (`sending ping (8 bytes) peer=0`) are known by their form.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from watchdog.sources.packed import FORMATS

Category = Literal["net", "addrman"]

NET_KINDS: Final = frozenset({
    "log:addr_received",
    "log:connection_accepted",
    "log:connection_added",
    "log:connection_dropped",
    "log:disconnected",
    "log:evicted",
    "log:feeler_attempt",
    "log:feeler_completed",
    "log:low_work_headers",
    "log:misbehaving",
    "log:protocol_error",
    "log:version",
})  # fmt: skip
TAIL_BYTES: Final = 1 << 20  # of a log that is looked at: minutes of a busy node with -debug=net, weeks of one without
ENOUGH_LINES: Final = 20  # a node with -debug=net writes more about each peer that it connects to

_TIMED = rb"^(?:\[\*\] )?\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{6})?Z "
_BEFORE = rb"(?:\(mocktime: [^)\n]{20,27}\) )?(?:\[(?:[^\]\n]|\](?! )){1,1000}\] ){0,5}?"
_LINE: Final = re.compile(_TIMED, re.MULTILINE)
_SHOWN: Final = {
    "net": re.compile(
        _TIMED + _BEFORE + rb"(?:\[net(?::[a-z]{1,10})?\] |(?:sending|received:) \S{1,12} \(\d{1,9} bytes\) peer=\d)",
        re.MULTILINE,
    ),
    "addrman": re.compile(
        _TIMED
        + _BEFORE
        + rb"(?:\[addrman(?::[a-z]{1,10})?\] |Added \d{1,9} addresses \(of "
        + rb"|Moved \S{1,300} (?:mapped to AS\d+ )?to tried)",
        re.MULTILINE,
    ),
}


def category_of(kind: str) -> Category | None:
    """Return the -debug category without which a node does not write lines of this kind; None for none."""
    if kind in NET_KINDS:
        return "net"
    return "addrman" if kind.startswith("log:addrman_") else None


@dataclass(frozen=True, slots=True)
class LogTail:
    """What the end of a log shows. lines: with a time. net, addrman: whether a line of the category is there; None
    where there are too few lines to say that it is not.
    """

    lines: int = 0
    net: bool | None = None
    addrman: bool | None = None


def look_at_tail(path: Path) -> LogTail:
    """Read at most `TAIL_BYTES` from the end of a log. Nothing is known of a packed one, or one that cannot be read."""
    if path.suffix in FORMATS:
        return LogTail()
    try:
        if not path.is_file():  # never open a pipe: that waits for who writes into it
            return LogTail()
        with path.open("rb", buffering=0) as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL_BYTES))
            text = file.read(TAIL_BYTES)
    except OSError:
        return LogTail()
    lines = sum(1 for _ in _LINE.finditer(text))
    unseen = False if lines >= ENOUGH_LINES else None
    net, addrman = (bool(_SHOWN[name].search(text)) or unseen for name in ("net", "addrman"))
    return LogTail(lines, net, addrman)
