"""The node processes that this user can see in /proc, with what decides where their files are.

A command line is untrusted: any local user may name a program bitcoind and choose its arguments.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")
NAMES: Final = frozenset({"bitcoind", "bitcoin-qt", "bitcoin-node", "bitcoin-gui"})
"""Programs of Bitcoin Core and Knots that are a node; `bitcoin node` and `bitcoin gui` start one of them."""
MOST: Final = 1_000  # processes that are looked at closely
SYSTEM_USERS: Final = 1_000  # below it are users of the system, by Debian's and most others' login.defs
LONGEST: Final = 1 << 20  # bytes of a command line


@dataclass(frozen=True, slots=True)
class NodeProcess:
    """One running node.

    uid: of its effective user. program: its name. folder: its working directory, None where this user may not see it.
    home: of its user. apart: whether it has a root or a network of its own (a container), so that its paths and ports
    mean something else there.
    """

    pid: int
    uid: int
    program: str
    arguments: tuple[str, ...]
    folder: Path | None
    home: Path
    apart: bool


def node_processes(proc: Path = PROC) -> list[NodeProcess]:
    """Return the running nodes: those of this user and root first, then of users of the system, each by pid.

    So programs that another user names bitcoind cannot push the real node off the list. A process that ends meanwhile
    is left out.
    """
    try:
        names = sorted((one.name for one in proc.iterdir() if one.name.isascii() and one.name.isdigit()), key=int)
    except OSError:  # no /proc here
        return []
    return sorted(_found(proc, names), key=lambda one: (standing(one.uid), one.pid))[:MOST]


def standing(uid: int | None) -> int:
    """Return the rank of a node's user: 0 for this user and root, 1 for users of the system, 2 for all others."""
    if uid in {os.geteuid(), 0}:
        return 0
    return 1 if uid is not None and uid < SYSTEM_USERS else 2


def _found(proc: Path, names: list[str]) -> Iterator[NodeProcess]:
    for name in names:
        try:
            if (proc / name / "comm").read_bytes().strip().decode("utf-8", "replace") not in NAMES:
                continue
            one = _process(proc / name, int(name))
        except OSError:  # it has ended, or hides from this user
            continue
        if one is not None:
            yield one


def _process(place: Path, pid: int) -> NodeProcess | None:
    """Return one process; None for one without arguments, as a zombie is. OSError when it has ended."""
    with (place / "cmdline").open("rb") as file:
        words = file.read(LONGEST).split(b"\0")
    if not words[0]:
        return None
    uid = _uid(place)
    home = _environment_home(place) or _home(uid)
    arguments = tuple(os.fsdecode(word) for word in words[1:] if word)
    program = (place / "comm").read_bytes().strip().decode("utf-8", "replace")
    return NodeProcess(pid, uid, program, arguments, _link(place / "cwd"), home, _apart(place))


def _uid(place: Path) -> int:
    for line in (place / "status").read_text("ascii", "replace").splitlines():
        if line.startswith("Uid:"):
            return int(line.split()[2])  # real, effective, saved, file system
    return place.stat().st_uid


def _home(uid: int) -> Path:
    try:
        return Path(pwd.getpwuid(uid).pw_dir)
    except KeyError:
        return Path("/")


def _environment_home(place: Path) -> Path | None:
    """Return `HOME` of the process; None where this user may not read it."""
    try:
        with (place / "environ").open("rb") as file:
            words = file.read(LONGEST).split(b"\0")
    except OSError:
        return None
    return next((Path(os.fsdecode(word[5:])) for word in words if word.startswith(b"HOME=/")), None)


def _link(place: Path) -> Path | None:
    try:
        return place.readlink()
    except OSError:
        return None


def _apart(place: Path) -> bool:
    """Return whether it certainly has another root or network; what this user may not see counts as the same."""
    own = PROC / "self"
    try:
        if (place / "ns" / "net").readlink() != (own / "ns" / "net").readlink():
            return True
        root, mine = (place / "root").stat(), (own / "root").stat()
    except OSError:
        return False
    return (root.st_dev, root.st_ino) != (mine.st_dev, mine.st_ino)
