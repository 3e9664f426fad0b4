"""Where a service without a configuration keeps its state."""

from __future__ import annotations

import os
from pathlib import Path

NAME = "bitcoin-watchdog"
DATABASE = "watchdog.db"


def state_folder() -> Path:
    """Return the folder, which need not exist: systemd's `$STATE_DIRECTORY`, else `$XDG_STATE_HOME/bitcoin-watchdog`.

    By their specifications the first may list several folders, and the second counts only as an absolute path.
    """
    given = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if given:
        return Path(given)
    home = Path(os.environ.get("XDG_STATE_HOME", ""))
    return (home if home.is_absolute() else Path("~/.local/state").expanduser()) / NAME
