"""Finds the nodes of this machine: by their processes, in a named folder, in the usual folders, on every chain."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from watchdog.core.text import printable
from watchdog.doctor.chains import CHAINS, Chain
from watchdog.doctor.hang_guard import Deadline, ask_all
from watchdog.doctor.processes import NodeProcess, node_processes, standing
from watchdog.doctor.settings import SettingEntry, Settings, chain_of, command_entries, conf_entries, stored_entries
from watchdog.doctor.small_file import read_small, reason

CONF: Final = "bitcoin.conf"
STORED: Final = "settings.json"
SYSTEM_CONF: Final = Path("/etc/bitcoin/bitcoin.conf")  # Bitcoin Core contrib/init/bitcoind.service
SYSTEM_FOLDERS: Final = (
    Path("/var/lib/bitcoind"),  # Bitcoin Core contrib/init/bitcoind.service
    Path("/var/lib/bitcoin"),
    Path("/home/bitcoin/.bitcoin"),
)
HOME_FOLDERS: Final = (".bitcoin", "snap/bitcoin-core/common/.bitcoin")
TRACES: Final = (".cookie", "debug.log", "peers.dat", "chainstate", "blocks", "bitcoind.pid")
"""What a node leaves in the folder of its chain, beside other files."""
MOST_NODES: Final = 20
MOST_PROCESSES: Final = 100
MOST_INCLUDED: Final = 50  # files that a bitcoin.conf includes


@dataclass(frozen=True, slots=True)
class DetectedNode:
    """One node: a datadir and a chain.

    name: a name that no other node of the list has. datadir: None for a process whose folder is unknown here. pid,
    owner: of the process, None without one; without one, owner is that of the datadir. notes: lines on what could not
    be read.
    """

    name: str
    datadir: Path | None
    chain: Chain
    settings: Settings
    pid: int | None = None
    owner: int | None = None
    apart: bool = False
    notes: tuple[str, ...] = ()
    idle: bool = False

    @property
    def folder(self) -> Path | None:
        """The folder of the chain, below the datadir."""
        return None if self.datadir is None else self.datadir / self.chain.folder

    def path(self, setting: str, default: str) -> Path | None:
        """Return the path of a setting that is relative to the folder of the chain; None when it is switched off."""
        if self.folder is None or (self.settings.has(setting) and self.settings.value(setting) is None):
            return None
        return self.folder / (self.settings.value(setting) or default)


@dataclass(frozen=True, slots=True)
class DetectedNodes:
    """The detected nodes, the number of nodes beyond the limit, and the places that were searched."""

    nodes: tuple[DetectedNode, ...]
    left_out: int
    looked_at: tuple[str, ...]


def find_nodes(named: Path | None, deadline: Deadline, usual: Sequence[Path] | None = None) -> DetectedNodes:
    """Return the nodes that this user can see.

    named: look into this datadir only. usual: the folders to try without it; the usual ones by default. Idle datadirs
    count only where no node is alive. A folder that does not answer before the deadline becomes a node with a note.
    """
    processes = node_processes()
    folders = [named] if named is not None else list(usual_folders() if usual is None else usual)
    calls: dict[str, Callable[[], list[DetectedNode]]] = {}
    for one in processes[:MOST_PROCESSES]:
        calls[f"process {one.pid}"] = _caller(_of_process, one)
    for folder in folders:
        calls[f"folder {folder}"] = _caller(_of_folder, folder, named is not None)
    answers = ask_all(calls, deadline)
    nodes = [node for answer in answers.values() if answer.error is None for node in answer.get()]
    silent = [one for one in processes[:MOST_PROCESSES] if f"process {one.pid}" not in answers]
    nodes += [_unknown(one, "its files do not answer: a dead network file system?") for one in silent]
    nodes += [_hung(folder) for folder in folders if f"folder {folder}" not in answers]
    if named is not None:
        nodes = [node for node in nodes if node.datadir is not None and _same(node.datadir, named, deadline)]
    if any(not node.idle for node in nodes):
        nodes = [node for node in nodes if not node.idle]
    looked = (f"processes in /proc: {len(processes)} of a node", *(printable(str(folder)) for folder in folders))
    known = sorted(_without_twins(nodes), key=lambda node: standing(node.owner))  # stable: processes come first
    left_out = max(0, len(known) - MOST_NODES) + max(0, len(processes) - MOST_PROCESSES)
    return DetectedNodes(tuple(_with_names(known[:MOST_NODES])), left_out, looked)


def usual_folders() -> list[Path]:
    """Return the datadirs that a node of this user or of the system has by default."""
    homes = [Path(os.path.expanduser("~")) / name for name in HOME_FOLDERS]  # noqa: PTH111 - never raises
    return list(dict.fromkeys([*homes, *SYSTEM_FOLDERS]))


def _caller(make: Callable[..., Iterator[DetectedNode]], *args: object) -> Callable[[], list[DetectedNode]]:
    return lambda: list(make(*args))


def _of_process(process: NodeProcess) -> Iterator[DetectedNode]:
    """Yield the node of a process."""
    command = command_entries(process.arguments)
    given = _value(command, "datadir")
    notes: list[str] = []
    datadir: Path | None = process.home / ".bitcoin"
    if given:
        datadir = _placed(process.folder, given)
    if process.apart or datadir is None:
        where = "it runs with a root or network of its own (a container)" if process.apart else "its folder is unknown"
        yield _unknown(process, where)
        return
    conf, datadir = _conf(datadir, _value(command, "conf"), notes, given=given is not None)
    chain = chain_of(command, conf)
    settings = Settings(chain, command, _stored(datadir / chain.folder, command, notes), conf)
    yield DetectedNode("", datadir, chain, settings, process.pid, process.uid, notes=tuple(notes))


def _unknown(process: NodeProcess, why: str) -> DetectedNode:
    """Return a node that runs, but whose files are not seen here."""
    command = command_entries(process.arguments)
    chain = chain_of(command, ())
    return DetectedNode("", None, chain, Settings(chain, command), process.pid, process.uid, process.apart, (why,))


def _of_folder(folder: Path, named: bool) -> Iterator[DetectedNode]:
    """Yield the nodes of a datadir without a process that is known: one for each chain with a cookie.

    A cookie exists while a node runs, and after a crash. Without one the datadir counts as idle, if it has a
    configuration or traces of a node. named: the user has named the folder, so that traces of any chain count.
    """
    notes: list[str] = []
    if _missing(folder) or _is_file(folder):
        return
    system = str(SYSTEM_CONF) if folder in SYSTEM_FOLDERS and not _exists(folder / CONF) else None
    conf, datadir = _conf(folder, system, notes, given=named)
    owner = _owner(datadir)
    chosen = chain_of((), conf)
    made = []
    for chain in CHAINS:
        settings = Settings(chain, (), _stored(datadir / chain.folder, (), []), conf)
        made.append(DetectedNode("", datadir, chain, settings, None, owner, notes=tuple(notes)))
    alive = [node for node in made if (cookie := node.path("rpccookiefile", ".cookie")) and _exists(cookie)]
    closed = not os.access(datadir, os.R_OK | os.X_OK)
    if alive:
        yield from alive
    elif closed or _traces(datadir / chosen.folder) or (named and _used(datadir)):
        yield next(replace(node, idle=True) for node in made if node.chain is chosen)


def _conf(datadir: Path, name: str | None, notes: list[str], *, given: bool) -> tuple[list[SettingEntry], Path]:
    """Return the settings of bitcoin.conf with the files that it includes, and the datadir.

    given: the datadir is not the default one, so that a `datadir` in the file does not replace it.
    """
    path = datadir / (name or CONF)
    conf = _read_conf(path, notes)
    moved = _value([one for one in conf if not one.section], "datadir")
    if moved and not given:
        datadir = datadir / moved
    included = [one.value for one in conf if one.name == "includeconf" and one.value][:MOST_INCLUDED]
    for more in included:
        conf += _read_conf(datadir / more, notes)
    return conf, datadir


def _read_conf(path: Path, notes: list[str]) -> list[SettingEntry]:
    try:
        return conf_entries(read_small(path).decode("utf-8", "replace"))
    except FileNotFoundError:
        return []
    except OSError as error:
        notes.append(f"{printable(str(path))} cannot be read: {reason(error)}")
        return []


def _stored(folder: Path, command: Sequence[SettingEntry], notes: list[str]) -> list[SettingEntry]:
    """Return the settings of settings.json; a missing one is usual."""
    name = _value(command, "settings") or STORED
    try:
        return stored_entries(read_small(folder / name).decode("utf-8", "replace"))
    except FileNotFoundError:
        return []
    except OSError as error:
        notes.append(f"{printable(str(folder / name))} cannot be read: {reason(error)}")
        return []


def _value(entries: Sequence[SettingEntry], name: str) -> str | None:
    """Return the last value of an option."""
    mine = [one.value for one in entries if one.name == name]
    return mine[-1] if mine else None


def _placed(folder: Path | None, given: str) -> Path | None:
    """Return a path of a command line; None when it is relative to a folder that this user may not see."""
    path = Path(given)
    if path.is_absolute():
        return path
    return None if folder is None else folder / path


def _missing(path: Path) -> bool:
    """Return whether there is certainly nothing; no, where this user may not look."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return True
    except OSError:
        return False
    return False


