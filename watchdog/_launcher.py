"""What the `watchdog` command starts: puts our packages first on the path, refuses a mixed environment, calls the CLI.

In the wheel this file is `bitcoin_watchdog/__init__.py`, beside the private folder that holds our packages
(docs/adr/0001). In the tree it is `watchdog/_launcher.py`, and there is no private folder.
"""

from __future__ import annotations

import sys
from pathlib import Path

_FOREIGN_MARKS = ("observers", "watchmedo.py")
"""Names that only the file-watching project has inside its `watchdog` folder; ours must never use them."""

_CURE = "install bitcoin-watchdog into an environment of its own, for example with `pipx install bitcoin-watchdog`"


def foreign_watchdog(paths: list[str]) -> Path | None:
    """The folder of the file-watching package named `watchdog`, if one of these import paths has it, else None."""
    for entry in paths:
        folder = Path(entry or ".") / "watchdog"
        if any((folder / mark).exists() for mark in _FOREIGN_MARKS):
            return folder
    return None


def main() -> int:
    """Run the command line of `sys.argv`; the exit code: 2 beside the file-watching package, with one line that says so."""
    private = Path(__file__).resolve().parent / "_private"
    if private.is_dir():
        sys.path.insert(0, str(private))
    folder = foreign_watchdog(sys.path)
    if folder is not None:
        print(
            f"watchdog: another package named 'watchdog' (the file watcher) is installed in '{folder}'; {_CURE}",
            file=sys.stderr,
        )
        return 2
    from watchdog.cli.main import main as run  # noqa: PLC0415 - the path must be settled first

    return run(sys.argv[1:])
