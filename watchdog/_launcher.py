"""What the `watchdog` command starts: refuses a mixed environment, puts our packages first on the path, calls the CLI.

In the wheel this file is `bitcoin_watchdog/__init__.py`, beside the private folder that holds our packages
(docs/adr/0001). In the tree it is `watchdog/_launcher.py`, and there is no private folder. Standard library only:
it must work in an environment where the wrong `watchdog` would be imported.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

_FOREIGN_MARKS = ("observers", "watchmedo.py")
"""Names that only the file-watching project has in its `watchdog` folder; our modules may not use them."""


def foreign_watchdog(paths: Iterable[str]) -> str | None:
    """Return the folder of the file-watching package `watchdog` on these import paths, or None.

    It finds the package where it is the first one and would be imported, where ours hides it, and where an installer
    merged both into one folder. Entries that cannot be read count as empty, as they do for Python.
    """
    for entry in paths:
        folder = os.path.join(entry, "watchdog")  # noqa: PTH118 - pathlib would double the start-up time
        if any(os.path.exists(os.path.join(folder, mark)) for mark in _FOREIGN_MARKS):  # noqa: PTH110, PTH118 - same
            return folder
    return None


def main() -> int:
    """Run the command line of `sys.argv` and return the exit code.

    Beside the file-watching package it prints one line with the cure to standard error and returns 2: one process can
    hold only one `watchdog`, so whatever else imports the other one here would get ours, or we theirs.
    """
    private = os.path.join(os.path.dirname(os.path.abspath(__file__)), "_private")  # noqa: PTH100, PTH118, PTH120 - same
    if os.path.isdir(private):  # noqa: PTH112 - same
        sys.path.insert(0, private)
    folder = foreign_watchdog(sys.path)
    if folder is not None:
        sys.stderr.write(
            f"watchdog: the file-watching package of the same name is installed in {folder!r}; "
            "give bitcoin-watchdog an environment of its own, for example one made with 'python3 -m venv'\n"
        )
        return 2
    from watchdog.cli.main import main as run_command_line  # noqa: PLC0415 - only now is it sure whose `watchdog` this is

    return run_command_line(sys.argv[1:])
