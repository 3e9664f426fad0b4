"""`WATCHDOG_CORE_SOURCE=DIR python -m watchdog.sources.core_log`: the line forms and constants against Core's source.

DIR is a work tree of Bitcoin Core or a bare repository, which is read at its HEAD. Exit code 0 when the tree contains
every wording and every cited constant (watchdog/core/core_constants.py) whose span includes it, 1 with the rows that it
lacks, 2 when there is nothing to read.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from watchdog.core.core_constants import CITATIONS
from watchdog.core.errors import WatchdogError
from watchdog.sources.core_log.check import missing, missing_citations
from watchdog.sources.core_log.source_tree import CoreSource
from watchdog.sources.core_log.table import FORMS

VARIABLE = "WATCHDOG_CORE_SOURCE"


def main() -> int:
    """Print the rows that the tree lacks, and return the exit code."""
    folder = os.environ.get(VARIABLE, "")
    if not folder:
        sys.stderr.write(f"{VARIABLE} is not set: name a work tree of Bitcoin Core or a bare repository\n")
        return 2
    try:
        source = CoreSource(Path(folder))
    except WatchdogError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    rows, constants = missing(FORMS, source), missing_citations(CITATIONS, source)
    version = f"v{source.version[0]}.{source.version[1]}"
    summary = f"{version}: {len(rows)} log lines and {len(constants)} of {len(CITATIONS)} citations not found"
    sys.stdout.write("".join(f"{line}\n" for line in (*rows, *constants, summary)))
    return 1 if rows or constants else 0


if __name__ == "__main__":
    sys.exit(main())
