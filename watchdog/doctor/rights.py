"""Access rights of a path, and the shell lines that give access to this user only."""

from __future__ import annotations

import grp
import os
import pwd
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Final

WALLETS: Final = ("wallets", "wallet.dat")  # in a datadir; the watchdog should not be able to read them


def may(path: Path, mode: int) -> bool:
    """Return whether the effective user has these rights (os.R_OK and the like); no, where nothing is known."""
    try:
        return os.access(path, mode, effective_ids=bool(os.supports_effective_ids))
    except (OSError, ValueError):
        return False


def user_name(uid: int) -> str:
    """Return the name of a user; the number when it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def group_of(path: Path) -> str | None:
    """Return the group of a path; None where this user may not look."""
    try:
        number = path.stat().st_gid
    except (OSError, ValueError):
        return None
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def shut_folders(path: Path) -> list[Path]:
    """Return the folders above a path, outermost first, that this user may not enter as far as it can see.

    Behind the first of them nothing can be seen, so all that follow are named, too.
    """
    parents = [one for one in reversed(path.parents) if one != Path(path.anchor)]
    first = next((at for at, one in enumerate(parents) if not may(one, os.X_OK)), len(parents))
    return parents[first:]


def acl_lines(folder: Path, user: str) -> list[str]:
    """Return shell lines that let a user read a folder now and after each new file.

    Core's umask of 077 takes the rights of the group from every new file, so only a default ACL lasts.
    """
    lines = [f"setfacl -m u:{user}:x {shlex.quote(str(one))}" for one in shut_folders(folder)]
    lines.append(f"setfacl -R -m u:{user}:rX -d -m u:{user}:rX {shlex.quote(str(folder))}")
    return lines


def log_lines(folder: Path, user: str) -> list[str]:
    """Return the lines that open a log. A datadir holds wallets, too, which the lines then open as well."""
    lines = acl_lines(folder, user)
    if _may_hold_wallets(folder):
        lines += [
            f"# this opens all of {folder}, wallets included; better give the log a folder of its own:",
            "# debuglogfile=/var/log/bitcoind/debug.log in bitcoin.conf, and the last line for that folder",
        ]
    return lines


def cookie_lines(folder: Path, user: str) -> list[str]:
    """Return the lines that open the cookie of v28 and later to the group of its folder."""
    group = group_of(folder) or "GROUP"
    lines = [
        "# the cookie opens every RPC, wallets included; the user below may only read",
        "# v28 and later, in bitcoin.conf; then restart the node, and the watchdog in its new group:",
        "rpccookieperms=group",
    ]
    if group in {"root", "0"}:
        lines.append("# the node's group is root: give the node a group of its own first")
    elif user not in _members(group):
        lines.append(f"usermod -a -G {shlex.quote(group)} {user}")
    lines += [f"chmod g+x {shlex.quote(str(one))}" for one in _own_folders(folder)]
    return lines


def _own_folders(folder: Path) -> Iterator[Path]:
    """Yield the folders down to this one that this user may not enter."""
    yield from shut_folders(folder / "x")


def _members(group: str) -> list[str]:
    try:
        entry = grp.getgrnam(group)
    except KeyError:
        return []
    return [*entry.gr_mem, *(one.pw_name for one in pwd.getpwall() if one.pw_gid == entry.gr_gid)]


def _may_hold_wallets(folder: Path) -> bool:
    """Return whether wallets are there, or this user may not look."""
    return not may(folder, os.R_OK | os.X_OK) or any((folder / name).exists() for name in WALLETS)
