"""Who acts: the name of the user, where a command does not name an operator."""

from __future__ import annotations

import getpass
import os


def login_name() -> str:
    """Return the name of the user, or the number without a name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"