def _is_file(path: Path) -> bool:
    """Return whether a path is certainly no folder."""
    try:
        return not stat.S_ISDIR(path.stat().st_mode)
    except (OSError, ValueError):
        return False


def _exists(path: Path) -> bool:
    """Return whether there is something; no, where this user may not look."""
    try:
        path.lstat()
    except (OSError, ValueError):
        return False
    return True


def _used(datadir: Path) -> bool:
    """Return whether a datadir has a configuration, or traces of a node on any chain."""
    return _exists(datadir / CONF) or any(_traces(datadir / chain.folder) for chain in CHAINS)


def _traces(folder: Path) -> bool:
    return any(_exists(folder / name) for name in TRACES)


def _owner(path: Path) -> int | None:
    try:
        return path.stat().st_uid
    except (OSError, ValueError):
        return None


def _same(one: Path, other: Path, deadline: Deadline) -> bool:
    """Return whether two paths are one folder; by their text where the disk does not answer."""
    answers = ask_all({"real": lambda: os.path.realpath(one) == os.path.realpath(other)}, deadline)
    return one == other or ("real" in answers and answers["real"].error is None and answers["real"].get())


def _hung(folder: Path) -> DetectedNode:
    note = f"{printable(str(folder))} does not answer: a dead network file system?"
    return DetectedNode("", folder, CHAINS[0], Settings(CHAINS[0]), notes=(note,))


def _without_twins(nodes: Sequence[DetectedNode]) -> list[DetectedNode]:
    """Return each datadir and chain once; the process, which comes first, knows more than the folder."""
    found: dict[object, DetectedNode] = {}
    for node in nodes:
        key = (os.path.normpath(node.datadir), node.chain.name) if node.datadir else ("", node.pid)
        found.setdefault(key, node)
    return list(found.values())


def _with_names(nodes: Sequence[DetectedNode]) -> list[DetectedNode]:
    """Name each node by its chain, further ones of a chain with a number, in the order of their folders."""
    ordered = sorted(nodes, key=lambda node: (CHAINS.index(node.chain), str(node.datadir or ""), node.pid or 0))
    count: dict[str, int] = {}
    named = []
    for node in ordered:
        name = node.chain.name
        count[name] = count.get(name, 0) + 1
        named.append(replace(node, name=name if count[name] == 1 else f"{name}-{count[name]}"))
    return named
