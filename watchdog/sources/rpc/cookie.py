"""Where a node writes its cookie, found as bitcoin-cli finds it: data folder, bitcoin.conf, chain."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from watchdog.core.errors import SourceError
from watchdog.sources.rpc.credentials import read_small
from watchdog.sources.rpc.url import CHAINS

COOKIE: Final = ".cookie"  # Core's COOKIEAUTH_FILE
CONF_BYTES: Final = 1 << 20
Conf = dict[tuple[str, str], str]  # (section, name) to the first value; the section of the top is ""


def cookie_path(datadir: Path, chain: str = "main") -> Path:
    """Return where the node of this data folder and chain writes its cookie, without looking at bitcoin.conf.

    Raise SourceError for a chain that Core does not have.
    """
    if chain not in CHAINS:
        raise SourceError(f"unknown chain {chain[:40]!r}; expected one of {', '.join(CHAINS)}")
    return datadir / CHAINS[chain][1] / COOKIE


def find_cookie(datadir: Path | None = None, chain: str | None = None) -> Path:
    """Return where bitcoin-cli looks for the cookie; the file need not exist.

    datadir: None for `~/.bitcoin`, or the `datadir` that its bitcoin.conf names. chain: None for the chain that
    bitcoin.conf names, else main. `rpccookiefile` of bitcoin.conf counts, relative to the folder of the chain.
    Raise SourceError for an unknown chain.
    """
    home = datadir or Path("~/.bitcoin").expanduser()
    conf = read_conf(home)
    chain = chain or _chain_of(conf)
    path = cookie_path(home, chain)
    moved = _value(conf, chain, "datadir") if datadir is None else ""
    if moved and Path(moved).is_absolute():
        path = cookie_path(Path(moved), chain)
    named = _value(conf, chain, "rpccookiefile")
    return path.parent / named if named else path


def read_conf(datadir: Path) -> Conf:
    """Return the keys of bitcoin.conf and of the files that it includes; nothing of a file that cannot be read."""
    conf: Conf = {}
    further = _read_into(conf, datadir / "bitcoin.conf")
    for name in further:
        _read_into(conf, datadir / name)
    return conf


def _read_into(conf: Conf, path: Path) -> list[str]:
    """Add the keys of one file, the first value of each counts; return the files that it includes."""
    try:
        text = read_small(path, CONF_BYTES)
    except OSError:
        return []
    section, further = "", []
    for line in text.splitlines():
        bare = line.partition("#")[0].strip()
        if bare.startswith("[") and bare.endswith("]"):
            section = bare[1:-1].strip()
            continue
        name, _, value = (part.strip() for part in bare.partition("="))
        scope, dot, rest = name.partition(".")
        if dot and scope in CHAINS:
            conf.setdefault((scope, rest), value)
        elif name == "includeconf":
            further.append(value)
        elif name:
            conf.setdefault((section, name), value)
    return further


def _value(conf: Conf, chain: str, name: str) -> str:
    return conf.get((chain, name)) or conf.get(("", name), "")


def _chain_of(conf: Conf) -> str:
    named = conf.get(("", "chain"), "")
    if named in CHAINS:
        return named
    flags = {"testnet": "test", "testnet4": "testnet4", "signet": "signet", "regtest": "regtest"}
    return next((chain for flag, chain in flags.items() if conf.get(("", flag), "0") == "1"), "main")
