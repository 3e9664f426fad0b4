"""`WATCHDOG_CORE_SOURCE=DIR python -m watchdog.sources.core_log`: the table of line forms against Core's source.

DIR is a work tree of Bitcoin Core or a bare repository, which is read at its HEAD. Exit code 0 when every wording whose
span includes that tree is in it, 1 with the rows that are not, 2 when there is nothing to read.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from watchdog.core.errors import WatchdogError
from watchdog.sources.core_log.check import missing
from watchdog.sources.core_log.source_tree import CoreSource
from watchdog.sources.core_log.table import FORMS

VARIABLE = "WATCHDOG_CORE_SOURCE"


def main() -> int:
    """Return the exit code; rows that are not found go to standard output."""
    folder = os.environ.get(VARIABLE, "")
    if not folder:
        sys.stderr.write(f"{VARIABLE} is not set: name a work tree of Bitcoin Core or a bare repository\n")
        return 2
    try:
        source = CoreSource(Path(folder))
    except WatchdogError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    rows = missing(FORMS, source)
    summary = f"v{source.version[0]}.{source.version[1]}: {len(rows)} rows of the table not found"
    sys.stdout.write("".join(f"{line}\n" for line in (*rows, summary)))
    return 1 if rows else 0


if __name__ == "__main__":
    sys.exit(main())
