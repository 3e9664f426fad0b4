"""Who acts on the history: `--who`, else the login name."""

from __future__ import annotations

import argparse
import getpass
import os


def add_who_argument(page: argparse.ArgumentParser) -> None:
    """Add `--who`."""
    page.add_argument("--who", help="name of the operator (default: your login name)")


def operator_name(args: argparse.Namespace) -> str:
    """Return the operator's name as given, else that of the user, else the user's number."""
    if args.who is not None:
        return str(args.who)
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"
